// Package listing reads lists of photographs: CSV with a header, JSON Lines, Parquet, plain text with an image a line, or a
// folder of images, on a local disk or in a bucket (gs://), as they are or compressed with gzip or zstd.
//
//	chunks, err := listing.Plan(ctx, "posts-*.csv.gz", listing.Options{Keep: []string{"author"}})
//	rows, err := chunks[0].Read(ctx)      // rows.At(0) has post_id, image and author of the first
//	table, err := listing.ReadTable("train.csv", "image", "label")
//
// Plan cuts the listing into chunks, each of which can be read alone, on another machine too. A small file and a
// compressed one are read once, and their chunks know the hash of their rows. A large file is cut by looking at a few
// places, and its chunks know its size and version. So a listing that changed after it was planned is noticed either way.
// Where a chunk ends depends on the listing and Options alone.
//
// A row that breaks its format's rules is a row all the same: it carries what is wrong with it and takes no other row
// with it. A row has at most 1 MiB, each of its values 8 KiB. Listings are files, not pipes, in UTF-8.
package listing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// Format is how a listing is written.
type Format string

// The formats. By default a file's extension decides.
const (
	ByExtension Format = ""
	CSV         Format = "csv"     // RFC 4180 with a header: commas, quotes, LF or CRLF, fields may span lines
	JSONL       Format = "jsonl"   // an object a line; the columns are its keys; posts and images are strings or integers
	Parquet     Format = "parquet" // posts and images are columns of strings or integers
	Text        Format = "text"    // an image a line, which is its post_id, too

	folder Format = "folder" // a folder of images: what is asked for with its name
)

// formats returns every format that can be asked for.
func formats() []Format { return []Format{CSV, JSONL, Parquet, Text} }

var extensions = map[string]Format{
	".csv":   CSV,
	".jsonl": JSONL, ".ndjson": JSONL,
	".parquet": Parquet, ".pq": Parquet,
	".txt": Text, ".text": Text, ".lst": Text,
}

// Limits of a row.
const (
	maxRow   = 1 << 20 // bytes of a row
	maxValue = 8 << 10 // bytes of a post_id or an image
)

// MissingColumnError says that a listing does not have a column that was asked for.
type MissingColumnError struct {
	Path   string
	Column string
	Have   []string // what there is instead
}

func (e *MissingColumnError) Error() string {
	if len(e.Have) == 0 {
		return fmt.Sprintf("%s has no column %q: it has no columns", e.Path, e.Column)
	}
	have := e.Have
	more := ""
	if len(have) > 20 {
		have, more = have[:20], fmt.Sprintf(" and %d more", len(have)-20)
	}
	return fmt.Sprintf("%s has no column %q: its columns are %.60q%s", e.Path, e.Column, have, more)
}

// columns are what is read of a listing. The values of the first of them, the firm ones, are strings or integers, and
// every row has them; the others are rendered as text whatever they are, and may be missing.
type columns struct {
	names []string
	firm  int
}

// record is a row with the values of the columns asked for.
type record struct {
	offset int64    // where it begins: a byte of the unpacked text, a row of Parquet, a file of a folder
	end    int64    // where it ends, line end and all, if it is text
	line   int64    // from 1, of its first line in text, of itself in others; 0 if not known
	values [][]byte // of the columns, in the order they were asked for; may be short of some if bad
	bad    string   // what breaks the format's rules, or empty
}

// reader yields a file's records.
type reader interface {
	// next returns io.EOF after the last record. Any other error ends the file. The record's values are valid until the
	// reader is used again.
	next() (record, error)
	// position is where the next record begins, as record has it, or the end.
	position() (offset, line int64)
	// seek goes to a place that position gave. What is read from there will mostly end before end; 0 is the file's end.
	seek(offset, end, line int64) error
	close()
}

// opened is a file under a reader.
type opened struct {
	reader
	*source
}

func (o opened) close() {
	o.reader.close()
	o.source.close()
}

// open begins with the first record.
func open(ctx context.Context, location string, format Format, want columns) (opened, error) {
	return openAt(ctx, location, format, want, 0, 0, 0)
}

// openAt begins at a place as reader.seek does.
func openAt(ctx context.Context, location string, format Format, want columns, offset, end, line int64) (opened, error) {
	format, err := formatOf(location, format)
	if err != nil {
		return opened{}, err
	}
	s, err := openFile(ctx, location)
	if err != nil {
		return opened{}, err
	}
	defer s.during(ctx)()
	r, err := newReader(s, format, want, offset)
	if err == nil && offset > 0 {
		if err = r.seek(offset, end, line); err != nil {
			r.close()
			err = fmt.Errorf("%s: %w", location, err)
		}
	}
	if err != nil {
		s.close()
		return opened{}, err
	}
	return opened{r, s}, nil
}

// newReader is at the beginning. If it is to go to offset then, it reads no more than it must before.
func newReader(s *source, format Format, want columns, offset int64) (reader, error) {
	if format == Parquet {
		return newParquet(s, want)
	}
	end := int64(0)
	if offset > 0 {
		end = readBuffer
	}
	l, err := newLines(s, end)
	if err != nil {
		return nil, fmt.Errorf("%s %w", s.location, err)
	}
	var r reader
	switch format {
	case CSV:
		r, err = newCSV(l, s.location, want)
	case JSONL:
		r, err = newJSONL(l, s.location, want, offset == 0)
	default:
		r = newText(l)
	}
	if err != nil {
		l.close()
	}
	return r, err
}

func formatOf(location string, format Format) (Format, error) {
	if format == ByExtension {
		known, ok := extensions[strings.ToLower(filepath.Ext(withoutPacking(location)))]
		if !ok {
			return "", fmt.Errorf("%s: its extension does not tell the listing's format: say csv, jsonl, parquet or text with --format", location)
		}
		return known, nil
	}
	for _, f := range formats() {
		if f == format {
			return f, nil
		}
	}
	return "", fmt.Errorf("listings cannot be read as %q: the formats are %q", format, formats())
}

// notText are beginnings of files that are often handed over in place of text.
var notText = []struct{ magic, name string }{
	{"\x1f\x8b", "compressed twice: unpack it first"},
	{"\x28\xb5\x2f\xfd", "compressed twice: unpack it first"},
	{"PK\x03\x04", "a zip file or a spreadsheet: save it as CSV in UTF-8"},
	{"\xff\xfe", "in UTF-16: save it in UTF-8"},
	{"\xfe\xff", "in UTF-16: save it in UTF-8"},
	{"PAR1", "Parquet: name it .parquet, or say so with --format"},
}

const bom = "\ufeff"

// checkText looks at the first bytes of a text.
func checkText(head []byte) error {
	for _, not := range notText {
		if bytes.HasPrefix(head, []byte(not.magic)) {
			return fmt.Errorf("is %s", not.name)
		}
	}
	return nil
}

// EachRow calls do with the named columns of every row and the line it begins at (in Parquet, the row), from 1, until
// do returns an error. A row that cannot be read is an error, which names its line. A file of plain text has one
// column, of any name.
func EachRow(path string, names []string, do func(line int64, values []string) error) error {
	in, err := open(context.Background(), path, ByExtension, columns{names, len(names)})
	if err != nil {
		return err
	}
	defer in.close()
	for {
		r, err := in.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return in.failed(err)
		}
		if r.bad == "" && len(r.values) < len(names) { // only plain text
			return fmt.Errorf("%s is plain text with one column: %q need a CSV, JSON Lines or Parquet file", path, names)
		}
		if r.bad != "" {
			return fmt.Errorf("%s line %d: %s", path, r.line, r.bad)
		}
		values := make([]string, len(r.values))
		for i, v := range r.values {
			values[i] = string(v)
		}
		if err := do(r.line, values); err != nil {
			return err
		}
	}
}

// Has says whether a listing has a column, for those that are read where they are there. Plain text has none.
func Has(path, column string) (bool, error) {
	in, err := open(context.Background(), path, ByExtension, columns{[]string{column}, 1})
	var missing *MissingColumnError
	if errors.As(err, &missing) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	in.close()
	format, err := formatOf(path, ByExtension)
	return format != Text, err
}

// failed says where reading failed.
func (o opened) failed(err error) error {
	if offset, line := o.position(); line > 0 {
		return fmt.Errorf("%s, line %d: %w", o.location, line, err)
	} else {
		return fmt.Errorf("%s, byte %d: %w", o.location, offset, err)
	}
}

// ReadTable reads the named columns of a whole listing into memory: labelled photographs, not posts by the million. A
// row that cannot be read is an error, and so is a table without rows.
func ReadTable(path string, columns ...string) ([][]string, error) {
	var rows [][]string
	err := EachRow(path, columns, func(_ int64, values []string) error {
		rows = append(rows, values)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s holds no rows", path)
	}
	return rows, nil
}

const notUTF8 = "the row is not in UTF-8: convert the listing"

// checkUTF8 says what keeps values from being text, in the words for a bad record.
func checkUTF8(values [][]byte) string {
	for _, v := range values {
		if !utf8.Valid(v) {
			return notUTF8
		}
	}
	return ""
}
