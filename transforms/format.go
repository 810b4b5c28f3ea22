package transforms

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// format is a format that can be decoded.
type format string

const (
	formatJPEG format = "jpeg"
	formatPNG  format = "png"
	formatGIF  format = "gif"
	formatWebP format = "webp"
	formatBMP  format = "bmp"
	formatTIFF format = "tiff"
)

// sniff tells the format from the first bytes. Names and content types given by servers are often wrong. What cannot be
// decoded is named as far as it can be told.
func sniff(data []byte) (format, error) {
	has := func(at int, magic string) bool {
		return len(data) >= at+len(magic) && string(data[at:at+len(magic)]) == magic
	}
	switch {
	case len(data) == 0:
		return "", &Error{Reason: ReasonEmpty}
	case has(0, "\xff\xd8"):
		return formatJPEG, nil
	case has(0, "\x89PNG\r\n\x1a\n"):
		return formatPNG, nil
	case has(0, "GIF87a"), has(0, "GIF89a"):
		return formatGIF, nil
	case has(0, "RIFF") && has(8, "WEBP"):
		return formatWebP, nil
	case has(0, "BM") && len(data) >= 18 && headerOfBMP(binary.LittleEndian.Uint32(data[14:])):
		return formatBMP, nil
	case has(0, "II*\x00"), has(0, "MM\x00*"):
		return formatTIFF, nil
	case has(4, "ftyp"):
		return "", sniffBrands(data)
	case has(0, "\x1f\x8b"):
		return "", sniffGzip(data)
	}
	for _, m := range magics {
		if has(m.at, m.bytes) {
			return "", &Error{Reason: m.reason, Detail: m.name}
		}
	}
	if transportStream(data) {
		return "", &Error{Reason: ReasonVideo, Detail: "MPEG transport stream"}
	}
	return "", sniffText(data)
}

func headerOfBMP(size uint32) bool {
	switch size {
	case 12, 16, 40, 52, 56, 64, 108, 124:
		return true
	}
	return false
}

// magics are the signatures of what people send in place of a photograph and that is not decoded.
var magics = []struct {
	at     int
	bytes  string
	reason Reason
	name   string
}{
	{0, "\x1a\x45\xdf\xa3", ReasonVideo, "WebM or Matroska"},
	{8, "AVI LIST", ReasonVideo, "AVI"},
	{0, "FLV\x01", ReasonVideo, "Flash video"},
	{0, "\x00\x00\x01\xba", ReasonVideo, "MPEG"},
	{0, "\x00\x00\x01\xb3", ReasonVideo, "MPEG"},
	{0, "\x30\x26\xb2\x75\x8e\x66\xcf\x11", ReasonVideo, "Windows Media"},
	{0, "OggS", ReasonVideo, "Ogg"},
	{4, "moov", ReasonVideo, "QuickTime"}, // files of before the box ftyp was
	{4, "mdat", ReasonVideo, "QuickTime"},
	{4, "wide", ReasonVideo, "QuickTime"},
	{4, "pnot", ReasonVideo, "QuickTime"},

	{0, "%PDF-", ReasonPDF, ""},

	{0, "\xff\x0a", ReasonUnsupportedFormat, "JPEG XL"},
	{0, "\x00\x00\x00\x0cJXL ", ReasonUnsupportedFormat, "JPEG XL"},
	{0, "\x00\x00\x00\x0cjP  ", ReasonUnsupportedFormat, "JPEG 2000"},
	{0, "\xff\x4f\xff\x51", ReasonUnsupportedFormat, "JPEG 2000"},
	{0, "II\xbc", ReasonUnsupportedFormat, "JPEG XR"},
	{0, "II+\x00", ReasonUnsupportedFormat, "BigTIFF"},
	{0, "MM\x00+", ReasonUnsupportedFormat, "BigTIFF"},
	{0, "IIRO", ReasonUnsupportedFormat, "camera raw (Olympus)"},
	{0, "IIU\x00", ReasonUnsupportedFormat, "camera raw (Panasonic)"},
	{0, "FUJIFILMCCD-RAW", ReasonUnsupportedFormat, "camera raw (Fujifilm)"},
	{0, "8BPS", ReasonUnsupportedFormat, "Photoshop document"},
	{0, "gimp xcf", ReasonUnsupportedFormat, "GIMP document"},
	{0, "\x00\x00\x01\x00", ReasonUnsupportedFormat, "Windows icon"},
	{0, "\x00\x00\x02\x00", ReasonUnsupportedFormat, "Windows cursor"},
	{0, "icns", ReasonUnsupportedFormat, "Apple icon"},
	{0, "\xd7\xcd\xc6\x9a", ReasonUnsupportedFormat, "Windows metafile"},
	{40, " EMF", ReasonUnsupportedFormat, "Windows metafile"},
	{0, "%!PS", ReasonUnsupportedFormat, "PostScript"},
	{0, "AT&TFORM", ReasonUnsupportedFormat, "DjVu"},
	{0, "\x76\x2f\x31\x01", ReasonUnsupportedFormat, "OpenEXR"},
	{0, "#?RADIANCE", ReasonUnsupportedFormat, "Radiance HDR"},
	{0, "DDS ", ReasonUnsupportedFormat, "DirectDraw surface"},
	{0, "qoif", ReasonUnsupportedFormat, "QOI"},
	{0, "FLIF", ReasonUnsupportedFormat, "FLIF"},
	{0, "BPG\xfb", ReasonUnsupportedFormat, "BPG"},
	{0, "P4\n", ReasonUnsupportedFormat, "portable anymap"},
	{0, "P5\n", ReasonUnsupportedFormat, "portable anymap"},
	{0, "P6\n", ReasonUnsupportedFormat, "portable anymap"},
	{0, "P7\n", ReasonUnsupportedFormat, "portable anymap"},

	{0, "PK\x03\x04", ReasonNotAnImage, "zip archive"},
	{0, "Rar!\x1a\x07", ReasonNotAnImage, "rar archive"},
	{0, "7z\xbc\xaf\x27\x1c", ReasonNotAnImage, "7z archive"},
	{0, "\x28\xb5\x2f\xfd", ReasonNotAnImage, "zstd data"},
	{0, "\xfd7zXZ\x00", ReasonNotAnImage, "xz data"},
	{0, "BZh", ReasonNotAnImage, "bzip2 data"},
	{0, "ID3", ReasonNotAnImage, "sound"},
	{0, "fLaC", ReasonNotAnImage, "sound"},
	{8, "WAVEfmt ", ReasonNotAnImage, "sound"},
	{0, "FWS", ReasonNotAnImage, "Flash"},
	{0, "CWS", ReasonNotAnImage, "Flash"},
	{0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ReasonNotAnImage, "Microsoft Office document"},
	{0, "wOFF", ReasonNotAnImage, "font"},
	{0, "wOF2", ReasonNotAnImage, "font"},
	{0, "\x7fELF", ReasonNotAnImage, "program"},
	{0, "version https://git-lfs", ReasonNotAnImage, "a pointer of Git LFS in place of the file: git lfs pull gets it"},
}

// sniffBrands tells AVIF, HEIC and video apart by the brands in an ISO base media file's first box (ISO/IEC 14496-12, 4.3).
// The major brand comes first, and the brands that the file is compatible with follow.
func sniffBrands(data []byte) error {
	end := min(uint64(binary.BigEndian.Uint32(data)), uint64(len(data)), 256)
	e := &Error{Reason: ReasonVideo, Detail: "MP4"}
	for at := uint64(8); at+4 <= end; at += 4 {
		brand := string(data[at : at+4])
		switch brand {
		case "avif", "avis":
			return &Error{Reason: ReasonAVIF}
		case "heic", "heix", "hevc", "hevx", "heim", "heis", "mif1", "msf1":
			e = &Error{Reason: ReasonHEIC}
		}
		if at > 8 {
			continue
		}
		switch {
		case brand == "qt  ":
			e.Detail = "QuickTime"
		case strings.HasPrefix(brand, "3g"):
			e.Detail = "3GPP"
		case strings.HasPrefix(brand, "M4A"), strings.HasPrefix(brand, "M4B"):
			return reject(ReasonNotAnImage, "sound")
		case brand == "crx ":
			return reject(ReasonUnsupportedFormat, "camera raw (Canon)")
		case brand == "jxl ":
			return reject(ReasonUnsupportedFormat, "JPEG XL")
		case brand == "jp2 ", brand == "jpx ", brand == "jph ":
			return reject(ReasonUnsupportedFormat, "JPEG 2000")
		}
	}
	return e
}

// transportStream finds the byte that begins each packet (ISO/IEC 13818-1, 2.4.3); Blu-ray's packets have four more.
func transportStream(data []byte) bool {
	for _, s := range []struct{ first, packet int }{{0, 188}, {4, 192}} {
		if len(data) > s.first+2*s.packet && data[s.first] == 0x47 && data[s.first+s.packet] == 0x47 && data[s.first+2*s.packet] == 0x47 {
			return true
		}
	}
	return false
}

const sniffed = 4096 // bytes of a text that are looked at: some drawings begin with long comments

// sniffGzip names what is compressed: drawings are stored so, and some servers compress their pages twice.
func sniffGzip(data []byte) error {
	var head []byte
	if z, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
		head, _ = io.ReadAll(io.LimitReader(z, sniffed)) // what can be had of it will do
	}
	if len(head) > 0 {
		if e, ok := sniffText(head).(*Error); ok && e.Reason != ReasonNotAnImage {
			e.Detail = "compressed by gzip"
			return e
		}
	}
	return reject(ReasonNotAnImage, "gzip data")
}

var (
	pageTag = regexp.MustCompile(`(?i)<(!doctype\s+html|html|head|body)[\s>]`)
	drawing = regexp.MustCompile(`(?i)<([a-z]+:)?svg[\s>]`)
	rootTag = regexp.MustCompile(`<([A-Za-z_][\w:.-]{0,40})[\s/>]`)
)

func sniffText(data []byte) error {
	head := data[:min(len(data), sniffed)]
	if order := byteOrderMark(head); order != nil {
		if wide := fromUTF16(head[2:], order); !bytes.ContainsRune(wide, utf8.RuneError) {
			head = wide
		}
	}
	head = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	for i := 0; len(head) > 0 && i < utf8.UTFMax && !utf8.Valid(head); i++ { // the cut may be inside a character
		head = head[:len(head)-1]
	}
	if len(head) == 0 || !utf8.Valid(head) || bytes.ContainsAny(head, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x0e\x0f\x1a") {
		// A page in an encoding of before Unicode is one all the same.
		if pageTag.Match(data[:min(len(data), 1024)]) {
			return &Error{Reason: ReasonHTML}
		}
		return reject(ReasonNotAnImage, "unknown bytes, which begin with % x", data[:min(len(data), 8)])
	}
	page, svg := pageTag.FindIndex(head), drawing.FindIndex(head)
	text := bytes.TrimSpace(head)
	switch {
	case bytes.HasPrefix(text, []byte("{")), bytes.HasPrefix(text, []byte("[")):
		return reject(ReasonNotAnImage, "JSON: %s", excerpt(text))
	case page != nil && (svg == nil || page[0] < svg[0]):
		return &Error{Reason: ReasonHTML}
	case svg != nil:
		return &Error{Reason: ReasonSVG}
	case bytes.HasPrefix(text, []byte("data:image/")):
		return reject(ReasonNotAnImage, "text: a data URL")
	case bytes.HasPrefix(text, []byte("<?xml")):
		if root := rootTag.FindSubmatch(text); root != nil {
			return reject(ReasonNotAnImage, "XML: <%s>", root[1])
		}
		return reject(ReasonNotAnImage, "XML")
	case len(text) == 0:
		return reject(ReasonNotAnImage, "nothing but spaces")
	}
	return reject(ReasonNotAnImage, "text: %s", excerpt(text))
}

// excerpt is the beginning of a text in one line, quoted.
func excerpt(text []byte) string {
	const most = 60
	line := strings.Join(strings.Fields(string(text)), " ")
	if r := []rune(line); len(r) > most {
		line = string(r[:most]) + "..."
	}
	return fmt.Sprintf("%q", line)
}

func byteOrderMark(data []byte) binary.ByteOrder {
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		return binary.LittleEndian
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		return binary.BigEndian
	}
	return nil
}

func fromUTF16(data []byte, order binary.ByteOrder) []byte {
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = order.Uint16(data[2*i:])
	}
	return []byte(string(utf16.Decode(units)))
}
