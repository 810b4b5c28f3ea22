package main

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// A bomb is a small file that would cost very much if it were believed.
type bomb struct {
	file string
	make func() ([]byte, error)
}

var bombs = []bomb{
	{"huge.jpg", func() ([]byte, error) { return huge(nil) }},
	{"huge-progressive.jpg", func() ([]byte, error) {
		data, err := huge(nil)
		return bytes.Replace(data, []byte{0xff, 0xc0}, []byte{0xff, 0xc2}, 1), err
	}},
	{"scans.jpg", func() ([]byte, error) {
		data, err := huge(nil)
		if err != nil {
			return nil, err
		}
		data = bytes.Replace(data, []byte{0xff, 0xc0}, []byte{0xff, 0xc2}, 1)
		at := bytes.Index(data, []byte{0xff, 0xc2})
		copy(data[at+5:], "\x08\x00\x08\x00") // 2048 x 2048
		at = bytes.Index(data, []byte{0xff, 0xda})
		return append(data[:at:at], bytes.Repeat(data[at:len(data)-2], 1000)...), nil
	}},
	{"huge.png", func() ([]byte, error) { return pngOfZeros(30_000, 30_000, 1, 0, 3750, nil) }},
	{"deep.png", func() ([]byte, error) { return pngOfZeros(5600, 5600, 16, 6, 44_800, nil) }},
	{"profile.png", func() ([]byte, error) { return pngOfZeros(64, 64, 8, 2, 192, make([]byte, 32<<20)) }},
	{"huge.gif", func() ([]byte, error) {
		return append([]byte("GIF89a\xff\xff\xff\xff\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x08"), make([]byte, 500)...), nil
	}},
	{"huge.webp", func() ([]byte, error) { // a key frame of 16383 x 16383 whose data is missing
		data := []byte("RIFF\x00\x00\x00\x00WEBPVP8 \x00\x00\x00\x00\x10\x08\x00\x9d\x01\x2a\xff\x3f\xff\x3f")
		data = append(data, make([]byte, 400)...)
		binary.LittleEndian.PutUint32(data[4:], uint32(len(data)-8))
		binary.LittleEndian.PutUint32(data[16:], uint32(len(data)-20))
		return data, nil
	}},
	{"huge.bmp", func() ([]byte, error) {
		data := append([]byte("BM"), make([]byte, 400)...)
		binary.LittleEndian.PutUint32(data[10:], 54)
		binary.LittleEndian.PutUint32(data[14:], 40)
		binary.LittleEndian.PutUint32(data[18:], 60_000)
		binary.LittleEndian.PutUint32(data[22:], 60_000)
		binary.LittleEndian.PutUint16(data[26:], 1)
		binary.LittleEndian.PutUint16(data[28:], 24)
		return data, nil
	}},
	{"huge.tiff", func() ([]byte, error) {
		data := []byte("II*\x00\x08\x00\x00\x00\x07\x00")
		for _, tag := range [][2]uint32{{256, 40_000}, {257, 40_000}, {258, 8}, {259, 8}, {262, 1}, {273, 8}, {279, 100}} {
			data = binary.LittleEndian.AppendUint16(data, uint16(tag[0]))
			data = binary.LittleEndian.AppendUint16(data, 4)
			data = binary.LittleEndian.AppendUint32(data, 1)
			data = binary.LittleEndian.AppendUint32(data, tag[1])
		}
		return append(data, 8, 0, 0, 0), nil // the next directory is this one
	}},
	{"gzip.jpg", func() ([]byte, error) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		for range 200 {
			if _, err := z.Write(make([]byte, 1<<20)); err != nil {
				return nil, err
			}
		}
		err := z.Close()
		return b.Bytes(), err
	}},
	{"laughs.svg", func() ([]byte, error) {
		var b strings.Builder
		b.WriteString("<?xml version=\"1.0\"?>\n<!DOCTYPE svg [\n<!ENTITY a0 \"ha\">\n")
		for i := range 30 {
			fmt.Fprintf(&b, "<!ENTITY a%d \"%s\">\n", i+1, strings.Repeat(fmt.Sprintf("&a%d;", i), 10))
		}
		b.WriteString("]>\n<svg xmlns=\"http://www.w3.org/2000/svg\"><text>&a30;</text></svg>\n")
		return []byte(b.String()), nil
	}},
}

// pngOfZeros has rows of row bytes, deflated as far as that goes.
func pngOfZeros(w, h int, depth, kind byte, row int, profile []byte) ([]byte, error) {
	deflate := func(write func(w io.Writer) error) ([]byte, error) {
		var b bytes.Buffer
		z, err := zlib.NewWriterLevel(&b, 9)
		if err == nil {
			err = write(z)
		}
		if err == nil {
			err = z.Close()
		}
		return b.Bytes(), err
	}
	out := []byte("\x89PNG\r\n\x1a\n")
	chunk := func(name string, d []byte) {
		out = binary.BigEndian.AppendUint32(out, uint32(len(d)))
		at := len(out)
		out = append(append(out, name...), d...)
		out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[at:]))
	}
	header := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(w)), uint32(h))
	chunk("IHDR", append(header, depth, kind, 0, 0, 0))
	if profile != nil {
		data, err := deflate(func(w io.Writer) error { _, err := w.Write(profile); return err })
		if err != nil {
			return nil, err
		}
		chunk("iCCP", append([]byte("p\x00\x00"), data...))
	}
	line := make([]byte, 1+row)
	data, err := deflate(func(w io.Writer) error {
		for range h {
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
		return nil
	})
	chunk("IDAT", data)
	chunk("IEND", nil)
	return out, err
}

// writeBombs writes bombs to a folder, and two listings that differ in one row of ten: clean.csv of the photographs of
// another folder, again and again, and bombs.csv in which each tenth row is a bomb. A third, limits.csv, has in its place a
// picture as large as the limits allow, which is no bomb, but what a drawing may be.
func writeBombs(out, photographs string, rows int) error {
	var files []string
	err := filepath.WalkDir(photographs, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".jpg") {
			path, err = filepath.Abs(path)
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s holds no JPEGs", photographs)
	}
	slices.Sort(files)
	for _, b := range bombs {
		data, err := b.make()
		if err != nil {
			return fmt.Errorf("%s: %w", b.file, err)
		}
		if err := writeFile(filepath.Join(out, b.file), data); err != nil {
			return err
		}
	}
	data, err := pngOfZeros(5000, 5000, 8, 2, 15_000, nil)
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(out, "limit.png"), data); err != nil {
		return err
	}
	header := []string{"post_id", "image"}
	clean, bombed, limits := [][]string{header}, [][]string{header}, [][]string{header}
	for i := range rows {
		id, file := fmt.Sprintf("post-%05d", i), files[i%len(files)]
		clean = append(clean, []string{id, file})
		if i%10 == 9 {
			bombed = append(bombed, []string{id, bombs[i/10%len(bombs)].file})
			limits = append(limits, []string{id, "limit.png"})
			continue
		}
		bombed, limits = append(bombed, []string{id, file}), append(limits, []string{id, file})
	}
	for name, listing := range map[string][][]string{"clean.csv": clean, "bombs.csv": bombed, "limits.csv": limits} {
		if err := writeCSV(filepath.Join(out, name), listing); err != nil {
			return err
		}
	}
	return nil
}
