package builtin

import (
	"io/fs"
	"slices"
	"testing"

	"github.com/logobeam/logobeam/model"
)

func TestLoad(t *testing.T) {
	m, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Validate(); err != nil {
		t.Error(err)
	}
	if m.Network.Arch != "efficientnet-lite0" || m.Card.Precision != "float16" {
		t.Errorf("a %s in %s; the binary has room for efficientnet-lite0 in float16", m.Network.Arch, m.Card.Precision)
	}
	if m.Card.DefaultPrecision() != model.Int8 {
		t.Error("it does not run in int8 unless asked to")
	}
	for split, most := range map[string]float64{"validation": 0.005, "test": 0.02} { // of 169 in test, one is 0.006
		if cost, ok := m.Card.Quantization.Cost(split); !ok || cost > most {
			t.Errorf("int8 costs %g of macro-F1 on %s; want at most %g", cost, split, most)
		}
	}
	for _, name := range []string{"model.json", "model.safetensors"} {
		info, err := fs.Stat(files, name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 10<<20 {
			t.Errorf("%s has %d bytes; every binary carries it", name, info.Size())
		}
	}
	if _, err := m.Card.Class(model.NoLogo); err != nil {
		t.Error(err)
	}
	if !slices.IsSorted(m.Card.Classes) {
		t.Errorf("classes %v are not sorted", m.Card.Classes)
	}
	again, err := Load()
	if err != nil || again != m {
		t.Error("the model was read a second time")
	}
}
