package transforms

import (
	"fmt"
	"image"
)

// MaxViews is how many views of a picture there are.
const MaxViews = 3

// Views gives lists that look at n parts of a picture, made from the list that a network is scored with:
//
//	1  that list alone
//	2  the whole picture in a letterbox, and its centre 10/7 as large as its shorter side would just fit
//	3  these, and the list itself
//
// A crop of the centre loses what stands at the edges, and of a banner nearly all; photographers point at what they
// mean, so small logos are in the centre. The list may hold orient, resize, letterbox, center-crop and normalise alone,
// and make squares.
func Views(list List, n int) ([]List, error) {
	if n < 1 || n > MaxViews {
		return nil, fmt.Errorf("%d views of a photograph: want 1 to %d", n, MaxViews)
	}
	if n == 1 {
		return []List{list}, nil
	}
	size, err := list.square()
	if err != nil {
		return nil, fmt.Errorf("%d views of a photograph: %w", n, err)
	}
	var views []List
	for _, geometry := range []List{
		{Letterbox{Size: size}},
		{Resize{Short: (10*size + 3) / 7}, CenterCrop{Size: size}},
	} {
		view := append(geometry, list[len(list)-1])
		if list[0] == Step(Orient{}) {
			view = append(List{Orient{}}, view...)
		}
		if err := view.Validate(); err != nil { // too large to be
			return nil, fmt.Errorf("%d views of a photograph: %w", n, err)
		}
		views = append(views, view)
	}
	return append(views, list)[:n], nil
}

// Resized is a list for scoring that makes size x size pixels of the same part of the picture. It may hold what Views
// allows.
func Resized(list List, size int) (List, error) {
	was, err := list.square()
	if err != nil {
		return nil, fmt.Errorf("pictures of %d x %d: %w", size, size, err)
	}
	scaled := func(n int) int { return (2*n*size + was) / (2 * was) }
	resized := make(List, len(list))
	for i, s := range list {
		switch s := s.(type) {
		case Resize:
			resized[i] = Resize{scaled(s.Short), scaled(s.Width), scaled(s.Height)}
		case CenterCrop:
			resized[i] = CenterCrop{scaled(s.Size)}
		case Letterbox:
			resized[i] = Letterbox{scaled(s.Size)}
		default:
			resized[i] = s
		}
	}
	return resized, resized.Validate()
}

// square is the side of the pictures that come out of a list whose steps are about geometry alone.
func (l List) square() (int, error) {
	if err := l.Validate(); err != nil {
		return 0, err
	}
	for i, s := range l {
		switch s.(type) {
		case Orient, Resize, Letterbox, CenterCrop, Normalise:
		default:
			return 0, fmt.Errorf("transform %d of the model's list is %s, which has no counterpart there", i+1, s.Name())
		}
	}
	w, h := l.Size()
	if w != h {
		return 0, fmt.Errorf("the model's list makes pictures of %d x %d, which are not square", w, h)
	}
	return w, nil
}

// Tensors does for several lists what List.Tensor does for one, and decodes the file once where that can be. Each list's dst
// is asked for in their order, when the one before is written.
func Tensors(lists []List, data []byte, key Key, lim Limits, dst func(i int) []float32) error {
	if len(lists) == 1 {
		return lists[0].Tensor(data, key, lim, dst(0))
	}
	file, err := open(data, lim)
	if err != nil {
		return err
	}
	defer collect(file.memory)
	views := make([]*view, len(lists))
	for i, l := range lists {
		if err := l.Validate(); err != nil {
			return err
		}
		v := *file
		if err := l.run(&v, key); err != nil {
			return err
		}
		views[i] = &v
	}
	each := func() error {
		for i, v := range views {
			l, to := lists[i], dst(i)
			if w, h := l.Size(); len(to) != 3*w*h {
				return fmt.Errorf("transforms: dst has %d numbers, a picture of %d x %d has %d", len(to), w, h, 3*w*h)
			}
			if err := v.tensor(to, l[len(l)-1].(Normalise)); err != nil {
				return err
			}
		}
		return nil
	}
	f, ok := file.src.(*jpegFile)
	if !ok {
		return each()
	}
	var all []geometry
	for _, v := range views {
		if v.src != source(f) || v.to == (image.Point{}) {
			return each()
		}
		all = append(all, v.geometry())
	}
	var inner error
	err = f.drawAll(all, func(src image.Image, scale int) {
		for _, v := range views {
			v.src = decodedJPEG{src, f, scale}
		}
		inner = each()
	})
	if err == nil {
		err = inner
	}
	return err
}

// decodedJPEG is a JPEG of which enough was decoded, at a scale.
type decodedJPEG struct {
	pixels image.Image
	file   *jpegFile
	scale  int
}

func (d decodedJPEG) Size() image.Point { return d.file.Size() }

func (d decodedJPEG) draw(g geometry, use func(src image.Image, g geometry)) error {
	g.scale, g.chroma = d.scale, d.file.chroma()
	use(d.pixels, g)
	return nil
}
