package listing

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"pgregory.net/rapid"
)

// low has every file cut without being read.
func low(look int) limits { return limits{whole: -1, look: look} }

// inParts plans a listing with limits and reads it by its chunks.
func inParts(t rapid.TB, path string, o Options, l limits) ([]Chunk, []Row, error) {
	t.Helper()
	chunks, err := plan(context.Background(), path, o, l)
	if err != nil {
		t.Fatal(err)
	}
	var all []Row
	for i, c := range chunks {
		if i > 0 && chunks[i-1].Source == c.Source && chunks[i-1].End != c.Offset {
			t.Fatalf("chunk %d begins at %d; the one before it ends at %d", i, c.Offset, chunks[i-1].End)
		}
		rows, err := read(c)
		if err != nil {
			return chunks, nil, err
		}
		all = append(all, rows...)
	}
	return chunks, all, nil
}

// apart takes away what cutting changes of rows: the numbers of lines.
func apart(rows []Row) []Row {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].Line = 0
	}
	return rows
}

// anyCSV is a listing of nasty fields, sometimes with broken rows among them.
func anyCSV(t *rapid.T) []byte {
	text := rapid.StringOfN(rapid.RuneFrom([]rune("ab,\"\n\r,\"\n")), 0, 12, -1)
	var c bytes.Buffer
	w := csv.NewWriter(&c)
	w.Write([]string{"post_id", "text", "image"})
	for i := range rapid.IntRange(1, 40).Draw(t, "rows") {
		if rapid.IntRange(0, 9).Draw(t, "broken") == 0 {
			w.Flush()
			c.WriteString(text.Draw(t, "broken row") + rapid.SampledFrom([]string{"\n", "\r\n", "\n\n"}).Draw(t, "its end"))
			continue
		}
		w.Write([]string{fmt.Sprint(i), text.Draw(t, "text"), "i" + text.Draw(t, "image")})
	}
	w.Write([]string{"last", "", "i"})
	w.Flush()
	return c.Bytes()
}

// Whatever a CSV holds, chunks of ranges have its rows, all of them once, if a place for a cut is looked at as far as it
// takes.
func TestRangesOfCSV(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		path := temporary(t, "a.csv", anyCSV(t))
		_, whole, err := inParts(t, path, Options{}, usual)
		if err != nil {
			t.Fatal(err)
		}
		for _, rows := range []int{1, 2, 5} {
			_, got, err := inParts(t, path, Options{ChunkRows: rows}, low(rapid.IntRange(1, 40).Draw(t, "look")))
			if err != nil && strings.Contains(err.Error(), "--exact-chunks") {
				continue // no row is lost in silence
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(apart(whole), apart(got)); diff != "" {
				t.Fatalf("chunks of about %d rows (-whole +got):\n%s", rows, diff)
			}
			_, got, err = inParts(t, path, Options{ChunkRows: rows}, low(furthest))
			if err != nil {
				t.Fatalf("with all of the file in sight: %v", err)
			}
			if diff := cmp.Diff(apart(whole), apart(got)); diff != "" {
				t.Fatalf("chunks of about %d rows (-whole +got):\n%s", rows, diff)
			}
		}
	})
}

func temporary(t *rapid.T, name string, content []byte) string {
	dir, err := os.MkdirTemp("", "listing")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Wherever a CSV is cut, what is found is a row's start.
func TestEveryPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checkEveryPlace(t, anyCSV(t))
	})
}

func checkEveryPlace(t rapid.TB, text []byte) {
	in, err := newReader(fileOf(text), CSV, columns{}, 0)
	if err != nil {
		return
	}
	starts := map[int64]bool{int64(len(text)): true}
	for {
		r, err := in.next()
		if err != nil {
			break
		}
		starts[r.offset], starts[r.end] = true, true
	}
	k := newCutter(opened{in, fileOf(text)}, low(furthest))
	for at := range int64(len(text)) {
		_, start, err := k.rowStart(context.Background(), at)
		if err != nil {
			t.Fatal(err)
		}
		blank := start > 0 && len(bytes.Trim(text[:start], "\r\n")) == 0
		if start != none && !starts[start] && !blank && len(bytes.TrimSpace(lineAt(text, start))) > 0 {
			t.Fatalf("after byte %d of %q a row is said to begin at byte %d", at, text, start)
		}
	}
}

func lineAt(text []byte, at int64) []byte {
	line, _, _ := bytes.Cut(text[at:], []byte("\n"))
	return line
}

func FuzzCut(f *testing.F) {
	for _, s := range []string{"a,b\n1,2\n", "a,b\n1,\"x\ny\"\n2,\"\"\"\n\"\n", "a\n\"\n\n\"\n", "a,b\n\"1\n2,3\n4,\"5\n\"", "a,b\n1,\"\n\",\"\n\"\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) < 1<<12 && checkText(text) == nil && packingOf4(text) == plain {
			checkEveryPlace(t, text)
		}
	})
}

func packingOf4(text []byte) packing {
	return packingOf([4]byte(append(text[:len(text):len(text)], 0, 0, 0, 0)))
}

// Posts whose text quotes, breaks lines and holds commas are cut without being read, and nothing is guessed wrong.
func TestPosts(t *testing.T) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Write([]string{"post_id", "author", "text", "image"})
	lines := []string{`so, "new shoes"`, "", "look:", `he said "yes", then left`, "a,b,c", `"`, "#ootd, #style, #x", `12" vinyl`}
	for i := range 20000 {
		var text []string
		for k := range i % 7 {
			text = append(text, lines[(i*31+k*17)%len(lines)])
		}
		w.Write([]string{fmt.Sprint(i), fmt.Sprint("user", i%97), strings.Join(text, "\n"), fmt.Sprintf("%d.jpg", i)})
	}
	w.Flush()
	path := write(t, "a.csv", b.String())
	chunks, got, err := inParts(t, path, Options{ChunkRows: 20, Keep: []string{"text"}}, limits{whole: 1000, look: 512})
	if err != nil {
		t.Fatal(err)
	}
	if len(chunks) < 500 || chunks[1].Rows != 0 || chunks[1].Version == "" {
		t.Errorf("%d chunks, the second %+v; want about 1000 that were not read", len(chunks), chunks[1])
	}
	_, whole, err := inParts(t, path, Options{Keep: []string{"text"}, Exact: true}, limits{whole: 1000, look: 512})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(apart(whole), apart(got)); diff != "" {
		t.Errorf("(-whole +got):\n%s", diff)
	}
	if n, exact := Rows(chunks); exact || n < 18000 || n > 22000 {
		t.Errorf("%d rows, exact %v; want an estimate of 20000", n, exact)
	}
}

// A field that holds a listing itself is cut wrong if the cut falls inside and no quote is in sight. That is an error, and
// reading it once first is the way out.
func TestWrongGuess(t *testing.T) {
	text := "post_id,image\n1,a.jpg\n2,\"" + strings.Repeat("3,b.jpg\n", 1000) + "\"\n4,c.jpg\n"
	path := write(t, "a.csv", text)
	_, _, err := inParts(t, path, Options{ChunkRows: 100}, low(256))
	if err == nil || !strings.Contains(err.Error(), "the row that begins at byte 22 goes on to byte 8027") || !strings.Contains(err.Error(), "--exact-chunks") {
		t.Fatalf("error %v; want one that names the place and the way out", err)
	}
	_, got, err := inParts(t, path, Options{ChunkRows: 100, Exact: true}, low(256))
	if err != nil || len(got) != 3 {
		t.Fatalf("%d rows, error %v; want 3", len(got), err)
	}
}

// Where no cut can be told, the file is read.
func TestNoPlaceForACut(t *testing.T) {
	path := write(t, "a.txt", "a.jpg\n"+strings.Repeat("x", 10*maxRow)+"\nb.jpg\n")
	chunks, got, err := inParts(t, path, Options{ChunkRows: 1}, low(16))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[1].Malformed != errTooLong.Error() || chunks[0].Version != "" {
		t.Errorf("%d rows in %d chunks; want 3 that were read", len(got), len(chunks))
	}
}

func TestRangesOfLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.StringMatching(`[a-z]{0,9}\r?`)
		lines := rapid.SliceOfN(line, 1, 60).Draw(t, "lines")
		lines[0] = "x"
		text := rapid.SampledFrom([]string{"", bom}).Draw(t, "mark") + strings.Join(lines, "\n")
		look, rows := rapid.IntRange(1, 40).Draw(t, "look"), rapid.IntRange(1, 9).Draw(t, "rows")
		var objects strings.Builder
		for i, l := range lines {
			id, _ := json.Marshal(l)
			fmt.Fprintf(&objects, "{\"post_id\":%s,\"image\":\"%d.jpg\"}\n\n", id, i)
		}
		for name, text := range map[string]string{"a.txt": text, "a.jsonl": objects.String()} {
			path := temporary(t, name, []byte(text))
			_, whole, err := inParts(t, path, Options{}, usual)
			if err != nil {
				t.Fatal(err)
			}
			_, got, err := inParts(t, path, Options{ChunkRows: rows}, low(look))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(apart(whole), apart(got)); diff != "" {
				t.Fatalf("%s (-whole +got):\n%s", name, diff)
			}
		}
	})
}

// A chunk of a range knows the file's size and version, not its name.
func TestRangesKnowTheirFile(t *testing.T) {
	content := "post_id,image\n" + strings.Repeat("1,a.jpg\n", 100)
	path := write(t, "a.csv", content)
	chunks, _, err := inParts(t, path, Options{ChunkRows: 10}, low(64))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "b.csv")
	if err := os.Rename(path, other); err != nil {
		t.Fatal(err)
	}
	again, _, err := inParts(t, other, Options{ChunkRows: 10}, low(64))
	if err != nil {
		t.Fatal(err)
	}
	if Hash(chunks) != Hash(again) || chunks[3].Hash != again[3].Hash {
		t.Errorf("a listing that was moved has another identity")
	}
	if columns, _ := plan(t.Context(), other, Options{ChunkRows: 10, ImageColumn: "post_id"}, low(64)); chunks[3].Hash == columns[3].Hash {
		t.Errorf("other columns have the same identity")
	}
	if err := os.Chtimes(other, time.Time{}, info.ModTime().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := again[1].Read(t.Context()); err == nil || !strings.Contains(err.Error(), "has changed since the run began") {
		t.Errorf("error %v; want one of a listing that has changed", err)
	}
}

// Parquet is cut by its footer, at row groups where it can be.
func TestGroups(t *testing.T) {
	for _, tt := range []struct {
		reason             string
		rows, group, chunk int
		ends               []int64
	}{
		{"small groups go together", 1000, 100, 300, []int64{300, 600, 900, 1000}},
		{"large groups are divided evenly", 1000, 500, 200, []int64{166, 333, 500, 666, 833, 1000}},
		{"the end of a group is an end", 1000, 400, 600, []int64{400, 1000}},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			path := writeParquet(t, tt.rows, tt.group)
			chunks, got, err := inParts(t, path, Options{ChunkRows: tt.chunk}, low(1))
			if err != nil {
				t.Fatal(err)
			}
			var ends []int64
			for _, c := range chunks {
				ends = append(ends, c.End)
			}
			if diff := cmp.Diff(tt.ends, ends); diff != "" {
				t.Errorf("chunks end (-want +got):\n%s", diff)
			}
			_, whole, err := inParts(t, path, Options{}, usual)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(whole, got); diff != "" {
				t.Errorf("(-whole +got):\n%s", diff)
			}
			// Read backwards, no chunk goes on where another ended.
			for _, c := range slices.Backward(chunks) {
				rows, err := read(c)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(whole[c.Offset:c.End], rows); diff != "" {
					t.Fatalf("chunk %d (-whole +got):\n%s", c.Index, diff)
				}
			}
			if n, exact := Rows(chunks); n != int64(tt.rows) || !exact {
				t.Errorf("%d rows, exact %v", n, exact)
			}
		})
	}
}

// counting counts the bytes that are read.
type counting struct {
	memory
	bytes, calls int
}

func (c *counting) ReadAt(to []byte, at int64) (int, error) {
	c.bytes += len(to)
	c.calls++
	return c.memory.ReadAt(to, at)
}

// With an index of its pages, a row in the middle of a row group is read without the pages before it.
func TestRowInTheMiddleOfAGroup(t *testing.T) {
	type row struct {
		PostID int64  `parquet:"post_id,plain"`
		Image  string `parquet:"image,plain"`
	}
	all := make([]row, 200000)
	for i := range all {
		all[i] = row{int64(i), fmt.Sprintf("%020d.jpg", i)}
	}
	var b bytes.Buffer
	if err := parquet.Write(&b, all, parquet.PageBufferSize(16<<10)); err != nil {
		t.Fatal(err)
	}
	in := fileOf(nil)
	file := &counting{memory: memory{bytes.NewReader(b.Bytes())}}
	in.File = file
	r, err := newReader(in, Parquet, columns{[]string{"post_id", "image"}, 2}, 150000)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if file.calls > 2 {
		t.Errorf("%d reads for a footer; want 1, or 2 for a large one", file.calls)
	}
	if err := r.seek(150000, 0, 0); err != nil {
		t.Fatal(err)
	}
	rec, err := r.next()
	if err != nil || string(rec.values[1]) != fmt.Sprintf("%020d.jpg", 150000) || rec.offset != 150000 {
		t.Fatalf("row %q at %d, error %v; want that at 150000", rec.values, rec.offset, err)
	}
	if file.bytes > b.Len()/8 {
		t.Errorf("%d of %d bytes were read for one row", file.bytes, b.Len())
	}
}
