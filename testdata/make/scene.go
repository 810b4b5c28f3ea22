package main

import (
	"image"
	"image/color"
	"math"
	"math/rand/v2"

	"golang.org/x/image/draw"

	"github.com/logobeam/logobeam/transforms/svg"
)

type rgb [3]float64 // 0 to 255, as in the file

func (c rgb) luma() float64 { return 0.299*c[0] + 0.587*c[1] + 0.114*c[2] }

// A canvas is an image in work.
type canvas struct {
	w, h int
	pix  []rgb
}

// dice draws what varies from photograph to photograph.
type dice struct{ *rand.Rand }

func (d dice) in(lo, hi float64) float64 { return lo + (hi-lo)*d.Float64() }
func (d dice) is(p float64) bool         { return d.Float64() < p }
func pick[T any](d dice, of []T) T       { return of[d.IntN(len(of))] }

// backdrop is a crop of a background, w by h, in another light.
func backdrop(d dice, src background, w, h int) *canvas {
	b := src.image.Bounds()
	side := min(float64(b.Dx())/float64(w), float64(b.Dy())/float64(h)) * d.in(0.45, 1)
	cw, ch := int(side*float64(w)), int(side*float64(h))
	x, y := b.Min.X+d.IntN(b.Dx()-cw+1), b.Min.Y+d.IntN(b.Dy()-ch+1)
	dst := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.CatmullRom.Scale(dst, dst.Bounds(), src.image, image.Rect(x, y, x+cw, y+ch), draw.Src, nil)

	tint := rgb{1, 1, 1}
	if src.tints != nil {
		tint = pick(d, src.tints)
	}
	gain, flip := d.in(0.75, 1.25), d.is(0.5)
	c := &canvas{w, h, make([]rgb, w*h)}
	for y := range h {
		for x := range w {
			from := x
			if flip {
				from = w - 1 - x
			}
			p := dst.RGBAAt(from, y)
			c.pix[y*w+x] = rgb{float64(p.R) * tint[0] * gain, float64(p.G) * tint[1] * gain, float64(p.B) * tint[2] * gain}
		}
	}
	if d.is(0.35) { // out of focus, behind what stands before it
		c.blur(d.in(0.8, 2.2))
	}
	return c
}

// A pose takes the unit square's surroundings to pixels: bent round an upright cylinder, turned in space, and seen from
// near by.
type pose struct {
	bend             float64 // angle that a width of 1 covers; 0 for flat
	roll, yaw, pitch float64 // radians
	distance         float64 // of the eye, in widths
	size, x, y       float64 // pixels
}

func (p pose) at(q svg.Point) svg.Point {
	x, y, z := q.X, q.Y, 0.0
	if p.bend > 0 {
		s, c := math.Sincos(x * p.bend)
		x, z = s/p.bend, (1-c)/p.bend
	}
	sin, cos := math.Sincos(p.roll)
	x, y = x*cos-y*sin, x*sin+y*cos
	sin, cos = math.Sincos(p.yaw)
	x, z = x*cos-z*sin, x*sin+z*cos
	sin, cos = math.Sincos(p.pitch)
	y, z = y*cos-z*sin, y*sin+z*cos
	k := p.distance / (p.distance + z)
	return svg.Pt(p.x+x*k*p.size, p.y+y*k*p.size)
}

// A mask is how much of each pixel a shape covers, 0 to 1, from a corner on that may lie outside the canvas.
type mask struct {
	x, y, w, h int
	a          []float64
}

func fill(o svg.Outline) mask {
	lo, hi := o.Bounds()
	x, y := int(math.Floor(lo.X))-1, int(math.Floor(lo.Y))-1
	w, h := int(math.Ceil(hi.X))+1-x, int(math.Ceil(hi.Y))+1-y
	cover := o.Fill(image.Rect(x, y, x+w, y+h), false)
	m := mask{x, y, w, h, make([]float64, w*h)}
	for i, a := range cover.Pix {
		m.a[i] = float64(a) / 255
	}
	return m
}

// under calls f for each pixel of the canvas that the mask covers.
func (c *canvas) under(m mask, f func(i int, a float64)) {
	for y := max(0, -m.y); y < m.h && y+m.y < c.h; y++ {
		for x := max(0, -m.x); x < m.w && x+m.x < c.w; x++ {
			if a := m.a[y*m.w+x]; a > 0 {
				f((y+m.y)*c.w+x+m.x, a)
			}
		}
	}
}

// luma is the mean and the deviation of the lightness under a mask.
func (c *canvas) luma(m mask) (mean, deviation float64) {
	n, sum, squares := 0.0, 0.0, 0.0
	c.under(m, func(i int, a float64) {
		l := c.pix[i].luma()
		n, sum, squares = n+a, sum+a*l, squares+a*l*l
	})
	if n == 0 {
		return 128, 0
	}
	mean = sum / n
	return mean, math.Sqrt(max(0, squares/n-mean*mean))
}

// paint covers what is under a mask with a colour. grain, 0 to 1, is how much of the ground's light and shade remains
// to be seen; light falls on it in a slope from one side to the other.
func (c *canvas) paint(m mask, colour rgb, opacity, grain float64, light func(x, y int) float64) {
	mean, _ := c.luma(m)
	c.under(m, func(i int, a float64) {
		shade := 1 + grain*(c.pix[i].luma()/max(mean, 24)-1)
		shade = min(max(shade, 0.45), 1.6) * light(i%c.w, i/c.w)
		for k := range 3 {
			c.pix[i][k] += a * opacity * (colour[k]*shade - c.pix[i][k])
		}
	})
}

// shadow darkens what lies behind a mask, moved by (dx, dy) and softened.
func (c *canvas) shadow(m mask, dx, dy int, strength, soft float64) {
	dark := &canvas{c.w, c.h, make([]rgb, c.w*c.h)}
	m.x, m.y = m.x+dx, m.y+dy
	dark.under(m, func(i int, a float64) { dark.pix[i][0] = a })
	dark.blur(soft)
	for i := range c.pix {
		for k := range 3 {
			c.pix[i][k] *= 1 - strength*dark.pix[i][0]
		}
	}
}

// blur is a Gaussian blur; sigma in pixels.
func (c *canvas) blur(sigma float64) {
	r := int(math.Ceil(3 * sigma))
	if r < 1 {
		return
	}
	kernel, sum := make([]float64, 2*r+1), 0.0
	for i := range kernel {
		t := float64(i-r) / sigma
		kernel[i] = math.Exp(-t * t / 2)
		sum += kernel[i]
	}
	for i := range kernel {
		kernel[i] /= sum
	}
	c.smear(kernel, r, 1, 0)
	c.smear(kernel, r, 0, 1)
}

// smear convolves along the direction (dx, dy), the edge's pixels repeated.
func (c *canvas) smear(kernel []float64, r, dx, dy int) {
	to := make([]rgb, len(c.pix))
	for y := range c.h {
		for x := range c.w {
			var s rgb
			for i, k := range kernel {
				p := c.pix[min(max(y+(i-r)*dy, 0), c.h-1)*c.w+min(max(x+(i-r)*dx, 0), c.w-1)]
				s[0] += k * p[0]
				s[1] += k * p[1]
				s[2] += k * p[2]
			}
			to[y*c.w+x] = s
		}
	}
	c.pix = to
}

// develop is what the camera does to the whole scene: exposure, white balance, vignette, blur, noise.
func (c *canvas) develop(d dice) *image.RGBA {
	gain := d.in(0.82, 1.15)
	balance := rgb{gain * d.in(0.94, 1.06), gain, gain * d.in(0.94, 1.06)}
	vignette := d.in(0, 0.35)
	if sigma := d.in(-0.5, 1.15); sigma > 0.3 {
		c.blur(sigma)
	}
	if d.is(0.15) { // a shaken camera
		n := 3 + 2*d.IntN(2)
		kernel := make([]float64, n)
		for i := range kernel {
			kernel[i] = 1 / float64(n)
		}
		way := pick(d, [][2]int{{1, 0}, {0, 1}, {1, 1}, {1, -1}})
		c.smear(kernel, n/2, way[0], way[1])
	}
	noise := max(0, d.in(-3, 5))
	out := image.NewRGBA(image.Rect(0, 0, c.w, c.h))
	for y := range c.h {
		for x := range c.w {
			dx, dy := 2*float64(x)/float64(c.w)-1, 2*float64(y)/float64(c.h)-1
			dim := 1 - vignette*(dx*dx+dy*dy)/2
			grey := d.NormFloat64() * noise * 0.7
			p := c.pix[y*c.w+x]
			var b [3]uint8
			for k := range 3 {
				v := p[k]*balance[k]*dim + grey + d.NormFloat64()*noise*0.5
				b[k] = uint8(min(max(math.Round(v), 0), 255))
			}
			out.SetRGBA(x, y, color.RGBA{b[0], b[1], b[2], 255})
		}
	}
	return out
}
