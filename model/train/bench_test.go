package train

import (
	"context"
	"testing"

	"github.com/logobeam/logobeam/model"
)

// BenchmarkStep is training without loading and evaluating: batches of 40 in 8 slices, and plain SGD.
func BenchmarkStep(b *testing.B) {
	for _, c := range []struct {
		arch   string
		freeze bool
	}{{"mlp", false}, {"article-cnn", false}, {"squeezenet", false}, {"resnet18", false}, {"efficientnet-lite0", false}, {"efficientnet-lite0", true}} {
		for _, precision := range []string{FP32, BF16} {
			name := c.arch + "-" + precision
			if c.freeze {
				name += "-frozen"
			}
			b.Run(name, func(b *testing.B) {
				net, err := model.New(c.arch, 28)
				if err != nil {
					b.Fatal(err)
				}
				params, err := model.Init(net, 1)
				if err != nil {
					b.Fatal(err)
				}
				cfg := DefaultConfig()
				cfg.Freeze, cfg.Momentum, cfg.Precision = c.freeze, 0, precision
				t, err := newTrainer(net, params, cfg, 0)
				if err != nil {
					b.Fatal(err)
				}
				defer t.close()
				in := t.newBatch(0)
				in.count = cfg.Batch
				for i := range in.images {
					in.images[i] = float32(i*i%255)/128 - 1
				}
				for i := range in.labels {
					in.labels[i] = i % 28
				}
				if err := t.ready(in); err != nil {
					b.Fatal(err)
				}
				if _, err := t.step(context.Background(), in, 1e-4); err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				b.ResetTimer()
				for b.Loop() {
					if _, err := t.step(context.Background(), in, 1e-4); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(cfg.Batch*b.N)/b.Elapsed().Seconds(), "images/s")
				b.ReportMetric(float64(t.devices[0].(*cpu).slices[0].size)*4/1e6, "MB/program")
			})
		}
	}
}

// BenchmarkSolver is the solver alone, on one core and more values than any cache holds.
func BenchmarkSolver(b *testing.B) {
	for _, name := range []string{SGD, AdamW} {
		b.Run(name, func(b *testing.B) {
			cfg := DefaultConfig()
			cfg.Solver = name
			s := newSolver(cfg)
			const n = 1 << 24
			w, g := make([]float32, n), make([]float32, n)
			m := [2][]float32{make([]float32, n), make([]float32, n)}
			for i := range g {
				w[i], g[i] = 1, float32(i%7-3)
			}
			b.SetBytes(4 * n)
			step := 0
			for b.Loop() {
				step++
				s.update(w, g, m, step, 1e-4, 1e-4)
			}
		})
	}
}
