package listing

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/logobeam/logobeam/pipelines/store"
)

// source is a listing's file, open for reading.
type source struct {
	store.File
	ctx      context.Context // ends what is read; it outlives that of open, since readers are parked
	cancel   context.CancelFunc
	location string
	packed   packing
}

// packing is how a file is compressed, if it is.
type packing string

const (
	plain   packing = ""
	gzipped packing = "gzip"
	zstded  packing = "zstd"
)

// openFile opens a file that can be read again, and whose reading ends: no pipe, no device. Its content says whether it
// is compressed, whatever its name.
func openFile(ctx context.Context, location string) (*source, error) {
	if !store.IsRemote(location) {
		info, err := os.Stat(location)
		if err != nil {
			return nil, fmt.Errorf("the listing cannot be read: %w", err)
		}
		if info.IsDir() {
			return nil, fmt.Errorf("the listing %s is a folder: name a file", location)
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("the listing %s is not a regular file: its rows are read more than once, so save them to a file first", location)
		}
	}
	s := &source{location: location}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer s.during(ctx)()
	var err error
	if s.File, err = store.OpenFile(s.ctx, location); err != nil {
		s.cancel()
		return nil, fmt.Errorf("the listing cannot be read: %w", err)
	}
	head := make([]byte, 4)
	if n, err := s.ReadAt(head, 0); err != nil && err != io.EOF {
		s.close()
		return nil, fmt.Errorf("%s cannot be read: %w", location, err)
	} else if n == len(head) {
		s.packed = packingOf([4]byte(head))
	}
	return s, nil
}

func (s *source) close() {
	if s == nil { // a folder's
		return
	}
	s.cancel()
	s.Close()
}

// during has what is read end with ctx, until stop.
func (s *source) during(ctx context.Context) (stop func()) {
	if s == nil { // a folder's
		return func() {}
	}
	end := context.AfterFunc(ctx, s.cancel)
	return func() { end() }
}

// version tells the file's content from what it may be later: by its checksum where there is one, and otherwise by the
// time of its modification.
func version(info store.Info) string {
	if info.Sum != "" {
		return fmt.Sprintf("%d bytes, %s", info.Size, info.Sum)
	}
	return fmt.Sprintf("%d bytes, %s", info.Size, info.Version)
}

// packingOf knows the first bytes of gzip's members (RFC 1952) and of zstd's frames (RFC 8878), skippable ones too.
func packingOf(head [4]byte) packing {
	switch {
	case head[0] == 0x1f && head[1] == 0x8b:
		return gzipped
	case head == [4]byte{0x28, 0xb5, 0x2f, 0xfd}, head[0]&0xf0 == 0x50 && [3]byte(head[1:]) == [3]byte{0x2a, 0x4d, 0x18}:
		return zstded
	}
	return plain
}

// withoutPacking takes the ending of a compressed file's name away.
func withoutPacking(location string) string {
	switch ext := filepath.Ext(location); strings.ToLower(ext) {
	case ".gz", ".gzip", ".zst", ".zstd":
		return strings.TrimSuffix(location, ext)
	}
	return location
}

const (
	readBuffer = 64 << 10
	maxWindow  = 128 << 20 // bytes that zstd may look back, which are in memory
)

// stream yields the text from offset on: a byte of it, unpacked. What lies before end is asked for at once, what lies
// after it in small pieces and only when it is wanted; 0 is the end of the file. It ends with the source's context.
func (s *source) stream(offset, end int64) (io.ReadCloser, error) {
	size := s.Info().Size
	if end == 0 || end > size || s.packed != plain {
		end = size
	}
	if s.packed == plain {
		return &pieces{s: s, at: offset, end: end}, nil
	}
	in := bufio.NewReaderSize(&pieces{s: s, end: end}, readBuffer)
	u := &unpacked{packed: s.packed}
	var err error
	if s.packed == gzipped {
		u.Reader, err = gzip.NewReader(in)
	} else {
		var d *zstd.Decoder
		d, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err == nil {
			u.Reader, u.done = d, d.Close
		}
	}
	if err != nil {
		return nil, u.broken(err)
	}
	if _, err := io.CopyN(io.Discard, u, offset); err != nil && err != io.EOF {
		u.Close()
		return nil, err
	}
	return u, nil
}

// pieces reads a file through streams of parts of it.
type pieces struct {
	s       *source
	at, end int64 // of the current piece
	now     io.ReadCloser
}

func (p *pieces) Read(to []byte) (int, error) {
	for {
		if err := p.s.ctx.Err(); err != nil {
			return 0, err
		}
		if p.at >= p.end {
			p.Close()
			size := p.s.Info().Size
			if p.at >= size {
				return 0, io.EOF
			}
			p.end = min(p.at+readBuffer, size)
		}
		if p.now == nil {
			var err error
			if p.now, err = p.s.Range(p.s.ctx, p.at, p.end-p.at); err != nil {
				return 0, err
			}
		}
		n, err := p.now.Read(to)
		p.at += int64(n)
		switch {
		case err == io.EOF && p.at < p.end: // the file has become shorter
			return n, io.ErrUnexpectedEOF
		case err != nil && err != io.EOF:
			return n, err
		case n > 0 || len(to) == 0:
			return n, nil
		}
	}
}

func (p *pieces) Close() error {
	if p.now == nil {
		return nil
	}
	err := p.now.Close()
	p.now = nil
	return err
}

// unpacked reads compressed text. It starts no goroutine.
type unpacked struct {
	io.Reader
	packed packing
	done   func()
}

func (u *unpacked) Read(to []byte) (int, error) {
	n, err := u.Reader.Read(to)
	if err != nil && err != io.EOF {
		err = u.broken(err)
	}
	return n, err
}

func (u *unpacked) broken(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("its %s data is damaged or cut off: %w", u.packed, err)
}

func (u *unpacked) Close() error {
	if u.done != nil {
		u.done()
	}
	return nil
}
