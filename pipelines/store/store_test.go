package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"
)

// writerVar names the store in which a process of its own begins a file and is killed.
const writerVar = "LOGOBEAM_TEST_WRITER"

func TestMain(m *testing.M) {
	if location := os.Getenv(writerVar); location != "" {
		s, err := At(context.Background(), location)
		if err != nil {
			panic(err)
		}
		w, err := s.Create(context.Background(), "folder/killed")
		if err != nil {
			panic(err)
		}
		for {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				panic(err)
			}
			fmt.Println("wrote")
			time.Sleep(time.Millisecond)
		}
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start")) // of the fake server's packages
}

// conform is what every store keeps. Each test has a location of its own, where nothing is yet.
func conform(t *testing.T, location func(t *testing.T) string) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, Store)
	}{
		{"Nothing", testNothing},
		{"List", testList},
		{"Read", testRead},
		{"Large", testLarge},
		{"CommitTwice", testCommitTwice},
		{"Abort", testAbort},
		{"Race", testRace},
		{"Killed", testKilled},
		{"Put", testPut},
		{"Remove", testRemove},
		{"Replaced", testReplaced},
		{"BadNames", testBadNames},
		{"OddNames", testOddNames},
		{"Cancelled", testCancelled},
		{"Lock", testLock},
		{"FS", testFS},
		{"Glob", testGlob},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := At(t.Context(), location(t))
			if err != nil {
				t.Fatal(err)
			}
			tt.test(t, s)
		})
	}
}

func create(t *testing.T, s Store, name string, data []byte) error {
	t.Helper()
	w, err := s.Create(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for part := range slices.Chunk(data, 100_000) {
		if _, err := w.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	return w.Commit()
}

func put(t *testing.T, s Store, name, data string) {
	t.Helper()
	if err := s.Put(t.Context(), name, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, s Store, name string) string {
	t.Helper()
	data, err := fs.ReadFile(FS(t.Context(), s), name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func names(t *testing.T, s Store, folder string) string {
	t.Helper()
	all, err := s.List(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	if empty, err := s.Empty(t.Context()); folder == "." && (err != nil || empty != (len(all) == 0)) {
		t.Errorf("%d files, and empty: %v, error %v", len(all), empty, err)
	}
	return strings.Join(names, " ")
}

// noise is n bytes that do not repeat.
func noise(n int, seed byte) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v; want %v", what, err, want)
	}
}

func testNothing(t *testing.T, s Store) {
	if got := names(t, s, "."); got != "" {
		t.Errorf("files: %s", got)
	}
	if got := names(t, s, "no/such folder"); got != "" {
		t.Errorf("files: %s", got)
	}
	_, err := s.Stat(t.Context(), "a/b")
	wantErr(t, "Stat", err, fs.ErrNotExist)
	if err == nil || !strings.Contains(err.Error(), Join(s.String(), "a/b")) {
		t.Errorf("%v does not name the file", err)
	}
	_, err = s.Open(t.Context(), "a/b")
	wantErr(t, "Open", err, fs.ErrNotExist)
	if err := s.Remove(t.Context(), "a/b"); err != nil {
		t.Error(err)
	}
	if err := s.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
}

func testList(t *testing.T, s Store) {
	for _, name := range []string{"b", "a/2", "a/1", "a-b", "a/c/d", "aa"} {
		put(t, s, name, name)
	}
	for folder, want := range map[string]string{".": "a-b a/1 a/2 a/c/d aa b", "a": "a/1 a/2 a/c/d", "a/c": "a/c/d", "b": "", "a/1": "", "c": ""} {
		if got := names(t, s, folder); got != want {
			t.Errorf("in %q: %q; want %q", folder, got, want)
		}
	}
	if _, err := s.List(t.Context(), "../x"); err == nil {
		t.Error("a folder outside was listed")
	}
	all, err := s.List(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if one, err := s.Stat(t.Context(), i.Name); err != nil || one != i || i.Size != int64(len(i.Name)) {
			t.Errorf("Stat says %v, %v of what List calls %v", one, err, i)
		}
	}
}

func testRead(t *testing.T, s Store) {
	data := noise(10_000, 1)
	if err := create(t, s, "f", data); err != nil {
		t.Fatal(err)
	}
	f, err := s.Open(t.Context(), "f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if i, err := s.Stat(t.Context(), "f"); err != nil || i != f.Info() || i.Name != "f" || i.Size != 10_000 || i.Version == "" {
		t.Errorf("Stat %v, %v; Open %v", i, err, f.Info())
	}
	for _, tt := range []struct{ offset, n, want int64 }{
		{0, 10_000, 10_000}, {0, 1, 1}, {9_999, 1, 1}, {5_000, 1_000, 1_000}, {9_990, 100, 10}, {10_000, 1, 0}, {20_000, 5, 0}, {0, 0, 0}, {0, 1 << 40, 10_000},
	} {
		want := data[min(tt.offset, 10_000):min(tt.offset+tt.want, 10_000)]
		r, err := f.Range(t.Context(), tt.offset, tt.n)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, want) {
			t.Errorf("Range(%d, %d): %d bytes, %v", tt.offset, tt.n, len(got), err)
		}
		if tt.n > 1<<20 {
			continue
		}
		p := make([]byte, tt.n)
		n, err := f.ReadAt(p, tt.offset)
		if (n < len(p)) != (err == io.EOF) || err != nil && err != io.EOF || !bytes.Equal(p[:n], want) {
			t.Errorf("ReadAt(%d bytes, %d): %d, %v", tt.n, tt.offset, n, err)
		}
	}
	if _, err := f.Range(t.Context(), -1, 5); err == nil {
		t.Error("read before the beginning")
	}
	if _, err := f.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("read before the beginning")
	}
	r, err := f.Range(t.Context(), 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(r, data); err != nil {
		t.Error(err)
	}
	r.Close()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			p := make([]byte, 1000)
			if _, err := f.ReadAt(p, int64(i)*1000); err != nil || !bytes.Equal(p, data[i*1000:][:1000]) {
				t.Errorf("one of many: %v", err)
			}
		})
	}
	all.Wait()

	if err := create(t, s, "empty", nil); err != nil {
		t.Fatal(err)
	}
	if got := read(t, s, "empty"); got != "" {
		t.Errorf("an empty file holds %q", got)
	}
}

func testLarge(t *testing.T, s Store) {
	data := noise(20<<20, 2)
	if err := create(t, s, "large", data); err != nil {
		t.Fatal(err)
	}
	f, err := s.Open(t.Context(), "large")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := f.Range(t.Context(), 0, f.Info().Size)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256(data); !bytes.Equal(h.Sum(nil), want[:]) {
		t.Error("another content")
	}
	p := make([]byte, 1<<20)
	if _, err := f.ReadAt(p, 13<<20+5); err != nil || !bytes.Equal(p, data[13<<20+5:][:1<<20]) {
		t.Errorf("a part: %v", err)
	}
}

func testCommitTwice(t *testing.T, s Store) {
	if err := create(t, s, "a/f", []byte("first")); err != nil {
		t.Fatal(err)
	}
	for _, second := range []string{"second", "first", ""} {
		wantErr(t, "a second commit", create(t, s, "a/f", []byte(second)), fs.ErrExist)
	}
	if got := read(t, s, "a/f"); got != "first" {
		t.Errorf("%q has taken its place", got)
	}
	w, err := s.Create(t.Context(), "a/g")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "x"); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "y"); err == nil {
		t.Error("written after Commit")
	}
	if err := w.Commit(); err == nil {
		t.Error("one writer committed twice")
	}
	w.Abort()
	if got := names(t, s, "."); got != "a/f a/g" || read(t, s, "a/g") != "x" {
		t.Errorf("files: %s", got)
	}
}

func testAbort(t *testing.T, s Store) {
	w, err := s.Create(t.Context(), "f")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(noise(1<<20, 3)); err != nil {
		t.Fatal(err)
	}
	if got := names(t, s, "."); got != "" {
		t.Errorf("before Commit there is %s", got)
	}
	w.Abort()
	w.Abort()
	if err := w.Commit(); err == nil {
		t.Error("committed after Abort")
	}
	if got := names(t, s, "."); got != "" {
		t.Errorf("after Abort there is %s", got)
	}
}

func testRace(t *testing.T, s Store) {
	const writers = 24
	var won atomic.Int64
	var winner atomic.Value
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i := range writers {
		w, err := s.Create(t.Context(), "new/f")
		if err != nil {
			t.Fatal(err)
		}
		content := strings.Repeat(fmt.Sprintf("%06d", i), 5000)
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			defer w.Abort()
			<-begin
			switch err := w.Commit(); {
			case err == nil:
				won.Add(1)
				winner.Store(content)
			case !errors.Is(err, fs.ErrExist):
				t.Error(err)
			}
		})
	}
	close(begin)
	all.Wait()
	if won.Load() != 1 {
		t.Fatalf("%d writers have won", won.Load())
	}
	if read(t, s, "new/f") != winner.Load() {
		t.Error("the file is not the winner's")
	}
}

func testKilled(t *testing.T, s Store) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerVar+"="+s.String())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("wrote\n"))); err != nil {
		t.Error(err)
	}
	if err := s.Sweep(t.Context()); err != nil { // while the writer is at work
		t.Error(err)
	}
	if d, ok := s.(disk); ok && len(pendings(t, d)) != 1 {
		t.Error("Sweep has taken the file of a writer that lives")
	}
	cmd.Process.Kill()
	cmd.Wait()
	if got := names(t, s, "."); got != "" {
		t.Errorf("half a file is there: %s", got)
	}
	if err := s.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	if d, ok := s.(disk); ok && len(pendings(t, d)) != 0 {
		t.Error("Sweep has left something")
	}
	if err := create(t, s, "folder/killed", []byte("whole")); err != nil {
		t.Error(err)
	}
}

func testPut(t *testing.T, s Store) {
	whole := func(r rune) string { return strings.Repeat(string(r), 200_000) }
	put(t, s, "a/f", whole('0'))
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		last := byte('0')
		for done := false; !done; {
			select {
			case <-stop:
				done = true
			default:
			}
			data, err := fs.ReadFile(FS(t.Context(), s), "a/f")
			switch {
			case errors.Is(err, ErrChanged): // and said so
			case err != nil:
				t.Error(err)
			case len(data) != 200_000 || strings.Trim(string(data), string(data[0])) != "" || data[0] < last:
				t.Errorf("%d bytes, of two contents or older than before", len(data))
			default:
				last = data[0]
			}
		}
	})
	for c := '1'; c < '6'; c++ {
		put(t, s, "a/f", whole(c))
	}
	close(stop)
	reader.Wait()
	if read(t, s, "a/f") != whole('5') {
		t.Error("the last content is not there")
	}
	put(t, s, "a/f", "")
	if got := names(t, s, "."); got != "a/f" {
		t.Errorf("files: %s", got)
	}
}

func testRemove(t *testing.T, s Store) {
	put(t, s, "a/f", "x")
	put(t, s, "a/g", "y")
	for range 2 {
		if err := s.Remove(t.Context(), "a/f"); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(t, s, "."); got != "a/g" {
		t.Errorf("files: %s", got)
	}
	if err := create(t, s, "a/f", []byte("again")); err != nil || read(t, s, "a/f") != "again" {
		t.Error(err)
	}
}

// A reader gets the file that it opened, or learns that it is another now.
func testReplaced(t *testing.T, s Store) {
	put(t, s, "f", "old")
	f, err := s.Open(t.Context(), "f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	put(t, s, "f", "new")
	p := make([]byte, 3)
	if _, err := f.ReadAt(p, 0); !errors.Is(err, ErrChanged) && (err != nil || string(p) != "old") {
		t.Errorf("read %q, %v", p, err)
	}
	if i, err := s.Stat(t.Context(), "f"); err != nil || i.Version == f.Info().Version {
		t.Errorf("the version is %s as before, %v", i.Version, err)
	}
}

func testBadNames(t *testing.T, s Store) {
	for _, name := range []string{"", ".", "..", "/a", "a/", "a//b", "../a", "a/../b", "./a", ".pending-x", "a/.pending-x"} {
		if _, err := s.Create(t.Context(), name); err == nil {
			t.Errorf("Create(%q)", name)
		}
		if err := s.Put(t.Context(), name, nil); err == nil {
			t.Errorf("Put(%q)", name)
		}
		if _, err := s.Stat(t.Context(), name); err == nil {
			t.Errorf("Stat(%q)", name)
		}
		if _, err := s.Open(t.Context(), name); err == nil {
			t.Errorf("Open(%q)", name)
		}
	}
}

func testOddNames(t *testing.T, s Store) {
	odd := []string{"#x", "%2F", "100%/a b.csv", "[a]*?.csv", "a+b&c=d;e,f", "a?b=c#d", "back\\slash", "ünïcode/写真.jpg", "~'\"<>|`$(x)", "...", "a.b/..c"}
	var writers sync.WaitGroup
	for _, name := range odd {
		writers.Go(func() {
			if err := s.Put(t.Context(), name, []byte(name)); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	all, err := s.List(t.Context(), ".")
	if err != nil || len(all) != len(odd) {
		t.Errorf("%d files are listed, %v; want %d", len(all), err, len(odd))
	}
	var readers sync.WaitGroup
	for _, i := range all {
		readers.Go(func() {
			f, err := OpenFile(t.Context(), Join(s.String(), i.Name))
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			got, err := io.ReadAll(io.NewSectionReader(f, 0, i.Size))
			if err != nil || string(got) != i.Name || !slices.Contains(odd, i.Name) {
				t.Errorf("%q holds %q, %v", i.Name, got, err)
			}
			if err := s.Remove(t.Context(), i.Name); err != nil {
				t.Error(err)
			}
		})
	}
	readers.Wait()
	if got := names(t, s, "."); got != "" {
		t.Errorf("left: %s", got)
	}
}

func testCancelled(t *testing.T, s Store) {
	put(t, s, "f", "content")
	ctx, cancel := context.WithCancel(t.Context())
	f, err := s.Open(ctx, "f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := s.Create(ctx, "g")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := io.WriteString(w, "x"); err != nil {
		t.Fatal(err)
	}
	cancel()
	wantErr(t, "Commit", w.Commit(), context.Canceled)
	_, err = f.ReadAt(make([]byte, 1), 0)
	wantErr(t, "ReadAt", err, context.Canceled)
	_, err = f.Range(ctx, 0, 1)
	wantErr(t, "Range", err, context.Canceled)
	_, err = s.Open(ctx, "f")
	wantErr(t, "Open", err, context.Canceled)
	_, err = s.Stat(ctx, "f")
	wantErr(t, "Stat", err, context.Canceled)
	_, err = s.List(ctx, ".")
	wantErr(t, "List", err, context.Canceled)
	_, err = s.Create(ctx, "h")
	wantErr(t, "Create", err, context.Canceled)
	wantErr(t, "Put", s.Put(ctx, "f", nil), context.Canceled)
	wantErr(t, "Remove", s.Remove(ctx, "f"), context.Canceled)
	wantErr(t, "Sweep", s.Sweep(ctx), context.Canceled)
	_, err = s.Lock(ctx)
	wantErr(t, "Lock", err, context.Canceled)
	if got := names(t, s, "."); got != "f" || read(t, s, "f") != "content" {
		t.Errorf("files: %s", got)
	}
}

func testLock(t *testing.T, s Store) {
	unlock, err := s.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.Lock(t.Context()); !IsRemote(s.String()) {
		wantErr(t, "a second lock", err, ErrLocked)
	} else if err != nil {
		t.Error(err)
	} else if err := again(); err != nil {
		t.Error(err)
	}
	if err := create(t, s, "f", nil); err != nil {
		t.Error(err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if unlock, err = s.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	unlock()
}

func testFS(t *testing.T, s Store) {
	all := []string{"a/b/c", "a/d", "a-f", "empty"}
	for _, name := range all {
		put(t, s, name, strings.TrimPrefix(name, "empty"))
	}
	if err := fstest.TestFS(FS(t.Context(), s), all...); err != nil {
		t.Error(err)
	}
	if _, err := fs.Stat(FS(t.Context(), s), "nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func testGlob(t *testing.T, s Store) {
	for _, name := range []string{"2026-01/posts-1.csv", "2026-01/posts-2.csv.gz", "2026-01/notes.txt", "2026-02/posts-1.csv", "2026-02/deep/posts-3.csv",
		"posts-0.csv", "odd/a[1].csv", "odd/a1.csv", "odd[2]/b.csv"} {
		put(t, s, name, "")
	}
	for _, tt := range []struct{ pattern, want string }{
		{"posts-0.csv", "posts-0.csv"},
		{"not/there.csv", "not/there.csv"},
		{"posts-*.csv", "posts-0.csv"},
		{"*/posts-*", "2026-01/posts-1.csv 2026-01/posts-2.csv.gz 2026-02/posts-1.csv"},
		{"2026-0[2-9]/posts-?.csv", "2026-02/posts-1.csv"},
		{"2026-01/*.csv", "2026-01/posts-1.csv"},
		{"*/*/posts-3.csv", "2026-02/deep/posts-3.csv"},
		{"2026-0?/deep/*", "2026-02/deep/posts-3.csv"},
		{"*", "posts-0.csv"},
		{"2026-0*", ""},
		{"nowhere/*.csv", ""},
		{"posts-0.csv/*", ""},
		{"odd/a[1].csv", "odd/a[1].csv"},
		{"odd/a[12].csv", "odd/a1.csv"},
		{`odd/a\[*`, "odd/a[1].csv"},
		{"odd[2]", "odd[2]"},
		{"odd[2]/b.csv", "odd[2]/b.csv"},
		{"2026-01//*.txt", "2026-01/notes.txt"},
	} {
		got, err := Glob(t.Context(), Join(s.String(), tt.pattern))
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
		}
		for i := range got {
			got[i] = strings.TrimPrefix(got[i], s.String()+"/")
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q; want %s", tt.pattern, got, tt.want)
		}
	}
	for _, bad := range []string{"[", "a/*/[x", `x\`} {
		if got, err := Glob(t.Context(), Join(s.String(), bad)); err == nil {
			t.Errorf("%s: %q", bad, got)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, tt := range []struct{ location, folder, name string }{
		{"a.csv", ".", "a.csv"},
		{"/a.csv", "/", "a.csv"},
		{"a/b/c.csv", "a/b", "c.csv"},
		{"../c.csv", "..", "c.csv"},
		{"gs://bucket/a.csv", "gs://bucket", "a.csv"},
		{"gs://bucket/a/b.csv", "gs://bucket/a", "b.csv"},
		{"gs://bucket", "gs://bucket", ""},
		{"gs://bucket/a/", "gs://bucket/a", ""},
	} {
		folder, name := Split(tt.location)
		if folder != tt.folder || name != tt.name {
			t.Errorf("%s: %q, %q", tt.location, folder, name)
		}
		if got := Join(folder, name); name != "" && got != tt.location {
			t.Errorf("%s: joined again it is %s", tt.location, got)
		}
	}
}

func TestAt(t *testing.T) {
	for location, want := range map[string]string{
		"":              "a location is missing",
		"s3://bucket/a": "files cannot be kept at s3",
		"http://h/a":    "files cannot be kept at http",
		"gs://":         "no name of a bucket",
		"gs:///a":       "no name of a bucket",
		"gs://B*/a":     "no name of a bucket",
	} {
		if s, err := At(t.Context(), location); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %s", location, s, err, want)
		}
	}
	if _, err := Glob(t.Context(), "gs://buck*/a"); err == nil || !strings.Contains(err.Error(), "write it out") {
		t.Error(err)
	}
}
