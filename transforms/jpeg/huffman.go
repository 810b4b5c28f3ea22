package jpeg

// lookup is how many bits of a code and the number behind it are looked up at once.
const lookup = 11

// A table decodes one Huffman table's codes together with the numbers that follow them.
//
// An entry of fast holds, from its lowest bits, the bits to skip (6), one that is 0 if the entry says all, the distance
// to the coefficient (8, from bit 8), and its value (the upper 16). The distance is 1 more than the run of zeros, and at
// least endOfBlock if there is no coefficient, where the value is the upper half of the symbol. If the entry does not say
// all, either the bits to skip are those of the code, and the value is the number of the bits that follow; or they are
// 0, and the code is longer than lookup.
type table struct {
	fast    [1 << lookup]uint32
	spec    [16 + 256]uint8 // as the file has it: the number of codes of each length, symbols
	symbols int
	dc      bool
	set     bool
	limit   [17]uint32 // the first 16-bit number beyond the codes of a length and of those shorter
	offset  [17]int    // of the first symbol of a length, less its code
}

const (
	partial    = 0x80
	endOfBlock = 128
)

// build makes the table from a DHT segment's body, and returns how long it was. Tables that are there already, as those of
// nearly all photographs are, take no time.
func (t *table) build(body []byte, dc bool) (int, error) {
	if len(body) < 16 {
		return 0, FormatError("short Huffman table")
	}
	n := 0
	for _, c := range body[:16] {
		n += int(c)
	}
	if n > 256 || len(body) < 16+n {
		return 0, FormatError("short Huffman table")
	}
	if t.set && t.dc == dc && t.symbols == n && string(t.spec[:16+n]) == string(body[:16+n]) {
		return 16 + n, nil
	}
	t.set = false
	code, symbol := uint32(0), 0
	for length := 1; length <= 16; length++ {
		count := int(body[length-1])
		if code+uint32(count) > 1<<length {
			return 0, FormatError("more Huffman codes than there can be")
		}
		t.offset[length] = symbol - int(code)
		code += uint32(count)
		symbol += count
		t.limit[length] = code << (16 - length)
		code <<= 1
	}
	if dc {
		for _, s := range body[16 : 16+n] {
			if s > 15 {
				return 0, FormatError("difference of more than 15 bits")
			}
		}
	}
	copy(t.spec[:], body[:16+n])
	t.symbols, t.dc, t.set = n, dc, true
	t.fill()
	return 16 + n, nil
}

// fill writes the entries in the order of their indices.
func (t *table) fill() {
	fast, symbol := t.fast[:0], 16
	for length := 1; length <= lookup; length++ {
		for range t.spec[length-1] {
			s := t.spec[symbol]
			symbol++
			size, distance := int(s&15), uint32(s>>4)+1
			if t.dc {
				size, distance = int(s), 1
			}
			left := lookup - length
			switch {
			case size == 0 && t.dc:
				fast = repeat(fast, uint32(length)|1<<8, 1<<left)
			case size == 0 && s == 0xf0:
				fast = repeat(fast, uint32(length)|16<<8, 1<<left)
			case size == 0:
				fast = repeat(fast, uint32(s>>4)<<16|endOfBlock<<8|uint32(length), 1<<left)
			case size > left:
				fast = repeat(fast, uint32(size)<<16|distance<<8|partial|uint32(length), 1<<left)
			default:
				for v := range int32(1) << size {
					entry := uint32(extend(v, size))<<16 | distance<<8 | uint32(length+size)
					fast = repeat(fast, entry, 1<<(left-size))
				}
			}
		}
	}
	for len(fast) < 1<<lookup {
		fast = append(fast, partial)
	}
}

func repeat(s []uint32, v uint32, n int) []uint32 {
	for range n {
		s = append(s, v)
	}
	return s
}

// extend gives the number that size bits stand for (T.81, F.2.2.1).
func extend(v int32, size int) int32 {
	if v < 1<<(size-1) {
		v += -1<<size + 1
	}
	return v
}

// long finds a code that is longer than lookup in the upper 16 bits of acc: its symbol and its length, which is 0 if
// there is no such code.
func (t *table) long(acc uint64) (symbol uint8, length uint) {
	code := uint32(acc >> 48)
	for length = lookup + 1; length <= 16; length++ {
		if code < t.limit[length] {
			i := int(code>>(16-length)) + t.offset[length]
			return t.spec[16+i&255], length
		}
	}
	return 0, 0
}
