package pipelines

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/scores"
)

// keptRow is a row of scores or rejects with the columns that the tests keep.
type keptRow struct {
	PostID string  `parquet:"post_id"`
	Likes  *string `parquet:"likes,optional"`
	Author *string `parquet:"author,optional"`
}

// keptIn reads a folder of an output with whatever reads Parquet, as post_id: likes, author.
func keptIn(t *testing.T, out, dir string) map[string]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(out, dir, "*.parquet"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%d files of %s, error %v", len(names), dir, err)
	}
	got := map[string]string{}
	text := func(s *string) string {
		if s == nil {
			return "null"
		}
		return *s
	}
	for _, name := range names {
		rows, err := parquet.ReadFile[keptRow](name)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			got[r.PostID] = text(r.Likes) + ", " + text(r.Author)
		}
	}
	return got
}

// Columns of the listing come out beside the scores and beside the rejects, as they were, in the order asked for.
func TestKeep(t *testing.T) {
	web := newSite(t)
	list := listed(t, "author,post_id,image,likes,other",
		"ann,1,"+web.url+"/1.png,7,x",
		`"Bob, the ""great""",2,`+web.url+"/2.png,,x",
		",3,"+web.url+"/none,12,x",
		"zoë,4,"+web.url+"/1.png,007,x",
		"too,5,a.png,9,x,y,z")
	cfg := ScoreConfig{Listing: list, Options: listing.Options{ChunkRows: 2, Keep: []string{"likes", "author"}}, Model: newModel(t, 1), Out: filepath.Join(t.TempDir(), "out"), Images: local()}
	score(t, cfg)
	if diff := cmp.Diff(map[string]string{"1": "7, ann", "2": `null, Bob, the "great"`, "4": "007, zoë"}, keptIn(t, cfg.Out, "scores")); diff != "" {
		t.Errorf("scores (-want +got):\n%s", diff)
	}
	rejects := keptIn(t, cfg.Out, "rejects")
	if _, there := rejects["5"]; !there || len(rejects) != 2 || rejects["3"] != "12, null" {
		t.Errorf("rejects %v", rejects)
	}
	if _, err := scores.Verify(context.Background(), cfg.Out); err != nil {
		t.Error(err)
	}
}

// Posts that earlier nights have scored are skipped, and those that they have rejected are tried again.
func TestAfter(t *testing.T) {
	web := newSite(t)
	broken := func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/3.png") {
			http.Error(w, "broken", http.StatusInternalServerError)
			return true
		}
		return false
	}
	web.answers(broken)
	dir := newModel(t, 1)
	night := func(from, to int, after ...string) ScoreConfig {
		var rows []string
		for i := from; i < to; i++ {
			rows = append(rows, fmt.Sprintf("%d,%s/%d.png", i, web.url, i))
		}
		return ScoreConfig{Listing: listed(t, "post_id,image", rows...), Options: listing.Options{ChunkRows: 4}, Model: dir, Out: filepath.Join(t.TempDir(), "out"), Images: local(), After: after}
	}
	first, second := night(0, 10), night(20, 25)
	score(t, first)
	score(t, second)
	web.answers(nil)
	web.hits = map[string]int{}
	third := night(0, 30, first.Out, second.Out)
	s := score(t, third)
	if s.Rows != 30 || s.Skipped != 9+5 || s.Scored != 16 || s.Rejected != 0 {
		t.Errorf("summary: %d rows, %d skipped, %d scored, %d rejected; want 30, 14, 16 and 0", s.Rows, s.Skipped, s.Scored, s.Rejected)
	}
	if all, _ := web.asked(); all != 16 || web.hits["/3.png"] != 1 {
		t.Errorf("%d images were asked for, the one that had failed %d times; want 16 and 1", all, web.hits["/3.png"])
	}
	if m, err := scores.Verify(context.Background(), third.Out); err != nil || m.Skipped != 14 {
		t.Errorf("%d skipped, error %v", m.Skipped, err)
	}
	for post, err := range scores.PostIDs(context.Background(), third.Out) {
		if err != nil {
			t.Fatal(err)
		}
		if _, there := map[string]bool{"0": true, "9": true, "20": true}[post]; there {
			t.Errorf("post %s is scored again", post)
		}
	}
	if all := score(t, night(0, 10, third.Out, first.Out)); all.Skipped != 10 {
		t.Errorf("%d of 10 posts are skipped on the fourth night", all.Skipped)
	}

	m, err := scores.ReadManifest(context.Background(), first.Out)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		reason string
		score  func() error
		want   []string
	}{
		{"another model", func() error {
			cfg := night(0, 5, first.Out)
			cfg.Model = newModel(t, 2)
			_, err := Score(context.Background(), cfg)
			return err
		}, []string{"another model", m.Run.ModelHash[:8], "without --after"}},
		{"another precision", func() error {
			run := m.Run
			run.Options = map[string]string{"precision": string(model.Int8), "pixels": run.Options["pixels"], "truncated": "reject"}
			return checkEarlier(context.Background(), []string{first.Out}, run)
		}, []string{"--precision fp32 (now int8)", "without --after"}},
		{"other files are taken", func() error {
			cfg := night(0, 5, second.Out, first.Out)
			cfg.Images.Limits.Truncated = true
			_, err := Score(context.Background(), cfg)
			return err
		}, []string{second.Out, "--truncated reject (now score)"}},
		{"nothing is there", func() error {
			_, err := Score(context.Background(), night(0, 5, filepath.Join(t.TempDir(), "none")))
			return err
		}, []string{"--after", "no output of score"}},
		{"it is not finished", func() error {
			if err := os.Remove(filepath.Join(first.Out, "_SUCCESS")); err != nil {
				return err
			}
			_, err := Score(context.Background(), night(0, 5, first.Out))
			return err
		}, []string{first.Out, "not finished", "score or retry"}},
	} {
		err := tt.score()
		if err == nil {
			t.Errorf("%s: nothing was said", tt.reason)
			continue
		}
		for _, w := range tt.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %q does not say %q", tt.reason, err, w)
			}
		}
	}
}
