package jpeg

import (
	"bytes"
	"fmt"
	"image"
	stdjpeg "image/jpeg"
	"os"
	"testing"

	"golang.org/x/image/draw"
)

// photograph is one of the photographs that come with the repository, enlarged to 1,100 x 820 pixels and written as
// cameras and sites do: 4:2:0, quality 85. The standard library writes no progressive files.
func photograph(b *testing.B) []byte {
	b.Helper()
	data, err := os.ReadFile("../../testdata/backgrounds/rocket.jpg")
	if err != nil {
		b.Skip(err)
	}
	m, err := stdjpeg.Decode(bytes.NewReader(data))
	if err != nil {
		b.Fatal(err)
	}
	large := image.NewRGBA(image.Rect(0, 0, 1100, 820))
	draw.CatmullRom.Scale(large, large.Bounds(), m, m.Bounds(), draw.Src, nil)
	var out bytes.Buffer
	if err := stdjpeg.Encode(&out, large, &stdjpeg.Options{Quality: 85}); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

func BenchmarkDecode(b *testing.B) {
	data := photograph(b)
	for _, scale := range []int{1, 2, 4, 8} {
		b.Run(fmt.Sprintf("scale=%d", scale), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			var d Decoder
			for b.Loop() {
				if _, err := d.Decode(data, Options{Scale: scale}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("image/jpeg", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, err := stdjpeg.Decode(bytes.NewReader(data)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
