package transforms

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// ColorJitter changes the colours at random. Brightness, Contrast and Saturation b draw a factor from [1-b, 1+b]; a
// contrast of 0 would leave the picture's mean grey, a saturation of 0 a grey picture. Hue h turns the colours by up
// to h of a full circle in the chroma plane of YIQ. The four act in this order as one matrix, so colours are
// clipped once, at the end. For scoring it does nothing.
type ColorJitter struct {
	Brightness float64 `json:"brightness,omitempty"`
	Contrast   float64 `json:"contrast,omitempty"`
	Saturation float64 `json:"saturation,omitempty"`
	Hue        float64 `json:"hue,omitempty"`
}

// Name is "color-jitter".
func (ColorJitter) Name() string { return "color-jitter" }

// Validate wants Brightness, Contrast and Saturation in [0, 1] and Hue in [0, 0.5].
func (s ColorJitter) Validate() error {
	for _, p := range []struct {
		name   string
		v, max float64
	}{{"brightness", s.Brightness, 1}, {"contrast", s.Contrast, 1}, {"saturation", s.Saturation, 1}, {"hue", s.Hue, 0.5}} {
		if !(0 <= p.v && p.v <= p.max) {
			return fmt.Errorf("%q is %v, want 0 to %v", p.name, p.v, p.max)
		}
	}
	return nil
}

func (ColorJitter) size(w, h int) (int, int) { return w, h }

// The weights of red, green and blue in grey (ITU-R BT.601).
var grey = [3]float64{0.299, 0.587, 0.114}

func (s ColorJitter) apply(v *view, r *rand.Rand) error {
	if r == nil {
		return nil
	}
	m, err := v.writable()
	if err != nil {
		return err
	}
	brightness := between(r, 1-s.Brightness, 1+s.Brightness)
	contrast := between(r, 1-s.Contrast, 1+s.Contrast)
	saturation := between(r, 1-s.Saturation, 1+s.Saturation)
	sin, cos := sincos(between(r, -s.Hue, s.Hue))

	// Chroma is what differs from grey. Turning it by an angle is cos times itself plus sin times itself turned by a
	// quarter, and q is the quarter turn: the matrix of RGB to YIQ, (I, Q) to (-Q, I), and back.
	q := [3][3]float64{
		{0.1677, 0.3293, -0.4970},
		{-0.3281, 0.0355, 0.2926},
		{1.2495, -1.0463, -0.2032},
	}
	// Fixed point with 16 bits below the point: integers are the same on every machine.
	const one = 1 << 16
	var sum [3]int64
	for i := 0; i+2 < len(m.Pix); i += 3 {
		sum[0] += int64(m.Pix[i])
		sum[1] += int64(m.Pix[i+1])
		sum[2] += int64(m.Pix[i+2])
	}
	mean := 0.0
	for c := range grey {
		mean += float64(grey[c] * float64(sum[c]) / float64(m.W*m.H))
	}
	var a [3][3]int32
	for i := range 3 {
		for j := range 3 {
			identity := 0.0
			if i == j {
				identity = 1
			}
			chroma := float64(cos*(identity-grey[j])) + float64(sin*q[i][j])
			a[i][j] = int32(math.Round(one * brightness * contrast * (grey[j] + float64(saturation*chroma))))
		}
	}
	offset := int32(math.Round(one*brightness*mean*(1-contrast))) + one/2
	for i := 0; i+2 < len(m.Pix); i += 3 {
		p := m.Pix[i : i+3 : i+3]
		r, g, b := int32(p[0]), int32(p[1]), int32(p[2])
		for c := range p {
			p[c] = uint8(min(max((a[c][0]*r+a[c][1]*g+a[c][2]*b+offset)>>16, 0), 255))
		}
	}
	return nil
}
