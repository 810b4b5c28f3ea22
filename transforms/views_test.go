package transforms

import (
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	plainMean = [3]float64{127, 127, 127}
	plainStd  = [3]float64{128, 128, 128}
)

func TestViews(t *testing.T) {
	n := Normalise{Mean: plainMean, Std: plainStd}
	own := DefaultScoring(224, plainMean, plainStd)
	two := []List{
		{Orient{}, Letterbox{Size: 224}, n},
		{Orient{}, Resize{Short: 320}, CenterCrop{Size: 224}, n},
	}
	for _, tt := range []struct {
		reason string
		list   List
		n      int
		want   []List
		fails  string
	}{
		{"one is the list itself, whatever it holds", List{GaussianBlur{}, Resize{Width: 3, Height: 4}, n}, 1, []List{{GaussianBlur{}, Resize{Width: 3, Height: 4}, n}}, ""},
		{"all of it and the centre", own, 2, two, ""},
		{"and the list", own, 3, append(slices.Clone(two), own), ""},
		{"pictures that are not turned are not turned", List{Resize{Width: 7, Height: 7}, n}, 2,
			[]List{{Letterbox{Size: 7}, n}, {Resize{Short: 10}, CenterCrop{Size: 7}, n}}, ""},
		{"no view at all", own, 0, nil, "0 views of a photograph: want 1 to 3"},
		{"more than there are", own, 4, nil, "want 1 to 3"},
		{"a step that is more than geometry", List{Resize{Width: 8, Height: 8}, RandomGrayscale{1}, n}, 2, nil, "transform 2 of the model's list is random-grayscale"},
		{"not square", List{Resize{Width: 8, Height: 9}, n}, 2, nil, "8 x 9, which are not square"},
		{"a centre that is too large", List{Resize{Width: 4000, Height: 4000}, n}, 2, nil, `"short" is 5714`},
	} {
		got, err := Views(tt.list, tt.n)
		if diff := cmp.Diff(tt.want, got); diff != "" || (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
			t.Errorf("%s: %v; want %q; (-want +got)\n%s", tt.reason, err, tt.fails, diff)
		}
	}
}

func TestResized(t *testing.T) {
	n := Normalise{Mean: plainMean, Std: plainStd}
	for _, tt := range []struct {
		reason string
		list   List
		size   int
		want   List
		fails  string
	}{
		{"as that size's own list", DefaultScoring(224, plainMean, plainStd), 320, DefaultScoring(320, plainMean, plainStd), ""},
		{"and smaller", DefaultScoring(224, plainMean, plainStd), 160, DefaultScoring(160, plainMean, plainStd), ""},
		{"its own size", DefaultScoring(224, plainMean, plainStd), 224, DefaultScoring(224, plainMean, plainStd), ""},
		{"squeezed, and in a letterbox", List{Resize{Width: 12, Height: 18}, Letterbox{10}, n}, 20, List{Resize{Width: 24, Height: 36}, Letterbox{20}, n}, ""},
		{"random steps have sizes of their own", List{RandomCrop{Size: 8}, n}, 16, nil, "random-crop"},
		{"too large", DefaultScoring(224, plainMean, plainStd), 4096, nil, `"short" is 4681`},
	} {
		got, err := Resized(tt.list, tt.size)
		if tt.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%s: %v; want %q", tt.reason, err, tt.fails)
			}
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v; (-want +got)\n%s", tt.reason, err, diff)
		}
	}
}

// Several lists give what each gives alone, though the file is decoded once: bit for bit where they would have it decoded at
// the same scale, and nearly so otherwise.
func TestTensors(t *testing.T) {
	files, err := filepath.Glob("jpeg/testdata/*.jpg")
	if err != nil || len(files) < 20 {
		t.Fatal(len(files), err)
	}
	same := 0
	for i, file := range append(files, "../testdata/oddities/transparent.png", "../testdata/oddities/plain.jpg", "../testdata/oddities/picture.webp") {
		data := read(t, filepath.Join("..", file))
		if strings.HasSuffix(file, ".jpg") {
			data = oriented(data, 1+i%8)
		}
		lists, err := Views(DefaultScoring(5+3*(i%6), plainMean, plainStd), 3)
		if err != nil {
			t.Fatal(err)
		}
		dst, scales := make([][]float32, 3), make([]int, 3)
		for k, l := range lists {
			w, h := l.Size()
			dst[k] = make([]float32, 3*w*h)
			v, err := open(data, DefaultLimits())
			if err != nil {
				t.Fatal(file, err)
			}
			if err := l.run(v, scoring); err != nil {
				t.Fatal(file, err)
			}
			if f, ok := v.src.(*jpegFile); ok {
				g := v.geometry()
				f.plan(&g)
				scales[k] = g.scale
			}
		}
		if err := Tensors(lists, data, scoring, DefaultLimits(), func(i int) []float32 { return dst[i] }); err != nil {
			t.Fatal(file, err)
		}
		for k, l := range lists {
			want := make([]float32, len(dst[k]))
			if err := l.Tensor(data, scoring, DefaultLimits(), want); err != nil {
				t.Fatal(file, err)
			}
			if scales[k] == slices.Min(scales) {
				same++
				if !slices.Equal(want, dst[k]) {
					t.Errorf("%s, view %d: not as the list alone gives it", file, k)
				}
				continue
			}
			apart := 0.0
			for j := range want {
				apart += math.Abs(float64(want[j]-dst[k][j])) * 128 / float64(len(want))
			}
			if apart > 6 {
				t.Errorf("%s, view %d: %.1f of 255 from what the list alone gives, at scale %d and not %d", file, k, apart, slices.Min(scales), scales[k])
			}
		}
	}
	if same < 30 {
		t.Errorf("%d cases could be compared bit for bit", same)
	}
	if err := Tensors([]List{DefaultScoring(8, plainMean, plainStd), DefaultScoring(8, plainMean, plainStd)}, read(t, filepath.Join("..", files[0])), scoring,
		DefaultLimits(), func(i int) []float32 { return make([]float32, 192-i) }); err == nil || !strings.Contains(err.Error(), "dst has 191 numbers") {
		t.Errorf("a place that is too small: %v", err)
	}
	var e *Error
	if err := Tensors([]List{{}, {}}, []byte("no picture"), scoring, DefaultLimits(), nil); !errors.As(err, &e) {
		t.Errorf("no picture: %v", err)
	}
}
