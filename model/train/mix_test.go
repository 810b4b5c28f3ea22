package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/logobeam/logobeam/model"
	"pgregory.net/rapid"
)

// TestMix mixes images of which each has a number of its own in every place, so that what came from where is to be
// seen.
func TestMix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := DefaultConfig()
		cfg.Seed = rapid.Uint64().Draw(t, "seed")
		cfg.Mixup = rapid.SampledFrom([]float64{0, 0, 0.01, 0.2, 1, 30}).Draw(t, "mixup")
		cfg.Cutmix = rapid.SampledFrom([]float64{0, 0, 0.01, 0.2, 1, 30}).Draw(t, "cutmix")
		shape := model.Shape{H: rapid.IntRange(1, 12).Draw(t, "h"), W: rapid.IntRange(1, 12).Draw(t, "w"), C: 3}
		n, size := rapid.IntRange(0, 9).Draw(t, "images"), shape.Size()
		images, labels, shares := make([]float32, n*size), make([]int, n), make([]float64, n)
		for i := range images {
			images[i] = float32(i / size)
		}
		for i := range labels {
			labels[i] = i
		}
		cfg.Mix(shape, images, labels, shares, rapid.IntRange(0, 3).Draw(t, "epoch"), rapid.IntRange(0, 3).Draw(t, "step"))
		for i := range n {
			share, own, other := shares[i], float64(labels[i]), float64(labels[n-1-i])
			if share < 0.5 || share > 1 || math.IsNaN(share) {
				t.Fatalf("image %d has a share of %v", i, share)
			}
			if own+other != float64(n-1) {
				t.Fatalf("labels %v of a pair", labels)
			}
			if (cfg.Mixup == 0 && cfg.Cutmix == 0 || own == other) && (share != 1 || labels[i] != i) {
				t.Fatalf("image %d of %d has a share of %v and the label %v, with nothing to mix", i, n, share, own)
			}
			image := images[i*size : (i+1)*size]
			owned := 0
			mixed := false
			for _, v := range image {
				switch float64(v) {
				case own:
					owned++
				case other:
				default:
					mixed = true
					if want := share*own + (1-share)*other; math.Abs(float64(v)-want) > 1e-5 {
						t.Fatalf("image %d holds %v, want %v", i, v, want)
					}
				}
			}
			// An exchanged rectangle has exactly its label's share of the area.
			if want := share * float64(size); !mixed && cfg.Mixup == 0 && math.Abs(float64(owned)-want) > 1e-9*want {
				t.Fatalf("image %d: %d of %d numbers are its own, its share is %v", i, owned, size, share)
			}
		}
	})
}

func TestMixupAndCutmixShareTheWork(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Mixup, cfg.Cutmix = 1, 1
	shape := model.Shape{H: 20, W: 20, C: 1}
	n := 1000
	images, labels, shares := make([]float32, n*400), make([]int, n), make([]float64, n)
	for i := range images {
		images[i] = float32(i / 400)
	}
	cfg.Mix(shape, images, labels, shares, 0, 0)
	cut := 0
	for i := range n / 2 {
		if v := images[i*400:][:400]; slices.Max(v) == float32(i) || slices.Min(v) == float32(i) {
			cut++
		}
	}
	if cut < 200 || cut > 300 {
		t.Errorf("%d of 500 pairs are cut, want about half", cut)
	}
}

// TestBeta compares mean, variance and the shares of ten parts of [0, 1] with what integration of the density gives.
func TestBeta(t *testing.T) {
	for _, alpha := range []float64{0.2, 0.5, 1, 2, 8} {
		rng := rand.New(rand.NewPCG(1, 2))
		const n = 40000
		sum, squares := 0.0, 0.0
		parts := make([]float64, 10)
		for range n {
			x := beta(rng, alpha)
			sum += x
			squares += (x - 0.5) * (x - 0.5)
			parts[min(int(10*x), 9)] += 1.0 / n
		}
		if variance := 1 / (4 * (2*alpha + 1)); math.Abs(sum/n-0.5) > 0.01 || math.Abs(squares/n/variance-1) > 0.03 {
			t.Errorf("alpha %v: mean %v, variance %v; want 0.5 and %v", alpha, sum/n, squares/n, variance)
		}
		// x = sin^2(u) takes the poles at 0 and 1 out of the density x^(a-1) (1-x)^(a-1) for alpha of a half or more.
		if alpha < 0.5 {
			continue
		}
		want, total := make([]float64, 10), 0.0
		for i := range 100000 {
			u := (float64(i) + 0.5) / 100000 * math.Pi / 2
			x := math.Sin(u) * math.Sin(u)
			density := math.Pow(math.Sin(u)*math.Cos(u), 2*alpha-1)
			want[min(int(10*x), 9)] += density
			total += density
		}
		for i, p := range parts {
			if math.Abs(p-want[i]/total) > 0.01 {
				t.Errorf("alpha %v: %.3f of the draws are from %v/10 on, want %.3f", alpha, p, i, want[i]/total)
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		if x := beta(rng, 1e-300); x != 0 && x != 1 {
			t.Fatalf("the least alpha draws %v", x)
		}
	}
}

// TestMixedTargets checks that a row of targets adds up to the weight of an image, and is what it was where nothing is
// mixed.
func TestMixedTargets(t *testing.T) {
	cfg := toyConfig()
	cfg.LabelSmoothing, cfg.Batch, cfg.Slices = 0.12, 5, 1
	tr, err := newTrainer(toyCNN(), start(t, toyCNN()), cfg, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	b := tr.newBatch(0)
	b.count, b.labels, b.shares = 4, []int{0, 1, 1, 2, 0}, []float64{0.75, 0.6, 0.6, 0.75, 0}
	tr.label(b)
	want := []float64{ // the fifth image is of another batch
		0.88*0.75 + 0.04, 0.04, 0.88*0.25 + 0.04,
		0.04, 0.92, 0.04, // two of a class are of that class
		0.04, 0.92, 0.04,
		0.88*0.25 + 0.04, 0.04, 0.88*0.75 + 0.04,
		0, 0, 0,
	}
	for i, v := range b.targets {
		if math.Abs(float64(v)-want[i]/4) > 1e-7 {
			t.Errorf("target %d is %v, want %v", i, v, want[i]/4)
		}
	}
	mixed := slices.Clone(b.targets)
	b.shares = []float64{1, 1, 1, 1, 0}
	tr.label(b)
	whole := slices.Clone(b.targets)
	b.shares = nil
	if tr.label(b); !slices.Equal(whole, b.targets) || slices.Equal(whole, mixed) {
		t.Error("shares of 1 are not what no shares are")
	}
}

func mixing(cfg *Config) {
	cfg.Mixup, cfg.Cutmix, cfg.LabelSmoothing, cfg.Balance = 0.4, 1, 0.1, Sqrt
}

func TestMixingIsDeterministic(t *testing.T) {
	cfg := toyConfig()
	mixing(&cfg)
	cfg.Cores = 1
	want := mustRun(t, toyCNN(), toyData(), cfg)
	for _, n := range []int{2, 5} {
		cfg.Cores = n
		got := mustRun(t, toyCNN(), toyData(), cfg)
		sameParams(t, fmt.Sprintf("%d workers", n), want.Params, got.Params)
		if d := cmp.Diff(want.History, got.History, times); d != "" {
			t.Errorf("%d workers (-one +got)\n%s", n, d)
		}
	}
	for _, cut := range [][2]int{{1, 3}, {3, 1}} {
		cfg := cfg
		cfg.State, cfg.Resume = filepath.Join(t.TempDir(), "state"), true
		ctx, stop := stopAt(cut[0], cut[1])
		if _, err := Run(ctx, toyCNN(), start(t, toyCNN()), toyData(), cfg, stop); !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v, want that of the context", err)
		}
		got := mustRun(t, toyCNN(), toyData(), cfg)
		sameParams(t, fmt.Sprintf("resumed after a stop in epoch %d", cut[0]), want.Params, got.Params)
	}
	cfg.Mixup, cfg.Cutmix = 0, 0
	plain := mustRun(t, toyCNN(), toyData(), cfg)
	if slices.Equal(plain.Params["head.weight"], want.Params["head.weight"]) {
		t.Error("mixing changes nothing")
	}
	cfg.Mixup, cfg.Seed = 0.4, 9
	a := mustRun(t, toyCNN(), toyData(), cfg)
	cfg.Seed = 10
	if b := mustRun(t, toyCNN(), toyData(), cfg); slices.Equal(a.Params["head.weight"], b.Params["head.weight"]) {
		t.Error("the seed changes nothing")
	}
}
