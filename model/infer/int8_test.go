package infer

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/logobeam/logobeam/model"
	"pgregory.net/rapid"
)

// images loads random images.
func images(n model.Network) func(int, []float32) error {
	return func(i int, image []float32) error {
		copy(image, randomImage(n, uint64(i)))
		return nil
	}
}

func calibrate(t testing.TB, n model.Network, p model.Params, m Method, count int) *model.Quantization {
	t.Helper()
	q, err := Calibrate(context.Background(), n, p, m, count, 2, images(n))
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func compileInt8(t testing.TB, n model.Network, p model.Params) *Plan {
	t.Helper()
	plan, err := CompileInt8(n, p, calibrate(t, n, p, MinMax, 4))
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// What 8 bits leave of the logits, on images that the ranges were not found with: the standard deviation of the error
// is a few hundredths of that of the logits, more where there are more layers and joined ranges.
func TestInt8AgainstFP32(t *testing.T) {
	for _, c := range []struct {
		arch   string
		within float64
	}{{"mlp", 0.08}, {"article-cnn", 0.05}, {"resnet18", 0.06}, {"squeezenet", 0.06}, {"efficientnet-lite0", 0.12}, {"mixed", 0.06}, {"wide", 0.06}} {
		t.Run(c.arch, func(t *testing.T) {
			t.Parallel()
			n := mixed()
			switch c.arch {
			case "mixed":
			case "wide":
				n = wide()
			default:
				n = reduced(t, c.arch, 40)
			}
			p := randomParams(t, n, 5)
			for _, method := range Methods() {
				int8, err := CompileInt8(n, p, calibrate(t, n, p, method, 8))
				if err != nil {
					t.Fatal(err)
				}
				x, y := compile(t, n, p).NewArena(4), int8.NewArena(4)
				for i := range 4 {
					image := randomImage(n, uint64(100+i))
					copy(x.Input(i), image)
					copy(y.Input(i), image)
				}
				want, got := x.Run(4), y.Run(4)
				mean, size, wrong := 0.0, 0.0, 0.0
				for _, v := range want {
					mean += float64(v) / float64(len(want))
				}
				for i, v := range want {
					size += (float64(v) - mean) * (float64(v) - mean)
					wrong += float64(got[i]-v) * float64(got[i]-v)
				}
				off := math.Sqrt(wrong / size)
				t.Logf("%s: %.4f", method, off)
				if !(off <= c.within) || wrong == 0 {
					t.Errorf("%s: the error is %.3f of the logits' spread; want at most %g", method, off, c.within)
				}
			}
		})
	}
}

// onnxruntime computed testdata/qdq.safetensors: a small network with all kinds of layers, random parameters with
// channels of different sizes (PyTorch's names and layouts), four random images, the range of each tensor over them,
// and the logits of the same network in ONNX with QuantizeLinear and DequantizeLinear around every layer (opset 17,
// onnxruntime 1.32, graph optimisations off and on alike): activations uint8, scale = (max-min)/255 and zero =
// round(-min/scale) of ranges that include 0, those of e1, e3, f and g taken together; weights int8 by channel, scale =
// largest/127; biases int32 with the scale of input times weights.
func TestInt8AgainstONNXRuntime(t *testing.T) {
	n := model.Network{Arch: "qdq", Input: model.Shape{H: 17, W: 15, C: 3}, Layers: []model.Layer{
		{Name: "a", Op: model.Conv, Out: 8, Kernel: 3, Stride: 2, Pad: 1, Act: model.ReLU6},
		{Name: "b", Op: model.Depthwise, Kernel: 3, Pad: 1, Act: model.ReLU},
		{Name: "c", Op: model.Conv, Out: 8, Kernel: 1},
		{Name: "d", Op: model.Add, From: []string{"c", "a"}},
		{Name: "e1", Op: model.Conv, Out: 5, Kernel: 1, Act: model.ReLU},
		{Name: "e3", Op: model.Conv, From: []string{"d"}, Out: 7, Kernel: 3, Pad: 1, Act: model.ReLU},
		{Name: "f", Op: model.Concat, From: []string{"e1", "e3"}},
		{Name: "g", Op: model.MaxPool, Kernel: 3, Stride: 2},
		{Name: "h", Op: model.Dense, Out: 10, Act: model.ReLU},
		{Name: "k", Op: model.Dense, Out: 6},
	}}
	path := filepath.Join("testdata", "qdq.safetensors")
	p, _, err := model.Import(n, path, false, 0)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	golden, err := model.ReadSafetensors(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	load := func(i int, image []float32) error {
		copy(image, golden["input"].Data[i*len(image):])
		return nil
	}
	q, err := Calibrate(context.Background(), n, p, MinMax, 4, 1, load)
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range q.Ranges {
		want := golden["range."+name].Data
		tolerance := max(1e-5, 1e-6*float64(want[1])) // both are float32 sums, in different orders
		if math.Abs(float64(r[0]-want[0])) > tolerance || math.Abs(float64(r[1]-want[1])) > tolerance {
			t.Errorf("the range of %s is %v; onnxruntime's %v", name, r, want)
		}
		q.Ranges[name] = model.Range{want[0], want[1]}
	}
	for _, means := range q.Means { // onnxruntime does not correct biases
		clear(means)
	}
	int8, err := CompileInt8(n, p, q)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		plan   *Plan
		want   string
		within float64
	}{{compile(t, n, p), "logits.fp32", 1e-5}, {int8, "logits.int8", 1e-5}} {
		arena := c.plan.NewArena(4)
		for i := range 4 {
			load(i, arena.Input(i))
		}
		for i, got := range arena.Run(4) {
			if want := golden[c.want].Data[i]; math.Abs(float64(got-want)) > c.within {
				t.Errorf("%s, logit %d: %v; onnxruntime's is %v", c.want, i, got, want)
			}
		}
	}
}

// What the biases make up for: without it, the mean of each output over many images is off by what rounding its weights
// has added; with it, by a part of that.
func TestInt8KeepsMeans(t *testing.T) {
	n := model.Network{Arch: "t", Input: model.Shape{H: 13, W: 13, C: 4}, Layers: []model.Layer{
		{Name: "a", Op: model.Conv, Out: 12, Kernel: 3, Stride: 2, Act: model.ReLU},
		{Name: "b", Op: model.Depthwise, Kernel: 4},
		{Name: "c", Op: model.Dense, Out: 7}}}
	p := randomParams(t, n, 3)
	for _, name := range []string{"a.weight", "b.weight", "c.weight"} { // rounded coarsely by one large weight a channel
		for i := range p[name] {
			p[name][i] = float32(math.Abs(float64(p[name][i]))) / 20
		}
	}
	for o := range 12 {
		p["a.weight"][o*36] = 5
		p["b.weight"][o] = 5
	}
	for o := range 7 {
		p["c.weight"][o*6*6] = 5 // reads a 3x3 output of 12 channels
	}
	const count = 64
	load := func(i int, image []float32) error {
		copy(image, randomImage(n, uint64(i)))
		for j := range image {
			image[j] += 1
		}
		return nil
	}
	q, err := Calibrate(context.Background(), n, p, MinMax, count, 2, load)
	if err != nil {
		t.Fatal(err)
	}
	off := func() (all float64) {
		plan, err := CompileInt8(n, p, q)
		if err != nil {
			t.Fatal(err)
		}
		x, y := compile(t, n, p).NewArena(count), plan.NewArena(count)
		for i := range count {
			load(i, x.Input(i))
			load(i, y.Input(i))
		}
		want, got := x.Run(count), y.Run(count)
		for o := range 7 {
			sum := 0.0
			for i := range count {
				sum += float64(got[i*7+o]-want[i*7+o]) / count
			}
			all += math.Abs(sum) / 7
		}
		return all
	}
	with := off()
	for _, means := range q.Means {
		clear(means)
	}
	if without := off(); with > 0.1*without {
		t.Errorf("mean outputs are off by %.3g with corrected biases, and by %.3g without", with, without)
	}
}

// A model quantised from its ranges is worth nothing if they depend on who found them.
func TestCalibrateDoesNotDependOnWorkers(t *testing.T) {
	n := reduced(t, "squeezenet", 5)
	p := randomParams(t, n, 1)
	for _, method := range Methods() {
		want, err := Calibrate(context.Background(), n, p, method, 7, 1, images(n))
		if err != nil {
			t.Fatal(err)
		}
		for _, workers := range []int{0, 2, 5, 99} {
			got, err := Calibrate(context.Background(), n, p, method, 7, workers, images(n))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s by %d workers (-one +more):\n%s", method, workers, diff)
			}
		}
		if err := want.Check(n); err != nil || want.Images != 7 || want.Method != string(method) {
			t.Errorf("%s: %v, %d images by %s", method, err, want.Images, want.Method)
		}
	}
}

func TestCalibrateSkipsAndRefuses(t *testing.T) {
	n := reduced(t, "mlp", 3)
	p := randomParams(t, n, 1)
	broken := errors.New("truncated")
	some := func(i int, image []float32) error {
		if i%2 == 0 {
			return broken
		}
		return images(n)(i/2, image)
	}
	got, err := Calibrate(context.Background(), n, p, LeastError, 8, 3, some)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(calibrate(t, n, p, LeastError, 4), got); diff != "" {
		t.Errorf("unreadable images leave a trace: %s", diff)
	}
	none := func(int, []float32) error { return broken }
	if _, err := Calibrate(context.Background(), n, p, MinMax, 3, 2, none); !errors.Is(err, broken) || !strings.Contains(err.Error(), "none of the 3 images") {
		t.Errorf("no image can be read: %v", err)
	}
	if _, err := Calibrate(context.Background(), n, p, MinMax, 0, 2, some); err == nil {
		t.Error("no images: no error")
	}
	if _, err := Calibrate(context.Background(), n, p, "best", 3, 2, some); err == nil || !strings.Contains(err.Error(), "min-max") {
		t.Errorf("an unknown method: %v", err)
	}
	huge := model.Params{}
	for name, v := range p {
		huge[name] = slices.Clone(v)
	}
	for i := range huge["fc2.weight"] {
		huge["fc2.weight"][i] = math.MaxFloat32
	}
	if _, err := Calibrate(context.Background(), n, huge, LeastError, 4, 2, images(n)); err == nil || !strings.Contains(err.Error(), "image 0 makes the output of layer fc2 infinite") {
		t.Errorf("infinite activations: %v", err)
	}
	nan := func(i int, image []float32) error { image[0] = float32(math.NaN()); return nil }
	if _, err := Calibrate(context.Background(), n, p, LeastError, 4, 2, nan); err == nil || !strings.Contains(err.Error(), "layer input") {
		t.Errorf("an image of no numbers: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stop := func(i int, image []float32) error {
		if i == 5 {
			cancel()
		}
		return images(n)(i, image)
	}
	if _, err := Calibrate(ctx, n, p, LeastError, 1000, 2, stop); !errors.Is(err, context.Canceled) {
		t.Errorf("%v; want context.Canceled", err)
	}
}

// What no layer may trip over: weights of nothing, outputs that never differ from zero, tiny and huge ones.
func TestInt8OfOddModels(t *testing.T) {
	for _, n := range []model.Network{mixed(), reduced(t, "squeezenet", 4), reduced(t, "mlp", 4)} {
		for why, change := range map[string]func(i int, v float32) float32{
			"all parameters are zero": func(int, float32) float32 { return 0 },
			"every other is zero":     func(i int, v float32) float32 { return v * float32(i%2) },
			"nearly nothing":          func(_ int, v float32) float32 { return v * 1e-12 },
			"below all numbers":       func(_ int, v float32) float32 { return v * 1e-38 },
		} {
			p := randomParams(t, n, 1)
			for _, values := range p {
				for i, v := range values {
					values[i] = change(i, v)
				}
			}
			x, y := compile(t, n, p).NewArena(1), compileInt8(t, n, p).NewArena(1)
			copy(x.Input(0), randomImage(n, 1))
			copy(y.Input(0), randomImage(n, 1))
			want, got := x.Run(1), y.Run(1)
			largest := 0.0
			for _, v := range want {
				largest = max(largest, math.Abs(float64(v)))
			}
			for i := range want {
				if d := math.Abs(float64(got[i] - want[i])); !(d <= 0.3*largest+1e-9) {
					t.Errorf("%s, %s: logit %d is %v; in fp32 %v of up to %v", n.Arch, why, i, got[i], want[i], largest)
				}
			}
		}
	}
}

// A channel whose only weight is its bias keeps it, and no number of inputs makes a sum leave int32.
func TestInt8SumsStayWithinInt32(t *testing.T) {
	for _, bias := range []float32{0, 1, -3e5, 1e-20} {
		n := model.Network{Arch: "t", Input: model.Shape{H: 300, W: 300, C: 1}, Layers: []model.Layer{
			{Name: "a", Op: model.Dense, Out: 3, Act: model.ReLU}, {Name: "b", Op: model.Dense, Out: 2}}}
		p := model.Params{"a.weight": make([]float32, 3*90000), "a.bias": {bias, bias, bias}, "b.weight": {1, 2, -1, 3, -2, 1}, "b.bias": {0.5, bias}}
		for i := range 90000 {
			p["a.weight"][i], p["a.weight"][90000+i] = 1, -1 // and the third channel is nothing
		}
		ones := func(sign float32) func(int, []float32) error {
			return func(_ int, image []float32) error {
				for i := range image {
					image[i] = sign
				}
				return nil
			}
		}
		for _, sign := range []float32{1, -1} {
			q, err := Calibrate(context.Background(), n, p, MinMax, 1, 1, ones(sign))
			if err != nil {
				t.Fatal(err)
			}
			plan, err := CompileInt8(n, p, q)
			if err != nil {
				t.Fatal(err)
			}
			x, y := compile(t, n, p).NewArena(1), plan.NewArena(1)
			ones(sign)(0, x.Input(0))
			ones(sign)(0, y.Input(0))
			for i, want := range x.Run(1) {
				if got := y.Run(1)[i]; math.Abs(float64(got-want)) > 0.02*math.Abs(float64(want))+1e-6 {
					t.Errorf("bias %g, inputs of %g: logit %d is %g; want %g", bias, sign, i, got, want)
				}
			}
		}
	}
}

func TestCompileInt8Refuses(t *testing.T) {
	n := reduced(t, "mlp", 3)
	p := randomParams(t, n, 1)
	for want, change := range map[string]func(map[string]model.Range){
		"range of layer fc2 is missing":          func(r map[string]model.Range) { delete(r, "fc2") },
		"range of layer input is missing":        func(r map[string]model.Range) { delete(r, model.Input) },
		"no layer fc4":                           func(r map[string]model.Range) { r["fc4"] = model.Range{} },
		"layer fc1 has the range 1 to 0":         func(r map[string]model.Range) { r["fc1"] = model.Range{1, 0} },
		"layer fc1 has the range NaN":            func(r map[string]model.Range) { r["fc1"] = model.Range{float32(math.NaN()), 0} },
		"layer fc1 has the range 0 to " + "+Inf": func(r map[string]model.Range) { r["fc1"] = model.Range{0, float32(math.Inf(1))} },
	} {
		q := calibrate(t, n, p, MinMax, 1)
		change(q.Ranges)
		if _, err := CompileInt8(n, p, q); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want an error with %q", err, want)
		}
	}
	for want, change := range map[string]func(map[string][]float32){
		"layer fc1 has the means of 0 channels; want 128": func(m map[string][]float32) { delete(m, "fc1") },
		"layer fc2 has the means of 63 channels; want 64": func(m map[string][]float32) { m["fc2"] = m["fc2"][1:] },
		"channel 2 of layer fc1 has the mean NaN":         func(m map[string][]float32) { m["fc1"][2] = float32(math.NaN()) },
		"no weights read layer fc3":                       func(m map[string][]float32) { m["fc3"] = make([]float32, 3) },
	} {
		q := calibrate(t, n, p, MinMax, 1)
		change(q.Means)
		if _, err := CompileInt8(n, p, q); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want an error with %q", err, want)
		}
	}
	if _, err := CompileInt8(n, p, nil); err == nil || !strings.Contains(err.Error(), "quantize") {
		t.Errorf("no quantization: %v", err)
	}
}

func TestScale(t *testing.T) {
	for _, c := range []struct {
		r    model.Range
		want scale
	}{
		{model.Range{-127. / 128, 1}, scale{1. / 128, 127}}, // all that efficientnet's normalisation makes of a byte, exactly
		{model.Range{0, 6}, scale{6. / 255, 0}},
		{model.Range{2, 5.1}, scale{float64(float32(5.1)) / 255, 0}}, // zero is always among the values
		{model.Range{-5, -1}, scale{5. / 255, 255}},
		{model.Range{0, 0}, scale{leastScale, 0}},
		{model.Range{-math.MaxFloat32, math.MaxFloat32}, scale{2 * math.MaxFloat32 / 255, 128}},
	} {
		if got := newScale(c.r); got != c.want {
			t.Errorf("%v: %v; want %v", c.r, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Float32Range(-1e6, 1e6).Draw(t, "a"), rapid.Float32Range(-1e6, 1e6).Draw(t, "b")
		s := newScale(model.Range{min(a, b), max(a, b)})
		for _, v := range []float64{float64(a), 0, float64(b)} {
			q := min(max(math.RoundToEven(v/s.size)+float64(s.zero), 0), 255)
			if back := s.size * (q - float64(s.zero)); math.Abs(back-v) > s.size*0.501+1e-12 || v == 0 && back != 0 {
				t.Fatalf("%v comes back from %+v as %v", v, s, back)
			}
		}
	})
}

func TestHistogramClips(t *testing.T) {
	fill := func(values []float64) histogram {
		h := newHistogram(model.Range{float32(slices.Min(values)), float32(slices.Max(values))}, 1)
		for _, v := range values {
			h.add([]float32{float32(v)})
		}
		return h
	}
	random := rand.New(rand.NewPCG(1, 1))
	var even, normal, positive, outlier []float64
	for range 200_000 {
		even = append(even, random.Float64()*2-1)
		v := random.NormFloat64()
		normal, positive = append(normal, v), append(positive, math.Abs(v))
	}
	outlier = append(slices.Clone(even), 50)
	for _, c := range []struct {
		name   string
		values []float64
		method Method
		want   model.Range
		within float64
	}{
		{"even values are kept whole", even, LeastError, model.Range{-1, 1}, 0.01},
		// The density's own best ranges, integrated with numpy, are 3.92 and 4.21; so many values lie on either side at
		// random.
		{"normal values are clipped", normal, LeastError, model.Range{-3.92, 3.92}, 0.15},
		{"on one side as well", positive, LeastError, model.Range{0, 4.21}, 0.4},
		{"one value far away gives way a little", outlier, LeastError, model.Range{-1, 39.6}, 0.5},
		{"even values lose a share", even, Percentile, model.Range{-0.9999, 0.9999}, 0.001},
		{"0.005 % of normal values lie beyond 3.89 on a side", normal, Percentile, model.Range{-3.89, 3.89}, 0.15},
		{"one value in 200,001 is given up", outlier, Percentile, model.Range{-1, 1}, 0.05},
	} {
		got := fill(c.values).clip(c.method)
		if math.Abs(float64(got[0]-c.want[0])) > c.within || math.Abs(float64(got[1]-c.want[1])) > c.within {
			t.Errorf("%s: %v; want %v within %g", c.name, got, c.want, c.within)
		}
	}
	one := fill([]float64{5, 5, 5})
	for _, m := range Methods()[1:] {
		if r := one.clip(m); !(r[1] >= 4.99 && r[1] <= 5.01) {
			t.Errorf("%s: all values are 5, and the range %v", m, r)
		}
	}
	none := fill([]float64{0})
	for _, m := range Methods()[1:] {
		if r := none.clip(m); !(math.Abs(float64(r[0])) < 1e-6 && math.Abs(float64(r[1])) < 1e-6 && r[0] <= r[1]) {
			t.Errorf("%s: all values are 0, and the range %v", m, r)
		}
	}
}
