// Package transforms turns the bytes of an image file into what a network sees: decoding, then a list of named steps.
// The list is data: it is stored in the model file, and training and scoring run the same one.
//
//	list, err := transforms.Parse([]byte(`[
//		{"step": "orient"},
//		{"step": "resize", "short": 256},
//		{"step": "center-crop", "size": 224},
//		{"step": "normalise", "mean": [127, 127, 127], "std": [128, 128, 128]}
//	]`))
//	input := make([]float32, 224*224*3)
//	err = list.Tensor(data, transforms.Key{Epoch: -1}, transforms.DefaultLimits(), input)
//
// The steps are, in the order in which lists usually have them:
//
//	orient               turn the picture upright
//	logo-crop            a part around a logo, where it is known
//	resize               to a short side, or to a width and height
//	letterbox            all of it in its own shape, on grey
//	center-crop          the middle
//	random-crop          a part of a fixed size
//	random-resized-crop  a part of random size and shape
//	random-zoom-out      smaller, on grey
//	horizontal-flip      left for right
//	random-rotation      about the centre
//	random-perspective   as if from aside
//	color-jitter         brightness, contrast, saturation, hue
//	random-grayscale     no colours
//	gaussian-blur        out of focus
//	jpeg                 saved once more, at a low quality
//	random-erasing       a part covered with noise
//	normalise            to the network's range
//
// The types of this package, Orient to Normalise, document their parameters; Register adds steps of other packages. Random steps depend on a Key alone, and
// integers or single operations of IEEE 754 make their pixels, so that these are the same on every machine.
//
// JPEG, PNG, GIF, WebP, BMP and TIFF are decoded, of animations the first frame. What cannot be decoded gives an *Error
// with one of a closed set of reasons, and the name of what it is; hostile files cannot take more memory or time than
// Limits allow, nor crash the program. Pictures are 8-bit sRGB: 16-bit samples are reduced, what is transparent lies on
// white, and colour profiles of RGB by a matrix (Display P3, Adobe RGB) are converted; others are ignored.
package transforms

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"math/rand/v2"
	"reflect"
	"strings"

	"github.com/logobeam/logobeam/model/nearest"
)

// Pixels is a name for how pixels come about. It changes whenever the same file and list give others than before, so that
// runs can tell results apart.
const Pixels = "2"

// Step is one transform with its parameters. The steps are types of this package, and what Of makes of a Custom one.
type Step interface {
	Name() string    // in a list's JSON
	Validate() error // of the parameters
	// size is what becomes of a w x h picture, 0 x 0 where that is not known.
	size(w, h int) (int, int)
	// apply works on v, with a generator for training and nil for scoring.
	apply(v *view, r *rand.Rand) error
}

// steps has an entry for each step there is, in the order in which lists usually have them.
var steps = []Step{
	Orient{}, LogoCrop{}, Resize{}, Letterbox{}, CenterCrop{}, RandomCrop{}, RandomResizedCrop{}, RandomZoomOut{}, HorizontalFlip{}, RandomRotation{},
	RandomPerspective{}, ColorJitter{}, RandomGrayscale{}, GaussianBlur{}, JPEG{}, RandomErasing{}, Normalise{},
}

// List is a sequence of steps. As JSON it is an array of objects, each with its step's name and parameters:
//
//	[{"step":"resize","short":256},{"step":"center-crop","size":224}]
type List []Step

// DefaultScoring shrinks the upright picture until its short side is 8/7 of size, and takes the size x size pixels at
// the centre, normalised with mean and std in units of 0 to 255.
func DefaultScoring(size int, mean, std [3]float64) List {
	return List{Orient{}, Resize{Short: (8*size + 3) / 7}, CenterCrop{Size: size}, Normalise{Mean: mean, Std: std}}
}

// DefaultTraining takes a random part of the upright picture, with random colours, and mirrors nothing: logos hold
// letters.
func DefaultTraining(size int, mean, std [3]float64) List {
	return List{
		Orient{},
		RandomResizedCrop{Size: size, Scale: [2]float64{0.3, 1}, Ratio: [2]float64{0.75, 1.333}},
		ColorJitter{Brightness: 0.3, Contrast: 0.3, Saturation: 0.3, Hue: 0.05},
		Normalise{Mean: mean, Std: std},
	}
}

// StrongTraining makes the most of a few photographs of each logo, by strong augmentation in the sense of FixMatch (Sohn
// et al., 2020): logos that are close, where boxes say where they are, small, tilted and seen from aside, and what happens
// to photographs: other colours, blur, compression, lost colours, something in front. It takes more epochs than DefaultTraining.
func StrongTraining(size int, mean, std [3]float64) List {
	return List{
		Orient{},
		LogoCrop{Scale: [2]float64{1.1, 8}, Probability: 0.7},
		RandomResizedCrop{Size: size, Scale: [2]float64{0.4, 1}, Ratio: [2]float64{0.75, 1.333}},
		RandomZoomOut{Side: [2]float64{1, 2.5}, Probability: 0.4},
		RandomRotation{Degrees: 15},
		RandomPerspective{Distortion: 0.3, Probability: 0.5},
		ColorJitter{Brightness: 0.4, Contrast: 0.4, Saturation: 0.4, Hue: 0.1},
		RandomGrayscale{Probability: 0.1},
		GaussianBlur{Sigma: [2]float64{0.1, 2}, Probability: 0.25},
		JPEG{Quality: [2]int{30, 90}, Probability: 0.25},
		RandomErasing{Probability: 0.25, Scale: [2]float64{0.02, 0.2}, Ratio: [2]float64{0.3, 3.3}},
		Normalise{Mean: mean, Std: std},
	}
}

const (
	maxListBytes = 64 << 10
	maxSteps     = 32
)

// Parse reads a list from JSON. It rejects unknown steps and parameters, naming the nearest known, values out of range,
// and orient, logo-crop or normalise in the wrong place. Whether the list makes a network's input, Validate says.
func Parse(data []byte) (List, error) {
	if len(data) > maxListBytes {
		return nil, fmt.Errorf("list of transforms has %d bytes, the limit is %d", len(data), maxListBytes)
	}
	var raw []map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf(`list of transforms: want an array of objects with a "step" each: %w`, err)
	}
	if len(raw) > maxSteps {
		return nil, fmt.Errorf("list of transforms has %d steps, the limit is %d", len(raw), maxSteps)
	}
	l := make(List, len(raw))
	for i, parameters := range raw {
		s, err := parseStep(parameters)
		if err != nil {
			return nil, fmt.Errorf("transform %d: %w", i+1, err)
		}
		l[i] = s
	}
	return l, l.check()
}

func parseStep(parameters map[string]json.RawMessage) (Step, error) {
	var name string
	if err := json.Unmarshal(parameters["step"], &name); err != nil {
		return nil, errors.New(`no "step" with the name of a step`)
	}
	var zero Step
	var names []string
	for _, s := range known() {
		names = append(names, s.Name())
		if s.Name() == name {
			zero = s
		}
	}
	if zero == nil {
		return nil, fmt.Errorf("no step %q%s (the steps: %s)", name, nearest.Hint(name, names), strings.Join(names, " "))
	}
	own, isCustom := zero.(custom)
	t := reflect.TypeOf(zero)
	if isCustom {
		t = reflect.TypeOf(own.Custom)
	}
	s := reflect.New(t)
	fields := map[string]reflect.Value{}
	var known []string
	for i := range s.Elem().NumField() {
		key, _, _ := strings.Cut(s.Elem().Type().Field(i).Tag.Get("json"), ",")
		fields[key] = s.Elem().Field(i)
		known = append(known, key)
	}
	for key, value := range parameters {
		if key == "step" {
			continue
		}
		field, ok := fields[key]
		switch {
		case !ok && len(known) == 0:
			return nil, fmt.Errorf("%s has no parameters, found %q", name, key)
		case !ok:
			return nil, fmt.Errorf("%s has no parameter %q%s (its parameters: %s)", name, key, nearest.Hint(key, known), strings.Join(known, " "))
		}
		if field.Kind() == reflect.Array {
			var numbers []float64
			if err := json.Unmarshal(value, &numbers); err != nil || len(numbers) != field.Len() {
				return nil, fmt.Errorf("%s: %q wants %d numbers in brackets", name, key, field.Len())
			}
		}
		if err := json.Unmarshal(value, field.Addr().Interface()); err != nil || string(value) == "null" {
			if field.Kind() == reflect.Array { // of numbers, so what is wrong is that they are fractions
				return nil, fmt.Errorf("%s: %q wants whole numbers, found %.40s", name, key, value)
			}
			return nil, fmt.Errorf("%s: %q wants a number, found %.40s", name, key, value)
		}
	}
	var step Step
	if isCustom {
		step = Of(s.Elem().Interface().(Custom))
	} else {
		step = s.Elem().Interface().(Step)
	}
	if err := step.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return step, nil
}

// check looks at the order of steps.
func (l List) check() error {
	if len(l) > maxSteps {
		return fmt.Errorf("list of transforms has %d steps, the limit is %d", len(l), maxSteps)
	}
	for i, s := range l {
		switch s.(type) {
		case Orient:
			if i != 0 {
				return fmt.Errorf("transform %d: orient has to be the first step", i+1)
			}
		case LogoCrop:
			if i > 1 || i == 1 && l[0] != (Orient{}) {
				return fmt.Errorf("transform %d: logo-crop has to be the first step, or the second after orient", i+1)
			}
		case Normalise:
			if i != len(l)-1 {
				return fmt.Errorf("transform %d: normalise has to be the last step", i+1)
			}
		}
	}
	return nil
}

// Validate checks that the list makes a network's input: its parameters are in range, its last step is normalise, and what
// comes out has one size for all pictures.
func (l List) Validate() error {
	for i, s := range l {
		if s == nil {
			return fmt.Errorf("transform %d: none given", i+1)
		}
		if err := s.Validate(); err != nil {
			return fmt.Errorf("transform %d: %s: %w", i+1, s.Name(), err)
		}
	}
	if err := l.check(); err != nil {
		return err
	}
	if len(l) == 0 || l[len(l)-1].Name() != "normalise" {
		return errors.New("list of transforms: the last step has to be normalise")
	}
	if w, h := l.Size(); w == 0 || h == 0 {
		return errors.New("list of transforms: pictures of different sizes come out: add center-crop, or resize with width and height")
	}
	return nil
}

// Size is the width and height of what comes out, 0 x 0 where it differs from picture to picture.
func (l List) Size() (w, h int) {
	for _, s := range l {
		w, h = s.size(w, h)
	}
	return w, h
}

// MarshalJSON writes the array that Parse reads.
func (l List) MarshalJSON() ([]byte, error) {
	b := []byte{'['}
	for i, s := range l {
		parameters, err := json.Marshal(s)
		if err != nil {
			return nil, fmt.Errorf("transform %d: %s: %w", i+1, s.Name(), err)
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"step":%q`, s.Name())
		if inner := bytes.TrimSuffix(parameters[1:], []byte("}")); len(inner) > 0 {
			b = append(append(b, ','), inner...)
		}
		b = append(b, '}')
	}
	return append(b, ']'), nil
}

// UnmarshalJSON is Parse.
func (l *List) UnmarshalJSON(data []byte) error {
	parsed, err := Parse(data)
	if err == nil {
		*l = parsed
	}
	return err
}

// Tensor makes a network's input of a file: [y][x][channel] in dst, whose length has to be width x height x 3 of Size. The
// list has to pass Validate. If the file is at fault, errors.As finds an *Error. Tensor may be called from many goroutines.
func (l List) Tensor(data []byte, key Key, lim Limits, dst []float32) error {
	if err := l.Validate(); err != nil {
		return err
	}
	if w, h := l.Size(); len(dst) != 3*w*h {
		return fmt.Errorf("transforms: dst has %d numbers, a picture of %d x %d has %d", len(dst), w, h, 3*w*h)
	}
	v, err := open(data, lim)
	if err != nil {
		return err
	}
	defer collect(v.memory)
	if err := l.run(v, key); err != nil {
		return err
	}
	return v.tensor(dst, l[len(l)-1].(Normalise))
}

// Picture runs all steps but normalise on a file: what the network sees, for people to look at. The list need not pass
// Validate; an empty one decodes. If the file is at fault, errors.As finds an *Error.
func (l List) Picture(data []byte, key Key, lim Limits) (*Image, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	v, err := open(data, lim)
	if err != nil {
		return nil, err
	}
	defer collect(v.memory)
	if err := l.run(v, key); err != nil {
		return nil, err
	}
	return v.pixels()
}

// Apply runs all steps but normalise on a picture, which it leaves as it is.
func (l List) Apply(m *Image, key Key) (*Image, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	v := newView(whole{m}, min(max(m.Orientation, 1), 8))
	if err := l.run(v, key); err != nil {
		return nil, err
	}
	return v.pixels()
}

func (l List) run(v *view, key Key) error {
	v.boxes = key.Boxes
	for i, s := range l {
		var err error
		if _, last := s.(Normalise); v.grey != (image.Point{}) && !last {
			_, err = v.pixels()
		} else if _, more := s.(projective); !more {
			err = v.move()
		}
		if err == nil {
			err = s.apply(v, key.random(i))
		}
		if err != nil {
			return fmt.Errorf("transform %d: %s: %w", i+1, s.Name(), err)
		}
	}
	return v.move()
}

var _ image.Image = (*Image)(nil)
