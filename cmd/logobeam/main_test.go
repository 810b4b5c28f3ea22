package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/logobeam/logobeam/pipelines/store/storetest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"logobeam": main})
}

// TestScripts runs the scripts of testdata, each a session of somebody at a command line. $TESTDATA is the repository's
// testdata, which they leave as it is, $SERVER an http server of it (moody), and gs://bucket an empty bucket. UPDATE_SCRIPTS=1 writes what was printed over what
// was expected.
func TestScripts(t *testing.T) {
	data, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(moody(http.FileServer(http.Dir(data))))
	t.Cleanup(server.Close)
	_, bucket := storetest.Bucket(t, nil)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("TESTDATA", data)
			e.Setenv("SERVER", server.URL)
			e.Setenv("HOST", strings.TrimPrefix(server.URL, "http://"))
			e.Setenv("STORAGE_EMULATOR_HOST", bucket)
			e.Setenv("LOGOBEAM_KERNEL", os.Getenv("LOGOBEAM_KERNEL")) // which the command interrupt passes on
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     exits,
			"interrupt": interrupt,
			"soon":      soon,
		},
	})
}

// moody is a server with paths of its own beside those of files: /hang/ does not answer, and below /private/, which is not for
// programs, /agent/, which wants to know who asks, and /busy/NAME/, which fails the first two times, are the files again.
func moody(files http.Handler) http.Handler {
	var mutex sync.Mutex
	asked := map[string]int{}
	mux := http.NewServeMux()
	mux.Handle("/", files)
	mux.HandleFunc("/robots.txt", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "User-agent: *\nDisallow: /private/\n")
	})
	mux.Handle("/private/", http.StripPrefix("/private", files))
	mux.HandleFunc("/hang/", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/busy/{name}/", func(w http.ResponseWriter, r *http.Request) {
		mutex.Lock()
		asked[r.URL.Path]++
		n := asked[r.URL.Path]
		mutex.Unlock()
		if n < 3 {
			http.Error(w, "busy", http.StatusInternalServerError)
			return
		}
		http.StripPrefix("/busy/"+r.PathValue("name"), files).ServeHTTP(w, r)
	})
	mux.HandleFunc("/agent/", func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.UserAgent(), "+https://example.org/crawler") {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		http.StripPrefix("/agent", files).ServeHTTP(w, r)
	})
	return mux
}

// soon sets a variable to the time in so long, as RFC 3339 has it: soon DEADLINE 1s
func soon(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: soon variable duration")
	}
	d, err := time.ParseDuration(args[1])
	ts.Check(err)
	ts.Setenv(args[0], time.Now().Add(d).Format(time.RFC3339Nano))
}

// exits runs a program and wants an exit code: exits 2 logobeam score
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code program [args...]")
	}
	got := code(ts, ts.Exec(args[1], args[2:]...))
	if got != args[0] {
		ts.Fatalf("%v exited with %s, want %s", args[1:], got, args[0])
	}
}

// interrupt runs a program, presses Ctrl-C once a file is there, and wants exit code 130: interrupt out/file logobeam
// score ...
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: interrupt file program [args...]")
	}
	path, err := exec.LookPath(args[1])
	if err != nil {
		path = filepath.Join(ts.Getenv("WORK"), args[1])
	}
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if _, err := os.Stat(filepath.Join(dir, args[1])); err == nil {
			path = filepath.Join(dir, args[1])
			break
		}
	}
	cmd := exec.Command(path, args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "PATH="+ts.Getenv("PATH"), "TMPDIR="+ts.Getenv("TMPDIR"))
	cmd.Stderr = ts.Stderr()
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			break
		}
		select {
		case err := <-ended:
			ts.Fatalf("%v ended before %s was there: %v", args[1:], args[0], err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	ts.Check(cmd.Process.Signal(os.Interrupt))
	if got := code(ts, <-ended); got != "130" {
		ts.Fatalf("%v exited with %s after Ctrl-C, want 130", args[1:], got)
	}
}

func code(ts *testscript.TestScript, err error) string {
	if err == nil {
		return "0"
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	return strconv.Itoa(exit.ExitCode())
}
