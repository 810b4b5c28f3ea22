package transforms

import (
	"image"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// marked is a black picture with a white rectangle.
func marked(w, h int, r image.Rectangle) *Image {
	m := NewImage(w, h)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			copy(m.Pix[3*(y*w+x):], []uint8{255, 255, 255})
		}
	}
	return m
}

func white(m *Image) (n int) {
	for i := 0; i < len(m.Pix); i += 3 {
		if m.Pix[i] == 255 {
			n++
		}
	}
	return n
}

// Whatever the box, its picture and how that is to be turned, all of the box is in a window that is a square where the
// picture has room for one.
func TestLogoCropHoldsTheBox(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w, h := rapid.IntRange(1, 40).Draw(rt, "w"), rapid.IntRange(1, 40).Draw(rt, "h")
		x, y := rapid.IntRange(0, w-1).Draw(rt, "x"), rapid.IntRange(0, h-1).Draw(rt, "y")
		box := image.Rect(x, y, rapid.IntRange(x+1, w).Draw(rt, "x1"), rapid.IntRange(y+1, h).Draw(rt, "y1"))
		lo := rapid.Float64Range(1, 5).Draw(rt, "lo")
		s := LogoCrop{Scale: [2]float64{lo, rapid.Float64Range(lo, 6).Draw(rt, "hi")}, Probability: 1}
		m := marked(w, h, box)
		m.Orientation = rapid.IntRange(1, 8).Draw(rt, "orientation")
		hangsOver := box
		if box.Max.X == w {
			hangsOver.Max.X += rapid.IntRange(0, math.MaxInt-w).Draw(rt, "beyond the edge")
		}
		key := Key{Seed: rapid.Uint64().Draw(rt, "seed"), Boxes: []image.Rectangle{image.Rect(w, 0, w+9, 9), hangsOver, {}}}
		out := apply(t, m, key, Orient{}, s)
		if white(out) != box.Dx()*box.Dy() {
			rt.Fatalf("%d pixels of the box's %d x %d are in the window", white(out), box.Dx(), box.Dy())
		}
		if swap := m.Orientation > 4; swap {
			w, h = h, w
		}
		longer := float64(max(box.Dx(), box.Dy()))
		for side, all := range map[int]int{out.W: w, out.H: h} {
			if got := float64(side); side < all && (got < s.Scale[0]*longer-0.51 || got > s.Scale[1]*longer+0.51) {
				rt.Fatalf("a side of %d around %v, want %v times as much", side, box, s.Scale)
			}
		}
		if out.W != out.H && out.W != w && out.H != h {
			rt.Fatalf("a window of %d x %d in %d x %d", out.W, out.H, w, h)
		}
		if again := apply(t, m, key, Orient{}, s); !slices.Equal(again.Pix, out.Pix) {
			rt.Fatal("the same key gave different pixels")
		}
	})
}

func TestLogoCropDraws(t *testing.T) {
	m := NewImage(100, 100)
	for i := range m.Pix {
		m.Pix[i] = uint8(i / 3 % 100) // the column
	}
	boxes := []image.Rectangle{image.Rect(20, 40, 30, 50), image.Rect(70, 40, 80, 50)}
	s := LogoCrop{Scale: [2]float64{1, 4}, Probability: 0.5}
	left, right, narrow := 0, 0, 0
	places := map[uint8]bool{}
	for epoch := range 1000 {
		out := apply(t, m, Key{Epoch: epoch, Boxes: boxes}, s)
		switch {
		case out.W == 100:
			continue
		case out.Pix[0] <= 20 && int(out.Pix[0])+out.W >= 30:
			left++
		default:
			right++
		}
		if out.W <= 20 {
			narrow++
		}
		places[out.Pix[0]] = true
	}
	// Five standard deviations; half of the sides are below the geometric mean of 10 and 40.
	if acts := left + right; acts < 420 || acts > 580 || left < 170 || right < 170 || math.Abs(float64(narrow)/float64(acts)-0.5) > 0.12 || len(places) < 35 {
		t.Errorf("%d around the left box and %d around the right one, %d narrow, at %d places", left, right, narrow, len(places))
	}
}

// Who knows no boxes can use the same lists, and scoring sees all of the picture.
func TestLogoCropDoesNothing(t *testing.T) {
	m := noise(9, 7)
	s := LogoCrop{Scale: [2]float64{1, 1}, Probability: 1}
	box := image.Rect(2, 2, 4, 4)
	for why, key := range map[string]Key{
		"no boxes":        {},
		"nothing in them": {Boxes: []image.Rectangle{image.Rect(3, 3, 3, 5), {Min: box.Max, Max: box.Min}}},
		"another picture": {Boxes: []image.Rectangle{box.Add(image.Pt(9, 0)), box.Sub(image.Pt(4, 4)), {Min: image.Pt(math.MaxInt, math.MinInt), Max: image.Pt(math.MinInt, math.MaxInt)}}},
		"scoring":         {Epoch: -1, Boxes: []image.Rectangle{box}},
	} {
		if out := apply(t, m, key, Orient{}, s); !slices.Equal(out.Pix, m.Pix) {
			t.Errorf("%s: the picture is changed", why)
		}
	}
	if out := apply(t, m, Key{Boxes: []image.Rectangle{box}}, Orient{}, s); out.W != 2 || out.H != 2 {
		t.Errorf("a window of %d x %d around a logo of 2 x 2", out.W, out.H)
	}
}
