package model

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// Tensor is one entry of a safetensors file.
type Tensor struct {
	Type  string    // as the file calls it: F32, F16, BF16, I64, ...
	Shape []int     // empty for a single value
	Data  []float32 // row-major; nil when Type is none of F32, F16 and BF16
}

// maxHeader bounds the header of a safetensors file. Those of large public networks take some 100 kB.
const maxHeader = 8 << 20

// typeBytes are the element types of the format and their sizes.
var typeBytes = map[string]int64{
	"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I16": 2, "I8": 1,
	"U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}

var errNotSafetensors = errors.New("not a safetensors file")

// ReadSafetensors reads the tensors of a file of so many bytes in the safetensors format
// (https://github.com/huggingface/safetensors#format): a header of JSON, then the data of all tensors without gaps or
// overlaps, which is checked. F32, F16 and BF16 become float32; other types, such as the I64 counters beside batch
// normalisations, are listed without their values. It takes no more memory than twice the file, whatever the header
// claims.
func ReadSafetensors(r io.Reader, size int64) (map[string]Tensor, error) {
	r = io.LimitReader(r, size)
	var length [8]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, fmt.Errorf("%w: %d bytes are too few", errNotSafetensors, size)
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > uint64(size-8) || n > maxHeader {
		return nil, fmt.Errorf("%w: it begins with a header length of %d in a file of %d bytes; at most %d is read", errNotSafetensors, n, size, maxHeader)
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, fmt.Errorf("safetensors header: %w", err)
	}
	entries, err := parseHeader(header, size-8-int64(n))
	if err != nil {
		return nil, err
	}
	tensors := make(map[string]Tensor, len(entries))
	buffer := make([]byte, min(1<<16, max(size-8-int64(n), 0)))
	for _, e := range entries {
		t := Tensor{Type: e.Type, Shape: e.Shape}
		var decode func(dst []float32, src []byte)
		switch e.Type {
		case "F32":
			decode = func(dst []float32, src []byte) {
				for i := range dst {
					dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
				}
			}
		case "F16":
			decode = func(dst []float32, src []byte) {
				for i := range dst {
					dst[i] = FromHalf(binary.LittleEndian.Uint16(src[2*i:]))
				}
			}
		case "BF16":
			decode = func(dst []float32, src []byte) {
				for i := range dst {
					dst[i] = fromBfloat(binary.LittleEndian.Uint16(src[2*i:]))
				}
			}
		}
		bytes := e.Offsets[1] - e.Offsets[0]
		if decode == nil {
			if _, err := io.CopyN(io.Discard, r, bytes); err != nil {
				return nil, fmt.Errorf("safetensors: tensor %q: %w", e.name, err)
			}
			tensors[e.name] = t
			continue
		}
		width := typeBytes[e.Type]
		t.Data = make([]float32, bytes/width)
		for done := int64(0); done < bytes; {
			part := buffer[:min(bytes-done, int64(len(buffer))/width*width)]
			if _, err := io.ReadFull(r, part); err != nil {
				return nil, fmt.Errorf("safetensors: tensor %q: %w", e.name, err)
			}
			decode(t.Data[done/width:][:int64(len(part))/width], part)
			done += int64(len(part))
		}
		tensors[e.name] = t
	}
	return tensors, nil
}

type headerEntry struct {
	name    string
	Type    string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// parseHeader gives the tensors of a header in the order of their data, having checked that together they are exactly
// the bytes that follow it.
func parseHeader(header []byte, data int64) ([]headerEntry, error) {
	d := json.NewDecoder(bytes.NewReader(header))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("%w: the header is not a JSON object", errNotSafetensors)
	}
	var entries []headerEntry
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("safetensors header: %w", err)
		}
		name, _ := t.(string) // a key, or Token would have failed
		if seen[name] {
			return nil, fmt.Errorf("safetensors header: two tensors are named %q", name)
		}
		seen[name] = true
		if name == "__metadata__" {
			var m map[string]string
			if err := d.Decode(&m); err != nil {
				return nil, fmt.Errorf("safetensors header: __metadata__: %w", err)
			}
			continue
		}
		e := headerEntry{name: name}
		if err := d.Decode(&e); err != nil {
			return nil, fmt.Errorf("safetensors header: tensor %q: %w", name, err)
		}
		entries = append(entries, e)
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("safetensors header: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("safetensors header: something follows the JSON object")
	}
	slices.SortFunc(entries, func(a, b headerEntry) int {
		if a.Offsets[0] != b.Offsets[0] {
			return int(max(min(a.Offsets[0]-b.Offsets[0], 1), -1))
		}
		if a.Offsets[1] != b.Offsets[1] { // an empty tensor before the one that begins where it lies
			return int(max(min(a.Offsets[1]-b.Offsets[1], 1), -1))
		}
		return strings.Compare(a.name, b.name)
	})
	end := int64(0)
	for _, e := range entries {
		from, to := e.Offsets[0], e.Offsets[1]
		if from != end || to < from || to > data {
			return nil, fmt.Errorf("safetensors header: tensor %q lies at bytes %d to %d of %d; want it to begin at %d, where the one before it ends", e.name, from, to, data, end)
		}
		end = to
		width, ok := typeBytes[e.Type]
		if !ok {
			return nil, fmt.Errorf("safetensors header: tensor %q has the unknown type %q", e.name, e.Type)
		}
		bytes := width
		for _, dim := range e.Shape {
			if dim < 0 || dim > 0 && bytes > math.MaxInt64/int64(dim) {
				return nil, fmt.Errorf("safetensors header: tensor %q has the shape %v", e.name, e.Shape)
			}
			bytes *= int64(dim)
		}
		if bytes != to-from {
			return nil, fmt.Errorf("safetensors header: tensor %q of %s%v lies at bytes %d to %d; want %d bytes", e.name, e.Type, e.Shape, from, to, bytes)
		}
	}
	if end != data {
		return nil, fmt.Errorf("safetensors header: it describes %d bytes and %d follow; the file is cut short or has something appended", end, data)
	}
	return entries, nil
}

// WriteSafetensors writes tensors in the safetensors format as F32, or as F16 rounded to the nearest. The same tensors
// give the same bytes. A value too large for F16, a Shape that does not fit its Data and a tensor without Data are
// errors.
func WriteSafetensors(w io.Writer, tensors map[string]Tensor, half bool) error {
	kind, width := "F32", int64(4)
	if half {
		kind, width = "F16", 2
	}
	names := slices.Sorted(maps.Keys(tensors))
	header := map[string]any{"__metadata__": map[string]string{"format": "pt"}} // Python readers ask for it
	offset := int64(0)
	for _, name := range names {
		t := tensors[name]
		size := 1
		for _, dim := range t.Shape {
			size *= dim
		}
		if len(t.Data) != size || name == "__metadata__" {
			return fmt.Errorf("safetensors: tensor %q has %d values and the shape %v", name, len(t.Data), t.Shape)
		}
		shape := t.Shape
		if shape == nil {
			shape = []int{}
		}
		end := offset + int64(size)*width
		header[name] = headerEntry{Type: kind, Shape: shape, Offsets: [2]int64{offset, end}}
		offset = end
	}
	text, err := json.Marshal(header)
	if err != nil {
		return fmt.Errorf("safetensors header: %w", err)
	}
	text = append(text, strings.Repeat(" ", -len(text)&7)...) // so that the data are aligned in the file
	out := bufio.NewWriterSize(w, 1<<16)
	var number [8]byte
	binary.LittleEndian.PutUint64(number[:], uint64(len(text)))
	out.Write(number[:]) // a bufio.Writer keeps its first error for Flush
	out.Write(text)
	for _, name := range names {
		for _, v := range tensors[name].Data {
			if !half {
				binary.LittleEndian.PutUint32(number[:], math.Float32bits(v))
				out.Write(number[:4])
				continue
			}
			h := toHalf(v)
			if h&0x7fff == 0x7c00 && !math.IsInf(float64(v), 0) {
				return fmt.Errorf("safetensors: tensor %q holds %g, which is too large for F16; keep it in F32", name, v)
			}
			binary.LittleEndian.PutUint16(number[:], h)
			out.Write(number[:2])
		}
	}
	return out.Flush()
}
