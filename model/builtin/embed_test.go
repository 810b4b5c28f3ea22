package builtin

import (
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
