package transforms

import "encoding/binary"

// frames counts the pictures of an animation by walking through the file's blocks, and never says less than 1. What a
// header claims to follow does not count, nor what comes after a block that is broken or cut off.
func frames(f format, data []byte) int {
	n := 0
	switch f {
	case formatGIF:
		n = framesOfGIF(data)
	case formatPNG:
		animated := false
		walkPNG(data, func(name string, _ []byte) bool {
			switch name {
			case "acTL":
				animated = true
			case "fcTL":
				n++
			}
			return animated || name != "IDAT" // acTL has to come first
		})
		if !animated {
			n = 1
		}
	case formatWebP:
		walkWebP(data, func(name string, chunk []byte) bool {
			if name == "ANMF" && len(chunk) > 16 {
				n++
			}
			return true
		})
	}
	return max(n, 1)
}

// framesOfGIF steps over the blocks of a GIF (GIF89a, appendix B).
func framesOfGIF(data []byte) (n int) {
	const screen, descriptor = 13, 10
	table := func(flags byte) int { // bytes of the colour table that follows
		if flags&0x80 == 0 {
			return 0
		}
		return 3 << (flags&7 + 1)
	}
	if len(data) < screen {
		return 0
	}
	at := screen + table(data[10])
	blocks := func() bool { // to the end of a sequence of sub-blocks; false if the file ends before
		for at < len(data) {
			size := int(data[at])
			at += 1 + size
			if size == 0 {
				return true
			}
		}
		return false
	}
	for at < len(data) {
		switch data[at] {
		case 0x21: // extension: label, sub-blocks
			at += 2
		case 0x2c: // image: descriptor, colour table, size of codes, sub-blocks
			if at+descriptor > len(data) {
				return n
			}
			at += descriptor + table(data[at+9]) + 1
			n++
		default: // trailer, or nonsense
			return n
		}
		if !blocks() {
			return n
		}
	}
	return n
}

// walkPNG calls visit with each chunk of a PNG until it returns false. Check sums are not looked at.
func walkPNG(data []byte, visit func(name string, chunk []byte) bool) {
	for b := data[min(8, len(data)):]; len(b) >= 12; {
		n := uint64(binary.BigEndian.Uint32(b))
		if n+12 > uint64(len(b)) || !visit(string(b[4:8]), b[8:8+n]) {
			return
		}
		b = b[12+n:]
	}
}
