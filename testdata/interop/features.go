package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/pipelines/scores"
)

// features are the two tables of features.sql.
type features struct {
	Authors []author `json:"authors"`
	Brands  []brand  `json:"brands"`
}

type author struct {
	Author    string  `json:"author"`
	Posts     int     `json:"posts"`
	LogoShare float64 `json:"logo_share"`
	Brands    int     `json:"brands"` // different ones
	LastSeen  string  `json:"last_seen"`
}

type brand struct {
	Author   string  `json:"author"`
	Brand    string  `json:"brand"`
	Posts    int     `json:"posts"`
	Weight   float64 `json:"weight"` // the sum of probabilities
	LastSeen string  `json:"last_seen"`
}

// featuresOf computes what features.sql says by the package that has written the files, in as few words as there.
func featuresOf(ctx context.Context, dir string) (f features, err error) {
	nights, err := filepath.Glob(filepath.Join(dir, "night=*"))
	if err != nil {
		return f, err
	}
	type post struct {
		scores.Scored
		author, time string
	}
	posts := map[string]post{}   // by the last night that has them
	for _, out := range nights { // which are sorted
		m, err := scores.ReadManifest(ctx, out)
		if err != nil {
			return f, err
		}
		author, time := slices.Index(m.Run.Keep, "author"), slices.Index(m.Run.Keep, "time")
		if author < 0 || time < 0 {
			return f, fmt.Errorf("%s keeps the columns %q; want author and time", out, m.Run.Keep)
		}
		for s, err := range scores.Scores(ctx, out) {
			if err != nil {
				return f, err
			}
			if s.Kept[author] != "" {
				posts[s.PostID] = post{s, s.Kept[author], s.Kept[time]}
			}
		}
	}
	authors, brands := map[string]*author{}, map[[2]string]*brand{}
	for _, p := range posts {
		a, ok := authors[p.author]
		if !ok {
			a = &author{Author: p.author}
			authors[p.author] = a
		}
		a.Posts++
		a.LastSeen = max(a.LastSeen, p.time)
		if p.Brand == model.NoLogo {
			continue
		}
		a.LogoShare++ // posts, as yet
		b, ok := brands[[2]string{p.author, p.Brand}]
		if !ok {
			b = &brand{Author: p.author, Brand: p.Brand}
			brands[[2]string{p.author, p.Brand}] = b
			a.Brands++
		}
		b.Posts++
		b.Weight += float64(p.Probability)
		b.LastSeen = max(b.LastSeen, p.time)
	}
	for _, a := range authors {
		a.LogoShare /= float64(a.Posts)
		f.Authors = append(f.Authors, *a)
	}
	for b := range maps.Values(brands) {
		f.Brands = append(f.Brands, *b)
	}
	slices.SortFunc(f.Authors, func(a, b author) int { return strings.Compare(a.Author, b.Author) })
	slices.SortFunc(f.Brands, func(a, b brand) int {
		return cmp.Or(strings.Compare(a.Author, b.Author), strings.Compare(a.Brand, b.Brand))
	})
	return f, nil
}

// week writes a week of outputs. Probabilities are fractions of 1024, so that their sums do not depend on the order. Some
// authors are not known, some posts come again the night after with another brand, and some are rejected.
func week(ctx context.Context, dir string) error {
	r := rand.New(rand.NewPCG(7, 2026))
	brands := []string{model.NoLogo, model.NoLogo, "adidas", "bmw", "cocacola", "ferrari", "nike", "ups"}
	var again []scores.Scored
	first := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	for night := range 7 {
		day := first.AddDate(0, 0, night)
		rows := again
		again = nil
		for i := range 60 {
			s := scores.Scored{Score: scores.Score{PostID: fmt.Sprint(178416000000000000 + int64(night)*1e12 + r.Int64N(1e12)), Frames: 1}}
			s.Kept = []string{fmt.Sprintf("author-%02d", r.IntN(16)), day.Add(-time.Duration(r.IntN(86400)) * time.Second).Format(time.RFC3339)}
			if r.IntN(20) == 0 {
				s.Kept[0] = ""
			}
			if rows = append(rows, s); i%10 == 0 {
				again = append(again, s)
			}
		}
		for i := range rows {
			rows[i].Brand, rows[i].Probability = brands[r.IntN(len(brands))], float32(1+r.IntN(1024))/1024
		}
		out := filepath.Join(dir, "night="+day.Format(time.DateOnly))
		if err := write(ctx, out, rows, r); err != nil {
			return err
		}
	}
	return nil
}

// write writes an output of two chunks.
func write(ctx context.Context, out string, rows []scores.Scored, r *rand.Rand) error {
	run := scores.Run{Listing: "posts.csv", ListingHash: "0f", Rows: int64(len(rows)), Chunks: 2, Model: "built-in", ModelHash: "1e", Keep: []string{"author", "time"}}
	o, err := scores.Open(ctx, out, "interop", run)
	if err != nil {
		return err
	}
	defer o.Close()
	var done []scores.Done
	half := len(rows) / 2
	for i, chunk := range [][]scores.Scored{rows[:half], rows[half:]} {
		slices.SortFunc(chunk, func(a, b scores.Scored) int { return strings.Compare(a.PostID, b.PostID) })
		part := scores.NewPart(scores.Piece{Chunk: fmt.Sprintf("%02d", i), Index: i, Offset: int64(i), End: int64(i + 1), Rows: int64(len(chunk))}, run)
		for _, s := range chunk {
			if r.IntN(15) == 0 {
				part.Reject(scores.Reject{PostID: s.PostID, Image: s.PostID + ".jpg", Stage: "fetch", Reason: "not-found", Detail: "no such file"}, s.Kept)
			} else {
				part.Score(s.Score, s.Kept)
			}
		}
		d, err := part.Commit(ctx, out)
		if err != nil {
			return err
		}
		done = append(done, d)
	}
	_, err = scores.Commit(ctx, out, done)
	return err
}
