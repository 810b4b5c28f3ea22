package transforms

import (
	"bytes"
	"compress/lzw"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// corpus makes files that mean harm, or that chance has harmed: number i is the same whenever it is made from the same files and
// seed.
type corpus struct {
	seed   uint64
	sound  [][]byte // files that nothing is wrong with
	icc    []byte
	zeros  map[[2]int][]byte // deflated, by the bytes of a row and the number of rows
	recent map[string][]byte // bombs that are made once
}

func newCorpus(t testing.TB, seed uint64) *corpus {
	c := &corpus{seed: seed, icc: displayP3(t), zeros: map[[2]int][]byte{}, recent: map[string][]byte{}}
	files, err := filepath.Glob("testdata/*.*")
	if err != nil || len(files) < 20 {
		t.Fatal(len(files), err)
	}
	slices.Sort(files)
	for _, file := range files {
		if data := read(t, filepath.Base(file)); !strings.HasSuffix(file, ".json") {
			c.sound = append(c.sound, data)
		}
	}
	c.sound = append(c.sound, jpegOf(t, smooth(640, 480)), jpegOf(t, smooth(1600, 1200)))
	return c
}

// harms are what is done to files, each with its share of the corpus.
var harms = []struct {
	name  string
	share int
	make  func(c *corpus, r *rand.Rand) []byte
}{
	{"bits flipped", 4, func(c *corpus, r *rand.Rand) []byte {
		data := c.any(r)
		for range 1 + r.IntN(100) {
			data[r.IntN(len(data))] ^= 1 << r.IntN(8)
		}
		return mend(r, data)
	}},
	{"bits flipped at the beginning", 4, func(c *corpus, r *rand.Rand) []byte {
		data := c.any(r)
		for range 1 + r.IntN(4) {
			data[r.IntN(min(len(data), 200))] ^= 1 << r.IntN(8)
		}
		return mend(r, data)
	}},
	{"numbers at their limits", 4, func(c *corpus, r *rand.Rand) []byte {
		data := c.any(r)
		for range 1 + r.IntN(3) {
			number := []string{"\x00\x00", "\xff\xff", "\x7f\xff", "\xff\x7f", "\x00\x00\x00\x00", "\xff\xff\xff\xff", "\x7f\xff\xff\xff", "\xff\xff\xff\x7f", "\x80\x00\x00\x00", "\x00\x00\x01\x00"}
			copy(data[r.IntN(min(len(data), 400)):], number[r.IntN(len(number))])
		}
		return mend(r, data)
	}},
	{"cut off", 3, func(c *corpus, r *rand.Rand) []byte {
		data := c.any(r)
		return data[:r.IntN(len(data))]
	}},
	{"cut out", 2, func(c *corpus, r *rand.Rand) []byte {
		data := c.any(r)
		from := r.IntN(len(data))
		return mend(r, slices.Delete(data, from, from+r.IntN(len(data)-from)))
	}},
	{"repeated", 2, func(c *corpus, r *rand.Rand) []byte {
		data := c.any(r)
		from := r.IntN(len(data))
		part := data[from : from+r.IntN(min(len(data)-from, 3000))]
		times := r.IntN(min(2000, 300_000/(len(part)+1)) + 1)
		return mend(r, slices.Insert(slices.Clone(data), from, bytes.Repeat(part, times)...))
	}},
	{"wiped", 2, func(c *corpus, r *rand.Rand) []byte {
		data := c.any(r)
		from := r.IntN(len(data))
		part := data[from : from+r.IntN(len(data)-from)]
		fill := r.IntN(3)
		for i := range part {
			part[i] = [3]byte{0, 0xff, byte(r.Uint32())}[fill]
		}
		return mend(r, data)
	}},
	{"spliced", 3, func(c *corpus, r *rand.Rand) []byte {
		a, b := c.any(r), c.any(r)
		return mend(r, append(a[:r.IntN(len(a))], b[r.IntN(len(b)):]...))
	}},
	{"noise behind a signature", 1, func(c *corpus, r *rand.Rand) []byte {
		data := noiseBytes(r, 20+r.IntN(5000))
		copy(data, c.any(r)[:4+r.IntN(16)])
		return mend(r, data)
	}},
	{"size that is a lie", 4, (*corpus).lie},
	{"bomb in JPEG", 3, (*corpus).jpeg},
	{"something else", 1, (*corpus).other},
	{"bomb in deflate", 3, (*corpus).png},
	{"bomb in LZW", 2, (*corpus).gif},
	{"bomb in TIFF", 3, (*corpus).tiff},
	{"EXIF in circles", 1, (*corpus).exif},
	{"odd profile", 2, (*corpus).profile},
	{"WebP chunks that lie", 3, (*corpus).webp},
}

// file makes file number i, and tells what was done to it.
func (c *corpus) file(i int) (harm string, data []byte) {
	r := rand.New(rand.NewPCG(c.seed, uint64(i)))
	total := 0
	for _, h := range harms {
		total += h.share
	}
	n := r.IntN(total)
	for _, h := range harms {
		if n -= h.share; n < 0 {
			return h.name, h.make(c, r)
		}
	}
	panic("shares add up")
}

// any gives a sound file to harm, small ones more often than large ones.
func (c *corpus) any(r *rand.Rand) []byte {
	data := c.sound[r.IntN(len(c.sound))]
	if len(data) > 20_000 && r.IntN(4) > 0 {
		data = c.sound[r.IntN(len(c.sound))]
	}
	return slices.Clone(data)
}

func (c *corpus) of(r *rand.Rand, f format) []byte {
	for {
		data := c.any(r)
		if got, err := sniff(data); err == nil && got == f {
			return data
		}
	}
}

func noiseBytes(r *rand.Rand, n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

// mend gives most PNGs right check sums again, without which nothing behind them would be looked at.
func mend(r *rand.Rand, data []byte) []byte {
	if !bytes.HasPrefix(data, []byte("\x89PNG")) || r.IntN(4) == 0 {
		return data
	}
	for b := data[8:]; len(b) >= 12; {
		n := uint64(binary.BigEndian.Uint32(b))
		if n+12 > uint64(len(b)) {
			break
		}
		binary.BigEndian.PutUint32(b[8+n:], crc32.ChecksumIEEE(b[4:8+n]))
		b = b[12+n:]
	}
	return data
}

// side is a width or a height that a liar would choose.
func side(r *rand.Rand) int {
	return []int{0, 1, 7, 300, 2000, 4000, 5000, 6900, 7071, 10_000, 16_383, 16_384, 30_000, 65_535, 65_536, 1 << 20, 1<<31 - 1}[r.IntN(17)]
}

// other is what is no photograph, or begins like something that is none.
func (c *corpus) other(r *rand.Rand) []byte {
	texts := []string{"<!DOCTYPE html><html><body>404</body></html>", "<svg viewBox=\"0 0 9 9\"/>", `{"error": "gone"}`, "gone", "", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
		"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isommp42"}
	if r.IntN(2) == 0 {
		m := magics[r.IntN(len(magics))]
		texts = []string{strings.Repeat("\x00", m.at) + m.bytes}
	}
	data := append([]byte(texts[r.IntN(len(texts))]), noiseBytes(r, r.IntN(3)*r.IntN(3000))...)
	if len(data) > 0 && r.IntN(3) == 0 {
		data[r.IntN(len(data))] = byte(r.Uint32())
	}
	return data
}

// lie writes another size where the size stands, and sometimes makes the file long enough for it.
func (c *corpus) lie(r *rand.Rand) []byte {
	w, h := side(r), side(r)
	data := c.any(r)
	put16, put32 := binary.LittleEndian.PutUint16, binary.LittleEndian.PutUint32
	f, err := sniff(data)
	switch {
	case err != nil || len(data) < 40:
	case f == formatJPEG:
		for _, marker := range []byte{0xc0, 0xc1, 0xc2} {
			if i := bytes.Index(data, []byte{0xff, marker}); i > 0 && i+9 < len(data) {
				binary.BigEndian.PutUint16(data[i+5:], uint16(h))
				binary.BigEndian.PutUint16(data[i+7:], uint16(w))
			}
		}
	case f == formatPNG:
		binary.BigEndian.PutUint32(data[16:], uint32(w))
		binary.BigEndian.PutUint32(data[20:], uint32(h))
	case f == formatGIF:
		for _, at := range []int{6, bytes.IndexByte(data[13:], 0x2c) + 13 + 5} {
			if at+4 <= len(data) && r.IntN(4) > 0 {
				put16(data[at:], uint16(w))
				put16(data[at+2:], uint16(h))
			}
		}
	case f == formatWebP:
		if i := bytes.Index(data, []byte("VP8 ")); i > 0 && i+18 <= len(data) {
			put16(data[i+14:], uint16(w)&0x3fff)
			put16(data[i+16:], uint16(h)&0x3fff)
			if r.IntN(2) == 0 { // and with as many bytes as it might take
				data = append(data, make([]byte, r.IntN(300_000))...)
				put32(data[i+4:], uint32(len(data)-i-8))
				put32(data[4:], uint32(len(data)-8))
			}
		}
		if i := bytes.Index(data, []byte("VP8L")); i > 0 && i+13 <= len(data) {
			put32(data[i+9:], uint32(w-1)&0x3fff|uint32(h-1)&0x3fff<<14|binary.LittleEndian.Uint32(data[i+9:])&^(1<<28-1))
		}
		if i := bytes.Index(data, []byte("VP8X")); i > 0 && i+18 <= len(data) {
			put32(data[i+12:], uint32(w-1)&0xffffff|uint32(data[i+15])<<24)
			copy(data[i+15:], []byte{byte(h - 1), byte((h - 1) >> 8), byte((h - 1) >> 16)})
		}
	case f == formatBMP:
		put32(data[18:], uint32(w))
		put32(data[22:], uint32(h))
	case f == formatTIFF:
		for at := int(binary.LittleEndian.Uint32(data[4:])) + 2; at >= 0 && at+12 <= len(data); at += 12 {
			switch binary.LittleEndian.Uint16(data[at:]) {
			case 256:
				put32(data[at+8:], uint32(w))
			case 257, 278:
				put32(data[at+8:], uint32(h))
			case 0:
				at = len(data)
			}
		}
	}
	switch r.IntN(4) {
	case 0:
		data = append(data, make([]byte, 2_000_000)...)
	case 1:
		data = append(data, noiseBytes(r, 300_000)...)
	}
	return mend(r, data)
}

// jpeg is as large as so few bytes can be: a bit or two a block, in one scan or in very many, of which each visits every
// block. Runs of ends of blocks take two bytes for 32,767 blocks.
func (c *corpus) jpeg(r *rand.Rand) []byte {
	side := []int{64, 1000, 2000, 4000, 5000, 6900, 7071, 20_000}[r.IntN(8)]
	components, sampling := 1, byte(0x11)
	if r.IntN(2) == 0 {
		components, sampling = []int{3, 4}[r.IntN(2)], []byte{0x11, 0x21, 0x22, 0x41}[r.IntN(4)]
	}
	progressive := r.IntN(3) > 0
	out := []byte{0xff, 0xd8}
	segment := func(marker byte, data ...byte) {
		out = binary.BigEndian.AppendUint16(append(out, 0xff, marker), uint16(len(data)+2))
		out = append(out, data...)
	}
	segment(0xdb, append([]byte{0}, bytes.Repeat([]byte{1}, 64)...)...)
	frame := []byte{8, byte(side >> 8), byte(side), byte(side >> 8), byte(side), byte(components)}
	scan := []byte{byte(components)}
	for i := range components {
		frame = append(frame, byte(i+1), sampling, 0)
		scan = append(scan, byte(i+1), 0)
		sampling = 0x11
	}
	oneCode := append([]byte{1}, make([]byte, 15)...)
	segment(0xc4, append(append([]byte{0}, oneCode...), 0)...) // DC: no difference, one bit
	if !progressive {
		segment(0xc0, frame...)
		segment(0xc4, append(append([]byte{0x10}, oneCode...), 0)...) // AC: end of block, one bit
		segment(0xda, append(scan, 0, 63, 0)...)
		out = append(out, make([]byte, min(side*side/64*components/4+100, 2_000_000))...)
		return append(out, 0xff, 0xd9)
	}
	segment(0xc2, frame...)
	segment(0xc4, append(append([]byte{0x10}, oneCode...), 0xe0)...) // AC: a run of 2^14 ends of blocks and 14 bits more
	segment(0xda, append(scan, 0, 0, 0x01)...)
	out = append(out, make([]byte, min(side*side/64*components/8+100, 2_000_000))...)
	runs := bytes.Repeat([]byte{0x3f, 0x7f, 0x3e, 0xfe, 0x7d, 0xfc}, 1+side*side/64/16384/6) // codes of zero, numbers of ones
	approximation := []byte{0x02, 0x21, 0x10}
	for i := range []int{1, 10, 63, 64, 99, 500, 3000}[r.IntN(7)] {
		segment(0xda, 1, byte(1+i%components), 0, 1, 63, approximation[min(i, 2)])
		if out = append(out, runs...); len(out) > 3_000_000 {
			break
		}
	}
	return append(out, 0xff, 0xd9)
}

// deflated is rows of zeros.
func (c *corpus) deflated(row, rows int) []byte {
	key := [2]int{row, rows}
	if c.zeros[key] == nil {
		var b bytes.Buffer
		z, _ := zlib.NewWriterLevel(&b, 9)
		line := make([]byte, row)
		for range rows {
			z.Write(line)
		}
		z.Close()
		c.zeros[key] = b.Bytes()
	}
	return c.zeros[key]
}

// png is as large as so few bytes can be, of every kind, and sometimes more follows than the picture takes.
func (c *corpus) png(r *rand.Rand) []byte {
	side := []int{100, 1000, 3000, 4000, 5000, 7000, 20_000}[r.IntN(7)]
	kind := []byte{0, 2, 3, 4, 6}[r.IntN(5)]
	depth := map[byte][]byte{0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}[kind]
	bits := depth[r.IntN(len(depth))]
	row := 1 + (side*int(bits)*map[byte]int{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]+7)/8
	idat := c.deflated(1<<16, min(row*side, 100_000_000)>>16+1) // some more than there should be
	switch {
	case row*side < 200_000_000 && r.IntN(2) == 0:
		idat = c.deflated(row, side)
	case r.IntN(2) == 0:
		idat = idat[:r.IntN(len(idat))]
	}
	out := []byte("\x89PNG\r\n\x1a\n")
	chunk := func(name string, d []byte) {
		out = binary.BigEndian.AppendUint32(out, uint32(len(d)))
		at := len(out)
		out = append(append(out, name...), d...)
		out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[at:]))
	}
	header := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(side)), uint32(side))
	chunk("IHDR", append(header, bits, kind, 0, 0, byte(r.IntN(2))))
	if kind == 3 {
		chunk("PLTE", make([]byte, 3<<min(bits, 8)))
	}
	if r.IntN(3) == 0 {
		chunk("iCCP", append([]byte("x\x00\x00"), c.deflated(1<<16, 1600)...)) // a hundred megabytes of a profile
	}
	if r.IntN(3) == 0 {
		chunk("acTL", make([]byte, 8))
		for range r.IntN(20_000) {
			chunk("fcTL", nil)
		}
	}
	for len(idat) > 0 { // in pieces, which may be very small
		n := min(len(idat), []int{1, 100, 8192, 1 << 30}[r.IntN(4)])
		chunk("IDAT", idat[:n])
		idat = idat[n:]
		if len(out) > 3_000_000 {
			break
		}
	}
	chunk("IEND", nil)
	return out
}

// gif is a picture of one colour, which LZW makes small.
func (c *corpus) gif(r *rand.Rand) []byte {
	side := []int{10, 1000, 3000, 5000, 7000, 7500}[r.IntN(6)]
	key := fmt.Sprint("gif", side)
	if c.recent[key] == nil {
		var b bytes.Buffer
		w := lzw.NewWriter(&b, lzw.LSB, 8)
		line := make([]byte, side)
		for range side {
			w.Write(line)
		}
		w.Close()
		c.recent[key] = b.Bytes()
	}
	codes := c.recent[key]
	if r.IntN(3) == 0 {
		codes = codes[:r.IntN(len(codes))]
	}
	out := []byte("GIF89a")
	size := func() {
		out = binary.LittleEndian.AppendUint16(out, uint16(side))
		out = binary.LittleEndian.AppendUint16(out, uint16(side))
	}
	size()
	out = append(out, 0x87, 0, 0)
	out = append(out, make([]byte, 3*256)...)
	for range r.IntN(3) * r.IntN(500) { // extensions before it
		out = append(out, "\x21\xfe\x02ab\x00"...)
	}
	for range 1 + r.IntN(3) {
		out = append(out, 0x2c, 0, 0, 0, 0)
		size()
		out = append(out, byte(r.IntN(2))<<6, 8)
		for rest := codes; len(rest) > 0 && len(out) < 2_000_000; {
			n := min(len(rest), []int{1, 255, 255, 255}[r.IntN(4)])
			out = append(append(out, byte(n)), rest[:n]...)
			rest = rest[n:]
		}
		out = append(out, 0)
	}
	return append(out, ';')
}

// tiff has directories that lead in circles, tags of absurd counts, and strips that inflate.
func (c *corpus) tiff(r *rand.Rand) []byte {
	side := []uint32{16, 500, 2000, 4000, 5000, 6900, 20_000}[r.IntN(7)]
	compression := []uint32{1, 5, 8, 32773, 3, 4, 2, 34712, 32946}[r.IntN(9)]
	bits := []uint32{1, 4, 8, 16}[r.IntN(4)]
	rows := []uint32{1, 16, side, side / 2, 1 << 30}[r.IntN(5)]
	var strip []byte
	switch compression {
	case 8, 32946:
		strip = c.deflated(1<<16, min(int(side*side/8*bits)>>16+1, 1500))
	case 5:
		if c.recent["lzw"] == nil {
			// TIFF's codes are MSB first and begin with the code that clears: Go's writer does both, and one code earlier than
			// TIFF it takes longer codes. The decoder finds nonsense sooner or later, after megabytes.
			var b bytes.Buffer
			w := lzw.NewWriter(&b, lzw.MSB, 8)
			for range 500 {
				w.Write(make([]byte, 1<<16))
			}
			w.Close()
			c.recent["lzw"] = b.Bytes()
		}
		strip = c.recent["lzw"]
	case 32773:
		strip = bytes.Repeat([]byte{0x81, 0}, 100_000)
	default:
		strip = make([]byte, min(int(side*side*bits/8), 500_000))
		if r.IntN(2) == 0 {
			strip = noiseBytes(r, min(len(strip), 50_000))
		}
	}
	tags := [][2]uint32{{256, side}, {257, side}, {258, bits}, {259, compression}, {262, uint32(r.IntN(4))}, {273, 8}, {277, 1}, {278, rows}, {279, uint32(len(strip))}}
	if r.IntN(3) == 0 {
		tile := []uint32{0, 1, 16, 256, 5000, 60_000, 1 << 31}[r.IntN(7)]
		tags = append(tags, [2]uint32{322, tile}, [2]uint32{323, tile}, [2]uint32{324, 8}, [2]uint32{325, uint32(len(strip))})
	}
	b := []byte("II*\x00")
	b = binary.LittleEndian.AppendUint32(b, uint32(8+len(strip)))
	b = append(b, strip...)
	directory := uint32(len(b))
	n := len(tags)
	if r.IntN(5) == 0 {
		n = 0xffff // entries that are not there
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(n))
	for _, tag := range tags {
		b = binary.LittleEndian.AppendUint16(b, uint16(tag[0]))
		kind, count := uint16(4), uint32(1)
		if r.IntN(30) == 0 {
			kind, count = uint16(r.IntN(14)), []uint32{0, 2, 1 << 16, 1 << 30, 1<<32 - 1}[r.IntN(5)]
		}
		b = binary.LittleEndian.AppendUint16(b, kind)
		b = binary.LittleEndian.AppendUint32(b, count)
		b = binary.LittleEndian.AppendUint32(b, tag[1])
	}
	return binary.LittleEndian.AppendUint32(b, directory) // the next directory is this one
}

// exif puts directories that lead to themselves and values that lie anywhere into a file.
func (c *corpus) exif(r *rand.Rand) []byte {
	block := []byte("MM\x00*\x00\x00\x00\x08")
	if r.IntN(4) == 0 {
		binary.BigEndian.PutUint32(block[4:], r.Uint32())
	}
	n := r.IntN(300)
	block = binary.BigEndian.AppendUint16(block, uint16(n*(1+r.IntN(2))))
	for range n {
		tag := []uint16{0x112, 0x8769, 0x8825, 0xa005, 0x14a, uint16(r.Uint32())}[r.IntN(6)]
		block = binary.BigEndian.AppendUint16(block, tag)
		block = binary.BigEndian.AppendUint16(block, uint16(r.IntN(14)))
		block = binary.BigEndian.AppendUint32(block, []uint32{0, 1, 2, 1 << 31, 1<<32 - 1}[r.IntN(5)])
		block = binary.BigEndian.AppendUint32(block, []uint32{8, 0, 6 << 16, uint32(len(block)), 1<<32 - 1, r.Uint32()}[r.IntN(6)])
	}
	block = append(block, 0, 0, 0, 8)
	return c.embed(r, "eXIf", "EXIF", 0xe1, "Exif\x00\x00", block)
}

// profile puts a colour profile with some bytes changed into a file.
func (c *corpus) profile(r *rand.Rand) []byte {
	icc := slices.Clone(c.icc)
	for range r.IntN(6) {
		at := r.IntN(len(icc))
		if r.IntN(3) > 0 { // in the table of tags
			at = 128 + r.IntN(120)
		}
		icc[at] = []byte{0, 1, 0x7f, 0x80, 0xff, byte(r.Uint32())}[r.IntN(6)]
	}
	if r.IntN(5) == 0 {
		icc = icc[:r.IntN(len(icc))]
	}
	if r.IntN(2) == 0 { // the number of this segment, and of all
		return c.embed(r, "iCCP", "ICCP", 0xe2, "ICC_PROFILE\x00"+[]string{"\x01\x01", "\x00\x01", "\x01\xff", "\x02\x01"}[r.IntN(4)], icc)
	}
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write(icc)
	w.Close()
	return c.embed(r, "iCCP", "ICCP", 0xe2, "ICC_PROFILE\x00\x01\x01", append([]byte("p\x00\x00"), z.Bytes()...))
}

// embed puts data into a chunk of a PNG, one of a WebP, or a segment of a JPEG.
func (c *corpus) embed(r *rand.Rand, inPNG, inWebP string, marker byte, before string, data []byte) []byte {
	switch r.IntN(3) {
	case 0:
		file := c.of(r, formatPNG)
		chunk := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
		chunk = append(append(append(chunk, inPNG...), data...), 0, 0, 0, 0)
		return mend(r, slices.Insert(file, 33, chunk...))
	case 1:
		file := c.of(r, formatWebP)
		chunk := binary.LittleEndian.AppendUint32([]byte(inWebP), uint32(len(data)))
		file = slices.Insert(file, 12, append(chunk, data...)...)
		binary.LittleEndian.PutUint32(file[4:], uint32(len(file)-8))
		return file
	}
	file := c.of(r, formatJPEG)
	data = data[:min(len(data), 60_000)]
	segment := binary.BigEndian.AppendUint16([]byte{0xff, marker}, uint16(2+len(before)+len(data)))
	return slices.Insert(file, 2, append(append(segment, before...), data...)...)
}

// webp lies about the sizes and the names of chunks.
func (c *corpus) webp(r *rand.Rand) []byte {
	data := c.of(r, formatWebP)
	for range 1 + r.IntN(3) {
		var at []int
		for i := 12; i+8 <= len(data); {
			at = append(at, i)
			n := int(binary.LittleEndian.Uint32(data[i+4:]))
			if n < 0 || n > len(data)-i-8 {
				break
			}
			i += 8 + n + n&1
		}
		if len(at) == 0 {
			break
		}
		i := at[r.IntN(len(at))]
		switch r.IntN(5) {
		case 0:
			binary.LittleEndian.PutUint32(data[i+4:], []uint32{0, 1, 3, uint32(len(data)), 1 << 31, 1<<32 - 1, 1<<32 - 2}[r.IntN(7)])
		case 1:
			copy(data[i:], []string{"VP8 ", "VP8L", "VP8X", "ALPH", "ANMF", "ANIM", "EXIF", "ICCP"}[r.IntN(8)])
		case 2: // again
			data = slices.Insert(slices.Clone(data), i, bytes.Repeat(data[i:], 1+r.IntN(5))...)
		case 3:
			for j := i + 8; j < min(i+8+r.IntN(40), len(data)); j++ {
				data[j] = byte(r.Uint32())
			}
		case 4:
			data = append(data, make([]byte, r.IntN(500_000))...)
		}
		if r.IntN(4) > 0 {
			binary.LittleEndian.PutUint32(data[4:], uint32(len(data)-8))
		}
		if len(data) > 2_000_000 {
			break
		}
	}
	return data
}

// harmDone is what a run of the corpus came to.
type harmDone struct {
	Files    int
	Decoded  int
	Reasons  map[Reason]int
	Slowest  map[string]slowest // by what was done to the file
	Failures []string
	Peak     int64 // resident memory in bytes, 0 where the system does not tell
}

type slowest struct {
	Seconds float64
	File    int
	Bytes   int
	Outcome string
}

// run takes files through the list that the network sees pictures through.
func (c *corpus) run(from, to int) harmDone {
	done := harmDone{Reasons: map[Reason]int{}, Slowest: map[string]slowest{}}
	list := DefaultScoring(224, [3]float64{127, 127, 127}, [3]float64{128, 128, 128})
	input := make([]float32, 224*224*3)
	for i := from; i < to; i++ {
		harm, data := c.file(i)
		began := time.Now()
		err := list.Tensor(data, Key{Epoch: -1}, DefaultLimits(), input)
		took := time.Since(began).Seconds()
		done.Files++
		outcome := "decoded"
		var e *Error
		switch {
		case err == nil:
			done.Decoded++
		case !errors.As(err, &e) || Explain(e.Reason) == "" || e.Reason == ReasonDecoderPanic:
			done.Failures = append(done.Failures, fmt.Sprintf("file %d, %s: %v", i, harm, err))
		default:
			done.Reasons[e.Reason]++
			outcome = e.Error()
		}
		if s := done.Slowest[harm]; took > s.Seconds {
			done.Slowest[harm] = slowest{took, i, len(data), outcome}
		}
	}
	return done
}

// TestHostile runs a part of the corpus in a process of its own, so that its memory can be told from that of other tests.
// LOGOBEAM_HOSTILE=100000 runs so many files, and LOGOBEAM_HOSTILE=188-189 file 188 alone.
func TestHostile(t *testing.T) {
	const seed, child = 5, "LOGOBEAM_HOSTILE_CHILD"
	if at := os.Getenv(child); at != "" {
		from, _ := strconv.Atoi(at)
		to, _ := strconv.Atoi(os.Getenv(child + "_TO"))
		c := newCorpus(t, seed)
		done := c.run(from, to)
		status, _ := os.ReadFile("/proc/self/status")
		if _, after, ok := bytes.Cut(status, []byte("VmHWM:")); ok {
			fields := strings.Fields(string(after[:min(len(after), 50)]))
			kilobytes, _ := strconv.ParseInt(fields[0], 10, 64)
			done.Peak = kilobytes << 10
		}
		if err := json.NewEncoder(os.Stderr).Encode(done); err != nil {
			t.Fatal(err)
		}
		return
	}
	begin, files := 0, 2000
	if asked := os.Getenv("LOGOBEAM_HOSTILE"); asked != "" {
		if _, err := fmt.Sscanf(asked, "%d-%d", &begin, &files); err != nil {
			begin = 0
			if files, err = strconv.Atoi(asked); err != nil {
				t.Fatalf("LOGOBEAM_HOSTILE is %s: want a number of files, or the first and the one after the last, as 188-189", asked)
			}
		}
	}
	all := harmDone{Reasons: map[Reason]int{}, Slowest: map[string]slowest{}}
	for from := begin; from < files; from += 5000 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestHostile$", "-test.timeout=30m")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", child, from), fmt.Sprintf("%s_TO=%d", child, min(from+5000, files)))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("files from %d: %v\n%s", from, err, stderr.Bytes())
		}
		var done harmDone
		if err := json.Unmarshal(stderr.Bytes(), &done); err != nil {
			t.Fatalf("files from %d: %v\n%s", from, err, stderr.Bytes())
		}
		all.Files, all.Decoded, all.Peak = all.Files+done.Files, all.Decoded+done.Decoded, max(all.Peak, done.Peak)
		all.Failures = append(all.Failures, done.Failures...)
		for r, n := range done.Reasons {
			all.Reasons[r] += n
		}
		for harm, s := range done.Slowest {
			if s.Seconds > all.Slowest[harm].Seconds {
				all.Slowest[harm] = s
			}
		}
	}
	for _, failure := range all.Failures {
		t.Error(failure)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d files: %d decoded, peak of resident memory %.0f MB\n", all.Files, all.Decoded, float64(all.Peak)/1e6)
	for _, r := range Reasons() {
		if all.Reasons[r] > 0 {
			fmt.Fprintf(&b, "%8d %s\n", all.Reasons[r], r)
		}
	}
	for _, h := range harms {
		s := all.Slowest[h.name]
		fmt.Fprintf(&b, "%8.3f s at most where %s: file %d of %d bytes, %.100s\n", s.Seconds, h.name, s.File, s.Bytes, s.Outcome)
		// No benchmark, but a guard against what never ends.
		if limit := 2 * DefaultLimits().Time.Seconds(); s.Seconds > limit {
			t.Errorf("file %d took %.1f s, the limit is %.1f", s.File, s.Seconds, limit)
		}
	}
	t.Log(b.String())
	if files-begin > 1000 && (len(all.Reasons) < 10 || all.Decoded < all.Files/20) {
		t.Errorf("only %d reasons, and %d of %d files decoded: the corpus tests too little", len(all.Reasons), all.Decoded, all.Files)
	}
	if limit := int64(300e6); all.Peak > limit {
		t.Errorf("%d bytes of memory at the peak, the limit is %d", all.Peak, limit)
	}
}
