package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/logobeam/logobeam/model/nearest"
)

// grid is the file of an experiment: which trainings it has.
type grid struct {
	title    string // empty for the file's name
	data     string // folder, as prepare leaves it; empty if the file does not say
	seeds    []uint64
	test     bool
	baseline string // name of the run that the others are compared with
	runs     []gridRun
}

// gridRun is a training, but for its seed.
type gridRun struct {
	name   string
	data   string   // folder, as prepare leaves it; empty for the grid's
	folder string   // of its seeds, inside the experiment's
	flags  []string // --name=value, by name
}

const (
	maxGridBytes = 1 << 20
	maxTrainings = 10_000
	maxName      = 100 // letters
)

// flagsOfFiles are those flags of train that may name a file. In a grid its path is relative to the grid's.
var flagsOfFiles = []string{"augment", "init", "transforms"}

// parseGrid reads a grid. known are the flags that a run may set.
func parseGrid(text []byte, known []string) (*grid, error) {
	if len(text) > maxGridBytes {
		return nil, fmt.Errorf("%d bytes, the limit is %d", len(text), maxGridBytes)
	}
	top, err := members(text)
	if err != nil {
		return nil, err
	}
	g := &grid{seeds: []uint64{1}}
	var base, varied []member
	var listed []json.RawMessage
	keys := []string{"title", "data", "train", "seeds", "vary", "runs", "baseline", "test"}
	for _, m := range top {
		want := ""
		switch m.name {
		case "title":
			want, err = "text", m.to(&g.title)
		case "data":
			want, err = "the path of a folder", m.to(&g.data)
		case "train":
			want = "an object of train's flags"
			base, err = members(m.value)
		case "seeds":
			want, err = "a list of whole numbers", m.to(&g.seeds)
		case "vary":
			want = "an object of lists"
			varied, err = members(m.value)
		case "runs":
			want, err = "a list of objects", m.to(&listed)
		case "baseline":
			want, err = "the name of a run", m.to(&g.baseline)
		case "test":
			want, err = "true or false", m.to(&g.test)
		default:
			return nil, fmt.Errorf("no key %q%s (the keys: %s)", m.name, nearest.Hint(m.name, keys), strings.Join(keys, " "))
		}
		if err != nil {
			return nil, fmt.Errorf("%q wants %s: %w", m.name, want, err)
		}
	}
	if len(g.seeds) == 0 {
		return nil, errors.New(`"seeds" is empty: want at least one`)
	}
	for i, s := range g.seeds {
		if slices.Contains(g.seeds[:i], s) {
			return nil, fmt.Errorf(`"seeds" has %d twice`, s)
		}
	}
	if g.title != "" && !printable(g.title) {
		return nil, fmt.Errorf(`"title": %s`, unprintable)
	}

	if err := setFlags(base, known); err != nil {
		return nil, fmt.Errorf(`"train": %w`, err)
	}
	sets, err := product(varied, known)
	if err != nil {
		return nil, fmt.Errorf(`"vary": %w`, err)
	}
	if len(varied) == 0 && len(listed) == 0 {
		sets = [][]member{nil}
	}
	for _, set := range sets {
		g.add("", base, set)
	}
	for i, raw := range listed {
		set, err := members(raw)
		if err != nil {
			return nil, fmt.Errorf(`"runs": run %d: %w`, i+1, err)
		}
		own := map[string]string{}
		set = slices.DeleteFunc(set, func(m member) bool {
			if m.name != "name" && m.name != "data" {
				return false
			}
			var text string
			if wrong := m.to(&text); wrong != nil && err == nil {
				err = fmt.Errorf(`"runs": run %d: %q wants text: %w`, i+1, m.name, wrong)
			}
			own[m.name] = text
			return true
		})
		if err != nil {
			return nil, err
		}
		if err := setFlags(set, append([]string{"name", "data"}, known...)); err != nil {
			return nil, fmt.Errorf(`"runs": run %d: %w`, i+1, err)
		}
		g.add(own["name"], base, set)
		g.runs[len(g.runs)-1].data = own["data"]
	}
	if n := len(g.runs) * len(g.seeds); n > maxTrainings {
		return nil, fmt.Errorf("%d trainings, the limit is %d", n, maxTrainings)
	}
	return g, g.check()
}

// check looks at the names, which have to tell runs and folders apart.
func (g *grid) check() error {
	names, folders := map[string]bool{}, map[string]string{}
	var list []string
	for _, r := range g.runs {
		if !printable(r.name) {
			return fmt.Errorf(`run %q: %s: give it a "name"`, r.name, unprintable)
		}
		if names[r.name] {
			return fmt.Errorf(`two runs are named %q: give one another "name"`, r.name)
		}
		folder := strings.ToLower(r.folder) // which some file systems take for the same
		if folder == "" || folders[folder] != "" {
			return fmt.Errorf(`run %q and run %q would have the same folder, %q: give one another "name"`, folders[folder], r.name, r.folder)
		}
		names[r.name], folders[folder] = true, r.name
		list = append(list, r.name)
	}
	if g.baseline == "" {
		g.baseline = list[0]
	}
	if !names[g.baseline] {
		return fmt.Errorf(`"baseline": no run is named %q%s`, g.baseline, nearest.Hint(g.baseline, list))
	}
	return nil
}

const unprintable = "want 1 to 100 letters that can be printed"

func printable(name string) bool {
	return name != "" && utf8.RuneCountInString(name) <= maxName && strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// add adds the run that sets flags over base. Without a name it is called by what it sets.
func (g *grid) add(name string, base, set []member) {
	r := gridRun{name: name}
	if name == "" {
		var parts []string
		for _, m := range set {
			parts = append(parts, m.name+" "+strings.Join(m.values, " "))
		}
		if r.name = strings.Join(parts, ", "); r.name == "" {
			r.name = "base"
		}
	}
	all := slices.Clone(set)
	for _, m := range base {
		if !slices.ContainsFunc(set, func(o member) bool { return o.name == m.name }) {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b member) int { return strings.Compare(a.name, b.name) })
	for _, m := range all {
		for _, v := range m.values {
			r.flags = append(r.flags, "--"+m.name+"="+v)
		}
	}
	r.folder = strings.Trim(strings.Join(strings.FieldsFunc(r.name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._+=", r)
	}), "-"), ".-")
	g.runs = append(g.runs, r)
}

// arguments are the flags with the paths of files that lie beside the grid's, in folder.
func (r gridRun) arguments(folder string) []string {
	list := slices.Clone(r.flags)
	for i, f := range list {
		name, value, _ := strings.Cut(strings.TrimPrefix(f, "--"), "=")
		if slices.Contains(flagsOfFiles, name) && value != "" && !filepath.IsAbs(value) {
			beside := filepath.Join(folder, value)
			if _, err := os.Stat(beside); err == nil {
				list[i] = "--" + name + "=" + beside
			}
		}
	}
	return list
}

// product is all ways to take one value for each flag, the last of which changes fastest.
func product(varied []member, known []string) ([][]member, error) {
	if len(varied) == 0 {
		return nil, nil
	}
	sets := [][]member{nil}
	for _, m := range varied {
		var list []json.RawMessage
		if err := m.to(&list); err != nil || len(list) == 0 {
			return nil, fmt.Errorf("%q wants a list of values", m.name)
		}
		var next [][]member
		for _, set := range sets {
			for _, raw := range list {
				one := []member{{name: m.name, value: raw}}
				if err := setFlags(one, known); err != nil {
					return nil, err
				}
				next = append(next, append(slices.Clone(set), one...))
			}
			if len(next) > maxTrainings {
				return nil, fmt.Errorf("more than %d runs", maxTrainings)
			}
		}
		sets = next
	}
	return sets, nil
}

// member is a name of a JSON object with its value, of a flag with its values as a command line has them.
type member struct {
	name   string
	value  json.RawMessage
	values []string
}

// to decodes the value. null is no value of anything here.
func (m member) to(target any) error {
	if string(m.value) == "null" {
		return errors.New("found null")
	}
	return json.Unmarshal(m.value, target)
}

// setFlags finds the values of flags: a text, a number, true or false, or a list of them for a flag that may be repeated.
func setFlags(flags []member, known []string) error {
	for i, m := range flags {
		if !slices.Contains(known, m.name) {
			return fmt.Errorf("train has no flag %q that an experiment may set%s", m.name, nearest.Hint(m.name, known))
		}
		list := []json.RawMessage{m.value}
		if m.value[0] == '[' {
			if err := json.Unmarshal(m.value, &list); err != nil {
				return fmt.Errorf("%q: %w", m.name, err)
			}
		}
		for _, raw := range list {
			switch c := raw[0]; {
			case c == '"':
				var s string
				if err := json.Unmarshal(raw, &s); err != nil {
					return fmt.Errorf("%q: %w", m.name, err)
				}
				flags[i].values = append(flags[i].values, s)
			case c == '-' || c >= '0' && c <= '9' || c == 't' || c == 'f':
				flags[i].values = append(flags[i].values, string(raw))
			default:
				return fmt.Errorf("%q wants a text, a number, true or false, found %.40s", m.name, raw)
			}
		}
	}
	return nil
}

// members are those of a JSON object in their order. A name that comes twice is an error.
func members(text []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("want a JSON object, found %.40q", bytes.TrimSpace(text))
	}
	var list []member
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := member{name: t.(string)} // a decoder gives nothing else for a name
		if slices.ContainsFunc(list, func(o member) bool { return o.name == m.name }) {
			return nil, fmt.Errorf("%q is there twice", m.name)
		}
		if err := d.Decode(&m.value); err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows after the object")
	}
	return list, nil
}
