package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func weekIn(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := week(context.Background(), filepath.Join(dir, "week")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// features.json is what DuckDB and pandas have found, and by which words. So without either, the figures are checked by a third
// way to them, and a query that was changed has to be run again.
func TestFeatures(t *testing.T) {
	text, err := os.ReadFile("features.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		MadeBy map[string]string `json:"made_by"`
		features
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"features.sql", "features.py"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		if hex.EncodeToString(sum[:]) != want.MadeBy[name] {
			t.Errorf("%s has changed since features.json was made by it: make interop INTEROPFLAGS=--update", name)
		}
	}
	got, err := featuresOf(context.Background(), filepath.Join(weekIn(t), "week"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.features, got); diff != "" {
		t.Errorf("features (-want +got):\n%s", diff)
	}
}

// Where there is DuckDB, the query itself is run.
func TestQuery(t *testing.T) {
	for _, python := range []string{"../../out/interop/venv/bin/python", "python3"} {
		if exec.Command(python, "-c", "import duckdb, pandas, pyarrow").Run() != nil {
			continue
		}
		python, err := exec.LookPath(python)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(python, "interop.py", "features", weekIn(t))
		cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v:\n%s", err, out)
		}
		return
	}
	t.Skip("there is no Python with duckdb and pandas: make interop brings them")
}
