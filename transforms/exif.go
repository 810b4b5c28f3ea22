package transforms

import (
	"bytes"
	"encoding/binary"
)

// orientation finds the EXIF orientation tag of a file, 1 to 8, and returns 1 where there is none or where it makes
// no sense: EXIF is often wrong, and never a reason to lose a picture.
func orientation(f format, data []byte) int {
	switch f {
	case formatJPEG:
		o := 1
		walkJPEG(data, func(marker byte, segment []byte) bool {
			if marker == 0xe1 {
				if tiff, ok := bytes.CutPrefix(segment, []byte("Exif\x00\x00")); ok {
					o = orientationTag(tiff)
					return false
				}
			}
			return true
		})
		return o
	case formatPNG:
		o := 1
		walkPNG(data, func(name string, chunk []byte) bool {
			if name == "eXIf" {
				o = orientationTag(chunk)
			}
			return name != "eXIf"
		})
		return o
	case formatWebP:
		o := 1
		walkWebP(data, func(name string, chunk []byte) bool {
			if name != "EXIF" {
				return true
			}
			o = orientationTag(bytes.TrimPrefix(chunk, []byte("Exif\x00\x00")))
			return false
		})
		return o
	case formatTIFF:
		return orientationTag(data)
	}
	return 1
}

func orientationTag(tiff []byte) int {
	o := 1
	walkIFD(tiff, func(tag uint16, value uint32, _ []byte) {
		if tag == 0x0112 && 1 <= value && value <= 8 {
			o = int(value)
		}
	})
	return o
}

// walkIFD calls visit with each tag of the first directory of a TIFF structure (TIFF 6.0, section 2) that holds bytes, shorts
// or longs, in the order of the file: with its first value, and with the bytes of all its values, or of as many as the file has.
func walkIFD(tiff []byte, visit func(tag uint16, first uint32, values []byte)) {
	if len(tiff) < 8 {
		return
	}
	var order binary.ByteOrder
	switch string(tiff[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return
	}
	at := uint64(order.Uint32(tiff[4:]))
	if at+2 > uint64(len(tiff)) {
		return
	}
	entries := tiff[at+2:]
	for n := order.Uint16(tiff[at:]); n > 0 && len(entries) >= 12; n-- {
		e := entries[:12]
		entries = entries[12:]
		var size uint64
		switch order.Uint16(e[2:]) {
		case 1, 7:
			size = 1
		case 3:
			size = 2
		case 4:
			size = 4
		}
		count := uint64(order.Uint32(e[4:]))
		if size == 0 || count == 0 {
			continue
		}
		value := e[8:12]
		if count*size > 4 { // the entry points to its values
			from := uint64(order.Uint32(value))
			if from+size > uint64(len(tiff)) {
				continue
			}
			value = tiff[from:]
		}
		value = value[:min(count*size, uint64(len(value)))]
		var first uint32
		switch size {
		case 1:
			first = uint32(value[0])
		case 2:
			first = uint32(order.Uint16(value))
		case 4:
			first = order.Uint32(value)
		}
		visit(order.Uint16(e), first, value)
	}
}
