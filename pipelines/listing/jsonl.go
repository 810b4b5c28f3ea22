package listing

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// jsonlReader reads an object a line.
type jsonlReader struct {
	*lines
	columns []string
}

func newJSONL(f io.ReadSeeker, path string, columns []string, offset, line int64) (reader, error) {
	l, err := newLines(f, offset, line)
	if err != nil {
		return nil, err
	}
	j := &jsonlReader{l, columns}
	if offset > 0 {
		return j, nil
	}
	// The first object shows whether the columns are named as expected, as a header would; of later ones each is on its
	// own.
	for {
		text, _, bad, err := j.lines.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		var object map[string]json.RawMessage
		if bad != "" || json.Unmarshal(text, &object) != nil {
			continue
		}
		for _, c := range columns {
			if _, ok := object[c]; !ok {
				return nil, &MissingColumnError{path, c, slices.Sorted(maps.Keys(object))}
			}
		}
		break
	}
	j.lines, err = newLines(f, 0, 0)
	return j, err
}

func (j *jsonlReader) next() (record, error) {
	text, line, bad, err := j.lines.next()
	if err != nil {
		return record{}, err
	}
	r := record{line: line, values: make([]string, len(j.columns)), bad: bad}
	if bad != "" {
		return r, nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		r.bad = "no JSON object: " + err.Error()
		if syntax := new(json.SyntaxError); errors.As(err, &syntax) {
			r.bad = fmt.Sprintf("no JSON object: %v at byte %d", err, syntax.Offset)
		} else if other := new(json.UnmarshalTypeError); errors.As(err, &other) {
			r.bad = "no JSON object but: " + other.Value
		}
		return r, nil
	}
	for i, c := range j.columns {
		v, ok := object[c]
		if !ok {
			r.bad = fmt.Sprintf("the object has no key %q", c)
		} else if r.values[i], ok = scalar(v); !ok {
			r.bad = fmt.Sprintf("%q is %.40s: want a string or an integer", c, v)
		}
	}
	if r.bad == "" && !utf8.Valid(text) { // encoding/json puts U+FFFD where the bytes are not UTF-8
		r.bad = notUTF8
	}
	return r, nil
}

// scalar is a string, or an integer as it is written.
func scalar(v json.RawMessage) (string, bool) {
	var s string
	if json.Unmarshal(v, &s) == nil && v[0] == '"' {
		return s, true
	}
	digits := strings.TrimPrefix(string(v), "-")
	return string(v), digits != "" && strings.Trim(digits, "0123456789") == ""
}
