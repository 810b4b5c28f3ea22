package listing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsouza/fake-gcs-server/fakestorage"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"), // of the library of the buckets
		goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"),              // its idle connections
		goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
}

// packed compresses parts, each into a member or a frame of its own.
func packed(t testing.TB, how packing, parts ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, part := range parts {
		var w io.WriteCloser = gzip.NewWriter(&b)
		if how == zstded {
			var err error
			if w, err = zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := io.WriteString(w, part); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// halves cuts a text in the middle of whatever is there.
func halves(text string) []string { return []string{text[:len(text)/3], text[len(text)/3:]} }

func posts(n int) string {
	var b strings.Builder
	b.WriteString("post_id,image\n")
	for i := range n {
		fmt.Fprintf(&b, "%d,\"%d\n.jpg\"\n", i, i)
	}
	return b.String()
}

// Compressed or not, of however many members, whatever its name, a listing has the same rows and the same identity.
func TestCompressed(t *testing.T) {
	text := posts(3000)
	want, err := Plan(t.Context(), write(t, "a.csv", text), Options{ChunkRows: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		reason, name string
		content      []byte
	}{
		{"gzip", "a.csv.gz", packed(t, gzipped, text)},
		{"two members of gzip", "a.csv.gz", packed(t, gzipped, halves(text)...)},
		{"gzip under a plain name", "a.csv", packed(t, gzipped, text)},
		{"zstd", "a.csv.zst", packed(t, zstded, text)},
		{"two frames of zstd", "a.CSV.ZST", packed(t, zstded, halves(text)...)},
		{"a skippable frame first", "a.csv.zst", append([]byte("\x50\x2a\x4d\x18\x03\x00\x00\x00abc"), packed(t, zstded, text)...)},
		{"plain text under a compressed name", "a.csv.gz", []byte(text)},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			path := write(t, tt.name, string(tt.content))
			chunks, err := Plan(t.Context(), path, Options{ChunkRows: 100})
			if err != nil {
				t.Fatal(err)
			}
			var all []Row
			for i, c := range chunks {
				if c.Hash != want[i].Hash || c.Offset != want[i].Offset || c.End != want[i].End || c.Line != want[i].Line {
					t.Fatalf("chunk %d is %+v; that of the plain file %+v", i, c, want[i])
				}
			}
			// In order by one, and in any order by many.
			for _, c := range chunks {
				rows, err := read(c)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, rows...)
			}
			if all[2999].PostID != "2999" || all[2999].Image != "2999\n.jpg" || all[2999].Line != 6000 {
				t.Errorf("the last row is %+v", all[2999])
			}
			var g sync.WaitGroup
			for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(len(chunks)) {
				g.Go(func() {
					rows, err := read(chunks[i])
					if diff := cmp.Diff(all[i*100:i*100+100], rows); err != nil || diff != "" {
						t.Errorf("chunk %d: error %v, rows (-in order +in any order):\n%s", i, err, diff)
					}
				})
			}
			g.Wait()
		})
	}
}

// Chunks that are read in order unpack the file once.
func TestParked(t *testing.T) {
	path := write(t, "a.csv.gz", string(packed(t, gzipped, posts(1000))))
	chunks, err := Plan(t.Context(), path, Options{ChunkRows: 100})
	if err != nil {
		t.Fatal(err)
	}
	var first *source
	for _, c := range chunks {
		in, parked, err := parking.take(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = in.source
		}
		if parked != (c.Index > 0) || in.source != first {
			t.Fatalf("chunk %d: parked %v; want the reader that ended where it begins", c.Index, parked)
		}
		if _, err := c.read(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		parking.leave(c, in)
	}
	// A file that was replaced is not read through an old reader.
	if err := os.WriteFile(path+".new", packed(t, gzipped, posts(999)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if _, err := chunks[9].Read(t.Context()); err == nil || !strings.Contains(err.Error(), "has changed since the run began") {
		t.Errorf("error %v; want one of a listing that has changed", err)
	}
	for i := range 2 * parkedMost {
		c, err := Plan(t.Context(), write(t, fmt.Sprintf("%d.csv.gz", i), string(packed(t, gzipped, posts(10)))), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c[0].Read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(parking.readers); n != parkedMost {
		t.Errorf("%d readers are parked; want %d", n, parkedMost)
	}
	for _, p := range slices.Clone(parking.readers) {
		parking.remove(p)
	}
	if n := len(parking.readers); n != 0 {
		t.Errorf("%d readers are parked after their time", n)
	}
}

func TestDamagedCompressed(t *testing.T) {
	for _, how := range []packing{gzipped, zstded} {
		whole := packed(t, how, posts(5000))
		for _, tt := range []struct {
			reason  string
			content []byte
		}{
			{"cut off", whole[:len(whole)/2]},
			{"cut off before the last byte", whole[:len(whole)-1]},
			{"a byte differs", append(append(bytes.Clone(whole[:len(whole)/2]), ^whole[len(whole)/2]), whole[len(whole)/2+1:]...)},
			{"other things follow", append(bytes.Clone(whole), "and so on"...)},
		} {
			path := write(t, "a.csv", string(tt.content))
			_, err := Plan(t.Context(), path, Options{})
			if err == nil || !strings.Contains(err.Error(), "data is damaged or cut off") || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "line ") {
				t.Errorf("%s, %s: error %v; want one that names the file, the line and what is wrong", how, tt.reason, err)
			}
		}
	}
	path := write(t, "a.parquet.gz", string(packed(t, gzipped, "PAR1")))
	if _, err := Plan(t.Context(), path, Options{}); err == nil || !strings.Contains(err.Error(), "around its own compression: unpack it first") {
		t.Errorf("error %v", err)
	}
}

// What unpacks to very much is a malformed row, and no memory.
func TestBomb(t *testing.T) {
	for _, how := range []packing{gzipped, zstded} {
		const size = 100 << 20
		path := write(t, "a.csv", string(packed(t, how, "post_id,image\n", strings.Repeat("\x00", size), "\n1,a.jpg\n")))
		if got := rows(t, path, Options{}); len(got) != 2 || got[0].Malformed != errTooLong.Error() || got[1].PostID != "1" {
			t.Errorf("%s: %d rows; want a malformed one and a good one", how, len(got))
		}
	}
}

// A read that is called off ends, also while a file is unpacked up to its chunk, and leaves what is parked usable.
func TestCancelledRead(t *testing.T) {
	path := write(t, "a.csv.gz", string(packed(t, gzipped, posts(2000))))
	chunks, err := Plan(t.Context(), path, Options{ChunkRows: 1000})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		if _, err := chunks[1].Read(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v; want that of the context", err)
		}
		if _, err := chunks[0].Read(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func FuzzCompressed(f *testing.F) {
	f.Add(packed(f, gzipped, "post_id,image\n1,a\n"))
	f.Add(packed(f, zstded, "post_id,image\n1,a\n", "2,b\n"))
	f.Add([]byte("\x50\x2a\x4d\x18\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) < 4 {
			return
		}
		s := fileOf(content)
		s.packed = packingOf([4]byte(content))
		r, err := newReader(s, CSV, columns{}, 0)
		for err == nil {
			_, err = r.next()
		}
	})
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.JPG", "a.png", "deep/er/c.webp", "deep/d.heic", "notes.txt", ".hidden.jpg", ".git/e.jpg", "deep/.f/g.jpg", "jpg"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := []short{{1, "a.png", "a.png", ""}, {2, "b.JPG", "b.JPG", ""}, {3, "deep/d.heic", "deep/d.heic", ""}, {4, "deep/er/c.webp", "deep/er/c.webp", ""}}
	for _, o := range []Options{{}, {ChunkRows: 1}, {ChunkRows: 3}} {
		if diff := cmp.Diff(want, shorten(rows(t, dir+"/", o))); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	chunks, err := Plan(t.Context(), dir, Options{ChunkRows: 2})
	if err != nil {
		t.Fatal(err)
	}
	if chunks[0].Root() != dir {
		t.Errorf("the images are relative to %s; want %s", chunks[0].Root(), dir)
	}
	// Another process knows no list, or an old one.
	for _, old := range [][]string{nil, {"x.jpg"}} {
		listed.forget(dir)
		listed.last = append(listed.last, &listedFolder{folder: dir, names: old})
		if got, err := read(chunks[1]); err != nil || len(got) != 2 || got[1].Image != "deep/er/c.webp" {
			t.Errorf("%+v, error %v", got, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "a.png")); err != nil {
		t.Fatal(err)
	}
	listed.forget(dir)
	if _, err := chunks[1].Read(t.Context()); err == nil || !strings.Contains(err.Error(), "has changed since the run began") {
		t.Errorf("error %v; want one of a folder that has changed", err)
	}
	if _, err := Plan(t.Context(), dir, Options{Keep: []string{"author"}}); err == nil || !strings.Contains(err.Error(), "without columns") {
		t.Errorf("error %v", err)
	}
	listings := filepath.Dir(write(t, "a.csv", "post_id,image\n"))
	if _, err := Plan(t.Context(), listings, Options{}); err == nil || !strings.Contains(err.Error(), "is a folder without images: name a file, or a pattern such as "+filepath.Join(listings, "*.csv")) {
		t.Errorf("error %v", err)
	}
}

func TestRoot(t *testing.T) {
	for _, tt := range []struct {
		chunk Chunk
		want  string
	}{
		{Chunk{Source: "posts.csv"}, "."},
		{Chunk{Source: "/data/posts.csv"}, "/data"},
		{Chunk{Source: "gs://bucket/posts.csv"}, "gs://bucket"},
		{Chunk{Source: "gs://bucket/2026/posts.csv.gz"}, "gs://bucket/2026"},
		{Chunk{Source: "gs://bucket/photos", Format: folder}, "gs://bucket/photos"},
		{Chunk{Source: "photos", Format: folder}, "photos"},
	} {
		if got := tt.chunk.Root(); got != tt.want {
			t.Errorf("the root of %+v is %s; want %s", tt.chunk, got, tt.want)
		}
	}
}

type keptRow struct {
	PostID string    `parquet:"post_id"`
	Image  string    `parquet:"image"`
	Author *string   `parquet:"author,optional"`
	Likes  int32     `parquet:"likes"`
	Score  float64   `parquet:"score"`
	Half   float32   `parquet:"half"`
	Public bool      `parquet:"public"`
	Day    int32     `parquet:"day,date"`
	At     time.Time `parquet:"at,timestamp(microsecond)"`
	Price  int64     `parquet:"price,decimal(2:10)"`
	Tags   []string  `parquet:"tags"`
	Key    [16]byte  `parquet:"key,uuid"`
}

// Kept columns come as text from every format.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2026, 11, 26, 22, 5, 7, 250000000, time.UTC)
	p := filepath.Join(dir, "a.parquet")
	err := parquet.WriteFile(p, []keptRow{
		{"1", "a.jpg", new("ann"), 3, 0.1, 0.1, true, 20783, at, -5, nil, [16]byte{}},
		{"2", "b.jpg", nil, -3, 1e21, 2, false, -1, at.Truncate(time.Second), 1234, nil, [16]byte{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		reason, path string
		keep         []string
		want         [][]string
	}{
		{"CSV", write(t, "a.csv", "author,post_id,text,image\nann,1,\"a\nb\",a.jpg\n,2,,b.jpg\n"), []string{"text", "author"}, [][]string{{"a\nb", "ann"}, {"", ""}}},
		{"JSON Lines", write(t, "a.jsonl", `{"post_id":1,"image":"a.jpg","s":"x","f":1.50,"b":true,"o":{"a": [1]}}`+"\n"+`{"post_id":2,"image":"b.jpg","s":null,"l":[1, 2],"f":-3}`),
			[]string{"s", "f", "b", "o", "l"}, [][]string{{"x", "1.50", "true", `{"a": [1]}`, ""}, {"", "-3", "", "", "[1, 2]"}}},
		{"Parquet", p, []string{"author", "likes", "score", "half", "public", "day", "at", "price"},
			[][]string{{"ann", "3", "0.1", "0.1", "true", "2026-11-26", "2026-11-26T22:05:07.25Z", "-0.05"}, {"", "-3", "1e+21", "2", "false", "1969-12-31", "2026-11-26T22:05:07Z", "12.34"}}},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			var got [][]string
			for _, r := range rows(t, tt.path, Options{Keep: tt.keep}) {
				if r.Malformed != "" || r.PostID != fmt.Sprint(len(got)+1) {
					t.Errorf("row %+v", r)
				}
				got = append(got, r.Kept)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			with, err := Plan(t.Context(), tt.path, Options{Keep: tt.keep[:1]})
			if err != nil {
				t.Fatal(err)
			}
			if without, _ := Plan(t.Context(), tt.path, Options{}); with[0].Hash == without[0].Hash {
				t.Error("rows have the same hash with and without a kept column")
			}
			_, err = Plan(t.Context(), tt.path, Options{Keep: []string{"language"}})
			if missing := new(MissingColumnError); !errors.As(err, &missing) || !strings.Contains(err.Error(), "--keep") {
				t.Errorf("error %v; want one of a missing column and --keep", err)
			}
		})
	}
	for name, why := range map[string]string{"tags": "want strings, numbers", "key": "want strings, numbers"} {
		if _, err := Plan(t.Context(), p, Options{Keep: []string{name}}); err == nil || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), name) {
			t.Errorf("column %q: error %v; want %q", name, err, why)
		}
	}
	long := rows(t, write(t, "a.csv", "post_id,image,text\n1,a.jpg,"+strings.Repeat("x", maxValue+1)+"\n"), Options{Keep: []string{"text"}})
	if len(long) != 1 || long[0].Malformed != `"text" has 8193 bytes: at most 8192 are taken` || len(long[0].Kept[0]) != maxValue {
		t.Errorf("a kept value over the limit: %.200v", long)
	}
	if _, err := Plan(t.Context(), write(t, "a.txt", "a.jpg\n"), Options{Keep: []string{"text"}}); err == nil || !strings.Contains(err.Error(), "plain text without columns") {
		t.Errorf("error %v", err)
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		options Options
		want    string
	}{
		{Options{Keep: []string{"author", "language"}}, ""},
		{Options{Keep: []string{"author", "author"}}, "kept twice"},
		{Options{Keep: []string{""}}, "has no name"},
		{Options{Keep: []string{"image"}}, "cannot be kept beside itself"},
		{Options{Keep: []string{"id"}, PostIDColumn: "id"}, "cannot be kept beside itself"},
		{Options{Keep: []string{"image"}, ImageColumn: "url"}, "the output has a column of that name already"},
		{Options{Keep: []string{"probability"}}, "the output has a column of that name already"},
		{Options{ChunkRows: -1}, "chunks of -1 rows"},
		{Options{Format: "xml"}, "the formats are"},
		{Options{Format: folder}, "the formats are"},
	} {
		err := tt.options.Check()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v; want %q", tt.options, err, tt.want)
		}
	}
}

// A sample is the same for the same seed, comes from all over the listing, and holds rows as they are.
func TestSample(t *testing.T) {
	const n = 20000
	text := posts(n)
	dir := t.TempDir()
	for i := range 50 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.jpg", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		reason, path string
		limits       limits
		rows         int64
		all          bool
	}{
		{"a text that was read", write(t, "a.csv", text), usual, n, false},
		{"a text that was not read", write(t, "a.csv", text), limits{whole: 100, look: 4096}, n, false},
		{"a compressed one", write(t, "a.csv.gz", string(packed(t, gzipped, text))), usual, n, false},
		{"Parquet", writeParquet(t, n, 3000), limits{whole: 1, look: 1}, n, false},
		{"a folder", dir, usual, 50, true},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			chunks, whole, err := inParts(t, tt.path, Options{ChunkRows: 500}, tt.limits)
			if err != nil {
				t.Fatal(err)
			}
			byOffset := map[int64]Row{}
			for _, r := range apart(whole) {
				byOffset[r.Offset] = r
			}
			sample, err := Sample(t.Context(), chunks, 200, 7)
			if err != nil {
				t.Fatal(err)
			}
			again, err := Sample(t.Context(), chunks, 200, 7)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(sample, again); diff != "" {
				t.Errorf("another sample by the same seed:\n%s", diff)
			}
			if other, _ := Sample(t.Context(), chunks, 200, 8); !tt.all && cmp.Equal(sample, other) {
				t.Error("the same sample by another seed")
			}
			quarters := map[int64]int{}
			for _, r := range apart(sample) {
				if diff := cmp.Diff(byOffset[r.Offset], r); diff != "" {
					t.Fatalf("a row differs (-whole +sample):\n%s", diff)
				}
				quarters[r.Offset*4/(chunks[len(chunks)-1].End+1)]++
			}
			if tt.all {
				if len(sample) != len(whole) {
					t.Errorf("%d rows; want all %d", len(sample), len(whole))
				}
				return
			}
			if len(sample) < 180 || len(sample) > 210 || !slices.IsSortedFunc(sample, func(a, b Row) int { return int(a.Offset - b.Offset) }) {
				t.Errorf("%d rows; want about 200 in order", len(sample))
			}
			for q := range int64(4) {
				if quarters[q] < 20 {
					t.Errorf("%d rows of quarter %d of the listing; want about 50", quarters[q], q)
				}
			}
		})
	}
}

// A bucket's listings are read as a disk's are, by every way of reading.
func TestBucket(t *testing.T) {
	web := httptest.NewUnstartedServer(nil)
	address := web.Listener.Addr().String()
	fake, err := fakestorage.NewServerWithOptions(fakestorage.Options{NoListener: true, PublicHost: address, ExternalURL: "http://" + address})
	if err != nil {
		t.Fatal(err)
	}
	web.Config.Handler = fake.HTTPHandler()
	web.Start()
	t.Cleanup(web.Close)
	t.Setenv("STORAGE_EMULATOR_HOST", address)
	put := func(name string, content []byte) {
		fake.CreateObject(fakestorage.Object{ObjectAttrs: fakestorage.ObjectAttrs{BucketName: "bucket", Name: name}, Content: content})
	}
	fake.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: "bucket"})
	text := posts(2000)
	table, err := os.ReadFile(writeParquet(t, 2000, 700))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"a.csv": []byte(text), "a.csv.zst": packed(t, zstded, text), "a.parquet": table} {
		put("lists/"+name, content)
		for _, l := range []limits{usual, {whole: 100, look: 1000}} {
			local, want, err := inParts(t, write(t, name, string(content)), Options{ChunkRows: 300}, l)
			if err != nil {
				t.Fatal(err)
			}
			chunks, got, err := inParts(t, "gs://bucket/lists/"+name, Options{ChunkRows: 300}, l)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-disk +bucket):\n%s", name, diff)
			}
			if len(local) != len(chunks) || local[0].Version == "" && Hash(local) != Hash(chunks) {
				t.Errorf("%s: other chunks than on a disk", name)
			}
			put("copies/x"+name, content)
			if copied, err := plan(t.Context(), "gs://bucket/copies/x"+name, Options{ChunkRows: 300}, l); err != nil || Hash(copied) != Hash(chunks) {
				t.Errorf("%s: error %v; want a copy in the bucket to have the same identity", name, err)
			}
			if sample, err := Sample(t.Context(), chunks, 20, 1); err != nil || len(sample) < 15 {
				t.Errorf("%s: a sample of %d rows, error %v", name, len(sample), err)
			}
		}
	}
	if got := rows(t, "gs://bucket/lists/a.c*", Options{}); len(got) != 4000 {
		t.Errorf("a pattern with %d rows; want 4000", len(got))
	}
	put("photos/2026/a.jpg", nil)
	put("photos/b.png", nil)
	for _, folder := range []string{"gs://bucket/photos", "gs://bucket/photos/"} {
		chunks, got, err := inParts(t, folder, Options{}, usual)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]short{{1, "2026/a.jpg", "2026/a.jpg", ""}, {2, "b.png", "b.png", ""}}, shorten(got)); diff != "" || chunks[0].Root() != "gs://bucket/photos" {
			t.Errorf("%s, root %s (-want +got):\n%s", folder, chunks[0].Root(), diff)
		}
	}
	_, err = Plan(t.Context(), "gs://bucket/no.csv", Options{})
	if err == nil || !strings.Contains(err.Error(), "gs://bucket/no.csv") {
		t.Errorf("no such object: error %v", err)
	}
	chunks, err := plan(t.Context(), "gs://bucket/lists/a.csv", Options{ChunkRows: 300}, limits{whole: 100, look: 1000})
	if err != nil {
		t.Fatal(err)
	}
	put("lists/a.csv", []byte(posts(1999)+"\n"))
	if _, err := chunks[1].Read(t.Context()); err == nil || !strings.Contains(err.Error(), "has changed since the run began") {
		t.Errorf("error %v; want one of a listing that has changed", err)
	}
}
