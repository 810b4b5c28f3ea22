package device_test

import (
	"context"
	"testing"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/device"
	"github.com/logobeam/logobeam/model/infer"
)

func TestPlan(t *testing.T) {
	for _, net := range small() {
		params := parameters(net)
		cpu, err := infer.Compile(net, params)
		if err != nil {
			t.Fatal(err)
		}
		load := func(i int, to []float32) error { image(i, to); return nil }
		want, err := cpu.Predict(context.Background(), 5, 1, 5, load)
		if err != nil {
			t.Fatal(err)
		}
		for precision, most := range map[model.Precision]float64{model.FP32: 1e-4, model.BF16: 0.03} {
			d := newDriver(t)
			p, err := device.Compile(d, net, params, precision)
			if err != nil {
				t.Fatal(err)
			}
			p.SetBatch(2) // so that batches are cut
			got, err := infer.Predict(context.Background(), p, 5, 2, 3, load)
			if err != nil {
				t.Fatalf("%s in %s: %v", net.Arch, precision, err)
			}
			if far := distance(got, want); far > most {
				t.Errorf("%s in %s: probabilities are %.2g from the processor's: want at most %g", net.Arch, precision, far, most)
			}
			if err := p.Close(); err != nil {
				t.Errorf("closing: %v", err)
			}
			closed(t, d)
		}
	}
}
