package transforms

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestFrames(t *testing.T) {
	animated := read(t, "animated.gif")
	images := func(gif []byte) []int { // where the images of a GIF without colour tables of their own begin
		var at []int
		for i := range gif {
			if gif[i] == 0x2c && bytes.HasPrefix(gif[i+1:], []byte("\x00\x00\x00\x00\x30\x00\x20\x00")) {
				at = append(at, i)
			}
		}
		return at
	}(animated)
	if len(images) != 2 {
		t.Fatalf("animated.gif has images at %v, want two", images)
	}
	for _, test := range []struct {
		name string
		data []byte
		want int
	}{
		{"gif", animated, 2},
		{"gif cut in its second picture", animated[:images[1]+20], 2},
		{"gif cut before its second picture", animated[:images[1]], 1},
		{"gif with bytes behind its end", append(slices.Clone(animated), animated[images[0]:]...), 2},
		{"gif of a header", []byte("GIF89a\x01\x00\x01\x00\x00\x00\x00"), 1},
		{"gif of no header", []byte("GIF89a"), 1},
		{"gif of a colour table that is not there", []byte("GIF89a\x01\x00\x01\x00\xff\x00\x00,"), 1},
		{"gif of empty pictures", []byte("GIF89a\x01\x00\x01\x00\x00\x00\x00" + strings.Repeat(",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x00", 70) + ";"), 70},
		{"png", read(t, "reference.png"), 1},
		{"png animation", read(t, "animated.png"), 3},
		{"png animation after a picture of its own", read(t, "animated-default.png"), 2},
		{"png that claims an animation too late", bytes.Replace(read(t, "animated.png"), []byte("acTL"), []byte("acTX"), 1), 1},
		{"webp", read(t, "lossy.webp"), 1},
		{"webp animation", read(t, "animated.webp"), 2},
		{"jpeg", read(t, "420.jpg"), 1},
		{"tiff", read(t, "plain.tiff"), 1},
	} {
		f, err := sniff(test.data)
		if err != nil {
			t.Fatal(test.name, err)
		}
		if n := frames(f, test.data); n != test.want {
			t.Errorf("%s: %d frames, want %d", test.name, n, test.want)
		}
	}
}

func FuzzFrames(f *testing.F) {
	for _, file := range []string{"animated.gif", "animated.png", "animated.webp", "animated-alpha.webp"} {
		f.Add(read(f, file))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, format := range []format{formatGIF, formatPNG, formatWebP} {
			if n := frames(format, data); n < 1 || n > 1+len(data)/8 {
				t.Fatalf("%d frames in a %s of %d bytes", n, format, len(data))
			}
		}
		if still, err := stillWebP(data); err == nil && len(still) > len(data)+18 {
			t.Fatalf("the first frame of %d bytes has %d", len(data), len(still))
		}
	})
}
