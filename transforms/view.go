package transforms

import (
	"image"
	"math/rand/v2"
)

// view is a picture on its way through a list. Geometry is noted, not done: turning upright, cropping, one resize and
// cropping again are carried out together by pixels, which so touches only the part of the source that is seen and
// never makes a large picture in between.
type view struct {
	src image.Image
	// orientation is how src has to be turned, and turned whether it is to be. The rectangles below are of the turned
	// picture.
	orientation int
	turned      bool
	window      image.Rectangle // the part of src that counts
	to          image.Point     // what window is resized to; zero if it is not
	cut         image.Rectangle // the part of the resized window that counts
	owned       bool            // src is a *Image that may be written to
	moved       *projection     // how the points move after all that; nil for not at all. List.run has it carried out
}

func newView(src image.Image, orientation int) *view {
	b := src.Bounds()
	return &view{src: src, orientation: orientation, window: image.Rectangle{Max: b.Size()}}
}

func (v *view) size() (w, h int) {
	if v.to == (image.Point{}) {
		return v.window.Dx(), v.window.Dy()
	}
	return v.cut.Dx(), v.cut.Dy()
}

// turn applies the orientation. It is the first thing that happens to a view.
func (v *view) turn() {
	v.turned = true
	if turns[v.orientation].swap {
		v.window.Max.X, v.window.Max.Y = v.window.Max.Y, v.window.Max.X
	}
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

// maxResult bounds what a list may make of a picture, in pixels: a strip of 1 x 20,000 resized to a short side of 256
// would have 1.3 thousand million, unless it is cropped next.
const maxResult = 50_000_000

// pixels carries out what is noted, and returns the view's picture. Whoever writes to it takes writable instead.
func (v *view) pixels() (*Image, error) {
	w, h := v.size()
	m, plain := v.src.(*Image)
	if plain && v.to == (image.Point{}) && v.window == m.Bounds() && (!v.turned || v.orientation == 1) {
		return m, nil
	}
	if int64(w)*int64(h) > maxResult {
		return nil, reject(ReasonTooManyPixels, "the transforms make %d x %d pixels of it, the limit is %d", w, h, maxResult)
	}
	orientation := 1
	if v.turned {
		orientation = v.orientation
	}
	source := v.src.Bounds()
	if v.to == (image.Point{}) {
		m = convert(v.src, unturn(v.window, orientation, source.Size()).Add(source.Min))
	} else {
		to := v.to
		if turns[orientation].swap {
			to.X, to.Y = to.Y, to.X
		}
		window := unturn(v.window, orientation, source.Size()).Add(source.Min)
		m = resample(v.src, window, to, unturn(v.cut, orientation, to))
	}
	v.set(turnImage(m, orientation))
	return v.src.(*Image), nil
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
	*v = view{src: m, orientation: m.Orientation, window: m.Bounds(), owned: true}
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
