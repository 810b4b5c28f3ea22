package listing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"unicode/utf8"
)

// jsonlReader reads an object a line.
type jsonlReader struct {
	*lines
	want   columns
	values [][]byte
}

const keysWithin = 100 // objects in one of which a key is that later ones may have

// newJSONL is for lines at their beginning. If check, it looks at the first objects.
func newJSONL(l *lines, location string, want columns, check bool) (reader, error) {
	j := &jsonlReader{l, want, make([][]byte, len(want.names))}
	if !check {
		return j, nil
	}
	begin, line := l.position()
	if err := j.checkKeys(location); err != nil {
		return nil, err
	}
	return j, l.seek(begin, 0, line)
}

// checkKeys looks whether the columns are named as expected, as a header would show. The first object has the firm ones;
// of later objects each is on its own. The others are in one of the first objects.
func (j *jsonlReader) checkKeys(location string) error {
	seen := map[string]bool{}
	for objects := 0; objects < keysWithin; {
		text, r, err := j.lines.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: %w", location, err)
		}
		var object map[string]json.RawMessage
		if r.bad != "" || json.Unmarshal(text, &object) != nil {
			continue
		}
		for k := range object {
			if len(seen) < 1000 || slices.Contains(j.want.names, k) {
				seen[k] = true
			}
		}
		if objects++; objects == 1 {
			for _, c := range j.want.names[:j.want.firm] {
				if _, ok := object[c]; !ok {
					return &MissingColumnError{location, c, slices.Sorted(maps.Keys(object))}
				}
			}
		}
		if !slices.ContainsFunc(j.want.names, func(c string) bool { return !seen[c] }) {
			return nil
		}
	}
	if len(seen) == 0 { // no objects at all
		return nil
	}
	for _, c := range j.want.names {
		if !seen[c] {
			return &MissingColumnError{location, c, slices.Sorted(maps.Keys(seen))}
		}
	}
	return nil
}

func (j *jsonlReader) next() (record, error) {
	text, r, err := j.lines.next()
	if err != nil {
		return record{}, err
	}
	clear(j.values)
	r.values = j.values
	if r.bad != "" {
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
	for i, c := range j.want.names {
		v, ok := object[c]
		switch {
		case i >= j.want.firm:
			r.values[i] = rendered(v)
		case !ok:
			r.bad = fmt.Sprintf("the object has no key %q", c)
		default:
			if r.values[i], ok = scalar(v); !ok {
				r.bad = fmt.Sprintf("%q is %.40s: want a string or an integer", c, v)
			}
		}
	}
	if r.bad == "" && !utf8.Valid(text) { // encoding/json puts U+FFFD where the bytes are not UTF-8
		r.bad = notUTF8
	}
	return r, nil
}

// scalar is a string, or an integer as it is written.
func scalar(v json.RawMessage) ([]byte, bool) {
	if s, ok := unquoted(v); ok {
		return s, true
	}
	digits := bytes.TrimPrefix(v, []byte("-"))
	return v, len(digits) > 0 && len(bytes.Trim(digits, "0123456789")) == 0
}

// rendered is a string, nothing for null and what is missing, and otherwise the JSON text.
func rendered(v json.RawMessage) []byte {
	if s, ok := unquoted(v); ok {
		return s
	}
	if string(v) == "null" {
		return nil
	}
	return v
}

func unquoted(v json.RawMessage) ([]byte, bool) {
	var s string
	if len(v) == 0 || v[0] != '"' || json.Unmarshal(v, &s) != nil {
		return nil, false
	}
	return []byte(s), true
}
