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
	dir := filepath.Join(t.TempDir(), "out")
	writeAll(t, dir)
	path := filepath.Join(dir, "rejects/part-0b.parquet")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(whole); at += 3 {
		damaged := append([]byte{}, whole...)
		damaged[at] ^= 0xff
		if err := os.WriteFile(path, damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, err := range Rejects(dir) {
			_ = err
		}
	}
}
