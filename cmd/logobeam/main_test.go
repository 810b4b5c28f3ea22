package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/logobeam/logobeam/pipelines/store/storetest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"logobeam": main})
}

// TestScripts runs the scripts of testdata, each a session of somebody at a command line. $TESTDATA is the repository's
// testdata, which they leave as it is, $SERVER an http server of it, and gs://bucket an empty bucket. UPDATE_SCRIPTS=1 writes what was printed over what
// was expected.
func TestScripts(t *testing.T) {
	data, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(data)))
	t.Cleanup(server.Close)
	_, bucket := storetest.Bucket(t, nil)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("TESTDATA", data)
			e.Setenv("SERVER", server.URL)
			e.Setenv("STORAGE_EMULATOR_HOST", bucket)
			e.Setenv("LOGOBEAM_KERNEL", os.Getenv("LOGOBEAM_KERNEL")) // which the command interrupt passes on
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     exits,
			"interrupt": interrupt,
		},
	})
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
