package main

import (
	"embed"
	"path"
	"strings"

	"github.com/spf13/cobra"
)

//go:embed docs/*.md
var guides embed.FS

// newGuides are topics of help, not commands: the pages of docs, whose first line says what each is about.
func newGuides() (topics []*cobra.Command) {
	files, err := guides.ReadDir("docs")
	if err != nil {
		panic(err) // they are part of the program
	}
	for _, f := range files {
		text, err := guides.ReadFile(path.Join("docs", f.Name()))
		if err != nil {
			panic(err)
		}
		title, _, _ := strings.Cut(strings.TrimPrefix(string(text), "# "), "\n")
		topics = append(topics, &cobra.Command{Use: strings.TrimSuffix(f.Name(), ".md"), Short: strings.ToLower(title[:1]) + title[1:], Long: strings.TrimSuffix(string(text), "\n")})
	}
	return topics
}
