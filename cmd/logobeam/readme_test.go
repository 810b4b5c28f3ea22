package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReadmeReasons holds the README's table of reasons to the program's. UPDATE_README=1 writes it anew.
func TestReadmeReasons(t *testing.T) {
	const readme, begin = "../../README.md", "| stage | reason | | flag |\n|---|---|---|---|\n"
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	if !ok {
		t.Fatal("the README has no table of reasons")
	}
	var got, after string
	for after = rest; strings.HasPrefix(after, "|"); {
		var line string
		line, after, _ = strings.Cut(after, "\n")
		got += line + "\n"
	}

	score := newScore()
	var want strings.Builder
	stage := ""
	for _, r := range rejections() {
		if r.flag != "" {
			if score.Flags().Lookup(strings.TrimPrefix(r.flag, "--")) == nil {
				t.Errorf("%s names the flag %s, which score does not have", r.reason, r.flag)
			}
			r.flag = "`" + r.flag + "`"
		}
		if r.text == "" {
			t.Errorf("%s is not explained", r.reason)
		}
		first := ""
		if r.stage != stage {
			stage, first = r.stage, r.stage
		}
		fmt.Fprintf(&want, "| %s | `%s` | %s | %s |\n", first, r.reason, r.text, r.flag)
	}
	if os.Getenv("UPDATE_README") != "" {
		if err := os.WriteFile(readme, []byte(before+begin+want.String()+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want.String(), got); diff != "" {
		t.Errorf("README.md: UPDATE_README=1 go test ./cmd/logobeam -run Readme mends it (-program +README):\n%s", diff)
	}
}
