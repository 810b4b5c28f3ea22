package transforms

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/logobeam/logobeam/transforms/jpeg"
)

// all is a file of which everything is decoded, at the scale that the geometry asks for.
type all struct{ *jpegFile }

func (f all) draw(g geometry, use func(src image.Image, g geometry)) error {
	f.plan(&g)
	r, err := jpeg.Decode(f.data, jpeg.Options{Scale: g.scale})
	if err == nil {
		use(r.Image, g)
	}
	return err
}

// oriented writes an EXIF orientation into a JPEG.
func oriented(data []byte, orientation int) []byte {
	exif := []byte("Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	exif[6+18] = byte(orientation)
	segment := binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(2+len(exif)))
	return slices.Concat(data[:2], segment, exif, data[2:])
}

// TestParts checks that no sample is missing of what is decoded for a list, bit for bit, whatever the crop, the orientation,
// the scale and the sampling.
func TestParts(t *testing.T) {
	files, err := filepath.Glob("jpeg/testdata/*.jpg")
	if err != nil || len(files) < 20 {
		t.Fatal(len(files), err)
	}
	scales := map[int]int{}
	for i, file := range files {
		original := read(t, filepath.Join("..", file))
		for o := 1; o <= 8; o++ {
			data := oriented(original, o)
			for k, l := range []List{
				{Orient{}, Resize{Short: 7}, CenterCrop{Size: 5}},
				{Orient{}, RandomCrop{Size: 12}, HorizontalFlip{0.5}},
				{Orient{}, RandomResizedCrop{Size: 6, Scale: [2]float64{0.1, 1}, Ratio: [2]float64{0.5, 2}}, HorizontalFlip{0.5}},
				{Orient{}, HorizontalFlip{0.5}, RandomResizedCrop{Size: 3, Scale: [2]float64{0.1, 1}, Ratio: [2]float64{0.5, 2}}, RandomCrop{Size: 2}},
				{Resize{Width: 40, Height: 3}, RandomCrop{Size: 2}},
				{Orient{}, LogoCrop{Scale: [2]float64{1, 3}, Probability: 1}, Resize{Width: 5, Height: 4}},
			} {
				key := Key{Epoch: i, Seed: uint64(o), Image: fmt.Sprint(k), Boxes: []image.Rectangle{image.Rect(1, 2, 9, 7)}}
				var pictures [2]*Image
				for j := range pictures {
					v, err := open(data, DefaultLimits())
					if err != nil {
						t.Fatal(file, err)
					}
					f := v.src.(*jpegFile)
					if j == 1 {
						v.src = all{f}
					}
					if err := l.run(v, key); err != nil {
						t.Fatal(file, err)
					}
					if v.src == source(f) {
						g := v.geometry()
						f.plan(&g)
						scales[g.scale]++
					}
					if pictures[j], err = v.pixels(); err != nil {
						t.Fatal(file, err)
					}
				}
				if !slices.Equal(pictures[0].Pix, pictures[1].Pix) {
					t.Errorf("%s, orientation %d, %+v: a part is not as the whole", file, o, l)
				}
			}
		}
	}
	for scale := 1; scale <= 8; scale *= 2 {
		if scales[scale] < 50 {
			t.Errorf("scale %d in %d cases: %v", scale, scales[scale], scales)
		}
	}
}

// TestTensorIsPicture compares the way without a picture with the way through one.
func TestTensorIsPicture(t *testing.T) {
	original := jpegOf(t, smooth(300, 200))
	n := Normalise{Mean: [3]float64{127, 100, 0}, Std: [3]float64{128, 2, 255}}
	for o := 1; o <= 8; o++ {
		for _, key := range []Key{scoring, {Seed: 1}, {Seed: 2}} {
			l := List{Orient{}, Resize{Short: 70}, RandomCrop{Size: 60}, HorizontalFlip{0.5}, n}
			data := oriented(original, o)
			m, err := l.Picture(data, key, DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			got, want := make([]float32, 3*60*60), make([]float32, 3*60*60)
			normalise(want, m.Pix, n.normal())
			if err := l.Tensor(data, key, DefaultLimits(), got); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("orientation %d, %+v: not the picture's numbers", o, key)
			}
		}
	}
}

// texture is a picture with as much contrast in each octave, as photographs have.
func texture(side int) *Image {
	m := NewImage(side, side)
	r := rand.New(rand.NewPCG(9, 9))
	values := make([]float64, len(m.Pix))
	for step := side / 10; step > 1; step /= 2 {
		w := side/step + 2
		grid := make([]float64, 3*w*w)
		for i := range grid {
			grid[i] = 10 * r.NormFloat64()
		}
		for i := range values {
			x, y := i/3%side, i/3/side
			at := 3*(y/step*w+x/step) + i%3
			fx, fy := float64(x%step)/float64(step), float64(y%step)/float64(step)
			values[i] += (grid[at]*(1-fx)+grid[at+3]*fx)*(1-fy) + (grid[at+3*w]*(1-fx)+grid[at+3*w+3]*fx)*fy
		}
	}
	for i, v := range values {
		m.Pix[i] = uint8(min(max(128+v, 0), 255))
	}
	return m
}

// TestScales holds the pixels of a scaled decode to those of a full one, for a picture that has detail of every size, and
// what a resize costs to what it needs.
func TestScales(t *testing.T) {
	const to = 50
	for _, test := range []struct{ side, scale int }{{50, 1}, {139, 1}, {140, 2}, {155, 2}, {210, 2}, {279, 2}, {280, 4}, {450, 4}, {560, 8}, {1000, 8}} {
		m := texture(test.side)
		data := jpegOf(t, m)
		l := List{Resize{Width: to, Height: to}}
		v, err := open(data, DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		if err := l.run(v, scoring); err != nil {
			t.Fatal(err)
		}
		g := v.geometry()
		if v.src.(*jpegFile).plan(&g); g.scale != test.scale {
			t.Errorf("%d pixels to %d: scale %d, want %d", test.side, to, g.scale, test.scale)
		}
		got, err := v.pixels()
		if err != nil {
			t.Fatal(err)
		}
		full, err := jpeg.Decode(data, jpeg.Options{})
		if err != nil {
			t.Fatal(err)
		}
		g.scale = 1
		want, sum := resampled(full.Image, g), 0.0
		for i, v := range want.Pix {
			d := float64(v) - float64(got.Pix[i])
			sum += d * d
		}
		if psnr := 10 * math.Log10(255*255*float64(len(got.Pix))/sum); psnr < 42 {
			t.Errorf("%d pixels to %d at scale %d: %.1f dB", test.side, to, test.scale, psnr)
		}
	}
}

// TestMemoryOfJPEG holds Header.Memory to a decode in full size, of every kind of JPEG, in a program that has decoded nothing.
func TestMemoryOfJPEG(t *testing.T) {
	const w, h = 2000, 1500
	for _, name := range []string{
		"444-baseline-q92", "420-progressive-q92", "410-baseline-q35", "grey-progressive", "rgb", "rgb-progressive", "cmyk", "ycck",
		"cb-unlike-cr", "luma-below-chroma",
	} {
		data := read(t, filepath.Join("..", "jpeg", "testdata", name+".jpg"))
		marker := byte(0xc0)
		if !bytes.Contains(data, []byte{0xff, 0xc0, 0}) {
			marker = 0xc2
		}
		data = append(claim(data, marker, w, h), make([]byte, 2<<20)...)
		header, err := Inspect(data, DefaultLimits())
		if err != nil {
			t.Fatal(name, err)
		}
		runtime.GC() // pools lose what they have at the second time
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = List{Resize{Width: w - 1, Height: h}}.Picture(data, scoring, DefaultLimits())
		runtime.ReadMemStats(&after)
		result := int64(0)
		if err == nil {
			result = 3 * w * h
		}
		if took := int64(after.TotalAlloc-before.TotalAlloc) - result; took > header.Memory+1<<20 || took < header.Memory/5 {
			t.Errorf("%s: took %d bytes (%v), the header said %d", name, took, err, header.Memory)
		}
	}
}

// TestAllocations: a file after another costs no memory but what its header takes.
func TestAllocations(t *testing.T) {
	src := image.NewYCbCr(image.Rect(0, 0, 500, 400), image.YCbCrSubsampleRatio420)
	for i := range src.Y {
		src.Y[i] = color.YCbCrModel.Convert(color.Gray{uint8(i)}).(color.YCbCr).Y
	}
	data := jpegOf(t, src)
	l := DefaultScoring(224, [3]float64{127, 127, 127}, [3]float64{128, 128, 128})
	dst := make([]float32, 3*224*224)
	tensor := func() {
		if err := l.Tensor(data, scoring, DefaultLimits(), dst); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(20, tensor); n > 40 {
		t.Errorf("%v allocations a file", n)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 20 {
		tensor()
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) / 20; n > 64<<10 {
		t.Errorf("%d bytes a file", n)
	}
}
