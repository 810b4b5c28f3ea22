package jpeg

import (
	"fmt"
	"io"
	"strings"
)

// A FormatError says how a file breaks the rules of ITU-T T.81.
type FormatError string

func (e FormatError) Error() string { return "jpeg: broken file: " + string(e) }

// An UnsupportedError names a feature of a valid file that this package lacks.
type UnsupportedError string

func (e UnsupportedError) Error() string { return "jpeg: not supported: " + string(e) }

const (
	errCode    FormatError = "a Huffman code that its table lacks"
	errNoTable FormatError = "a scan without its Huffman table"
)

// A TruncatedError tells how much there is of a picture whose file ends too early. errors.Is(err, io.ErrUnexpectedEOF)
// holds.
type TruncatedError struct {
	Rows, Height int // rows of pixels that are there, and those of the picture; both 0 if not even the header is whole
}

func (e *TruncatedError) Error() string {
	if e.Height == 0 {
		return "jpeg: the file ends within its header"
	}
	return fmt.Sprintf("jpeg: the file ends after %d of %d rows", e.Rows, e.Height)
}

// Unwrap returns io.ErrUnexpectedEOF.
func (e *TruncatedError) Unwrap() error { return io.ErrUnexpectedEOF }

// Warnings are faults of a file that was decoded nevertheless, as libjpeg does: a set of the constants below.
type Warnings uint8

// The faults there are.
const (
	MissingEOI      Warnings = 1 << iota // the file ends without the marker that ends an image
	ExtraneousBytes                      // bytes that belong to nothing stand before a marker and were skipped
	RestartNumber                        // a restart marker had another number than its turn; intervals may be missing, in grey
	ShortInterval                        // the data between two restart markers ended early: grey blocks stand for the rest
	TruncatedRows                        // rows at the bottom are missing, in grey: Options.Truncated let the file pass
	MissingTables                        // no Huffman tables, as in frames of Motion JPEG: the usual ones were taken
)

var warningNames = [...]string{"missing EOI", "extraneous bytes", "wrong restart number", "short restart interval", "truncated", "missing Huffman tables"}

// String lists the faults in words, separated by commas.
func (w Warnings) String() string {
	var all []string
	for i, name := range warningNames {
		if w>>i&1 != 0 {
			all = append(all, name)
		}
	}
	return strings.Join(all, ", ")
}
