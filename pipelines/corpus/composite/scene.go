package composite

import (
	"image"
	"image/color"
	"math"

	"github.com/logobeam/logobeam/transforms"
)

type rgb [3]float64 // 0 to 255, as in the file

func (c rgb) luma() float64 { return 0.299*c[0] + 0.587*c[1] + 0.114*c[2] }

// chroma is how far a colour is from grey, 0 to 255.
func (c rgb) chroma() float64 { return max(c[0], c[1], c[2]) - min(c[0], c[1], c[2]) }

var black = color.NRGBA{A: 255}

// cell is the side of the squares over which the light of a photograph is averaged, in pixels.
const cell = 16

// scene is a picture in work, and the light in it.
type scene struct {
	*transforms.Image
	light      []float64 // mean luma of each cell
	cols, rows int
}

func newScene(m *transforms.Image) *scene {
	s := &scene{Image: m, cols: (m.W + cell - 1) / cell, rows: (m.H + cell - 1) / cell}
	s.light = make([]float64, s.cols*s.rows)
	for cy := range s.rows {
		for cx := range s.cols {
			_, s.light[cy*s.cols+cx], _ = s.look(image.Rect(cx*cell, cy*cell, (cx+1)*cell, (cy+1)*cell))
		}
	}
	return s
}

// look is the mean colour of a part of the picture, and the mean and the deviation of its luma.
func (s *scene) look(part image.Rectangle) (mean rgb, luma, deviation float64) {
	part = part.Intersect(s.Bounds())
	n, squares := 0.0, 0.0
	for y := part.Min.Y; y < part.Max.Y; y += 2 { // a quarter of the pixels tells enough
		for x := part.Min.X; x < part.Max.X; x += 2 {
			p := s.Pix[3*(y*s.W+x):][:3:3]
			c := rgb{float64(p[0]), float64(p[1]), float64(p[2])}
			for k := range c {
				mean[k] += c[k]
			}
			l := c.luma()
			n, luma, squares = n+1, luma+l, squares+l*l
		}
	}
	if n == 0 {
		return rgb{128, 128, 128}, 128, 0
	}
	for k := range mean {
		mean[k] /= n
	}
	luma /= n
	return mean, luma, math.Sqrt(max(0, squares/n-luma*luma))
}

// lit is the low-passed luma at a pixel.
func (s *scene) lit(x, y int) float64 {
	fx := min(max((float64(x)+0.5)/cell-0.5, 0), float64(s.cols-1))
	fy := min(max((float64(y)+0.5)/cell-0.5, 0), float64(s.rows-1))
	x0, y0 := int(fx), int(fy)
	x1, y1 := min(x0+1, s.cols-1), min(y0+1, s.rows-1)
	fx, fy = fx-float64(x0), fy-float64(y0)
	upper := s.light[y0*s.cols+x0]*(1-fx) + s.light[y0*s.cols+x1]*fx
	lower := s.light[y1*s.cols+x0]*(1-fx) + s.light[y1*s.cols+x1]*fx
	return upper*(1-fy) + lower*fy
}

// homography takes (x, y, 1) to a point times its third number.
type homography [3][3]float64

func (h homography) at(x, y float64) (float64, float64) {
	t := h[2][0]*x + h[2][1]*y + h[2][2]
	return (h[0][0]*x + h[0][1]*y + h[0][2]) / t, (h[1][0]*x + h[1][1]*y + h[1][2]) / t
}

// inverse is the adjugate, which is the inverse but for a factor that the division cancels.
func (h homography) inverse() (i homography) {
	for r := range 3 {
		for c := range 3 {
			a, b, e, f := (c+1)%3, (c+2)%3, (r+1)%3, (r+2)%3
			i[r][c] = h[a][e]*h[b][f] - h[a][f]*h[b][e]
		}
	}
	return i
}

// box is the bounds of a rectangle round the origin after a homography.
func (h homography) box(halfW, halfH float64) (x0, y0, x1, y1 float64) {
	x0, y0, x1, y1 = math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, c := range [4][2]float64{{-halfW, -halfH}, {halfW, -halfH}, {halfW, halfH}, {-halfW, halfH}} {
		x, y := h.at(c[0], c[1])
		x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x), max(y1, y)
	}
	return x0, y0, x1, y1
}

// view draws from where a sign is seen: turned in its plane by up to 30 degrees, from aside and from above or below, from a
// distance of 2 to 6 of its widths.
func view(d dice) homography {
	roll := min(max(d.NormFloat64()*0.16, -math.Pi/6), math.Pi/6)
	yaw, pitch, distance := d.in(-0.8, 0.8), d.in(-0.5, 0.5), d.in(2, 6)
	sr, cr := math.Sincos(roll)
	sy, cy := math.Sincos(yaw)
	sp, cp := math.Sincos(pitch)
	// Columns of the rotation: where the sign's x and y point to in space.
	x := [3]float64{cy * cr, cp*sr - sp*sy*cr, sp*sr + cp*sy*cr}
	y := [3]float64{-cy * sr, cp*cr + sp*sy*sr, sp*cr - cp*sy*sr}
	return homography{
		{distance * x[0], distance * y[0], 0},
		{distance * x[1], distance * y[1], 0},
		{x[2], y[2], distance},
	}
}

// sign puts a mark somewhere into the scene and says where: the bounds of the mark, without its plate.
func (s *scene) sign(d dice, mark *Mark) image.Rectangle {
	// In the sign's own units the mark's longer side is 1 and its centre is the origin.
	b := mark.levels[0].Rect
	long := float64(max(b.Dx(), b.Dy()))
	halfW, halfH := float64(b.Dx())/long/2, float64(b.Dy())/long/2

	// First its shape, then its size, by that of its bounds, and its place, so that all of the mark is to be seen.
	h := view(d)
	x0, y0, x1, y1 := h.box(halfW, halfH)
	size := d.in(0.08, 0.6) * float64(min(s.W, s.H)) / max(x1-x0, y1-y0)
	cx := d.in(-x0*size, float64(s.W)-x1*size)
	cy := d.in(-y0*size, float64(s.H)-y1*size)
	for k := range 3 {
		h[0][k] = size*h[0][k] + cx*h[2][k]
		h[1][k] = size*h[1][k] + cy*h[2][k]
	}
	x0, y0, x1, y1 = h.box(halfW, halfH)
	box := image.Rect(int(x0), int(y0), int(math.Ceil(x1)), int(math.Ceil(y1))).Intersect(s.Bounds())

	// The light of the place falls on the sign, too.
	ground, mean, deviation := s.look(box)
	exposure := min(max(math.Pow(mean/128, 0.6), 0.5), 1.2)
	var tint rgb
	for k := range tint {
		tint[k] = exposure * min(max(math.Pow((ground[k]+8)/(mean+8), 0.35), 0.8), 1.2)
	}
	dress := s.dress(d, mark, mean, deviation, exposure)
	slope := d.in(0, 0.35)
	sin, cos := math.Sincos(d.in(0, 2*math.Pi))
	opacity, grain := d.in(0.94, 1), d.in(0, 0.14)
	if dress.plate == noPlate { // painted on the ground
		opacity, grain = d.in(0.85, 1), d.in(0.05, 0.4)
	}

	edge := dress.margin
	sx0, sy0, sx1, sy1 := x0, y0, x1, y1
	if dress.plate != noPlate {
		dress.halfW, dress.halfH = halfW+edge, halfH+edge
		if dress.plate == disc {
			dress.halfW = math.Hypot(halfW, halfH) + edge/3
			dress.halfH = dress.halfW
		} else if dress.plate == ellipse {
			dress.halfW, dress.halfH = halfW*1.3+edge/2, halfH*1.3+edge/2
		}
		far := max(math.Abs(dress.shadow[0]), math.Abs(dress.shadow[1])) + dress.soft
		sx0, sy0, sx1, sy1 = h.box(dress.halfW+far, dress.halfH+far)
	}
	inverse := h.inverse()
	level := mark.levels[0]
	for _, l := range mark.levels[1:] {
		if float64(max(l.Rect.Dx(), l.Rect.Dy())) < max(x1-x0, y1-y0) {
			break
		}
		level = l
	}
	texels := float64(max(level.Rect.Dx(), level.Rect.Dy()))
	pixels := size // of a unit, about
	for y := max(0, int(sy0)); y < min(s.H, int(math.Ceil(sy1))); y++ {
		for x := max(0, int(sx0)); x < min(s.W, int(math.Ceil(sx1))); x++ {
			u, v := inverse.at(float64(x)+0.5, float64(y)+0.5)
			p := s.Pix[3*(y*s.W+x):][:3:3]
			var c rgb // of the sign, times alpha
			alpha := 0.0
			if dress.plate != noPlate {
				away := dress.distance(u, v)
				if dress.dark > 0 && away*pixels > -1 {
					shade := dress.dark * smooth(0.5-dress.distance(u-dress.shadow[0], v-dress.shadow[1])/dress.soft)
					for k := range p {
						p[k] = uint8(float64(p[k]) * (1 - shade))
					}
				}
				alpha = min(max(0.5-away*pixels, 0), 1)
				base := dress.ground
				if dress.rim > 0 && away < -dress.rim && away > -2*dress.rim {
					base = dress.ink
				}
				for k := range c {
					c[k] = alpha * base[k]
				}
			}
			if math.Abs(u) <= halfW+0.02 && math.Abs(v) <= halfH+0.02 {
				m, a := sample(level, (u+halfW)*texels, (v+halfH)*texels)
				if dress.recoloured {
					for k := range m {
						m[k] = dress.ink[k] * a
					}
				}
				for k := range c {
					c[k] = m[k] + (1-a)*c[k]
				}
				alpha = a + (1-a)*alpha
			}
			if alpha <= 0 {
				continue
			}
			lit := s.lit(x, y)
			local := min(max(lit/max(mean, 16), 0.5), 1.6)
			here := rgb{float64(p[0]), float64(p[1]), float64(p[2])}
			shade := (1 + 0.8*(local-1)) * (1 + grain*(min(max(here.luma()/max(lit, 16), 0.4), 1.8)-1)) *
				(1 + slope*min(max((u*cos+v*sin), -1), 1))
			for k := range p {
				to := here[k]*(1-opacity*alpha) + opacity*c[k]*tint[k]*shade
				p[k] = uint8(min(max(to+0.5, 0), 255))
			}
		}
	}
	return box
}

func smooth(t float64) float64 {
	t = min(max(t, 0), 1)
	return t * t * (3 - 2*t)
}

// sample is the colour of a picture, times its alpha, and the alpha, 0 to 1, by bilinear interpolation. Beyond its edges it
// is transparent.
func sample(m *image.RGBA, x, y float64) (c rgb, alpha float64) {
	x, y = x-0.5, y-0.5
	x0, y0 := int(math.Floor(x)), int(math.Floor(y))
	fx, fy := x-float64(x0), y-float64(y0)
	for i := range 4 {
		px, py := x0+i&1, y0+i>>1
		if px < 0 || py < 0 || px >= m.Rect.Dx() || py >= m.Rect.Dy() {
			continue
		}
		wx, wy := fx, fy
		if i&1 == 0 {
			wx = 1 - fx
		}
		if i>>1 == 0 {
			wy = 1 - fy
		}
		w := wx * wy
		q := m.Pix[py*m.Stride+4*px:][:4:4]
		c[0] += w * float64(q[0])
		c[1] += w * float64(q[1])
		c[2] += w * float64(q[2])
		alpha += w * float64(q[3])
	}
	return c, alpha / 255
}

// The shapes of plates.
type plate int

const (
	noPlate plate = iota
	rectangle
	rounded
	disc
	ellipse
)

// dress is how a mark is worn: its colour and what is behind it.
type dress struct {
	ink        rgb
	recoloured bool // the mark has this colour instead of its own
	plate      plate
	ground     rgb     // colour of the plate
	margin     float64 // round the mark; these and those below in units of the mark's longer side
	rim        float64 // width of a line along the plate's edge, and its distance from there; 0 for none
	halfW      float64
	halfH      float64
	dark, soft float64 // of the plate's shadow
	shadow     [2]float64
}

// dress draws colours that can be told apart on a ground whose luma has this mean and deviation.
func (s *scene) dress(d dice, mark *Mark, mean, deviation, exposure float64) dress {
	w := dress{ink: mark.colour, margin: d.in(0.06, 0.3)}
	if mark.plain {
		// A dark or grey colour says little: it is what drawings have where none is given.
		own := 0.0
		if mark.colour.chroma() > 50 {
			own = 0.55
		}
		if w.recoloured = !d.is(own); w.recoloured {
			w.ink = paint(d)
		}
	}
	if d.is(0.5) && !mark.solid {
		w.plate = rectangle
	}
	const contrast, busy = 65, 42
	if w.plate == noPlate && !mark.solid && (math.Abs(w.ink.luma()*exposure-mean) < contrast || deviation > busy) {
		if mark.plain { // white on what is dark, black on what is light
			w.recoloured, w.ink = true, white(d)
			if mean > 115 {
				w.ink = ash(d)
			}
		}
		if (!mark.plain || deviation > busy) && d.is(0.85) { // and now and then it is hard to see
			w.plate = rectangle
		}
	}
	if w.plate == noPlate {
		return w
	}
	w.plate = pick(d, rectangle, rectangle, rounded, rounded, ellipse)
	if w.plate == ellipse {
		if b := mark.levels[0].Rect; 3*b.Dx() > 2*b.Dy() && 3*b.Dy() > 2*b.Dx() {
			w.plate = disc
		}
	}
	for try := 0; ; try++ {
		if w.ground = paint(d); !mark.plain && d.is(0.5) {
			w.ground = white(d)
		}
		if math.Abs(w.ground.luma()-w.ink.luma()) >= 80 {
			break
		}
		if try == 8 {
			w.ground = white(d)
			if w.ink.luma() > 128 {
				w.ground = ash(d)
			}
			break
		}
	}
	if mark.plain && d.is(0.25) {
		w.rim = d.in(0.015, 0.04)
	}
	if d.is(0.5) {
		w.dark, w.soft = d.in(0.15, 0.5), d.in(0.03, 0.15)
		w.shadow = [2]float64{d.in(-0.06, 0.06), d.in(0, 0.08)}
	}
	return w
}

// paint is a colour that signs have: white, black, or a strong one.
func paint(d dice) rgb {
	switch {
	case d.is(0.25):
		return white(d)
	case d.is(0.25):
		return ash(d)
	}
	hue, saturation, value := d.in(0, 6), d.in(0.55, 1), d.in(70, 245)
	var c rgb
	for k := range c {
		t := math.Mod(hue+float64(2*(3-k)), 6)                          // sixths of the circle from the colour that k is
		c[k] = value * (1 - saturation*min(max(math.Abs(t-3)-1, 0), 1)) // as in HSV, turned by half a circle
	}
	return c
}

func white(d dice) rgb { v := d.in(215, 250); return rgb{v, v, v * d.in(0.94, 1)} }
func ash(d dice) rgb   { v := d.in(8, 45); return rgb{v, v, v * d.in(0.9, 1.15)} }

// distance is how far a point lies outside a plate, below 0 inside; near its edge, about.
func (w *dress) distance(u, v float64) float64 {
	switch w.plate {
	case disc, ellipse:
		return (math.Hypot(u/w.halfW, v/w.halfH) - 1) * min(w.halfW, w.halfH)
	}
	r := 0.0
	if w.plate == rounded {
		r = 0.35 * min(w.halfW, w.halfH)
	}
	x, y := math.Abs(u)-w.halfW+r, math.Abs(v)-w.halfH+r
	return math.Hypot(max(x, 0), max(y, 0)) + min(max(x, y), 0) - r
}
