package transforms

import (
	"fmt"
	"testing"
)

// BenchmarkSteps runs each step of the strong list alone, always, on a picture of 224 x 224.
func BenchmarkSteps(b *testing.B) {
	m := smooth(224, 224)
	for _, s := range []Step{
		RandomZoomOut{Side: [2]float64{1, 2}, Probability: 1}, HorizontalFlip{1}, RandomRotation{15}, RandomPerspective{0.3, 1},
		ColorJitter{Brightness: 0.4, Contrast: 0.4, Saturation: 0.4, Hue: 0.1}, RandomGrayscale{1}, GaussianBlur{[2]float64{0.1, 2}, 1},
		GaussianBlur{[2]float64{2, 2}, 1}, JPEG{[2]int{30, 90}, 1}, RandomErasing{1, [2]float64{0.02, 0.2}, [2]float64{0.3, 3.3}},
	} {
		b.Run(fmt.Sprintf("%s%v", s.Name(), s), func(b *testing.B) {
			b.ReportAllocs()
			for epoch := 0; b.Loop(); epoch++ {
				if _, err := (List{s}).Apply(m, Key{Epoch: epoch}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTraining runs the lists of training from a decoded picture of 500 x 375 to the tensor.
func BenchmarkTraining(b *testing.B) {
	m, dst := smooth(500, 375), make([]float32, 224*224*3)
	mean, std := [3]float64{127, 127, 127}, [3]float64{128, 128, 128}
	for _, c := range []struct {
		name string
		list List
	}{{"light", DefaultTraining(224, mean, std)}, {"strong", StrongTraining(224, mean, std)}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for epoch := 0; b.Loop(); epoch++ {
				v := newView(whole{m}, 1)
				if err := c.list.run(v, Key{Epoch: epoch}); err != nil {
					b.Fatal(err)
				}
				if err := v.tensor(dst, c.list[len(c.list)-1].(Normalise)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
