package transforms

import "encoding/binary"

// walkWebP calls visit with each chunk of a RIFF file until it returns false.
func walkWebP(data []byte, visit func(name string, chunk []byte) bool) {
	walkChunks(data[min(12, len(data)):], visit)
}

func walkChunks(b []byte, visit func(name string, chunk []byte) bool) {
	for len(b) >= 8 {
		n := uint64(binary.LittleEndian.Uint32(b[4:]))
		if n+8 > uint64(len(b)) || !visit(string(b[:4]), b[8:8+n]) {
			return
		}
		b = b[min(8+n+n&1, uint64(len(b))):]
	}
}

// stillWebP returns a WebP file as it is if it holds one picture, and the first frame of an animation as a file of its
// own, which is what golang.org/x/image/webp can decode (RFC 9649). That decoder allocates what the headers claim, so a
// file that is shorter than that is rejected.
func stillWebP(data []byte) ([]byte, error) {
	if len(data) < 20 || uint64(binary.LittleEndian.Uint32(data[4:]))+8 > uint64(len(data)) {
		return nil, reject(ReasonTruncated, "webp of %d bytes", len(data))
	}
	const animated = 1 << 1
	if string(data[12:16]) != "VP8X" || len(data) < 30 || data[20]&animated == 0 {
		return data, nil
	}
	var frame []byte
	walkWebP(data, func(name string, chunk []byte) bool {
		if name == "ANMF" && len(chunk) > 16 { // position, size, duration, flags; then chunks as in a still file
			frame = chunk
		}
		return frame == nil
	})
	if frame == nil {
		return nil, reject(ReasonTruncated, "webp animation without a frame")
	}
	still := []byte("RIFF\x00\x00\x00\x00WEBP")
	walkChunks(frame[16:], func(name string, _ []byte) bool {
		if name == "ALPH" {
			still = append(still, "VP8X\x0a\x00\x00\x00\x10\x00\x00\x00"...)
			still = append(still, frame[6:12]...) // width and height less 1
		}
		return name != "ALPH"
	})
	still = append(still, frame[16:]...)
	binary.LittleEndian.PutUint32(still[4:], uint32(len(still)-8))
	return still, nil
}
