package pipelines

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/fsouza/fake-gcs-server/fakestorage"
	"github.com/google/go-cmp/cmp"

	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/scores"
	"github.com/logobeam/logobeam/pipelines/store/storetest"
)

// upload copies a folder of the disk to the bucket.
func upload(t *testing.T, server *fakestorage.Server, dir, prefix string) {
	t.Helper()
	for name, data := range files(t, dir) {
		server.CreateObject(fakestorage.Object{ObjectAttrs: fakestorage.ObjectAttrs{BucketName: "bucket", Name: prefix + "/" + filepath.ToSlash(name)}, Content: []byte(data)})
	}
}

// rowsOf are all rows of an output, without what only the places that it was made from and in have a part in.
func rowsOf(t *testing.T, out string) (scored []scores.Score, rejected []scores.Reject) {
	t.Helper()
	if _, err := scores.Verify(context.Background(), out); err != nil {
		t.Fatal(err)
	}
	for s, err := range scores.Scores(context.Background(), out) {
		if err != nil {
			t.Fatal(err)
		}
		scored = append(scored, s.Score)
	}
	for r, err := range scores.Rejects(context.Background(), out) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Stage == "fetch" {
			r.Detail = "" // a disk and a bucket say it in other words
		}
		if r.PostID == "folder" {
			r.Reason = "not-found" // there are none in a bucket
		}
		rejected = append(rejected, r.Reject)
	}
	return scored, rejected
}

// Listing, images, model and output in a bucket, a reliable one and one that fails of half of what it is asked, give what a disk gives.
func TestBucket(t *testing.T) {
	list, dir := posts(t, 60), newModel(t, 1)
	local := ScoreConfig{Listing: list, Options: listing.Options{ChunkRows: 15}, Model: dir, Out: filepath.Join(t.TempDir(), "out")}
	score(t, local)
	wantScores, wantRejects := rowsOf(t, local.Out)
	for _, fails := range []bool{false, true} {
		t.Run(fmt.Sprintf("fails %v", fails), func(t *testing.T) {
			server, _ := storetest.Bucket(t, func(h http.Handler) http.Handler {
				if fails {
					return &unreliable{Handler: h, seen: map[string]bool{}}
				}
				return h
			})
			upload(t, server, filepath.Dir(list), "night")
			upload(t, server, dir, "model")
			cfg := local
			cfg.Listing, cfg.Model, cfg.Out = "gs://bucket/night/posts.csv", "gs://bucket/model", "gs://bucket/out"
			score(t, cfg)
			gotScores, gotRejects := rowsOf(t, cfg.Out)
			if diff := cmp.Diff(wantScores, gotScores); diff != "" {
				t.Errorf("scores (-disk +bucket):\n%s", diff)
			}
			if diff := cmp.Diff(wantRejects, gotRejects); diff != "" {
				t.Errorf("rejects (-disk +bucket):\n%s", diff)
			}
			if again := score(t, cfg); !again.Already {
				t.Error("it was not finished")
			}
		})
	}
}

// unreliable fails of half of what it is asked for the first time, before it is done or after.
type unreliable struct {
	http.Handler
	mutex sync.Mutex
	seen  map[string]bool
}

func (u *unreliable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := fmt.Sprint(r.Method, r.URL.Path, r.URL.Query().Get("name"), r.Header.Get("Range"))
	u.mutex.Lock()
	again := u.seen[key]
	u.seen[key] = true
	h := fnv.New32a()
	fmt.Fprint(h, key)
	u.mutex.Unlock()
	lot := h.Sum32() >> 8 % 8
	if again {
		lot = 7
	}
	switch lot {
	case 0, 1:
		http.Error(w, "overloaded", http.StatusServiceUnavailable)
	case 2: // nothing is done
		panic(http.ErrAbortHandler)
	case 3: // all is done, and nobody hears of it
		u.Handler.ServeHTTP(discard{http.Header{}}, r)
		panic(http.ErrAbortHandler)
	default:
		u.Handler.ServeHTTP(w, r)
	}
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// otherProcess is the environment's name for what TestTwoRuns has another process score.
const otherProcess = "LOGOBEAM_TEST_SCORE"

// Two runs at once on an output in a bucket, which nobody can lock, both end well, and each row is there once.
func TestTwoRuns(t *testing.T) {
	type job struct{ Listing, Model, Out string }
	do := func(j job) (Summary, error) {
		return Score(context.Background(), ScoreConfig{Listing: j.Listing, Options: listing.Options{ChunkRows: 10}, Model: j.Model, Out: j.Out})
	}
	if text := os.Getenv(otherProcess); text != "" {
		var j job
		if err := json.Unmarshal([]byte(text), &j); err != nil {
			t.Fatal(err)
		}
		if s, err := do(j); err != nil || s.Rows != 200 {
			t.Errorf("%d rows, error %v", s.Rows, err)
		}
		return
	}
	server, _ := storetest.Bucket(t, nil)
	list, dir := posts(t, 200), newModel(t, 1)
	upload(t, server, filepath.Dir(list), "night")
	upload(t, server, dir, "model")
	if ok, err := classifier.Exists(context.Background(), "gs://bucket/model"); !ok || err != nil {
		t.Fatalf("the model is there: %v, error %v", ok, err)
	}
	j := job{"gs://bucket/night/posts.csv", "gs://bucket/model", "gs://bucket/out"}
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			c := exec.Command(os.Args[0], "-test.run=^TestTwoRuns$")
			c.Env = append(os.Environ(), otherProcess+"="+string(text))
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%v:\n%s", err, out)
			}
		})
	}
	all.Wait()
	m, err := scores.Verify(context.Background(), j.Out)
	if err != nil || m.Rows != 200 || m.Rejected != int64(len(bad)) {
		t.Errorf("%d rows, %d rejected, error %v", m.Rows, m.Rejected, err)
	}
}
