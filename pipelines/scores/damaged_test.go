//go:build !race

package scores

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
)

// Not under the race detector: the pointer checks that come with it end the process where the Parquet library would panic.

// partFiles are whole parts, of scores and of rejects, with kept columns and without.
func partFiles(t testing.TB) (files [][]byte) {
	for _, keep := range [][]string{nil, {"author", "aged"}} {
		dir := t.TempDir()
		part := NewPart(Piece{Chunk: "0a", Rows: 6}, Run{Keep: keep})
		for i := range 3 {
			part.Score(found[i], extra[i][:len(keep)])
			part.Reject(lost[i], extra[i][:len(keep)])
		}
		d, err := part.Commit(background, dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{scoresFile("0a"), d.rejectsFile()} {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, data)
		}
	}
	return files
}

// readDamaged reads a file in all ways that there are, as scores and as rejects.
func readDamaged(t testing.TB, dir string, data []byte) {
	for _, name := range []string{scoresFile("0a"), rejectsDir + "/part-0a.parquet"} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, ok, err := ReadPart(background, dir, "0a")
	if ok == (err != nil) || ok && d.Chunk != "0a" {
		t.Errorf("%+v, found %v, error %v", d, ok, err)
	}
	for range Rejects(background, dir) {
	}
	for range Scores(background, dir) {
	}
	for range PostIDs(background, dir) {
	}
	d.Rejects = "part-0a.parquet"
	d.ReadRejects(background, dir)
}

// damagedOutput is an output that damaged parts are put into.
func damagedOutput(t testing.TB) (dir string) {
	dir = t.TempDir()
	o, err := Open(background, dir, "test", run)
	if err != nil {
		t.Fatal(err)
	}
	o.Close()
	for _, folder := range []string{scoresDir, rejectsDir} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A damaged part gives an error, or other rows, and never a panic.
func TestDamagedPart(t *testing.T) {
	dir := damagedOutput(t)
	for _, whole := range partFiles(t) {
		for i := 0; i < len(whole); i += 7 {
			damaged := append([]byte{}, whole...)
			damaged[i] ^= 0xff
			readDamaged(t, dir, damaged)
		}
	}
}

// A footer that says it is longer than the file takes no memory.
func TestLongFooter(t *testing.T) {
	dir := damagedOutput(t)
	damaged := partFiles(t)[0]
	binary.LittleEndian.PutUint32(damaged[len(damaged)-8:], 1<<31)
	if err := os.WriteFile(filepath.Join(dir, scoresFile("0a")), damaged, 0o644); err != nil {
		t.Fatal(err)
	}
	_, _, err := ReadPart(background, dir, "0a")
	if err == nil || !strings.Contains(err.Error(), "only a piece of one") {
		t.Errorf("error %v", err)
	}
}

func FuzzPart(f *testing.F) {
	for _, whole := range partFiles(f) {
		f.Add(whole)
		f.Add(whole[:len(whole)/2])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) { readDamaged(t, damagedOutput(t), data) })
}

// FuzzManifest reads, proves and commits an output by whatever stands in the place of its manifest.
func FuzzManifest(f *testing.F) {
	dir := written(f)
	path := filepath.Join(dir, manifestFile)
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"format": 2, "run": null, "chunks": [{"chunk": "../../x", "index": -1, "rejects": "/"}, {}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		Verify(background, dir)
		Commit(background, dir, nil)
		CommitRetry(background, dir, nil)
	})
}

// No byte of the rows can be changed without Verify's seeing it.
func TestVerifySeesEveryByte(t *testing.T) {
	dir := written(t)
	path := filepath.Join(dir, "scores/part-0a.parquet")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := parquet.OpenFile(bytes.NewReader(whole), int64(len(whole)))
	if err != nil {
		t.Fatal(err)
	}
	for _, column := range f.Metadata().RowGroups[0].Columns {
		m := column.MetaData
		from := m.DataPageOffset
		if m.DictionaryPageOffset > 0 {
			from = min(from, m.DictionaryPageOffset)
		}
		for at := from; at < from+m.TotalCompressedSize; at++ {
			damaged := bytes.Clone(whole)
			damaged[at] ^= 0x10
			if err := os.WriteFile(path, damaged, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := Verify(background, dir); err == nil && !sameRows(t, whole, damaged) {
				t.Errorf("byte %d, of %v: %v passes", at, m.PathInSchema, damaged[at])
			}
		}
	}
}

// sameRows tells whether two files read the same, as they may if a byte of a page's header differs.
func sameRows(t *testing.T, a, b []byte) bool {
	t.Helper()
	var rows [2][]Score
	for i, data := range [][]byte{a, b} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "scores"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "scores/part-0a.parquet"), data, 0o644); err != nil {
			t.Fatal(err)
		}
		for k, err := range rowsOf[Score](background, dir, "scores/part-0a.parquet") {
			if err != nil {
				return false
			}
			rows[i] = append(rows[i], k.Row)
		}
	}
	return slices.Equal(rows[0], rows[1])
}
