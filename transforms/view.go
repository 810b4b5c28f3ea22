package transforms

import (
	"image"
	"math/rand/v2"
)

// view is a picture on its way through a list. Geometry is noted, not done: turning upright, mirroring, cropping, one resize
// and cropping again are carried out together, which so touches only the part of the source that is seen and never makes a
// large picture in between. A source that can decode a part, or at a lower scale, is decoded only then.
type view struct {
	src source
	// orientation is that of src. The rectangles below are of the picture turned by turn, which is the identity until the
	// step Orient.
	orientation int
	turn        turn
	window      image.Rectangle   // the part of the picture that counts
	to          image.Point       // what window is resized to; zero if it is not
	cut         image.Rectangle   // the part of the resized window that counts
	grey        image.Point       // size of the grey that the cut lies on; zero for none
	at          image.Point       // where it does
	owned       bool              // src is a *Image that may be written to
	profile     *profile          // of src's colours, which are converted last
	memory      int64             // that src took and may still take
	boxes       []image.Rectangle // where logos are in src as it is stored, for LogoCrop
	moved       *projection       // how the points move after all that; nil for not at all. List.run has it carried out
}

// source is where a view's pixels come from.
type source interface {
	// Size is that of the whole picture as stored.
	Size() image.Point
	// draw lends use a picture with all samples that g needs, which has one for g.scale x g.scale pixels, and g in the
	// picture's coordinates. Where g makes a picture of no size, its window is needed as it is.
	draw(g geometry, use func(src image.Image, g geometry)) error
}

// whole is a source that is decoded already.
type whole struct{ image.Image }

func (w whole) Size() image.Point { return w.Bounds().Size() }

func (w whole) draw(g geometry, use func(src image.Image, g geometry)) error {
	g.window, g.scale = g.window.Add(w.Bounds().Min), 1
	use(w.Image, g)
	return nil
}

func newView(src source, orientation int) *view {
	return &view{src: src, orientation: orientation, window: image.Rectangle{Max: src.Size()}}
}

func (v *view) size() (w, h int) {
	if v.grey != (image.Point{}) {
		return v.grey.X, v.grey.Y
	}
	if v.to == (image.Point{}) {
		return v.window.Dx(), v.window.Dy()
	}
	return v.cut.Dx(), v.cut.Dy()
}

// upright applies the orientation. It is the first thing that happens to a view.
func (v *view) upright() {
	v.turn = turns[v.orientation]
	if v.turn.swap {
		v.window.Max.X, v.window.Max.Y = v.window.Max.Y, v.window.Max.X
	}
}

// flip mirrors the view, left for right.
func (v *view) flip() {
	width := v.src.Size().X
	if v.turn.swap {
		width = v.src.Size().Y
		v.turn.mirrorY = !v.turn.mirrorY
	} else {
		v.turn.mirrorX = !v.turn.mirrorX
	}
	v.window.Min.X, v.window.Max.X = width-v.window.Max.X, width-v.window.Min.X
	v.cut.Min.X, v.cut.Max.X = v.to.X-v.cut.Max.X, v.to.X-v.cut.Min.X
}

// crop keeps w x h pixels from (x, y), which lie within the view.
func (v *view) crop(x, y, w, h int) {
	r := image.Rect(x, y, x+w, y+h)
	if v.to == (image.Point{}) {
		v.window = r.Add(v.window.Min)
	} else {
		v.cut = r.Add(v.cut.Min)
	}
}

func (v *view) resize(w, h int) error {
	if v.to != (image.Point{}) {
		if _, err := v.pixels(); err != nil {
			return err
		}
	}
	v.to = image.Pt(w, h)
	v.cut = image.Rectangle{Max: v.to}
	return nil
}

// onGrey notes that the view is resized to sw x sh pixels, which lie at (x, y) on w x h grey ones. Whatever comes after it
// works on the picture, which is made before.
func (v *view) onGrey(w, h, sw, sh, x, y int) error {
	err := v.resize(sw, sh)
	v.grey, v.at = image.Pt(w, h), image.Pt(x, y)
	return err
}

// framed lays the picture on the grey around it.
func (v *view) framed(m *Image) *Image {
	out := NewImage(v.grey.X, v.grey.Y)
	for i := range out.Pix {
		out.Pix[i] = fill
	}
	for y := range m.H {
		copy(out.Pix[3*((v.at.Y+y)*out.W+v.at.X):], m.Pix[3*y*m.W:3*(y+1)*m.W])
	}
	return out
}

// maxResult bounds what a list may make of a picture, in pixels: a strip of 1 x 20,000 resized to a short side of 256
// would have 1.3 thousand million, unless it is cropped next.
const maxResult = 50_000_000

// done is the view's picture if nothing is left to do.
func (v *view) done() *Image {
	if w, ok := v.src.(whole); ok && v.profile == nil && v.to == (image.Point{}) && v.turn == (turn{}) {
		if m, ok := w.Image.(*Image); ok && v.window == m.Bounds() {
			return m
		}
	}
	return nil
}

// pixels carries out what is noted, and returns the view's picture. Whoever writes to it takes writable instead.
func (v *view) pixels() (*Image, error) {
	if m := v.done(); m != nil {
		return m, nil
	}
	w, h := v.size()
	if int64(w)*int64(h) > maxResult {
		return nil, reject(ReasonTooManyPixels, "the transforms make %d x %d pixels of it, the limit is %d", w, h, maxResult)
	}
	var m *Image
	err := v.src.draw(v.geometry(), func(src image.Image, g geometry) {
		if g.to == (image.Point{}) {
			m = v.turn.apply(convert(src, g.window))
			return
		}
		m = NewImage(g.cut.Dx(), g.cut.Dy())
		resample(src, g, func(y int, rgb []uint8) { copy(m.Pix[3*y*m.W:], rgb) })
		m = turn{swap: v.turn.swap}.apply(m) // the rest is done
	})
	if err != nil {
		return nil, err
	}
	v.profile.apply(m.Pix)
	if v.grey != (image.Point{}) {
		m = v.framed(m)
	}
	v.set(m)
	return m, nil
}

// tensor is pixels, normalised, for which it makes no picture where a resize is left to do.
func (v *view) tensor(dst []float32, s Normalise) error {
	to := s.normal()
	if v.to == (image.Point{}) || v.turn.swap || v.grey != (image.Point{}) {
		m, err := v.pixels()
		if err == nil {
			normalise(dst, m.Pix, to)
		}
		return err
	}
	return v.src.draw(v.geometry(), func(src image.Image, g geometry) {
		width := 3 * g.cut.Dx()
		resample(src, g, func(y int, rgb []uint8) {
			v.profile.apply(rgb)
			normalise(dst[y*width:], rgb, to)
		})
	})
}

// geometry is what is noted, in the coordinates of the stored picture.
func (v *view) geometry() geometry {
	to := v.to
	if v.turn.swap {
		to.X, to.Y = to.Y, to.X
	}
	return geometry{window: v.turn.undo(v.window, v.src.Size()), to: to, cut: v.turn.undo(v.cut, to), mirrorX: v.turn.mirrorX, mirrorY: v.turn.mirrorY}
}

// writable is pixels for steps that change the picture in place.
func (v *view) writable() (*Image, error) {
	m, err := v.pixels()
	if err == nil && !v.owned {
		m = &Image{W: m.W, H: m.H, Pix: append([]uint8(nil), m.Pix...), Orientation: m.Orientation}
		v.set(m)
	}
	return m, err
}

// set replaces the picture.
func (v *view) set(m *Image) {
	*v = view{src: whole{m}, orientation: m.Orientation, window: m.Bounds(), owned: true}
}

// project notes that a step moves the picture's points, after what those before it moved.
func (v *view) project(s projective, r *rand.Rand) error {
	if r == nil {
		return nil
	}
	w, h := v.size()
	p := s.projection(w, h, r)
	if p == still {
		return nil
	}
	if v.moved != nil {
		p = v.moved.times(p)
	}
	v.moved = &p
	return nil
}

// move carries out what project noted.
func (v *view) move() error {
	if v.moved == nil {
		return nil
	}
	p := *v.moved
	m, err := v.pixels()
	if err != nil {
		return err
	}
	v.set(project(m, p))
	return nil
}

// cropAt crops w x h pixels at the centre, or with r anywhere.
func (v *view) cropAt(w, h int, r *rand.Rand) {
	vw, vh := v.size()
	x, y := (vw-w)/2, (vh-h)/2
	if r != nil {
		x, y = r.IntN(vw-w+1), r.IntN(vh-h+1)
	}
	v.crop(x, y, w, h)
}

// cover enlarges the view, keeping its shape, until neither side is shorter than size.
func (v *view) cover(size int) error {
	w, h := v.size()
	if w >= size && h >= size {
		return nil
	}
	return v.resize(shortSide(w, h, size))
}
