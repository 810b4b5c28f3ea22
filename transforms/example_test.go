package transforms_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/logobeam/logobeam/transforms"
)

// A list makes a network's input of a file.
func ExampleList() {
	list, err := transforms.Parse([]byte(`[
		{"step": "orient"},
		{"step": "resize", "short": 256},
		{"step": "center-crop", "size": 224},
		{"step": "normalise", "mean": [127, 127, 127], "std": [128, 128, 128]}
	]`))
	if err != nil {
		fmt.Println(err)
		return
	}
	data, err := os.ReadFile("testdata/orient6.jpg")
	if err != nil {
		fmt.Println(err)
		return
	}
	w, h := list.Size()
	input := make([]float32, w*h*3)
	err = list.Tensor(data, transforms.Key{Epoch: -1}, transforms.DefaultLimits(), input)
	fmt.Println(w, h, err)

	err = list.Tensor([]byte("<html>404</html>"), transforms.Key{Epoch: -1}, transforms.DefaultLimits(), input)
	var e *transforms.Error
	if errors.As(err, &e) {
		fmt.Println(e.Reason, "-", transforms.Explain(e.Reason))
	}
	// Output:
	// 224 224 <nil>
	// html-page - a web page, often an error page, stands where the image should be
}

// A small picture of a photograph, fast: of a JPEG only the part that is seen is decoded, at the lowest scale that will do.
func ExampleList_Picture() {
	data, err := os.ReadFile("../testdata/classes/jpg/bmw/1255746627.jpg")
	if err != nil {
		fmt.Println(err)
		return
	}
	thumbnail := transforms.List{transforms.Orient{}, transforms.Resize{Short: 72}, transforms.CenterCrop{Size: 64}}
	m, err := thumbnail.Picture(data, transforms.Key{Epoch: -1}, transforms.DefaultLimits())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Bounds()) // an image.Image, as image/png takes it
	// Output: (0,0)-(64,64)
}

// Posterise keeps the upper Bits of each colour.
type Posterise struct {
	Bits int `json:"bits"`
}

func (Posterise) Name() string { return "posterise" }

func (s Posterise) Validate() error {
	if s.Bits < 1 || s.Bits > 8 {
		return fmt.Errorf(`"bits" is %d, want 1 to 8`, s.Bits)
	}
	return nil
}

func (s Posterise) Change(m *transforms.Image, _ *rand.Rand) {
	mask := uint8(0xff) << (8 - s.Bits)
	for i := range m.Pix {
		m.Pix[i] &= mask
	}
}

func init() { transforms.Register(Posterise{}) }

// A step of one's own stands in lists, and so in model files, by its name.
func ExampleRegister() {
	list, err := transforms.Parse([]byte(`[{"step": "orient"}, {"step": "posterise", "bits": 2}]`))
	if err != nil {
		fmt.Println(err)
		return
	}
	m := transforms.NewImage(1, 1)
	copy(m.Pix, []uint8{200, 100, 50})
	m, err = list.Apply(m, transforms.Key{Epoch: -1})
	fmt.Println(m.Pix, err)

	text, err := transforms.List{transforms.Of(Posterise{Bits: 3})}.MarshalJSON()
	fmt.Println(string(text), err)

	_, err = transforms.Parse([]byte(`[{"step": "posterise", "bit": 2}]`))
	fmt.Println(err)
	// Output:
	// [192 64 0] <nil>
	// [{"step":"posterise","bits":3}] <nil>
	// transform 1: posterise has no parameter "bit"; did you mean "bits"? (its parameters: bits)
}
