package transforms

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"io"
	"math"
	"sync"
)

// profile takes the colours of a file to sRGB, where they are those of other primaries or other curves: Display P3, Adobe
// RGB, ProPhoto. Each code becomes light, a matrix turns light of the file's primaries into light of sRGB's, and that
// becomes a code again; what sRGB cannot show is clipped. A nil profile leaves pictures as they are.
//
// It is applied to what is left of a picture after geometry. The difference to converting all pixels first is that they
// are averaged as the file's codes, not as sRGB's; both are powers of light that are nearly the same, so it is seen at edges
// between strong colours alone, and it is what makes the conversion cost next to nothing.
type profile struct {
	light  [3][256]int32 // of each channel's codes, 0 to unitLight
	matrix [3][3]int32   // rows for sRGB's red, green and blue; each adds up to unitLight, so that grey stays grey
}

const (
	lightBits = 14 // a step of light is a fifth of a code where the curve is steepest
	unitLight = 1 << lightBits
)

// apply converts pixels of three bytes in place.
func (p *profile) apply(rgb []uint8) {
	if p == nil {
		return
	}
	code, m0, m1, m2 := codesOfLight(), p.matrix[0], p.matrix[1], p.matrix[2]
	at := func(v int32) uint8 { return code[min(max(v>>lightBits, 0), unitLight)] }
	for i := 0; i+3 <= len(rgb); i += 3 {
		pixel := rgb[i : i+3 : i+3]
		r, g, b := p.light[0][pixel[0]], p.light[1][pixel[1]], p.light[2][pixel[2]]
		pixel[0] = at(m0[0]*r + m0[1]*g + m0[2]*b + unitLight/2)
		pixel[1] = at(m1[0]*r + m1[1]*g + m1[2]*b + unitLight/2)
		pixel[2] = at(m2[0]*r + m2[1]*g + m2[2]*b + unitLight/2)
	}
}

// codesOfLight is sRGB's curve (IEC 61966-2-1) from light to codes.
var codesOfLight = sync.OnceValue(func() *[unitLight + 1]uint8 {
	var code [unitLight + 1]uint8
	for i := range code {
		v := float64(i) / unitLight
		if v <= 0.0031308 {
			v *= 12.92
		} else {
			v = 1.055*math.Pow(v, 1/2.4) - 0.055
		}
		code[i] = uint8(math.Round(255 * v))
	}
	return &code
})

// profileOf reads the colour profile that is embedded in a file, if it is one that matters: nil where there is none, where
// it is that of sRGB, and where it is no matrix profile of RGB or breaks the rules. Like EXIF, profiles are often wrong,
// and never a reason to lose a picture.
func profileOf(f format, data []byte) *profile {
	p := parseICC(embeddedICC(f, data))
	if p == nil || p.isSRGB() {
		return nil
	}
	return p
}

// maxICC is the size of the largest profile that is read. Those of RGB by a matrix have a few kilobytes.
const maxICC = 1 << 20

// embeddedICC finds the profile in a file: JPEG by ICC.1:2022 B.4, PNG chunk iCCP, WebP chunk ICCP, TIFF tag 34675.
func embeddedICC(f format, data []byte) (icc []byte) {
	switch f {
	case formatJPEG:
		icc = iccOfJPEG(data)
	case formatPNG:
		walkPNG(data, func(name string, chunk []byte) bool {
			if name == "iCCP" { // a name, zero, the method of compression, which is 0
				if at := bytes.IndexByte(chunk, 0); at >= 0 && at+2 <= len(chunk) && chunk[at+1] == 0 {
					if z, err := zlib.NewReader(bytes.NewReader(chunk[at+2:])); err == nil {
						icc, _ = io.ReadAll(io.LimitReader(z, maxICC)) // if it is cut off, its tags will tell
					}
				}
			}
			return icc == nil && name != "IDAT"
		})
	case formatWebP:
		walkWebP(data, func(name string, chunk []byte) bool {
			if name == "ICCP" {
				icc = chunk
			}
			return icc == nil
		})
	case formatTIFF:
		walkIFD(data, func(tag uint16, _ uint32, values []byte) {
			if tag == 34675 {
				icc = values
			}
		})
	}
	return icc
}

// iccOfJPEG puts together what is spread over several segments, each with its number and the number of all.
func iccOfJPEG(data []byte) []byte {
	var parts [256][]byte
	last, size := 0, 0
	walkJPEG(data, func(marker byte, segment []byte) bool {
		part, ok := bytes.CutPrefix(segment, []byte("ICC_PROFILE\x00"))
		if marker != 0xe2 || !ok || len(part) < 2 || part[0] == 0 {
			return true
		}
		if parts[part[0]] == nil {
			parts[part[0]] = part[2:]
			size += len(part) - 2
		}
		last = int(part[1])
		return true
	})
	if last <= 1 {
		return parts[1]
	}
	if size > maxICC {
		return nil
	}
	icc := make([]byte, 0, size)
	for _, part := range parts[1 : last+1] {
		if part == nil {
			return nil
		}
		icc = append(icc, part...)
	}
	return icc
}

// matrixICC says whether a profile's header is one of RGB with a matrix: the colours of the file are RGB, and they are
// connected by XYZ (ICC.1:2022, 7.2). Profiles of CMYK and grey are not.
func matrixICC(icc []byte) bool {
	return len(icc) >= 132 && len(icc) <= maxICC && string(icc[16:24]) == "RGB XYZ " && string(icc[36:40]) == "acsp"
}

// toSRGB takes XYZ relative to D50, as profiles have it, to linear sRGB: the inverse of sRGB's primaries, adapted from D65
// by Bradford's matrix.
var toSRGB = [3][3]float64{
	{3.1338561, -1.6168667, -0.4906146},
	{-0.9787684, 1.9161415, 0.0334540},
	{0.0719453, -0.2289914, 1.4052427},
}

// parseICC reads the curves and the primaries of a matrix profile (ICC.1:2022, 9.2 and 10), and gives nil for all others
// and for what makes no sense.
func parseICC(icc []byte) *profile {
	if !matrixICC(icc) {
		return nil
	}
	tag := func(name string) []byte {
		table := icc[132:]
		for n := binary.BigEndian.Uint32(icc[128:]); n > 0 && len(table) >= 12; n-- {
			if string(table[:4]) == name {
				at, size := uint64(binary.BigEndian.Uint32(table[4:])), uint64(binary.BigEndian.Uint32(table[8:]))
				if at+size > uint64(len(icc)) {
					return nil
				}
				return icc[at : at+size]
			}
			table = table[12:]
		}
		return nil
	}
	p := &profile{}
	var matrix [3][3]float64
	var last []byte
	for c, name := range []string{"r", "g", "b"} {
		xyz, trc := tag(name+"XYZ"), tag(name+"TRC")
		if len(xyz) < 20 || string(xyz[:4]) != "XYZ " {
			return nil
		}
		if c > 0 && bytes.Equal(trc, last) { // most often there is one curve for all
			p.light[c] = p.light[c-1]
		} else if !curve(&p.light[c], trc) {
			return nil
		}
		last = trc
		for row := range matrix {
			for k := range 3 {
				matrix[row][c] += toSRGB[row][k] * fixed(xyz[8+4*k:])
			}
		}
	}
	for row, m := range matrix {
		// White has to be D50, within what rounding and old programs make of it. Then it is white exactly.
		const tolerance, largest = 0.05, 7 // products and their sums have 31 bits
		sum := m[0] + m[1] + m[2]
		if math.Abs(sum-1) > tolerance || math.Abs(m[0])+math.Abs(m[1])+math.Abs(m[2]) > largest {
			return nil
		}
		rest := int32(unitLight)
		for c := range m {
			p.matrix[row][c] = int32(math.Round(m[c] / sum * unitLight))
			rest -= p.matrix[row][c]
		}
		p.matrix[row][row] += rest
	}
	return p
}

// curve reads the light of a channel's codes from a tag of type curv or para (ICC.1:2022, 10.6 and 10.18).
func curve(light *[256]int32, tag []byte) bool {
	if len(tag) < 12 {
		return false
	}
	var of func(x float64) float64
	switch string(tag[:4]) {
	case "curv":
		n, table := binary.BigEndian.Uint32(tag[8:]), tag[12:]
		if uint64(n)*2 > uint64(len(table)) {
			return false
		}
		switch n {
		case 0:
			of = func(x float64) float64 { return x }
		case 1:
			gamma := float64(binary.BigEndian.Uint16(table)) / 256
			of = func(x float64) float64 { return math.Pow(x, gamma) }
		default:
			of = func(x float64) float64 {
				at := x * float64(n-1)
				i := min(int(at), int(n)-2)
				a, b := float64(binary.BigEndian.Uint16(table[2*i:])), float64(binary.BigEndian.Uint16(table[2*i+2:]))
				return (a + (b-a)*(at-float64(i))) / 65535
			}
		}
	case "para":
		kind := binary.BigEndian.Uint16(tag[8:])
		counts := []int{1, 3, 4, 5, 7}
		if int(kind) >= len(counts) || len(tag) < 12+4*counts[kind] {
			return false
		}
		v := [7]float64{1: 1} // gamma, a, b, c, d, e, f, as the standard calls them
		for i := range counts[kind] {
			v[i] = fixed(tag[12+4*i:])
		}
		gamma, a, b, c, d, e, f := v[0], v[1], v[2], v[3], v[4], v[5], v[6]
		switch kind {
		case 1, 2: // c is what is added everywhere, and below -b/a there is nothing else
			d, e, f, c = -b/a, c, c, 0
		case 0:
			d = 0
		}
		of = func(x float64) float64 {
			if x >= d {
				return math.Pow(a*x+b, gamma) + e
			}
			return c*x + f
		}
	default:
		return false
	}
	for i := range light {
		v := of(float64(i) / 255)
		if !(v > 0) { // not a number, too
			v = 0
		}
		light[i] = int32(math.Round(min(v, 1) * unitLight))
	}
	return true
}

// fixed is a number of type s15Fixed16.
func fixed(b []byte) float64 { return float64(int32(binary.BigEndian.Uint32(b))) / 65536 }

// isSRGB says whether the profile changes no colour by more than the roundings of profiles do.
func (p *profile) isSRGB() bool {
	const tolerance = 2
	before := someColours()
	after := bytes.Clone(before)
	p.apply(after)
	for i, v := range before {
		if d := int(v) - int(after[i]); d < -tolerance || d > tolerance {
			return false
		}
	}
	return true
}

// someColours are all greys, and colours evenly over the cube.
var someColours = sync.OnceValue(func() (colours []uint8) {
	for v := range 256 {
		colours = append(colours, uint8(v), uint8(v), uint8(v))
	}
	for r := 0; r < 256; r += 51 {
		for g := 0; g < 256; g += 51 {
			for b := 0; b < 256; b += 51 {
				colours = append(colours, uint8(r), uint8(g), uint8(b))
			}
		}
	}
	return colours
})
