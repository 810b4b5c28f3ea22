package model

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// encoded is a safetensors file with this header and so many bytes of data: 0, 1, 2, ...
func encoded(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	b = append(b, header...)
	for i := range data {
		b = append(b, byte(i))
	}
	return b
}

// The bytes were written by hand from the format's description, not by WriteSafetensors.
func TestReadSafetensors(t *testing.T) {
	header := `{"__metadata__":{"format":"pt"},` +
		`"f":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},` +
		`"count":{"dtype":"I64","shape":[],"data_offsets":[16,24]},` +
		`"none":{"dtype":"F32","shape":[3,0],"data_offsets":[8,8]},` +
		`"h":{"dtype":"F16","shape":[1,2],"data_offsets":[8,12]},` +
		`"b":{"dtype":"BF16","shape":[2],"data_offsets":[12,16]}}   `
	file := encoded(header, 0)
	file = append(file, 0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc1) // 1, -10
	file = append(file, 0x00, 0x3c, 0x00, 0xc0)             // 1, -2
	file = append(file, 0x80, 0x3f, 0x49, 0x40)             // 1, 3.140625
	file = append(file, 9, 0, 0, 0, 0, 0, 0, 0)
	got, err := ReadSafetensors(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Tensor{
		"f":     {"F32", []int{2}, []float32{1, -10}},
		"count": {"I64", []int{}, nil},
		"none":  {"F32", []int{3, 0}, []float32{}},
		"h":     {"F16", []int{1, 2}, []float32{1, -2}},
		"b":     {"BF16", []int{2}, []float32{1, 3.140625}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestReadSafetensorsRefuses(t *testing.T) {
	two := func(a, b string) string { return fmt.Sprintf(`{"a":%s,"b":%s}`, a, b) }
	const fine = `{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`
	for _, c := range []struct {
		why  string
		file []byte
		want string
	}{
		{"empty", nil, "too few"},
		{"a few bytes", []byte("PNG"), "too few"},
		{"a header longer than the file", binary.LittleEndian.AppendUint64(nil, 100), "header length of 100"},
		{"a header longer than memory", binary.LittleEndian.AppendUint64(nil, math.MaxUint64), "header length"},
		{"no JSON", encoded(`PK`, 0), "not a JSON object"},
		{"a list", encoded(`[]`, 0), "not a JSON object"},
		{"JSON cut short", encoded(`{"a":`, 0), "header"},
		{"JSON not closed", encoded(`{"a":`+fine, 8), "header"},
		{"something after the JSON", encoded(`{"a":`+fine+`} x`, 8), "follows the JSON"},
		{"metadata of numbers", encoded(`{"__metadata__":{"a":1}}`, 0), "__metadata__"},
		{"one name twice", encoded(`{"a":`+fine+`,"a":`+fine+`}`, 8), "two tensors"},
		{"unknown type", encoded(`{"a":{"dtype":"F12","shape":[2],"data_offsets":[0,8]}}`, 8), "unknown type"},
		{"an overlap", encoded(two(fine, `{"dtype":"F32","shape":[2],"data_offsets":[4,12]}`), 12), "want it to begin at 8"},
		{"the same bytes twice", encoded(two(fine, fine), 8), "want it to begin at 8"},
		{"a gap", encoded(two(fine, `{"dtype":"F32","shape":[2],"data_offsets":[12,20]}`), 20), "want it to begin at 8"},
		{"a gap at the start", encoded(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), "want it to begin at 0"},
		{"past the end", encoded(`{"a":`+fine+`}`, 7), "bytes 0 to 8 of 7"},
		{"bytes left over", encoded(`{"a":`+fine+`}`, 9), "8 bytes and 9 follow"},
		{"end before begin", encoded(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,-8]}}`, 8), "0 to -8"},
		{"a shape too small", encoded(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}`, 8), "want 4 bytes"},
		{"a negative size", encoded(`{"a":{"dtype":"F32","shape":[-1,-2],"data_offsets":[0,8]}}`, 8), "shape [-1 -2]"},
		{"a product that wraps to 8 bytes", encoded(`{"a":{"dtype":"F32","shape":[4611686018427387904,4611686018427387904,2],"data_offsets":[0,8]}}`, 8), "shape"},
		{"a fraction", encoded(`{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,6]}}`, 6), "tensor \"a\""},
	} {
		if _, err := ReadSafetensors(bytes.NewReader(c.file), int64(len(c.file))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want an error with %q", c.why, err, c.want)
		}
	}
	file := encoded(`{"a":`+fine+`}`, 8)
	if _, err := ReadSafetensors(bytes.NewReader(file[:len(file)-3]), int64(len(file))); err == nil {
		t.Error("a file that became shorter than its size was read")
	}
}

func TestWriteSafetensors(t *testing.T) {
	tensors := map[string]Tensor{
		"b":   {Shape: []int{2, 2}, Data: []float32{1, -2.5, 0.1, 65504}},
		"a.w": {Shape: nil, Data: []float32{3}},
		"e":   {Shape: []int{0, 7}, Data: []float32{}},
	}
	for _, half := range []bool{false, true} {
		var file, again bytes.Buffer
		if err := WriteSafetensors(&file, tensors, half); err != nil {
			t.Fatal(err)
		}
		if err := WriteSafetensors(&again, tensors, half); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(file.Bytes(), again.Bytes()) {
			t.Error("two writes of the same tensors differ")
		}
		if n := binary.LittleEndian.Uint64(file.Bytes()); n%8 != 0 {
			t.Errorf("the header takes %d bytes, so the data are not aligned", n)
		}
		got, err := ReadSafetensors(&file, int64(file.Len()))
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]Tensor{
			"b":   {"F32", []int{2, 2}, []float32{1, -2.5, 0.1, 65504}},
			"a.w": {"F32", []int{}, []float32{3}},
			"e":   {"F32", []int{0, 7}, []float32{}},
		}
		if half {
			for name, w := range want {
				w.Type = "F16"
				want[name] = w
			}
			want["b"].Data[2] = 0.099975586 // the nearest half to 0.1
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("half %v: -want +got:\n%s", half, diff)
		}
	}
	for why, bad := range map[string]Tensor{
		"too large for a half":  {Shape: []int{1}, Data: []float32{65520}},
		"more values than said": {Shape: []int{1}, Data: []float32{1, 2}},
		"no values":             {Type: "I64", Shape: []int{1}},
	} {
		if err := WriteSafetensors(&bytes.Buffer{}, map[string]Tensor{"x": bad}, true); err == nil || !strings.Contains(err.Error(), `"x"`) {
			t.Errorf("%s: %v; want an error that names the tensor", why, err)
		}
	}
}

func FuzzSafetensors(f *testing.F) {
	f.Add(encoded(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[3,1],"data_offsets":[8,14]}}`, 14))
	f.Add(encoded(`{"__metadata__":{"k":"v"},"a":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"z":{"dtype":"BF16","shape":[0],"data_offsets":[8,8]}}`, 8))
	f.Add(encoded(`{}`, 0))
	f.Add(encoded(`{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}`, 0))
	f.Fuzz(func(t *testing.T, file []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		tensors, err := ReadSafetensors(bytes.NewReader(file), int64(len(file)))
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(100*len(file)+1<<20) { // entries of a header take some tens of times their text
			t.Fatalf("%d bytes took %d bytes of memory", len(file), used)
		}
		if err != nil {
			return
		}
		total := 0
		for name, tensor := range tensors {
			if tensor.Data == nil {
				delete(tensors, name)
			}
			total += 2 * len(tensor.Data)
		}
		if total > len(file) {
			t.Fatalf("%d bytes gave %d values", len(file), total/2)
		}
		var out bytes.Buffer
		if err := WriteSafetensors(&out, tensors, false); err != nil {
			t.Fatal(err)
		}
		again, err := ReadSafetensors(&out, int64(out.Len()))
		if err != nil {
			t.Fatal(err)
		}
		for name, tensor := range tensors {
			got := again[name]
			same := len(got.Data) == len(tensor.Data) && fmt.Sprint(got.Shape) == fmt.Sprint(tensor.Shape)
			for i := range got.Data {
				same = same && math.Float32bits(got.Data[i]) == math.Float32bits(tensor.Data[i])
			}
			if !same {
				t.Fatalf("%q: %v came back as %v", name, tensor, got)
			}
		}
		if len(again) != len(tensors) {
			t.Fatalf("%d tensors came back as %d", len(tensors), len(again))
		}
	})
}
