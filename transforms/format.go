package transforms

import (
	"bytes"
	"encoding/binary"
	"strings"
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

// sniff tells the format from the first bytes. Names and content types given by servers are often wrong.
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
		return "", &Error{Reason: mediaOf(data)}
	case has(0, "\x1a\x45\xdf\xa3"), has(0, "RIFF") && has(8, "AVI "), has(0, "OggS"), has(0, "FLV\x01"), has(0, "\x00\x00\x01\xba"):
		return "", &Error{Reason: ReasonVideo}
	case has(0, "%PDF-"):
		return "", &Error{Reason: ReasonPDF}
	case has(0, "\xff\x0a"), has(0, "\x00\x00\x00\x0cJXL "):
		return "", reject(ReasonUnsupportedFormat, "JPEG XL")
	case has(0, "\x00\x00\x00\x0cjP  "), has(0, "\xff\x4f\xff\x51"):
		return "", reject(ReasonUnsupportedFormat, "JPEG 2000")
	case has(0, "8BPS"):
		return "", reject(ReasonUnsupportedFormat, "Photoshop document")
	case has(0, "\x00\x00\x01\x00"):
		return "", reject(ReasonUnsupportedFormat, "Windows icon")
	case has(0, "\x1f\x8b"):
		return "", reject(ReasonNotAnImage, "gzip data")
	case has(0, "PK\x03\x04"):
		return "", reject(ReasonNotAnImage, "zip archive")
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

// mediaOf tells AVIF, HEIC and video apart by the brands in an ISO base media file's first box.
func mediaOf(data []byte) Reason {
	end := min(uint64(binary.BigEndian.Uint32(data)), uint64(len(data)), 256)
	reason := ReasonVideo
	for at := uint64(8); at+4 <= end; at += 4 {
		switch string(data[at : at+4]) {
		case "avif", "avis":
			return ReasonAVIF
		case "heic", "heix", "hevc", "hevx", "heim", "heis", "mif1", "msf1":
			reason = ReasonHEIC
		}
	}
	return reason
}

func sniffText(data []byte) error {
	head := bytes.TrimPrefix(data[:min(len(data), 1024)], []byte("\xef\xbb\xbf"))
	for i := 0; len(head) > 0 && i < utf8.UTFMax && !utf8.Valid(head); i++ { // the cut may be inside a character
		head = head[:len(head)-1]
	}
	if len(head) == 0 || !utf8.Valid(head) || bytes.ContainsAny(head, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x0e\x0f\x1a") {
		return reject(ReasonNotAnImage, "unknown bytes")
	}
	s := strings.ToLower(string(head))
	switch {
	case strings.Contains(s, "<!doctype html"), strings.Contains(s, "<html"), strings.Contains(s, "<head"), strings.Contains(s, "<body"):
		return &Error{Reason: ReasonHTML}
	case strings.Contains(s, "<svg"):
		return &Error{Reason: ReasonSVG}
	}
	return reject(ReasonNotAnImage, "text")
}
