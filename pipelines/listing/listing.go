// Package listing reads lists of photographs: CSV with a header, JSON Lines, Parquet, or plain text with an image a line.
//
//	chunks, err := listing.Plan(ctx, "posts-*.csv", listing.Options{})
//	rows, err := chunks[0].Read(ctx)      // post_id and image of each
//	table, err := listing.ReadTable("train.csv", "image", "label")
//
// Plan reads every row once and cuts the listing into chunks, each of which can be read alone, on another machine too.
// Where a chunk ends depends on the rows and Options alone. A chunk knows the hash of its rows, so a listing that changed
// after it was planned is noticed.
//
// A row that breaks its format's rules is a row all the same: it carries what is wrong with it and takes no other row
// with it. A row has at most 1 MiB, a post's identifier and an image's name 8 KiB each. Listings are regular files on local
// disks, in UTF-8.
package listing

import (
	"bytes"
	"fmt"
	"io"
	"os"
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
	JSONL       Format = "jsonl"   // an object a line; the columns are its keys; values are strings or integers
	Parquet     Format = "parquet" // columns of strings or integers
	Text        Format = "text"    // an image a line, which is its post_id, too
)

// Formats returns every format that can be asked for.
func Formats() []Format { return []Format{CSV, JSONL, Parquet, Text} }

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

// record is a row with the values of the columns asked for.
type record struct {
	line   int64    // from 1: of its first line in a file of text, of itself in Parquet
	values []string // of the columns, in the order they were asked for; may be short of some if bad
	bad    string   // what breaks the format's rules, or empty
}

// reader yields a file's records.
type reader interface {
	// next returns io.EOF after the last record. Any other error ends the file.
	next() (record, error)
	// position is where the next record begins: a byte for files of text, a row for Parquet; and its line.
	position() (offset, line int64)
}

// opened is a file under a reader.
type opened struct {
	reader
	file *os.File
}

func (o opened) Close() error {
	if c, ok := o.reader.(io.Closer); ok {
		c.Close()
	}
	return o.file.Close()
}

// open begins at offset and line, as position gave them; at 0, 0 it begins with the first record.
func open(path string, format Format, columns []string, offset, line int64) (opened, error) {
	format, err := formatOf(path, format)
	if err != nil {
		return opened{}, err
	}
	// Only files that can be read again, and whose reading ends, are listings: no pipe, no device.
	if info, err := os.Stat(path); err != nil {
		return opened{}, fmt.Errorf("the listing cannot be read: %w", err)
	} else if info.IsDir() {
		return opened{}, fmt.Errorf("the listing %s is a folder: name a file, or a pattern such as %s", path, filepath.Join(path, "*.csv"))
	} else if !info.Mode().IsRegular() {
		return opened{}, fmt.Errorf("the listing %s is not a regular file: its rows are read twice, so save them to a file first", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return opened{}, fmt.Errorf("the listing cannot be read: %w", err)
	}
	r, err := newReader(f, path, format, columns, offset, line)
	if err != nil {
		f.Close()
		return opened{}, err
	}
	return opened{r, f}, nil
}

func newReader(f *os.File, path string, format Format, columns []string, offset, line int64) (reader, error) {
	if format == Parquet {
		return newParquet(f, path, columns, offset)
	}
	if err := checkText(f, path); err != nil {
		return nil, err
	}
	switch format {
	case CSV:
		return newCSV(f, path, columns, offset, line)
	case JSONL:
		return newJSONL(f, path, columns, offset, line)
	default:
		return newText(f, offset, line)
	}
}

func formatOf(path string, format Format) (Format, error) {
	if format == ByExtension {
		known, ok := extensions[strings.ToLower(filepath.Ext(path))]
		if !ok {
			return "", fmt.Errorf("%s: its extension does not tell the listing's format: say csv, jsonl, parquet or text with --format", path)
		}
		return known, nil
	}
	for _, f := range Formats() {
		if f == format {
			return f, nil
		}
	}
	return "", fmt.Errorf("listings cannot be read as %q: the formats are %q", format, Formats())
}

// notText are beginnings of files that are often handed over in place of text.
var notText = []struct{ magic, name string }{
	{"\x1f\x8b", "compressed with gzip: unpack it first"},
	{"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it first"},
	{"PK\x03\x04", "a zip file or a spreadsheet: save it as CSV in UTF-8"},
	{"\xff\xfe", "in UTF-16: save it in UTF-8"},
	{"\xfe\xff", "in UTF-16: save it in UTF-8"},
	{"PAR1", "Parquet: name it .parquet, or say so with --format"},
}

const bom = "\ufeff"

// checkText looks at the first bytes of a file and puts it back at its beginning.
func checkText(f io.ReadSeeker, path string) error {
	head := make([]byte, 4)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return fmt.Errorf("%s cannot be read: %w", path, err)
	}
	for _, not := range notText {
		if bytes.HasPrefix(head[:n], []byte(not.magic)) {
			return fmt.Errorf("%s is %s", path, not.name)
		}
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}

// EachRow calls do with the named columns of every row and the line it begins at (in Parquet, the row), from 1, until
// do returns an error. A row that cannot be read is an error, which names its line. A file of plain text has one
// column, of any name.
func EachRow(path string, columns []string, do func(line int64, values []string) error) error {
	in, err := open(path, ByExtension, columns, 0, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	for {
		r, err := in.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if r.bad == "" && len(r.values) < len(columns) { // only plain text
			return fmt.Errorf("%s is plain text with one column: %q need a CSV, JSON Lines or Parquet file", path, columns)
		}
		if r.bad != "" {
			return fmt.Errorf("%s line %d: %s", path, r.line, r.bad)
		}
		if err := do(r.line, r.values); err != nil {
			return err
		}
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
func checkUTF8(values []string) string {
	for _, v := range values {
		if !utf8.ValidString(v) {
			return notUTF8
		}
	}
	return ""
}
