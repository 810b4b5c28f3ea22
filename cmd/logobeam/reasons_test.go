package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/transforms"
)

// TestReasonsPage holds the table of reasons in docs/reasons.md to the program's. UPDATE_PAGE=1 writes it anew.
func TestReasonsPage(t *testing.T) {
	const page, begin = "docs/reasons.md", "| stage | reason | | retry | flag |\n|---|---|---|---|---|\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	if !ok {
		t.Fatal("docs/reasons.md has no table of reasons")
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
		again := ""
		if fetch.Reason(r.reason).Temporary() || transforms.Reason(r.reason).Temporary() {
			again = "yes"
		}
		fmt.Fprintf(&want, "| %s | `%s` | %s | %s | %s |\n", first, r.reason, r.text, again, r.flag)
	}
	if os.Getenv("UPDATE_PAGE") != "" {
		if err := os.WriteFile(page, []byte(before+begin+want.String()+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want.String(), got); diff != "" {
		t.Errorf("docs/reasons.md: UPDATE_PAGE=1 go test ./cmd/logobeam -run ReasonsPage mends it (-program +page):\n%s", diff)
	}
}
