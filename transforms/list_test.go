package transforms

import (
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var everyStep = List{
	Orient{}, LogoCrop{Scale: [2]float64{1.2, 4}, Probability: 0.5}, Resize{Short: 256}, Resize{Width: 300, Height: 200}, CenterCrop{Size: 180}, RandomCrop{Size: 170, Padding: 4}, RandomCrop{Size: 160},
	RandomResizedCrop{Size: 150, Scale: [2]float64{0.3, 1}, Ratio: [2]float64{0.75, 1.333}},
	RandomZoomOut{Side: [2]float64{1, 2.5}, Probability: 0.3}, HorizontalFlip{Probability: 0.5}, RandomRotation{Degrees: 15},
	RandomPerspective{Distortion: 0.3, Probability: 0.5}, ColorJitter{Brightness: 0.3, Contrast: 0.3, Saturation: 0.3, Hue: 0.05},
	RandomGrayscale{Probability: 0.1},
	GaussianBlur{Sigma: [2]float64{0.1, 2}, Probability: 0.2}, JPEG{Quality: [2]int{30, 90}, Probability: 0.4},
	RandomErasing{Probability: 0.25, Scale: [2]float64{0.02, 0.2}, Ratio: [2]float64{0.3, 3.3}},
	Letterbox{Size: 150},
	Normalise{Mean: [3]float64{123.675, 116.28, 103.53}, Std: [3]float64{58.395, 57.12, 57.375}},
}

func TestListJSON(t *testing.T) {
	const want = `[{"step":"orient"},{"step":"logo-crop","scale":[1.2,4],"probability":0.5},{"step":"resize","short":256},{"step":"resize","width":300,"height":200},` +
		`{"step":"center-crop","size":180},{"step":"random-crop","size":170,"padding":4},{"step":"random-crop","size":160},` +
		`{"step":"random-resized-crop","size":150,"scale":[0.3,1],"ratio":[0.75,1.333]},{"step":"random-zoom-out","side":[1,2.5],"probability":0.3},` +
		`{"step":"horizontal-flip","probability":0.5},{"step":"random-rotation","degrees":15},` +
		`{"step":"random-perspective","distortion":0.3,"probability":0.5},` +
		`{"step":"color-jitter","brightness":0.3,"contrast":0.3,"saturation":0.3,"hue":0.05},{"step":"random-grayscale","probability":0.1},` +
		`{"step":"gaussian-blur","sigma":[0.1,2],"probability":0.2},{"step":"jpeg","quality":[30,90],"probability":0.4},` +
		`{"step":"random-erasing","probability":0.25,"scale":[0.02,0.2],"ratio":[0.3,3.3]},{"step":"letterbox","size":150},` +
		`{"step":"normalise","mean":[123.675,116.28,103.53],"std":[58.395,57.12,57.375]}]`
	b, err := json.Marshal(everyStep)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var back List
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(everyStep, back); diff != "" {
		t.Errorf("there and back (-want +got):\n%s", diff)
	}
	if err := back.Validate(); err != nil {
		t.Error(err)
	}
	seen := map[string]bool{}
	for _, s := range everyStep {
		seen[s.Name()] = true
	}
	for _, s := range steps {
		if !seen[s.Name()] {
			t.Errorf("this test forgot %s", s.Name())
		}
	}
}

func TestParseRejects(t *testing.T) {
	for _, test := range []struct{ list, want, why string }{
		{`{"step":"orient"}`, "want an array of objects", "not an array"},
		{`[{"step":"orient"}`, "unexpected end", "cut off"},
		{`[7]`, "want an array of objects", "not an object"},
		{`[{}]`, `transform 1: no "step"`, "no name"},
		{`[null]`, `transform 1: no "step"`, "null"},
		{`[{"step":"centre-crop","size":9}]`, `no step "centre-crop"; did you mean "center-crop"? (the steps: orient`, "British"},
		{`[{"step":"orient"},{"step":"normalize"}]`, `transform 2: no step "normalize"; did you mean "normalise"?`, "American"},
		{`[{"step":"center-crop","sise":9}]`, `center-crop has no parameter "sise"; did you mean "size"?`, "misspelt parameter"},
		{`[{"step":"center-crop","Size":9}]`, `no parameter "Size"`, "encoding/json would take it"},
		{`[{"step":"orient","by":9}]`, `orient has no parameters, found "by"`, "none to name"},
		{`[{"step":"center-crop"}]`, `"size" is 0, want 1 to 4096`, "parameter left out"},
		{`[{"step":"center-crop","size":null}]`, `"size" wants a number, found null`, "null"},
		{`[{"step":"center-crop","size":"9"}]`, `"size" wants a number, found "9"`, "a text"},
		{`[{"step":"center-crop","size":9.5}]`, `"size" wants a number, found 9.5`, "half a pixel"},
		{`[{"step":"center-crop","size":5000}]`, `want 1 to 4096`, "too large"},
		{`[{"step":"resize"}]`, `wants "short", or "width" and "height"`, "nothing said"},
		{`[{"step":"resize","width":5}]`, `"height" is 0`, "half said"},
		{`[{"step":"resize","short":5,"width":5}]`, `not both`, "two things said"},
		{`[{"step":"resize","short":-5}]`, `"short" is -5`, "negative"},
		{`[{"step":"random-crop","size":5,"padding":-1}]`, `"padding" is -1`, "negative padding"},
		{`[{"step":"random-resized-crop","size":5,"ratio":[1,1]}]`, `"scale" is [0 0]`, "scale left out"},
		{`[{"step":"random-resized-crop","size":5,"scale":[1,0.5],"ratio":[1,1]}]`, `the lower first`, "upside down"},
		{`[{"step":"random-resized-crop","size":5,"scale":[0.5,1],"ratio":[0.01,1]}]`, `"ratio" is [0.01 1]`, "too narrow"},
		{`[{"step":"random-resized-crop","size":5,"scale":[0.5],"ratio":[1,1]}]`, `"scale" wants 2 numbers in brackets`, "one number"},
		{`[{"step":"random-resized-crop","size":5,"scale":[0.5,1,1],"ratio":[1,1]}]`, `"scale" wants 2 numbers in brackets`, "three numbers"},
		{`[{"step":"horizontal-flip"}]`, `"probability" is 0`, "would never flip"},
		{`[{"step":"horizontal-flip","probability":1.5}]`, `"probability" is 1.5`, "above 1"},
		{`[{"step":"color-jitter","hue":0.6}]`, `"hue" is 0.6, want 0 to 0.5`, "more than half a circle"},
		{`[{"step":"logo-crop","probability":1}]`, `"scale" is [0 0], want two numbers in [1, 100]`, "scale left out"},
		{`[{"step":"logo-crop","scale":[0.9,2],"probability":1}]`, `"scale" is [0.9 2]`, "would cut into the logo"},
		{`[{"step":"logo-crop","scale":[1,2]}]`, `"probability" is 0`, "would never act"},
		{`[{"step":"horizontal-flip","probability":1},{"step":"logo-crop","scale":[1,2],"probability":1}]`, "transform 2: logo-crop has to be the first step, or the second after orient", "boxes are of the picture as stored"},
		{`[{"step":"letterbox"}]`, `"size" is 0`, "size left out"},
		{`[{"step":"random-zoom-out","probability":1}]`, `"side" is [0 0], want two numbers in [1, 16]`, "side left out"},
		{`[{"step":"random-zoom-out","side":[0.5,2],"probability":1}]`, `"side" is [0.5 2]`, "would enlarge"},
		{`[{"step":"random-zoom-out","side":[1,2]}]`, `"probability" is 0`, "would never act"},
		{`[{"step":"random-rotation"}]`, `"degrees" is 0`, "would not turn"},
		{`[{"step":"random-rotation","degrees":181}]`, `"degrees" is 181, want more than 0 and at most 180`, "more than half a circle either way"},
		{`[{"step":"random-rotation","degrees":[-5,5]}]`, `"degrees" wants a number`, "a range"},
		{`[{"step":"random-perspective","probability":1}]`, `"distortion" is 0`, "would not distort"},
		{`[{"step":"random-perspective","distortion":0.7,"probability":1}]`, `"distortion" is 0.7`, "might fold over"},
		{`[{"step":"random-grayscale","probability":-1}]`, `"probability" is -1`, "negative"},
		{`[{"step":"gaussian-blur","sigma":[0,1],"probability":1}]`, `"sigma" is [0 1]`, "a Gaussian of no width"},
		{`[{"step":"gaussian-blur","sigma":[1,11],"probability":1}]`, `"sigma" is [1 11]`, "nothing left to see"},
		{`[{"step":"jpeg","quality":[0,50],"probability":1}]`, `"quality" is [0 50]`, "there is no quality 0"},
		{`[{"step":"jpeg","quality":[90,50],"probability":1}]`, `the lower first`, "upside down"},
		{`[{"step":"jpeg","quality":[50.5,90],"probability":1}]`, `"quality" wants whole numbers`, "half a quality"},
		{`[{"step":"random-erasing","probability":1,"scale":[0.1,2],"ratio":[1,1]}]`, `"scale" is [0.1 2]`, "more than all"},
		{`[{"step":"random-erasing","probability":1,"scale":[0.1,0.2]}]`, `"ratio" is [0 0]`, "ratio left out"},
		{`[{"step":"normalise","mean":[0,0,0],"std":[1,1,0]}]`, `"std" is [1 1 0]`, "division by zero"},
		{`[{"step":"normalise","mean":[0,0,1e300],"std":[1,1,1]}]`, `"mean" is`, "beyond a colour"},
		{`[{"step":"center-crop","size":9},{"step":"orient"}]`, "transform 2: orient has to be the first step", "turned too late"},
		{`[{"step":"normalise","mean":[0,0,0],"std":[1,1,1]},{"step":"center-crop","size":9}]`, "transform 1: normalise has to be the last step", "too early"},
		{"[" + strings.Repeat(`{"step":"center-crop","size":9},`, 40) + `{"step":"center-crop","size":9}]`, "41 steps, the limit is 32", "endless"},
		{"[" + strings.Repeat(" ", 70_000) + "]", "the limit is 65536", "padded"},
	} {
		_, err := Parse([]byte(test.list))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %.80s: error %v, want %q", test.why, test.list, err, test.want)
		}
	}
}

func TestValidateAndSize(t *testing.T) {
	n := Normalise{Std: [3]float64{1, 1, 1}}
	for _, test := range []struct {
		list List
		w, h int
		err  string
	}{
		{DefaultScoring(224, n.Mean, n.Std), 224, 224, ""},
		{DefaultTraining(224, n.Mean, n.Std), 224, 224, ""},
		{StrongTraining(224, n.Mean, n.Std), 224, 224, ""},
		{List{Resize{Width: 30, Height: 20}, n}, 30, 20, ""},
		{List{Resize{Width: 30, Height: 20}, Resize{Short: 10}, HorizontalFlip{1}, n}, 15, 10, ""},
		{List{Orient{}, Resize{Short: 10}, n}, 0, 0, "different sizes"},
		{List{Orient{}, n}, 0, 0, "different sizes"},
		{List{CenterCrop{Size: 8}}, 8, 8, "the last step has to be normalise"},
		{List{}, 0, 0, "the last step has to be normalise"},
		{List{CenterCrop{Size: 8}, n, n}, 8, 8, "transform 2: normalise has to be the last"},
		{List{CenterCrop{}, n}, 0, 0, `transform 1: center-crop: "size" is 0`},
		{List{CenterCrop{Size: 8}, Normalise{}}, 8, 8, `transform 2: normalise: "std"`},
	} {
		if w, h := test.list.Size(); w != test.w || h != test.h {
			t.Errorf("%+v: size %d x %d, want %d x %d", test.list, w, h, test.w, test.h)
		}
		if err := test.list.Validate(); test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%+v: error %v, want %q", test.list, err, test.err)
		}
	}
	if err := (List{nil}).Validate(); err == nil {
		t.Error("a list with nothing in it is valid")
	}
	if short := DefaultScoring(224, n.Mean, n.Std)[1].(Resize).Short; short != 256 {
		t.Errorf("224 pixels are taken of a short side of %d, want 256", short)
	}
}

func TestTensor(t *testing.T) {
	list := List{Orient{}, Resize{Width: 4, Height: 3}, Normalise{Mean: [3]float64{127, 100, 0}, Std: [3]float64{128, 2, 255}}}
	data := read(t, "orient6.png")
	picture, err := list.Picture(data, scoring, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 4*3*3)
	if err := list.Tensor(data, scoring, DefaultLimits(), got); err != nil {
		t.Fatal(err)
	}
	for i, v := range picture.Pix {
		want := []float64{(float64(v) - 127) / 128, (float64(v) - 100) / 2, float64(v) / 255}[i%3]
		if math.Abs(float64(got[i])-want) > 1e-5 {
			t.Fatalf("number %d is %v, want %v", i, got[i], want)
		}
	}
	if err := list.Tensor(data, scoring, DefaultLimits(), got[:35]); err == nil || !strings.Contains(err.Error(), "dst has 35 numbers") {
		t.Errorf("a short dst: %v", err)
	}
	if err := list[:2].Tensor(data, scoring, DefaultLimits(), got); err == nil {
		t.Error("a list without normalise made a tensor")
	}
	var e *Error
	if err := list.Tensor(data[:400], scoring, DefaultLimits(), got); !errors.As(err, &e) || e.Reason != ReasonTruncated {
		t.Errorf("a cut file: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	b, err := json.Marshal(everyStep)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`[{"step":"resize","short":1},{"step":"center-crop","size":4096}]`))
	f.Add([]byte(`[{"step":"color-jitter","hue":0.5},{"step":"horizontal-flip","probability":1}]`))
	picture := noise(9, 7)
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Parse(data)
		if err != nil {
			return
		}
		b, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Parse(b)
		if err != nil || !cmp.Equal(l, back) {
			t.Fatalf("%s: there and back: %v", b, err)
		}
		for _, s := range l { // large results take time, and the steps care for sizes alone
			if w, h := s.size(9, 7); w > 300 || h > 300 {
				return
			}
		}
		if m, err := l.Apply(picture, Key{Epoch: 1, Boxes: []image.Rectangle{image.Rect(2, 3, 5, 5)}}); err == nil && len(m.Pix) != 3*m.W*m.H {
			t.Fatalf("%d x %d pixels in %d bytes", m.W, m.H, len(m.Pix))
		} else if w, h := l.Size(); err == nil && w > 0 && (m.W != w || m.H != h) {
			t.Fatalf("%d x %d pixels, Size said %d x %d", m.W, m.H, w, h)
		}
	})
}

func BenchmarkTensor(b *testing.B) {
	for _, size := range []image.Point{{500, 333}, {1024, 768}, {4032, 3024}} {
		data := jpegOf(b, smooth(size.X, size.Y))
		list := DefaultScoring(224, [3]float64{127, 127, 127}, [3]float64{128, 128, 128})
		dst := make([]float32, 224*224*3)
		b.Run(fmt.Sprintf("%dx%d", size.X, size.Y), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := list.Tensor(data, scoring, DefaultLimits(), dst); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%dx%d/decode", size.X, size.Y), func(b *testing.B) {
			for b.Loop() {
				if _, _, err := decode(data, DefaultLimits()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
