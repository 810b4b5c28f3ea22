package transforms

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"slices"
	"testing"
)

type iccCase struct {
	Name     string
	ICC      []byte
	From, To [][3]int
}

// iccCases were computed by LittleCMS 2.19: testdata/make/profiles.py.
func iccCases(t testing.TB) (cases []iccCase) {
	t.Helper()
	if err := json.Unmarshal(read(t, "icc.json"), &cases); err != nil || len(cases) < 12 {
		t.Fatal(len(cases), err)
	}
	return cases
}

func displayP3(t testing.TB) []byte {
	t.Helper()
	for _, c := range iccCases(t) {
		if c.Name == "Display P3" {
			return c.ICC
		}
	}
	t.Fatal("no profile of Display P3")
	return nil
}

func TestProfiles(t *testing.T) {
	for _, c := range iccCases(t) {
		p := parseICC(c.ICC)
		if p == nil {
			t.Errorf("%s: not taken for a matrix profile", c.Name)
			continue
		}
		if got, want := p.isSRGB(), slices.Equal(c.From, c.To); got != want {
			t.Errorf("%s: taken for sRGB: %v, want %v", c.Name, got, want)
		}
		for i, from := range c.From {
			m := Image{W: 1, H: 1, Pix: []uint8{uint8(from[0]), uint8(from[1]), uint8(from[2])}}
			p.apply(m.Pix)
			for k, want := range c.To[i] {
				if d := int(m.Pix[k]) - want; d < -1 || d > 1 {
					t.Errorf("%s: %v became %v, LittleCMS says %v", c.Name, from, m.Pix, c.To[i])
					break
				}
			}
		}
		for grey := range 256 { // one curve for all channels: what is grey stays grey
			m := Image{W: 1, H: 1, Pix: []uint8{uint8(grey), uint8(grey), uint8(grey)}}
			if p.apply(m.Pix); m.Pix[0] != m.Pix[1] || m.Pix[0] != m.Pix[2] {
				t.Errorf("%s: grey %d became %v", c.Name, grey, m.Pix)
			}
		}
	}
}

// The files were written by Pillow from reference.png, with the profile of Display P3.
func TestEmbeddedProfiles(t *testing.T) {
	icc := displayP3(t)
	want, err := Decode(read(t, "reference.png"), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	plain := Image{W: want.W, H: want.H, Pix: slices.Clone(want.Pix)}
	parseICC(icc).apply(want.Pix)
	if _, mean := difference(t, want, &plain); mean < 3 {
		t.Fatalf("the profile changes the picture by %.2f: too little for a test", mean)
	}
	jpg := read(t, "p3.jpg")
	var bare []byte // without the segment
	at := bytes.Index(jpg, []byte("ICC_PROFILE"))
	bare = slices.Concat(jpg[:at-4], jpg[at-2+int(binary.BigEndian.Uint16(jpg[at-2:])):])
	segment := func(number, of byte, part []byte) []byte {
		s := binary.BigEndian.AppendUint16([]byte{0xff, 0xe2}, uint16(16+len(part)))
		return append(append(append(s, "ICC_PROFILE\x00"...), number, of), part...)
	}
	spread := func(segments ...[]byte) []byte {
		return slices.Concat(bare[:2], slices.Concat(segments...), bare[2:])
	}
	for _, test := range []struct {
		name    string
		data    []byte
		mean    float64
		applied bool
	}{
		{"jpeg", jpg, 1.5, true},
		{"png", read(t, "p3.png"), 0, true},
		{"webp", read(t, "p3.webp"), 0, true},
		{"tiff", read(t, "p3.tiff"), 0, true},
		{"jpeg, three segments", spread(segment(1, 3, icc[:100]), segment(2, 3, icc[100:300]), segment(3, 3, icc[300:])), 1.5, true},
		{"jpeg, three segments out of order", spread(segment(3, 3, icc[300:]), segment(1, 3, icc[:200]), segment(2, 3, icc[200:300])), 1.5, true},
		{"jpeg, a segment twice", spread(segment(1, 1, icc), segment(1, 1, icc[:5])), 1.5, true},
		{"jpeg, a segment missing", spread(segment(1, 3, icc[:200]), segment(3, 3, icc[200:])), 1.5, false},
		{"jpeg, numbered from zero", spread(segment(0, 1, icc)), 1.5, false},
		{"jpeg, more segments than numbers", spread(segment(255, 255, icc)), 1.5, false},
		{"jpeg, profile cut off", spread(segment(1, 1, icc[:len(icc)-20])), 1.5, false},
		{"jpeg, without", bare, 1.5, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Decode(test.data, DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			other := want
			if !test.applied {
				other = &plain
			}
			if _, mean := difference(t, got, other); mean > test.mean {
				t.Errorf("mean difference %.2f, want at most %v", mean, test.mean)
			}
			listed, err := List{Orient{}}.Picture(test.data, scoring, DefaultLimits())
			if err != nil || !bytes.Equal(listed.Pix, got.Pix) {
				t.Errorf("Picture and Decode differ: %v", err)
			}
		})
	}
	// A network's input is made without a picture in between, a row at a time, and converted all the same.
	input := List{Resize{Width: 12, Height: 8}, Normalise{Std: [3]float64{1, 1, 1}}}
	for _, data := range [][]byte{jpg, read(t, "p3.png")} {
		values := make([]float32, 12*8*3)
		if err := input.Tensor(data, scoring, DefaultLimits(), values); err != nil {
			t.Fatal(err)
		}
		picture, err := input.Picture(data, scoring, DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range picture.Pix {
			if d := values[i] - float32(v); d < -0.01 || d > 0.01 {
				t.Fatalf("value %d of the network's input is %v, the picture's is %d", i, values[i], v)
			}
		}
	}
	// After a resize the same colours come out, within what averaging other codes makes of edges, and only once.
	small := List{Resize{Width: 12, Height: 8}, ColorJitter{Brightness: 0.1}, Resize{Width: 11, Height: 7}}
	got, err := small.Picture(read(t, "p3.png"), scoring, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	first, err := small.Apply(want, scoring)
	if err != nil {
		t.Fatal(err)
	}
	if largest, mean := difference(t, got, first); largest > 12 || mean > 1 {
		t.Errorf("converted after the resize: mean difference %.2f, largest %d, to converted before", mean, largest)
	}
}

// TestProfilesIgnored takes a sound profile apart.
func TestProfilesIgnored(t *testing.T) {
	sound := displayP3(t)
	tag := func(name string) int { return bytes.Index(sound, []byte(name)) }
	place := func(name string) int { return int(binary.BigEndian.Uint32(sound[tag(name)+4:])) }
	for name, change := range map[string]func(icc []byte) []byte{
		"empty":                  func([]byte) []byte { return nil },
		"a header alone":         func(icc []byte) []byte { return icc[:131] },
		"no tags":                func(icc []byte) []byte { return icc[:132] },
		"CMYK":                   func(icc []byte) []byte { copy(icc[16:], "CMYK"); return icc },
		"grey":                   func(icc []byte) []byte { copy(icc[16:], "GRAY"); return icc },
		"connected by Lab":       func(icc []byte) []byte { copy(icc[20:], "Lab "); return icc },
		"another signature":      func(icc []byte) []byte { copy(icc[36:], "ASCP"); return icc },
		"no curve of green":      func(icc []byte) []byte { copy(icc[tag("gTRC"):], "gTRX"); return icc },
		"no primary":             func(icc []byte) []byte { copy(icc[tag("bXYZ"):], "bXYX"); return icc },
		"a tag beyond the end":   func(icc []byte) []byte { copy(icc[tag("bXYZ")+4:], "\xff\xff\xff\xf0"); return icc },
		"a tag too long":         func(icc []byte) []byte { copy(icc[tag("bXYZ")+8:], "\xff\xff\xff\xff"); return icc },
		"a tag too short":        func(icc []byte) []byte { copy(icc[tag("bXYZ")+8:], "\x00\x00\x00\x0a"); return icc },
		"an unknown curve":       func(icc []byte) []byte { copy(icc[place("rTRC"):], "sf32"); return icc },
		"an unknown function":    func(icc []byte) []byte { icc[place("rTRC")+9] = 5; return icc },
		"a table beyond the end": func(icc []byte) []byte { copy(icc[place("rTRC"):], "curv\x00\x00\x00\x00\xff\xff\xff\xff"); return icc },
		"white that is not D50":  func(icc []byte) []byte { copy(icc[place("rXYZ")+8:], "\x00\x00\x00\x00"); return icc },
		"a negative primary":     func(icc []byte) []byte { copy(icc[place("rXYZ")+8:], "\x80\x00\x00\x00"); return icc },
		"a megabyte and more":    func(icc []byte) []byte { return append(icc, make([]byte, maxICC)...) },
	} {
		if p := parseICC(change(slices.Clone(sound))); p != nil {
			t.Errorf("%s: taken for a matrix profile", name)
		}
	}
}

func FuzzICC(f *testing.F) {
	for _, c := range iccCases(f) {
		f.Add(c.ICC)
	}
	f.Fuzz(func(t *testing.T, icc []byte) {
		p := parseICC(icc)
		if p == nil {
			return
		}
		for c := range 3 {
			for _, v := range p.light[c] {
				if v < 0 || v > unitLight {
					t.Fatalf("light %d of channel %d", v, c)
				}
			}
			if row := p.matrix[c]; row[0]+row[1]+row[2] != unitLight {
				t.Fatalf("row %v does not keep white", row)
			}
		}
		p.isSRGB()
	})
}

func BenchmarkProfile(b *testing.B) {
	icc := displayP3(b)
	m := NewImage(224, 224)
	for i := range m.Pix {
		m.Pix[i] = uint8(i * 7)
	}
	b.Run("parse", func(b *testing.B) {
		for b.Loop() {
			parseICC(icc).isSRGB()
		}
	})
	b.Run("apply", func(b *testing.B) {
		p := parseICC(icc)
		for b.Loop() {
			p.apply(m.Pix)
		}
	})
}
