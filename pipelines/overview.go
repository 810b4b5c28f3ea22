package pipelines

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/monitor"
	"github.com/logobeam/logobeam/pipelines/report"
	"github.com/logobeam/logobeam/pipelines/scores"
	"github.com/logobeam/logobeam/transforms"
)

// ReportConfig says what to look at for the page of an output.
type ReportConfig struct {
	Program string
	Model   string // folder or gs:// prefix of the model, if it has moved since
	Root    string // folder or gs:// prefix of the images, likewise
	Limits  transforms.Limits
	// NoImages leaves photographs alone. Without it those on disks and in buckets are looked at, never those of other servers.
	NoImages bool
	Explain  func(stage, reason string) string // a reason of rejects in words; may be nil
	// Progress hears of the scores read, and then of the brands whose photographs were looked at; may be nil.
	Progress func(what string, done, total int64)
}

// Limits of what is read for a page.
const (
	mostRead     = 1_000_000 // scores
	mostRejects  = 200_000   // rejects that are gone through for examples
	mostExamples = 3         // of a reason
	mostShown    = 40        // brands with photographs
	mostSurest   = 6         // photographs of a brand, and as many that are least sure
)

// NoteRun keeps beside a finished output how a run of it went.
func NoteRun(ctx context.Context, out string, r monitor.Record) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return scores.AddRun(ctx, out, line)
}

// Overview gathers what the page of a finished output shows. What can no longer be had, the model or the photographs, is
// left out, and the page says so.
func Overview(ctx context.Context, out string, cfg ReportConfig) (report.Scored, error) {
	m, finished, err := scores.Finished(ctx, out)
	if err == nil && !finished {
		err = fmt.Errorf("%s is not finished: run score or retry again first", out)
	}
	if err != nil {
		return report.Scored{}, err
	}
	o := overview{m: m, out: out, cfg: cfg, page: report.Scored{
		Place: out, Program: cfg.Program, Facts: facts(m), Rows: m.Rows, Scored: m.Scored, Rejected: m.Rejected, Retryable: m.Retryable, Skipped: m.Skipped,
		Brands: m.Brands, Probabilities: map[string][]int64{},
	}}
	o.page.Calibration = o.calibration(ctx)
	for _, step := range []func(context.Context) error{o.readRuns, o.readScores, o.readRejects, o.readPhotographs} {
		if err := step(ctx); err != nil {
			return report.Scored{}, err
		}
	}
	return o.page, nil
}

// facts are what was run on what.
func facts(m scores.Manifest) []report.Fact {
	list := []report.Fact{{Name: "Listing", Value: m.Run.Listing}, {Name: "Model", Value: fmt.Sprintf("%s, hash %.12s", m.Run.Model, m.Run.ModelHash)}}
	for _, name := range slices.Sorted(maps.Keys(m.Run.Options)) {
		if v := m.Run.Options[name]; v != "" && v != "0" {
			list = append(list, report.Fact{Name: "--" + name, Value: v})
		}
	}
	if len(m.Run.Keep) > 0 {
		list = append(list, report.Fact{Name: "--keep", Value: strings.Join(m.Run.Keep, ",")})
	}
	for _, a := range m.Run.After {
		list = append(list, report.Fact{Name: "--after", Value: a})
	}
	return append(list, report.Fact{Name: "Chunks", Value: fmt.Sprint(m.Run.Chunks)}, report.Fact{Name: "Program", Value: m.Program})
}

// overview is a page while it is gathered.
type overview struct {
	m     scores.Manifest
	out   string
	cfg   ReportConfig
	page  report.Scored
	found map[string]*extremes // by brand
}

// extremes are the surest and the least sure scores of a brand.
type extremes struct{ surest, least []seen }

// seen is a score and the part it is in.
type seen struct {
	scores.Score
	part scores.Done
}

// put keeps s if it is among the first of a list that is sorted by order.
func put(list []seen, s seen, order func(a, b seen) int) []seen {
	i, _ := slices.BinarySearchFunc(list, s, order)
	if i == mostSurest {
		return list
	}
	return slices.Insert(list, i, s)[:min(len(list)+1, mostSurest)]
}

func surestFirst(a, b seen) int {
	return cmp.Or(cmp.Compare(b.Probability, a.Probability), cmp.Compare(a.PostID, b.PostID))
}

func leastFirst(a, b seen) int {
	return cmp.Or(cmp.Compare(a.Probability, b.Probability), cmp.Compare(a.PostID, b.PostID))
}

// calibration is the model's, nil if the model is not at hand.
func (o *overview) calibration(ctx context.Context) *model.Calibration {
	dir := o.cfg.Model
	if dir == "" && o.m.Run.Model != builtIn {
		dir = o.m.Run.Model
	}
	m, err := classifier.Read(ctx, dir)
	if err != nil || m.Hash() != o.m.Run.ModelHash {
		return nil
	}
	return m.Card.Calibration
}

func (o *overview) readRuns(ctx context.Context) error {
	runs, err := scores.Runs(ctx, o.out)
	if err != nil {
		return err
	}
	for _, line := range runs {
		var r struct {
			monitor.Record
			Snapshot struct {
				Began    time.Time         `json:"began"`
				Elapsed  monitor.Seconds   `json:"elapsed_seconds"`
				Workers  int64             `json:"workers"`
				Done     int64             `json:"done"`
				Found    int64             `json:"found"`
				Fetching *monitor.Fetching `json:"fetching"`
			} `json:"snapshot"`
		}
		if json.Unmarshal(line, &r) != nil {
			continue // of another version; nothing depends on it
		}
		c := report.Course{Began: r.Snapshot.Began, Elapsed: r.Snapshot.Elapsed.Duration(), Rows: r.Snapshot.Done - r.Snapshot.Found, Workers: r.Snapshot.Workers}
		for _, now := range r.Course {
			to := report.Moment{At: now.At.Duration(), Rows: now.Rows}
			for _, s := range now.Stages {
				to.Stages = append(to.Stages, report.StageCount{Name: s.Stage, Photographs: s.Photographs, Busy: s.Busy.Duration()})
			}
			c.Moments = append(c.Moments, to)
		}
		if r.Snapshot.Fetching != nil {
			for _, h := range r.Snapshot.Fetching.Hosts {
				c.Hosts = append(c.Hosts, report.Host{Name: h.Name, Requests: h.Requests, Failures: h.Failures, Mean: h.Mean.Duration()})
			}
		}
		o.page.Runs = append(o.page.Runs, c)
	}
	return nil
}

// readScores counts probabilities and finds the extremes: of all scores, or of as many parts, from all over the listing, as
// hold mostRead.
func (o *overview) readScores(ctx context.Context) error {
	o.found = map[string]*extremes{}
	n, stride := len(o.m.Chunks), 1
	if o.m.Scored > mostRead {
		stride = min(int((o.m.Scored+mostRead-1)/mostRead), max(n, 1))
	}
	expected := min(o.m.Scored, mostRead)
	o.progress("scores", 0, expected)
	for i := 0; i < n; i += stride {
		d := o.m.Chunks[i]
		for s, err := range d.ReadScores(ctx, o.out) {
			if err != nil {
				return err
			}
			bins := o.page.Probabilities[s.Brand]
			if bins == nil {
				bins = make([]int64, report.ProbabilityBins)
				o.page.Probabilities[s.Brand] = bins
				o.found[s.Brand] = &extremes{}
			}
			bins[min(max(int(s.Probability*report.ProbabilityBins), 0), report.ProbabilityBins-1)]++
			o.page.Read++
			e := o.found[s.Brand]
			e.surest, e.least = put(e.surest, seen{s, d}, surestFirst), put(e.least, seen{s, d}, leastFirst)
		}
		o.progress("scores", o.page.Read, expected)
	}
	return nil
}

func (o *overview) progress(what string, done, total int64) {
	if o.cfg.Progress != nil {
		o.cfg.Progress(what, done, max(done, total))
	}
}

// readRejects finds examples of each reason.
func (o *overview) readRejects(ctx context.Context) error {
	byReason := map[string]*report.Rejected{}
	wanted := 0
	for key, n := range o.m.Reasons {
		stage, reason, _ := strings.Cut(key, ": ")
		r := &report.Rejected{Stage: stage, Reason: reason, Count: n}
		if o.cfg.Explain != nil {
			r.Text = o.cfg.Explain(stage, reason)
		}
		byReason[key] = r
		wanted += int(min(n, mostExamples))
	}
	read := 0
	for i, d := range o.m.Chunks {
		last := i+1 == len(o.m.Chunks) || o.m.Chunks[i+1].Index != d.Index
		if wanted == 0 || read > mostRejects {
			break
		}
		if d.Rejected == 0 || !last { // those of earlier rounds are gone
			continue
		}
		rows, err := d.ReadRejects(ctx, o.out)
		if err != nil {
			return err
		}
		read += len(rows)
		for _, row := range rows {
			if r := byReason[row.Stage+": "+row.Reason]; r != nil && len(r.Examples) < mostExamples {
				r.Examples = append(r.Examples, report.Example{Post: fetch.Redact(row.PostID), Image: fetch.Redact(row.Image), Detail: row.Detail})
				wanted--
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(byReason)) {
		o.page.Rejects = append(o.page.Rejects, *byReason[key])
	}
	slices.SortStableFunc(o.page.Rejects, func(a, b report.Rejected) int { return cmp.Compare(b.Count, a.Count) })
	return nil
}

// readPhotographs looks at the surest and the least sure photographs of the commonest brands. A score does not tell where its
// image is, so the rows around it are looked up in the listing, if that is there still.
func (o *overview) readPhotographs(ctx context.Context) error {
	switch {
	case o.cfg.NoImages:
		o.page.NoPhotographs = "No photographs were asked for."
		return nil
	case o.m.Run.Image == "":
		o.page.NoPhotographs = "The output does not tell how its listing was read: it is of an earlier version."
		return nil
	}
	fetcher, err := fetch.New(fetch.Config{MaxBytes: o.cfg.Limits.Bytes})
	if err != nil {
		return err
	}
	defer fetcher.Close()
	last := func(brand string) int {
		if brand == model.NoLogo {
			return 1
		}
		return 0
	}
	brands := slices.SortedFunc(maps.Keys(o.found), func(a, b string) int {
		return cmp.Or(last(a)-last(b), cmp.Compare(o.m.Brands[b], o.m.Brands[a]), cmp.Compare(a, b))
	})
	brands = brands[:min(len(brands), mostShown)]
	o.progress("photographs", 0, int64(len(brands)))
	images, any := o.images(ctx, brands), false
	for i, brand := range brands {
		e := o.found[brand]
		e.least = slices.DeleteFunc(e.least, func(s seen) bool {
			return slices.ContainsFunc(e.surest, func(t seen) bool { return t.PostID == s.PostID })
		})
		slices.Reverse(e.least)
		show := func(list []seen) (shown []report.Photograph) {
			for _, s := range list {
				if picture := o.picture(ctx, fetcher, images[spot{s.part.Index, s.PostID}], s.part.File); picture != nil {
					shown = append(shown, report.Photograph{Picture: picture, Lines: []string{fmt.Sprintf("%.2f", s.Probability), fetch.Redact(s.PostID)}})
				}
			}
			return shown
		}
		b := report.BrandPhotographs{Brand: brand, Surest: show(e.surest), Least: show(e.least)}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if len(b.Surest)+len(b.Least) > 0 {
			any = true
			o.page.Photographs = append(o.page.Photographs, b)
		}
		o.progress("photographs", int64(i+1), int64(len(brands)))
	}
	if !any {
		o.page.NoPhotographs = "The photographs are not at hand: the listing or its images are gone or have moved (logobeam report --root), or are on servers of others, which are not asked again."
	}
	return nil
}

// spot is a post in the listing.
type spot struct {
	chunk int
	post  string
}

// images finds the images of the extremes in the listing. What cannot be read is left out, and so is a post that comes
// again in its chunk: a score does not tell which of the two it is of.
func (o *overview) images(ctx context.Context, brands []string) map[spot]string {
	wanted, chunks := map[spot]bool{}, map[int]bool{}
	for _, brand := range brands {
		e := o.found[brand]
		for _, s := range append(slices.Clone(e.surest), e.least...) {
			wanted[spot{s.part.Index, s.PostID}] = true
			chunks[s.part.Index] = true
		}
	}
	found := map[spot]string{}
	for _, d := range o.m.Chunks {
		if d.Round > 0 || !chunks[d.Index] || d.File < 0 || d.File >= len(o.m.Run.Files) {
			continue
		}
		file := o.m.Run.Files[d.File]
		rows, err := listing.Chunk{Index: d.Index, File: d.File, Source: file.Location, Format: listing.Format(file.Format),
			PostIDColumn: o.m.Run.PostID, ImageColumn: o.m.Run.Image, Offset: d.Offset, End: d.End, Rows: d.Rows}.Read(ctx)
		if err != nil {
			continue
		}
		for i := range rows.Len() {
			r := rows.At(i)
			at := spot{d.Index, r.PostID}
			if !wanted[at] || r.Malformed != "" {
				continue
			}
			if _, again := found[at]; again {
				found[at] = ""
			} else {
				found[at] = strings.Clone(r.Image) // which would keep all rows' text
			}
		}
	}
	return found
}

// shownSide is the shorter side of a photograph as it is handed to the page.
const shownSide = 168

// picture is an image for people to look at, nil if it cannot be had.
func (o *overview) picture(ctx context.Context, f *fetch.Fetcher, image string, file int) *transforms.Image {
	if image == "" || fetch.OnWeb(image) {
		return nil
	}
	data, err := f.Under(cmp.Or(o.cfg.Root, o.m.Run.Files[file].Root)).Fetch(ctx, image)
	if err != nil {
		return nil
	}
	h, err := transforms.Inspect(data, o.cfg.Limits)
	if err != nil || max(h.W, h.H) > 8*min(h.W, h.H) { // a strip would be made very large
		return nil
	}
	m, err := transforms.List{transforms.Orient{}, transforms.Resize{Short: shownSide}}.Picture(data, transforms.Key{Epoch: -1}, o.cfg.Limits)
	if err != nil {
		return nil
	}
	return m
}
