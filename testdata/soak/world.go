package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/pipelines/fetch/hostile"
	"github.com/logobeam/logobeam/transforms"
)

// makeModel saves a network that costs next to nothing, so that the rest of the program is what is measured.
func makeModel(dir string) error {
	net := model.Network{Arch: "tiny", Input: model.Shape{H: 16, W: 16, C: 3}, Layers: []model.Layer{
		{Name: "conv", Op: model.Conv, Out: 8, Kernel: 3, Stride: 2, Act: model.ReLU},
		{Name: "fc", Op: model.Dense, Out: 4},
	}}
	params, err := model.Init(net, 1)
	if err != nil {
		return err
	}
	steps, err := json.Marshal(transforms.DefaultScoring(16, [3]float64{127, 127, 127}, [3]float64{60, 60, 60}))
	if err != nil {
		return err
	}
	m := model.Model{Network: net, Params: params, Card: model.Card{Classes: []string{"adidas", "bmw", "ford", model.NoLogo}, Transforms: steps}}
	return m.Save(dir, true)
}

// modelFolder is the model that the flags name, or a tiny one.
func (c config) modelFolder() (string, error) {
	if c.model != "" {
		return filepath.Abs(c.model)
	}
	dir := filepath.Join(c.work, "model")
	return dir, makeModel(dir)
}

// rowCounts reads --rows.
func (c config) rowCounts() ([]int, error) {
	var all []int
	for text := range strings.SplitSeq(c.rows, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("--rows %s: want numbers above 0, separated by commas", c.rows)
		}
		all = append(all, n)
	}
	return all, nil
}

// oneRowCount reads --rows where there is one number, and takes quick in its place in a quick run.
func (c config) oneRowCount(quick int) (int, error) {
	all, err := c.rowCounts()
	if err == nil && len(all) != 1 {
		err = fmt.Errorf("--rows %s: want one number", c.rows)
	}
	if err != nil || c.quick {
		return quick, err
	}
	return all[0], nil
}

// mix is how a listing over the hostile server is drawn.
type mix struct {
	rows     int
	faults   float64 // share of rows of other kinds than good
	slow     float64 // of these, the share of those that keep a client waiting, by hanging or asking for a pause
	distinct bool    // no two rows have one URL
	hurried  bool    // without the kinds that keep a client waiting
}

// expectation is what a listing has to end as: rejects by "stage: reason".
type expectation map[string]int

// hostileListing writes a CSV listing over hosts. All kinds are in it that the program can deal with.
func hostileListing(path string, p *program, hosts []string, m mix, seed uint64) (want expectation, err error) {
	retries, robots := p.has("--retries"), p.has("--robots")
	var slow, other []hostile.Kind
	for _, k := range hostile.Kinds() {
		switch {
		case k.First != "" && !retries, k.Reason == "robots" && !robots, m.hurried && (k.Slow || k.Pause):
		case k.Slow || k.Pause:
			slow = append(slow, k)
		case k.Path != "/good/N.jpg":
			other = append(other, k)
		}
	}
	r := rand.New(rand.NewPCG(seed, 0))
	kinds := make([]hostile.Kind, m.rows)
	for i := range kinds {
		switch x := r.Float64(); {
		case i < len(other):
			kinds[i] = other[i]
		case i < len(other)+len(slow):
			kinds[i] = slow[i-len(other)]
		case x < m.faults*m.slow:
			kinds[i] = slow[r.IntN(len(slow))]
		case x < m.faults:
			kinds[i] = other[r.IntN(len(other))]
		default:
			kinds[i] = hostile.Kind{Path: "/good/N.jpg"}
		}
	}
	r.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	want = expectation{}
	err = writeFile(path, func(w *bufio.Writer) {
		fmt.Fprintln(w, "post_id,image")
		for i, k := range kinds {
			n := i
			if !m.distinct {
				n = r.IntN(m.rows)
			}
			fmt.Fprintf(w, "post-%07d,%s%s\n", i, hosts[r.IntN(len(hosts))], k.At(n))
			if k.Reason != "" {
				want[k.Stage+": "+k.Reason]++
			}
		}
	})
	return want, err
}

func writeFile(path string, write func(*bufio.Writer)) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	write(w)
	return errors.Join(w.Flush(), f.Close())
}

// localImages writes small photographs and returns their names.
func localImages(dir string) ([]string, error) {
	var names []string
	for i, data := range hostile.Photographs()[:4] {
		_, ending, err := image.DecodeConfig(strings.NewReader(string(data)))
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("photo-%d.%s", i, ending)
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// localListing writes a listing of rows over images, as CSV or Parquet by its ending.
func localListing(path string, rows int, images []string) error {
	if strings.HasSuffix(path, ".csv") {
		return writeFile(path, func(w *bufio.Writer) {
			fmt.Fprintln(w, "post_id,image")
			for i := range rows {
				fmt.Fprintf(w, "p%08d,%s\n", i, images[i%len(images)])
			}
		})
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	type row struct {
		Post  string `parquet:"post_id"`
		Image string `parquet:"image,dict"`
	}
	w := parquet.NewGenericWriter[row](f, parquet.Compression(&parquet.Snappy), parquet.MaxRowsPerRowGroup(1<<20))
	batch := make([]row, 0, 1024)
	for i := range rows {
		batch = append(batch, row{fmt.Sprintf("p%08d", i), images[i%len(images)]})
		if len(batch) == cap(batch) || i == rows-1 {
			if _, err := w.Write(batch); err != nil {
				f.Close()
				return err
			}
			batch = batch[:0]
		}
	}
	return errors.Join(w.Close(), f.Close())
}

// manifest is what is read of an output's manifest.json.
type manifest struct {
	Rows     int            `json:"rows"`
	Scored   int            `json:"scored"`
	Rejected int            `json:"rejected"`
	Reasons  map[string]int `json:"reasons"`
}

func readManifest(text []byte) (m manifest, err error) {
	err = json.Unmarshal(text, &m)
	return m, err
}

// check compares an output's manifest with what the listing had to end as.
func (want expectation) check(text []byte, rows int) error {
	m, err := readManifest(text)
	if err != nil {
		return fmt.Errorf("the manifest: %w", err)
	}
	if m.Rows != rows || m.Scored+m.Rejected != rows {
		return fmt.Errorf("the manifest has %d rows, %d scored and %d rejected: the listing has %d", m.Rows, m.Scored, m.Rejected, rows)
	}
	if !maps.Equal(m.Reasons, want) {
		var errs []error
		reasons := slices.Concat(slices.Collect(maps.Keys(m.Reasons)), slices.Collect(maps.Keys(want)))
		slices.Sort(reasons)
		for _, reason := range slices.Compact(reasons) {
			if m.Reasons[reason] != want[reason] {
				errs = append(errs, fmt.Errorf("%d rejects are %q: want %d", m.Reasons[reason], reason, want[reason]))
			}
		}
		return errors.Join(errs...)
	}
	return nil
}

// output is the content of an output's files by their names in it.
type output map[string]string

// forPeople tells of a file in an output whether it is no part of it: those tell of times.
func forPeople(name string) bool { return name == "report.html" || name == "runs.jsonl" }

func readOutput(dir string) (output, error) {
	all := output{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if forPeople(name) {
			return nil
		}
		data, err := os.ReadFile(path)
		all[filepath.ToSlash(name)] = string(data)
		return err
	})
	return all, err
}

// differences says what of got is not as in want, in a few lines: of files, then of rejects.
func (want output) differences(got output) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if text, ok := got[name]; !ok {
			all = append(all, name+" is missing")
		} else if text != want[name] {
			all = append(all, fmt.Sprintf("%s has other bytes: %d, want %d", name, len(text), len(want[name])))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			all = append(all, name+" should not be there")
		}
	}
	return append(all[:min(len(all), 5)], want.otherRejects(got)...)
}

// otherRejects says which posts have ended otherwise, of a few.
func (want output) otherRejects(got output) []string {
	before, after := want.rejects(), got.rejects()
	posts := slices.Concat(slices.Collect(maps.Keys(before)), slices.Collect(maps.Keys(after)))
	slices.Sort(posts)
	var all []string
	for _, post := range slices.Compact(posts) {
		if before[post] != after[post] && len(all) < 5 {
			all = append(all, fmt.Sprintf("%s is a reject for %q, want %q", post, after[post], before[post]))
		}
	}
	return all
}

// rejectRow is what is read of a row of rejects/*.parquet.
type rejectRow struct {
	Post   string `parquet:"post_id"`
	Image  string `parquet:"image"`
	Stage  string `parquet:"stage"`
	Reason string `parquet:"reason"`
	Detail string `parquet:"detail"`
}

// rejects are the rejects' stages, reasons and details, by their posts. What is not Parquet has none.
func (o output) rejects() map[string]string {
	all := map[string]string{}
	for name, text := range o {
		if strings.HasPrefix(name, "rejects/") {
			for _, r := range readRejects(text) {
				all[r.Post] = fmt.Sprint(r.Stage, ": ", r.Reason, ": ", r.Detail, ", ", r.Image)
			}
		}
	}
	return all
}

func readRejects(text string) (rows []rejectRow) {
	defer func() {
		if recover() != nil { // so the library answers some damaged files
			rows = nil
		}
	}()
	rows, err := parquet.Read[rejectRow](strings.NewReader(text), int64(len(text)))
	if err != nil {
		return nil
	}
	return rows
}

// whole says which files under final names are not as in want, where a run has not ended. The manifest of such a run
// knows no counts.
func (want output) whole(got output) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(got)) {
		switch {
		case strings.HasPrefix(name[strings.LastIndexByte(name, '/')+1:], "."): // being written
		case name == "_SUCCESS":
			all = append(all, "there is a _SUCCESS")
		case name == "manifest.json":
			if _, err := readManifest([]byte(got[name])); err != nil {
				all = append(all, "manifest.json is not whole: "+err.Error())
			}
		default:
			if text, ok := want[name]; !ok || text != got[name] {
				all = append(all, name+" is not what an undisturbed run writes")
			}
		}
	}
	return all
}
