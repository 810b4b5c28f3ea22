//go:build !race

package scores

import (
	"os"
	"path/filepath"
	"testing"
)

// Not under the race detector: the pointer checks that come with it end the process where the Parquet library would panic.

// A damaged part gives an error, never a panic.
func TestDamagedPart(t *testing.T) {
	dir := written(t)
	for _, pattern := range []string{"rejects/part-0b-*", "scores/part-0a.parquet"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(names) != 1 {
			t.Fatalf("%v, error %v", names, err)
		}
		whole, err := os.ReadFile(names[0])
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(whole); at += 3 {
			damaged := append([]byte{}, whole...)
			damaged[at] ^= 0xff
			if err := os.WriteFile(names[0], damaged, 0o644); err != nil {
				t.Fatal(err)
			}
			for range Rejects(background, dir) {
			}
			for range Scores(background, dir) {
			}
			for range PostIDs(background, dir) {
			}
		}
		if err := os.WriteFile(names[0], whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
