package transforms

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
)

// GaussianBlur blurs the picture, with a Probability, by a Gaussian whose standard deviation is drawn evenly from
// Sigma, in pixels, as in SimCLR (Chen et al., A Simple Framework for Contrastive Learning, 2020). The Gaussian ends at
// three standard deviations; beyond the edges the picture goes on as its outermost pixels are. For scoring it does
// nothing.
type GaussianBlur struct {
	Sigma       [2]float64 `json:"sigma"`
	Probability float64    `json:"probability"`
}

// Name is "gaussian-blur".
func (GaussianBlur) Name() string { return "gaussian-blur" }

// Validate wants a Sigma within (0, 10], the low end first, and a Probability in (0, 1].
func (s GaussianBlur) Validate() error {
	if !(0 < s.Sigma[0] && s.Sigma[0] <= s.Sigma[1] && s.Sigma[1] <= 10) {
		return fmt.Errorf(`"sigma" is %v, want two numbers in (0, 10], the lower first`, s.Sigma)
	}
	return checkProbability(s.Probability)
}

func (GaussianBlur) size(w, h int) (int, int) { return w, h }

func (s GaussianBlur) apply(v *view, r *rand.Rand) error {
	if !happens(r, s.Probability) {
		return nil
	}
	m, err := v.writable()
	if err != nil {
		return err
	}
	m.blur(gaussian(between(r, s.Sigma[0], s.Sigma[1])))
	return nil
}

// blur lays a kernel of two sides on the picture, first along its rows, then down its columns, and rounds to 8 bits
// after each.
func (m *Image) blur(kernel []uint64) {
	radius, stride := len(kernel)/2, 3*m.W
	line := make([]uint8, stride+6*radius) // a row with its outermost pixels repeated
	for y := range m.H {
		row := m.Pix[y*stride : (y+1)*stride]
		copy(line[3*radius:], row)
		for x := range radius {
			copy(line[3*x:], row[:3])
			copy(line[3*(radius+m.W+x):], row[stride-3:])
		}
		weigh(row, line, 3, kernel)
	}
	// Columns are taken so many at a time that a picture of one endless row needs little memory.
	width := min(stride, 2048)
	strip := make([]uint8, (m.H+2*radius)*width) // with the outermost pixels repeated
	for x := 0; x < stride; x += width {
		width := min(width, stride-x)
		for y := range m.H + 2*radius {
			copy(strip[y*width:(y+1)*width], m.Pix[min(max(y-radius, 0), m.H-1)*stride+x:])
		}
		for y := range m.H {
			weigh(m.Pix[y*stride+x:][:width], strip[y*width:], width, kernel)
		}
	}
}

// weigh makes each byte of dst the sum of weights times bytes of src, which lie stride apart from the same index on.
// Eight sums are formed at a time, four to a word: a weighted byte and its sums need 16 bits, as the weights add up to
// 1.
func weigh(dst, src []uint8, stride int, weights []uint64) {
	const even, half = 0x00ff00ff_00ff00ff, 0x00800080_00800080
	x := 0
	for ; x+8 <= len(dst); x += 8 {
		a, b, at := uint64(half), uint64(half), x
		for _, w := range weights {
			v := binary.LittleEndian.Uint64(src[at:])
			a += v & even * w
			b += v >> 8 & even * w
			at += stride
		}
		binary.LittleEndian.PutUint64(dst[x:], a>>8&even|b&^even)
	}
	for ; x < len(dst); x++ {
		sum := uint64(128)
		for i, w := range weights {
			sum += w * uint64(src[x+i*stride])
		}
		dst[x] = uint8(sum >> 8)
	}
}

// gaussian is the weights from one end to the other, with 8 bits below the point as OpenCV's for 8-bit pictures. They
// add up to 1.
func gaussian(sigma float64) []uint64 {
	radius := int(math.Ceil(3 * sigma))
	side := make([]float64, radius+1)
	sum := -1.0 // the centre has no other side
	for i := range side {
		side[i] = exp(float64(-i*i) / (2 * sigma * sigma))
		sum += float64(2 * side[i])
	}
	kernel := make([]uint64, 2*radius+1)
	kernel[radius] = 256
	// Rounding the running sum, not each weight, keeps what is left for the centre close to what it should be.
	run, done := 0.0, uint64(0)
	for i := range radius {
		run += side[radius-i]
		upTo := uint64(math.Round(256 * run / sum))
		kernel[i], kernel[2*radius-i] = upTo-done, upTo-done
		done = upTo
	}
	kernel[radius] -= 2 * done
	return kernel
}
