package jpeg

// lookup is how many bits of a code are looked up at once. Few codes are longer.
const lookup = 10

// A table decodes one Huffman table's codes. An entry of fast says, for the bits to come, from its lowest byte:
//
//   - the bits of the code and of the number behind it, or 0 if the code is longer than lookup,
//   - the distance to the coefficient, 1 more than the run of zeros; from endOfBlock where there is none,
//   - the bits of the code,
//   - 63 less the bits of the number.
//
// A code for 16 zeros is a coefficient of 0 at a distance of 16. Codes for no more coefficients, of which progressive
// files have one for runs of blocks too, lie at endOfBlock and the upper half of their symbol.
type table struct {
	fast    [1 << lookup]uint32
	spec    [16 + 256]uint8 // as the file has it: the number of codes of each length, symbols
	symbols int
	dc      bool
	set     bool
	limit   [17]uint32 // the first 16-bit number beyond the codes of a length and of those shorter
	offset  [17]int    // of the first symbol of a length, less its code
	pairs   *pairs     // made when first asked for
	paired  bool
}

const endOfBlock = 128

// entry is what fast says of a symbol whose code has so many bits.
func (t *table) entry(symbol uint8, length int) uint32 {
	size, distance := int(symbol&15), int(symbol>>4)+1
	if !t.dc && size == 0 && symbol != 0xf0 {
		distance = endOfBlock + int(symbol>>4)
	}
	return uint32(length+size) | uint32(distance)<<8 | uint32(length)<<16 | uint32(63-size)<<24
}

// build makes the table from a DHT segment's body, and returns how long it was. Tables that are there already, as the
// usual ones mostly are, take no time.
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
	t.symbols, t.dc, t.set, t.paired = n, dc, true, false
	t.fill()
	return 16 + n, nil
}

// fill writes the entries in the order of their indices.
func (t *table) fill() {
	i, symbol := 0, 16
	for length := 1; length <= lookup; length++ {
		for range t.spec[length-1] {
			e := t.entry(t.spec[symbol], length)
			symbol++
			run := t.fast[i:][:1<<(lookup-length)]
			for j := range run {
				run[j] = e
			}
			i += len(run)
		}
	}
	clear(t.fast[i:])
}

// long finds the entry for a code that is longer than lookup in the upper 16 bits of acc, or 0 if there is no such code.
func (t *table) long(acc uint64) uint32 {
	code := uint32(acc >> 48)
	for length := lookup + 1; length <= 16; length++ {
		if code < t.limit[length] {
			i := int(code>>(16-length)) + t.offset[length]
			return t.entry(t.spec[16+i&255], length)
		}
	}
	return 0
}

// number is the one that an entry's code is followed by (T.81, F.2.2.1): its bits, or, if the first of them is 0, those
// of its negative inverted.
func number(acc uint64, e uint32) int32 {
	acc <<= e >> 16 & 63
	sign := int64(^acc) >> 63
	return int32(int64((acc^uint64(sign))>>1>>(e>>24&63))^sign) - int32(sign)
}

// pairs are what assembly looks up: two AC codes at once, where the second one begins and ends within lookup bits too.
// An entry says, from its lowest byte: all bits of both; those up to the second number; those up to the first; 63 less
// those of the first number; 63 less those of the second; the distance of the first, and that of the second from there,
// 0 if there is no second; the bits of the first code and its number.
//
// Long codes have the index of their first 16 bits less those of the first long one. An entry of 0 is none: an error,
// or a long code that has no place.
type pairs struct {
	near  [1 << lookup]uint64
	far   [1 << 10]uint64
	first uint64
}

// single is an entry of one code.
func single(e uint32) uint64 {
	return uint64(e&0xffff00ff) | 63<<32 | uint64(e>>8&0xff)<<40 | uint64(e&0xff)<<56
}

// pair returns the table's pairs.
func (t *table) pair() *pairs {
	if t.paired {
		return t.pairs
	}
	if t.pairs == nil {
		t.pairs = new(pairs)
	}
	p := t.pairs
	for i := range uint32(1 << lookup) {
		e := t.fast[i]
		if e == 0 {
			p.near[i] = 0
			continue
		}
		p.near[i] = single(e)
		bits := e & 0xff
		if bits >= lookup || e>>8&0xff >= endOfBlock {
			continue
		}
		f := t.fast[i<<bits&(1<<lookup-1)]
		if code := f >> 16 & 0xff; f != 0 && bits+code <= lookup {
			p.near[i] = uint64(bits+f&0xff) | uint64(bits+code)<<8 | uint64(e&0xffff0000) | uint64(f>>24)<<32 |
				uint64(e>>8&0xff)<<40 | uint64(f>>8&0xff)<<48 | uint64(bits)<<56
		}
	}
	clear(p.far[:])
	p.first = uint64(t.limit[lookup])
	code, symbol := t.limit[lookup], 16
	for length := 1; length <= 16; length++ {
		n := int(t.spec[length-1])
		if length > lookup {
			for _, s := range t.spec[symbol : symbol+n] {
				e := single(t.entry(s, length))
				from := code - t.limit[lookup]
				to := from + 1<<(16-length)
				for i := from; i < min(to, uint32(len(p.far))); i++ {
					p.far[i] = e
				}
				code += 1 << (16 - length)
			}
		}
		symbol += n
	}
	t.paired = true
	return p
}
