package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPages looks at the README and its guides: links lead somewhere, and every command line that they show is one of the
// program's, with flags that it has.
func TestPages(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal("there are no guides: ", err)
	}
	link := regexp.MustCompile(`\]\(([^)#:]+)\)`)
	command := regexp.MustCompile("(?m)(?:^    (?:.*(?:exec |&& |; |\\())?|`)(?:bin/)?logobeam ([a-zN-][^#`\n]+)")
	flag := regexp.MustCompile(` --([a-z0-9_-]+)`)
	seen := 0
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: a link leads nowhere: %v", page, err)
			}
		}
		joined := strings.ReplaceAll(string(text), "\\\n", " ")
		for _, m := range command.FindAllStringSubmatch(joined, -1) {
			seen++
			words := strings.Fields(m[1])
			cmd, _, err := newRoot().Find(words[:1])
			if err != nil || cmd == cmd.Root() && words[0] != "help" && !strings.HasPrefix(words[0], "-") && words[0] != "NAME" {
				t.Errorf("%s: logobeam %s: no such command", page, m[1])
				continue
			}
			for _, f := range flag.FindAllStringSubmatch(" "+m[1], -1) {
				if cmd.Flags().Lookup(f[1]) == nil && cmd.InheritedFlags().Lookup(f[1]) == nil && f[1] != "help" {
					t.Errorf("%s: logobeam %s: %s has no flag --%s", page, m[1], cmd.Name(), f[1])
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("found %d command lines in the pages: want more, the pattern must have missed some", seen)
	}
}
