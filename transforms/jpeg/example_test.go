package jpeg_test

import (
	"fmt"
	"image"
	"log"
	"os"

	"github.com/logobeam/logobeam/transforms/jpeg"
)

// A photograph that will become a small picture is decoded at half its size, and only in its middle.
func ExampleDecode() {
	data, err := os.ReadFile("testdata/420-baseline-q92.jpg")
	if err != nil {
		log.Fatal(err)
	}
	c, err := jpeg.DecodeConfig(data)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Width, "x", c.Height)

	middle := image.Rect(c.Width/2-24, c.Height/2-24, c.Width/2+24, c.Height/2+24)
	r, err := jpeg.Decode(data, jpeg.Options{Scale: 2, Region: middle})
	if err != nil {
		log.Fatal(err)
	}
	m := r.Image.(*image.YCbCr)
	fmt.Println(m.Bounds(), m.SubsampleRatio, middle.Min.Div(2).In(m.Bounds()))
	// Output:
	// 131 x 93
	// (16,8)-(48,40) YCbCrSubsampleRatio444 true
}
