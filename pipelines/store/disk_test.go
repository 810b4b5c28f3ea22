package store

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestDisk(t *testing.T) {
	conform(t, func(t *testing.T) string { return filepath.Join(t.TempDir(), "made/when needed") })
}

// pendings are the files in a store that are being written.
func pendings(t *testing.T, d disk) (files []string) {
	t.Helper()
	err := walk(t.Context(), d.root, func(file, _ string) error {
		if isPending(filepath.Base(file)) {
			files = append(files, file)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Every way to give a file its name leaves the one that is there, whoever is first.
func TestNameNew(t *testing.T) {
	for name, way := range map[string]func(string, string) error{"link": link, "exclusive rename": renameNew, "rename under a lock": renameLocked} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := disk{t.TempDir()}
			for range 20 {
				var won atomic.Int64
				var all sync.WaitGroup
				begin := make(chan struct{})
				for range 8 {
					w, err := d.create(t.Context(), "f")
					if err != nil {
						t.Fatal(err)
					}
					all.Go(func() {
						<-begin
						switch err := w.finish(way); {
						case err == nil:
							won.Add(1)
						case !errors.Is(err, fs.ErrExist):
							t.Error(err)
						}
					})
				}
				all.Go(func() { // takes the lock's file away now and then
					<-begin
					if err := d.Sweep(t.Context()); err != nil {
						t.Error(err)
					}
				})
				close(begin)
				all.Wait()
				if won.Load() != 1 {
					t.Fatalf("%d have won", won.Load())
				}
				if err := d.Remove(t.Context(), "f"); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.Sweep(t.Context()); err != nil || len(pendings(t, d)) > 0 {
				t.Errorf("%v; left %s", err, pendings(t, d))
			}
		})
	}
}

func TestLinkWhoseAnswerWasLost(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	if err := os.WriteFile(a, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := link(a, b); err != nil {
			t.Error(err)
		}
	}
}

// What others do to a file while it is read, in its place, is noticed.
func TestDiskChanged(t *testing.T) {
	for name, change := range map[string]func(file string) error{
		"appended to": func(file string) error {
			f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = io.WriteString(f, "more")
			return errors.Join(err, f.Close())
		},
		"truncated": func(file string) error { return os.Truncate(file, 10) },
		"written over, with another time": func(file string) error {
			return errors.Join(os.WriteFile(file, make([]byte, 100_000), 0), os.Chtimes(file, time.Time{}, time.Unix(1e9, 0)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := disk{t.TempDir()}
			if err := d.Put(t.Context(), "f", noise(100_000, 4)); err != nil {
				t.Fatal(err)
			}
			f, err := d.Open(t.Context(), "f")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			r, err := f.Range(t.Context(), 0, 100_000)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Read(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			if err := change(filepath.Join(d.root, "f")); err != nil {
				t.Fatal(err)
			}
			_, err = io.ReadAll(r)
			wantErr(t, "the stream", err, ErrChanged)
			_, err = f.ReadAt(make([]byte, 1), 0)
			wantErr(t, "ReadAt", err, ErrChanged)
			if i, err := d.Stat(t.Context(), "f"); err != nil || i.Version == f.Info().Version {
				t.Errorf("version %s, %v", i.Version, err)
			}
		})
	}
}

// Links, pipes and names that are no UTF-8.
func TestDiskOddFiles(t *testing.T) {
	root := t.TempDir()
	d := disk{filepath.Join(root, "link")}
	for _, err := range []error{
		os.Mkdir(filepath.Join(root, "target"), 0o700),
		os.Symlink("target", d.root),
		os.WriteFile(filepath.Join(root, "elsewhere"), []byte("x"), 0o600),
		os.Symlink("../elsewhere", filepath.Join(d.root, "file")),
		os.Symlink("nowhere", filepath.Join(d.root, "broken")),
		os.Symlink(".", filepath.Join(d.root, "loop")),
		unix.Mkfifo(filepath.Join(d.root, "pipe"), 0o600),
		os.WriteFile(filepath.Join(d.root, "latin\xe9"), nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := names(t, d, "."); got != "file latin\xe9" {
		t.Errorf("files: %q", got)
	}
	if _, err := d.Stat(t.Context(), "latin\xe9"); err != nil {
		t.Error(err)
	}
	if _, err := d.Open(t.Context(), "pipe"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Error(err)
	}
	if got, err := Glob(t.Context(), filepath.Join(d.root, "*")); err != nil || len(got) != 2 {
		t.Errorf("%q, %v", got, err)
	}
}

// Names are relative to the working directory as paths are.
func TestDiskRelative(t *testing.T) {
	t.Chdir(t.TempDir())
	s, err := At(t.Context(), ".")
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "a/b.csv", "x")
	for _, pattern := range []string{"a/*.csv", "*/b.csv", "./a/*.csv", "../*/a/*.csv"} {
		got, err := Glob(t.Context(), pattern)
		if err != nil || len(got) != 1 {
			t.Errorf("%s: %q, %v", pattern, got, err)
			continue
		}
		f, err := OpenFile(t.Context(), got[0])
		if err != nil {
			t.Error(err)
			continue
		}
		f.Close()
	}
}

func TestDiskPermission(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may do all")
	}
	d := disk{filepath.Join(t.TempDir(), "closed")}
	if err := os.Mkdir(d.root, 0o500); err != nil {
		t.Fatal(err)
	}
	_, err := d.Create(t.Context(), "f")
	wantErr(t, "Create", err, fs.ErrPermission)
}

// fullVar names an empty folder for a disk that is soon full.
const fullVar = "LOGOBEAM_TEST_FULL_DISK"

// A full disk: the error says so and names the file, nothing is there under its name, and what was there stays.
func TestDiskFull(t *testing.T) {
	if dir := os.Getenv(fullVar); dir != "" {
		mountSmall(t, dir)
		testDiskFull(t, disk{dir})
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDiskFull$", "-test.v")
	cmd.Env = append(os.Environ(), fullVar+"="+t.TempDir())
	if !ownMounts(cmd) {
		t.Skip("no disk can be mounted here")
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, fs.ErrPermission) || strings.Contains(string(out), "--- SKIP") {
		t.Skipf("no disk can be mounted here: %v %s", err, out)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func testDiskFull(t *testing.T, d disk) {
	put(t, d, "kept", "old")
	full := func(file string, err error) {
		t.Helper()
		wantErr(t, file, err, unix.ENOSPC)
		if err != nil && !strings.HasPrefix(err.Error(), filepath.Join(d.root, file)+": ") {
			t.Errorf("%v does not name %s", err, file)
		}
	}
	w, err := d.Create(t.Context(), "f")
	if err != nil {
		t.Fatal(err)
	}
	for err = nil; err == nil; {
		_, err = w.Write(make([]byte, 10_000))
	}
	full("f", err)
	full("f", w.Commit())
	full("kept", d.Put(t.Context(), "kept", noise(2<<20, 5)))
	if got := names(t, d, "."); got != "kept" || read(t, d, "kept") != "old" || len(pendings(t, d)) > 0 {
		t.Errorf("files: %s", got)
	}
	if err := create(t, d, "f", []byte("there is room again")); err != nil {
		t.Error(err)
	}
}

func TestDiskErrorsNameTheFile(t *testing.T) {
	d := disk{t.TempDir()}
	put(t, d, "f", "")
	err := d.Put(t.Context(), "f/g", nil)
	if err == nil || !strings.Contains(err.Error(), filepath.Join(d.root, "f/g")) {
		t.Error(err)
	}
	w, err := d.Create(context.Background(), "folder")
	if err != nil {
		t.Fatal(err)
	}
	put(t, d, "folder/x", "")
	if err := w.Commit(); err == nil || strings.Contains(err.Error(), pendingMark) {
		t.Error(err)
	}
	if got := names(t, d, "."); got != "f folder/x" {
		t.Errorf("files: %s", got)
	}
}
