package transforms

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/gif"
	"image/png"
	"io"
	"runtime"
	"strings"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"

	"github.com/logobeam/logobeam/transforms/jpeg"
)

// Decode turns the bytes of a JPEG, PNG, GIF, WebP, BMP or TIFF file into a picture, of an animation its first frame.
// The content decides the format. Inspect's checks come first. The error is an *Error; Decode does not panic.
//
// The picture is as stored: its field Orientation tells how it has to be turned, and the step Orient does so. Beside
// what Header.Memory says, the result takes 3 bytes a pixel; List.Tensor and List.Picture make small results without
// that copy.
func Decode(data []byte, lim Limits) (*Image, error) {
	src, h, err := decode(data, lim)
	if err != nil {
		return nil, err
	}
	m := FromImage(src)
	h.profile.apply(m.Pix)
	m.Orientation = h.Orientation
	return m, nil
}

// open begins the way of a file through a list. Of a JPEG it reads the header alone.
func open(data []byte, lim Limits) (*view, error) {
	if f, _ := sniff(data); f == formatJPEG {
		h, err := Inspect(data, lim)
		if err != nil {
			return nil, err
		}
		c, err := jpeg.DecodeConfig(data)
		if err != nil {
			return nil, classify(f, err)
		}
		v := newView(&jpegFile{data, c, lim}, h.Orientation)
		v.profile = profileOf(f, data)
		return v, nil
	}
	src, h, err := decode(data, lim)
	if err != nil {
		return nil, err
	}
	v := newView(whole{src}, h.Orientation)
	v.profile, v.memory = h.profile, h.Memory
	return v, nil
}

// decode returns the picture as its decoder leaves it.
func decode(data []byte, lim Limits) (src image.Image, h Header, err error) {
	h, err = Inspect(data, lim)
	if err != nil {
		return nil, Header{}, err
	}
	memory := h.Memory
	defer func() {
		if err != nil {
			collect(memory)
		}
	}()
	f := format(h.Format)
	defer func() {
		if p := recover(); p != nil {
			src, err = nil, reject(ReasonDecoderPanic, "%s: %v", f, p)
		}
	}()
	h.profile = profileOf(f, data)
	if f == formatWebP {
		if data, err = stillWebP(data); err != nil {
			return nil, Header{}, err
		}
	}
	ctx, stop := lim.deadline()
	defer stop()
	r := &timedReader{bytes.NewReader(data), ctx}
	switch f {
	case formatJPEG:
		var whole jpeg.Result
		whole, err = jpeg.Decode(data, jpeg.Options{Truncated: lim.Truncated, Context: ctx})
		src = whole.Image
	case formatPNG:
		src, err = png.Decode(r)
	case formatGIF:
		src, err = gif.Decode(r)
	case formatWebP:
		src, err = webp.Decode(r)
	case formatBMP:
		src, err = bmp.Decode(r)
	case formatTIFF:
		src, err = tiff.Decode(r)
	}
	if err != nil && ctx.Err() != nil {
		return nil, Header{}, lim.late(f)
	}
	if err != nil {
		return nil, Header{}, classify(f, err)
	}
	b := src.Bounds()
	if b.Empty() {
		return nil, Header{}, reject(ReasonZeroSize, "%s of %d x %d pixels", f, b.Dx(), b.Dy())
	}
	h.W, h.H = b.Dx(), b.Dy() // a GIF's first frame may be smaller than its screen
	return src, h, nil
}

// collect gives the memory of a picture back once it has been decoded, if it was much: where the next one begins before the
// collector comes around, two of them would be there at a time, of which limits and semaphores know one. It takes some
// milliseconds, and decoding a picture of that size takes a hundred.
func collect(memory int64) {
	const much = 32 << 20
	if memory > much {
		runtime.GC()
	}
}

// deadline is the time by which a picture has to be decoded that is begun now.
func (l Limits) deadline() (context.Context, context.CancelFunc) {
	if l.Time <= 0 {
		return context.Background(), func() {}
	}
	return context.WithTimeout(context.Background(), l.Time)
}

func (l Limits) late(f format) *Error {
	return reject(ReasonDecodeTimeout, "%s is not decoded in %v", f, l.Time)
}

// timedReader reads a file until its time is over. Decoders that cannot be stopped stop at an error of their reader.
type timedReader struct {
	file *bytes.Reader
	ctx  context.Context
}

func (r *timedReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.file.Read(p)
}

// ReadAt saves the decoder of TIFF a copy of the file.
func (r *timedReader) ReadAt(p []byte, at int64) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.file.ReadAt(p, at)
}

// classify finds the reason in a decoder's error. Only some of them have types.
func classify(f format, err error) *Error {
	e := &Error{Reason: ReasonCorrupt, Err: err}
	var j jpeg.UnsupportedError
	var p png.UnsupportedError
	var t tiff.UnsupportedError
	text := err.Error()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.HasSuffix(text, "EOF"),
		strings.Contains(text, "not enough"), strings.Contains(text, "short chunk"):
		e.Reason = ReasonTruncated
	case errors.As(err, &j), errors.As(err, &p), errors.As(err, &t), errors.Is(err, bmp.ErrUnsupported), strings.Contains(text, "not implemented"):
		e.Reason = ReasonUnsupportedFeature
	}
	if !strings.Contains(strings.ToLower(text), string(f)) {
		e.Detail = string(f)
	}
	return e
}
