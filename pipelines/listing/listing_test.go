package listing

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"pgregory.net/rapid"

	"github.com/logobeam/logobeam/pipelines/store"
)

// memory is a file that lies in memory.
type memory struct{ *bytes.Reader }

func (m memory) Info() store.Info { return store.Info{Name: "memory", Size: m.Size(), Version: "1"} }
func (m memory) Close() error     { return nil }
func (m memory) Range(_ context.Context, offset, n int64) (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(m, offset, n)), nil
}

func fileOf(content []byte) *source {
	ctx, cancel := context.WithCancel(context.Background())
	return &source{File: memory{bytes.NewReader(content)}, ctx: ctx, cancel: cancel, location: "memory"}
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// short is what most tests look at of a row.
type short struct {
	Line                     int64
	PostID, Image, Malformed string
}

func shorten(rows []Row) (all []short) {
	for _, r := range rows {
		all = append(all, short{r.Line, r.PostID, r.Image, r.Malformed})
	}
	return all
}

// rows reads a whole listing by its chunks.
func rows(t testing.TB, pattern string, o Options) (all []Row) {
	t.Helper()
	chunks, err := Plan(context.Background(), pattern, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chunks {
		r, err := c.Read(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(r)) != c.Rows {
			t.Fatalf("chunk %d has %d rows; it was planned with %d", c.Index, len(r), c.Rows)
		}
		if c.Index > 0 && chunks[c.Index-1].Source == c.Source && chunks[c.Index-1].End != c.Offset {
			t.Fatalf("chunk %d begins at %d; the one before it ends at %d", c.Index, c.Offset, chunks[c.Index-1].End)
		}
		all = append(all, r...)
	}
	return all
}

func TestRows(t *testing.T) {
	long := strings.Repeat("x", maxRow)
	for _, tt := range []struct {
		reason, name, text string
		want               []short
	}{
		{"a plain CSV", "a.csv", "post_id,image\n1,a.jpg\n2,b.jpg\n", []short{{2, "1", "a.jpg", ""}, {3, "2", "b.jpg", ""}}},
		{"no line end at the end", "a.csv", "post_id,image\n1,a.jpg", []short{{2, "1", "a.jpg", ""}}},
		{"other columns, another order", "a.csv", "n,image,x,post_id\n9,a.jpg,,1\n", []short{{2, "1", "a.jpg", ""}}},
		{"byte order mark and CRLF", "a.csv", "\ufeffpost_id,image\r\n1,a.jpg\r\n", []short{{2, "1", "a.jpg", ""}}},
		{"a byte order mark before quotes", "a.csv", "\ufeff\"post_id\",\"image\"\r\n\"1\",\"a.jpg\"\r\n", []short{{2, "1", "a.jpg", ""}}},
		{"blank lines count as lines only", "a.csv", "post_id,image\n\n1,a.jpg\n\r\n2,b.jpg\n\n", []short{{3, "1", "a.jpg", ""}, {5, "2", "b.jpg", ""}}},
		{"quotes, commas and lines in a field", "a.csv", "post_id,image\n\"1,\n\"\"x\"\"\",a.jpg\n2,b.jpg\n",
			[]short{{2, "1,\n\"x\"", "a.jpg", ""}, {4, "2", "b.jpg", ""}}},
		{"a quote inside a bare field is a character", "a.csv", "post_id,image\n1,12\" vinyl.jpg\n", []short{{2, "1", "12\" vinyl.jpg", ""}}},
		{"an unclosed quote takes no other row", "a.csv", "post_id,image\n1,\"a.jpg\n2,b.jpg\n3,c.jpg\n",
			[]short{{2, "1", "", "a quote is not closed"}, {3, "2", "b.jpg", ""}, {4, "3", "c.jpg", ""}}},
		{"an unclosed quote on the last row", "a.csv", "post_id,image\n1,a.jpg\n2,\"b",
			[]short{{2, "1", "a.jpg", ""}, {3, "2", "", "a quote is not closed"}}},
		{"text after a closing quote", "a.csv", "post_id,image\n\"1\"x,a.jpg\n2,b.jpg\n",
			[]short{{2, "", "", "text follows a closing quote"}, {3, "2", "b.jpg", ""}}},
		{"a comma too many would move columns", "a.csv", "post_id,image\n1,a,b.jpg\n2,b.jpg\n",
			[]short{{2, "1", "a", "the row has 3 fields and the header has 2"}, {3, "2", "b.jpg", ""}}},
		{"too few fields", "a.csv", "post_id,image\n1\n", []short{{2, "1", "", "the row has 1 fields and the header has 2"}}},
		{"nothing to look at", "a.csv", "post_id,image\n1,\n,a.jpg\n", []short{{2, "1", "", `"image" is empty`}, {3, "", "a.jpg", `"post_id" is empty`}}},
		{"not UTF-8", "a.csv", "post_id,image\n1,caf\xe9.jpg\n", []short{{2, "1", "caf\ufffd.jpg", notUTF8}}},
		{"a row without end", "a.csv", "post_id,image\n1," + long + "\n2,b.jpg\n",
			[]short{{2, "", "", errTooLong.Error()}, {3, "2", "b.jpg", ""}}},
		{"a quoted field without end", "a.csv", "post_id,image\n1,\"a.jpg\n2," + strings.Repeat(long[:1023]+"\n", 1100),
			nil}, // counted below
		{"an image of more than 8 KiB", "a.csv", "post_id,image\n1," + long[:maxValue+1] + "\n",
			[]short{{2, "1", long[:maxValue], `"image" has 8193 bytes: at most 8192 are taken`}}},
		{"JSON Lines", "a.jsonl", `{"post_id":"1","image":"a.jpg"}` + "\n" + `{"image":"\u00e9.jpg","n":null,"post_id":18446744073709551616}` + "\n",
			[]short{{1, "1", "a.jpg", ""}, {2, "18446744073709551616", "é.jpg", ""}}},
		{"broken JSON rows", "a.jsonl", `{"post_id":"1","image":"a.jpg"}` + "\n{\n[1]\n" + `{"post_id":2}` + "\n\n" + `{"post_id":1.5,"image":"a"}` + "\n" + `{"post_id":"3","image":"c.jpg"}`,
			[]short{{1, "1", "a.jpg", ""}, {2, "", "", "no JSON object: unexpected end of JSON input at byte 1"},
				{3, "", "", "no JSON object but: array"},
				{4, "2", "", `the object has no key "image"`}, {6, "1.5", "a", `"post_id" is 1.5: want a string or an integer`}, {7, "3", "c.jpg", ""}}},
		{"the first JSON row is broken", "a.jsonl", "nonsense\n" + `{"post_id":"3","image":"c.jpg"}`,
			[]short{{1, "", "", "no JSON object: invalid character 'o' in literal null (expecting 'u') at byte 2"}, {2, "3", "c.jpg", ""}}},
		{"JSON that is not UTF-8", "a.jsonl", "{\"post_id\":\"1\",\"image\":\"caf\xe9.jpg\"}\n", []short{{1, "1", "caf\ufffd.jpg", notUTF8}}},
		{"plain text", "a.txt", "a.jpg\r\n\nhttps://example.org/b,c.jpg\n", []short{{1, "a.jpg", "a.jpg", ""}, {3, "https://example.org/b,c.jpg", "https://example.org/b,c.jpg", ""}}},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			path := write(t, tt.name, tt.text)
			if tt.want == nil {
				got := rows(t, path, Options{})
				if len(got) != 1+1100 || got[0].Malformed != unclosed || got[1].PostID != "2" {
					t.Fatalf("%d rows, the first of them %+v", len(got), got[:2])
				}
				return
			}
			for _, chunk := range []int{0, 1, 2} {
				if diff := cmp.Diff(tt.want, shorten(rows(t, path, Options{ChunkRows: chunk}))); diff != "" {
					t.Fatalf("chunks of %d rows (-want +got):\n%s", chunk, diff)
				}
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct{ reason, name, text, want string }{
		{"no such column", "a.csv", "id,image\n1,a.jpg\n", `has no column "post_id": its columns are ["id" "image"]; name the right one with --post-id-column`},
		{"no such key", "a.jsonl", `{"post_id":"1","url":"a.jpg"}`, `has no column "image": its columns are ["post_id" "url"]; name the right one with --image-column`},
		{"one column twice", "a.csv", "post_id,image,image\n1,a,b\n", "more than one column \"image\""},
		{"nothing at all", "a.csv", "", "is empty: a CSV listing begins with a header"},
		{"a header alone", "a.csv", "post_id,image\n", "holds no rows"},
		{"no JSON rows", "a.jsonl", "\n\n", "holds no rows"},
		{"no images", "a.txt", "", "holds no rows"},
		{"an unknown extension", "a.dat", "post_id,image\n1,a.jpg\n", "say csv, jsonl, parquet or text with --format"},
		{"cut off within gzip's header", "a.csv", "\x1f\x8b\x08\x00", "its gzip data is damaged or cut off: unexpected EOF"},
		{"cut off within zstd's header", "a.csv", "\x28\xb5\x2f\xfd", "its zstd data is damaged or cut off: unexpected EOF"},
		{"UTF-16", "a.csv", "\xff\xfep\x00", "in UTF-16: save it in UTF-8"},
		{"Parquet under another name", "a.csv", "PAR1....PAR1", "name it .parquet"},
		{"text under Parquet's name", "a.parquet", "post_id,image\n1,a.jpg\n", "not a Parquet file, or a damaged one"},
		{"an empty Parquet file", "a.parquet", "", "not a Parquet file, or a damaged one"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			_, err := Plan(context.Background(), write(t, tt.name, tt.text), Options{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v; want one with %q", err, tt.want)
			}
		})
	}
	dir := t.TempDir()
	for _, tt := range []struct{ reason, pattern, want string }{
		{"a folder", dir, "is a folder: name a file, or a pattern such as " + filepath.Join(dir, "*.csv")},
		{"standard input", "-", "cannot be read from standard input: its rows are read more than once"},
		{"a web server", "https://example.org/posts.csv", "cannot be read from there: copy it to a local disk or a bucket"},
		{"no such file", filepath.Join(dir, "no.csv"), "no such file"},
		{"no match", filepath.Join(dir, "*.csv"), "no file matches"},
		{"a bad pattern", filepath.Join(dir, "[.csv"), "no pattern"},
		{"a device", "/dev/null", "not a regular file"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			_, err := Plan(context.Background(), tt.pattern, Options{Format: CSV})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v; want one with %q", err, tt.want)
			}
		})
	}
}

func TestMissingColumnIsNamed(t *testing.T) {
	_, err := ReadTable(write(t, "a.csv", "image,brand\na.jpg,x\n"), "image", "label")
	var missing *MissingColumnError
	if !errors.As(err, &missing) || missing.Column != "label" {
		t.Fatalf("error %v; want a missing column, label", err)
	}
}

func TestHas(t *testing.T) {
	for name, text := range map[string]string{"a.csv": "image,boxes\na.jpg,\n", "a.jsonl": `{"image":"a.jpg","boxes":""}`, "a.txt": "boxes\n"} {
		path := write(t, name, text)
		for column, want := range map[string]bool{"boxes": name != "a.txt", "box": false} {
			if got, err := Has(path, column); err != nil || got != want {
				t.Errorf("%s has %s: %v (%v), want %v", name, column, got, err, want)
			}
		}
	}
	if _, err := Has("absent.csv", "boxes"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestReadTable(t *testing.T) {
	want := [][]string{{"a.jpg", "ford"}, {"b.jpg", ""}}
	for name, text := range map[string]string{
		"a.csv":   "label,image\nford,a.jpg\n,b.jpg\n",
		"a.jsonl": `{"image":"a.jpg","label":"ford"}` + "\n" + `{"image":"b.jpg","label":""}`,
	} {
		got, err := ReadTable(write(t, name, text), "image", "label")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if _, err := ReadTable(write(t, "a.csv", "label,image\nford,a.jpg\nbmw\n"), "image", "label"); err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("error %v; want one that names line 3", err)
	}
	if _, err := ReadTable(write(t, "a.txt", "a.jpg\n"), "image", "label"); err == nil || !strings.Contains(err.Error(), "plain text") {
		t.Errorf("error %v; want one that says that plain text has one column", err)
	}
}

type parquetRow struct {
	PostID int64   `parquet:"post_id"`
	Image  *string `parquet:"image,optional,zstd"`
	Size   float64 `parquet:"size"`
}

func writeParquet(t testing.TB, n, group int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.parquet")
	all := make([]parquetRow, n)
	for i := range all {
		all[i] = parquetRow{PostID: int64(i), Size: 1}
		if i%7 != 3 {
			all[i].Image = new(fmt.Sprintf("%d.jpg", i))
		}
	}
	if err := parquet.WriteFile(path, all, parquet.MaxRowsPerRowGroup(int64(group)), parquet.PageBufferSize(512)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestParquet(t *testing.T) {
	path := writeParquet(t, 1000, 300)
	for _, chunk := range []int{0, 1, 299, 300, 301, 1000} {
		got := rows(t, path, Options{ChunkRows: chunk})
		if len(got) != 1000 {
			t.Fatalf("chunks of %d: %d rows; want 1000", chunk, len(got))
		}
		for i, r := range shorten(got) {
			want := short{int64(i + 1), fmt.Sprint(i), fmt.Sprintf("%d.jpg", i), ""}
			if i%7 == 3 {
				want.Image, want.Malformed = "", `"image" is null`
			}
			if r != want {
				t.Fatalf("chunks of %d: row %+v; want %+v", chunk, r, want)
			}
		}
	}
	_, err := Plan(context.Background(), path, Options{ImageColumn: "size"})
	if err == nil || !strings.Contains(err.Error(), "want strings or integers") {
		t.Errorf("a column of doubles: error %v", err)
	}
	_, err = Plan(context.Background(), path, Options{ImageColumn: "url"})
	if err == nil || !strings.Contains(err.Error(), `has no column "url": its columns are ["post_id" "image" "size"]; name the right one with --image-column`) {
		t.Errorf("a missing column: error %v", err)
	}
}

// A damaged Parquet file gives rows or an error, never a panic.
func TestDamagedParquet(t *testing.T) {
	whole, err := os.ReadFile(writeParquet(t, 200, 100))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	refused := 0
	for at := 0; at < len(whole); at += 17 {
		for _, damaged := range [][]byte{whole[:at], append(append(bytes.Clone(whole[:at]), whole[at]^0xff), whole[at+1:]...)} {
			path := filepath.Join(dir, "a.parquet")
			if err := os.WriteFile(path, damaged, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := Plan(context.Background(), path, Options{}); err != nil {
				refused++
			}
		}
	}
	if refused < len(whole)/17 {
		t.Errorf("only %d damaged files were refused", refused)
	}
}

// Where chunks end depends on the number of rows alone, and the hash of a chunk on its rows alone.
func TestChunkSizes(t *testing.T) {
	for _, tt := range []struct {
		rows, chunks int
		first        int64
	}{{1, 1, 1}, {256, 1, 256}, {257, 2, 256}, {1032, 5, 256}, {127 * 256, 127, 256}, {127*256 + 1, 64, 512}, {128 * 256, 64, 512}, {100000, 98, 1024}} {
		var b strings.Builder
		b.WriteString("post_id,image\n")
		for i := range tt.rows {
			fmt.Fprintf(&b, "%d,%d.jpg\n", i, i)
		}
		path := write(t, "a.csv", b.String())
		chunks, err := Plan(context.Background(), path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(chunks) != tt.chunks || chunks[0].Rows != tt.first {
			t.Errorf("%d rows: %d chunks, the first of %d rows; want %d of %d", tt.rows, len(chunks), chunks[0].Rows, tt.chunks, tt.first)
		}
		// Joined or not, a chunk's hash is that of its rows.
		again, err := Plan(context.Background(), path, Options{ChunkRows: int(chunks[0].Rows)})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(again, chunks); diff != "" {
			t.Errorf("%d rows: chunks of a fixed size differ (-want +got):\n%s", tt.rows, diff)
		}
		uneven, err := Plan(context.Background(), path, Options{ChunkRows: 257})
		if err != nil {
			t.Fatal(err)
		}
		if Hash(again) != Hash(chunks) || Hash(uneven) != Hash(chunks) {
			t.Errorf("%d rows: the same rows have the hashes %s, %s, %s", tt.rows, Hash(chunks), Hash(again), Hash(uneven))
		}
	}
}

func TestSeveralFiles(t *testing.T) {
	dir := t.TempDir()
	for i, text := range []string{"post_id,image\n1,a.jpg\n", "image,post_id\nb.jpg,2\nc.jpg,3\n", "post_id,image\n"} {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("posts-%d.csv", i)), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := rows(t, filepath.Join(dir, "posts-*.csv"), Options{})
	want := []short{{2, "1", "a.jpg", ""}, {2, "2", "b.jpg", ""}, {3, "3", "c.jpg", ""}}
	if diff := cmp.Diff(want, shorten(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The same rows have the same hash wherever they lie; other rows have another.
func TestHash(t *testing.T) {
	hash := func(name, text string) string {
		chunks, err := Plan(context.Background(), write(t, name, text), Options{})
		if err != nil {
			t.Fatal(err)
		}
		return Hash(chunks)
	}
	one := hash("a.csv", "post_id,image\n1,a.jpg\n2,b.jpg\n")
	for text, same := range map[string]bool{
		"post_id,image\r\n1,a.jpg\r\n2,b.jpg": true,
		"post_id,image\n2,b.jpg\n1,a.jpg\n":   false,
		"post_id,image\n1,a.jpg\n":            false,
		"post_id,image\n1a,.jpg\n2,b.jpg\n":   false,
	} {
		if got := hash("b.csv", text) == one; got != same {
			t.Errorf("%q has the same hash: %v; want %v", text, got, same)
		}
	}
}

func TestChangedListing(t *testing.T) {
	path := write(t, "a.csv", "post_id,image\n1,a.jpg\n2,b.jpg\n3,c.jpg\n")
	chunks, err := Plan(context.Background(), path, Options{ChunkRows: 2})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"post_id,image\n1,a.jpg\n2,B.jpg\n3,c.jpg\n": "has changed since the run began",
		"post_id,image\n1,a.jpg\n":                   "has changed since the run began",
		"post_id,url\n1,a.jpg\n2,b.jpg\n3,c.jpg\n":   `no column "image"`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := chunks[0].Read(context.Background())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: error %v; want %q and the path", text, err, want)
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	path := write(t, "a.txt", strings.Repeat("a.jpg\n", 1000))
	if _, err := Plan(ctx, path, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v; want that of the context", err)
	}
}

// Whatever rows there are, a writer's CSV and JSON Lines give them back, in chunks of any size.
func TestAnyRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune("ab,\"\n\r 'é\ufeff")), 1, 8, -1)
		table := rapid.SliceOfN(rapid.SliceOfN(text, 2, 2), 1, 40).Draw(t, "rows")
		chunk := rapid.IntRange(1, 10).Draw(t, "rows of a chunk")
		var want []Row
		var c, j bytes.Buffer
		w := csv.NewWriter(&c)
		w.UseCRLF = false
		w.Write([]string{"post_id", "image"})
		for _, r := range table {
			want = append(want, Row{PostID: r[0], Image: r[1]})
			w.Write(r)
			line, _ := json.Marshal(map[string]string{"post_id": r[0], "image": r[1]})
			j.Write(append(line, '\n'))
		}
		w.Flush()
		dir, err := os.MkdirTemp("", "listing")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		for name, text := range map[string][]byte{"a.csv": c.Bytes(), "a.jsonl": j.Bytes()} {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
			chunks, err := Plan(context.Background(), path, Options{ChunkRows: chunk})
			if err != nil {
				t.Fatal(err)
			}
			var got []Row
			for _, c := range chunks {
				r, err := c.Read(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, r...)
			}
			for i := range got {
				got[i].Line, got[i].Offset = 0, 0
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s (-want +got):\n%s", name, diff)
			}
		}
	})
}

// Where encoding/csv reads a file, so do we, and alike.
func FuzzCSV(f *testing.F) {
	for _, s := range []string{"a,b\n1,2\n", "\ufeffa,b\r\n\"1\n\",\"\"\"\"\r\n", "a\n\"", "a,b\n\"1\"2,3\n", "\r\n\r", "a,\"b\"\r", "\"a\",\"b\"\n\n\"x\ny\",\"\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if checkText(text) != nil {
			return
		}
		l, err := newLines(fileOf(text), 0)
		if err != nil {
			t.Fatal(err)
		}
		ours := &csvReader{lines: l}
		all := [][]string{}
		broken := false
		for {
			r, err := ours.read()
			if err != nil {
				break
			}
			if r.end <= r.offset {
				t.Fatalf("no progress at byte %d", r.offset)
			}
			if n := new(csvRow).extent(text[r.offset:], true); int64(n) != r.end-r.offset {
				t.Fatalf("the row at byte %d of %q has %d bytes; its extent is %d", r.offset, text, r.end-r.offset, n)
			}
			broken = broken || r.bad != ""
			row := []string{}
			for _, field := range ours.row.fields {
				row = append(row, string(field))
			}
			all = append(all, row)
		}
		theirs := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte(bom))))
		theirs.FieldsPerRecord = -1
		want, err := theirs.ReadAll()
		if err != nil {
			return
		}
		if broken {
			t.Fatalf("a row of %q is broken; encoding/csv reads %q", text, want)
		}
		for _, row := range all { // encoding/csv takes CRLF in a field for LF
			for i := range row {
				row[i] = strings.ReplaceAll(row[i], "\r\n", "\n")
			}
		}
		if diff := cmp.Diff(want, all); diff != "" && len(want)+len(all) > 0 {
			t.Fatalf("%q (-encoding/csv +ours):\n%s", text, diff)
		}
	})
}

// Every line that is not blank is one row, and good exactly if it is an object with the columns.
func FuzzJSONL(f *testing.F) {
	for _, s := range []string{`{"post_id":"1","image":"a"}`, "{}\n[]\n", `{"post_id":1,"image":"\ud800"}`, "\xff\n{\"post_id\":\"\xff\"}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := newLines(fileOf(text), 0)
		if err != nil {
			return
		}
		r, err := newJSONL(l, "a.jsonl", columns{[]string{"post_id", "image"}, 2}, true)
		if err != nil {
			return
		}
		var post post
		n := 0
		for {
			rec, err := r.next()
			if err != nil {
				break
			}
			n++
			post.take(new(Chunk), rec)
			if row := post.row(); row.Malformed == "" && (row.PostID == "" || row.Image == "") {
				t.Fatalf("row %+v is taken for good", row)
			}
		}
		want := 0
		for _, line := range strings.Split(strings.TrimPrefix(string(text), bom), "\n") {
			if strings.TrimSuffix(line, "\r") != "" {
				want++
			}
		}
		if n != want {
			t.Fatalf("%q: %d rows; want %d", text, n, want)
		}
	})
}

// A pass over a listing of two columns and about 60 bytes a row: planning reads it once, scoring once more.
func BenchmarkCSV(b *testing.B) {
	var text strings.Builder
	text.WriteString("post_id,image\n")
	const n = 100000
	for i := range n {
		fmt.Fprintf(&text, "%d,https://images.example.org/2026/11/%d.jpg\n", i+1000000000000, i)
	}
	path := write(b, "a.csv", text.String())
	chunks, err := Plan(b.Context(), path, Options{})
	if err != nil {
		b.Fatal(err)
	}
	perRow := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*b.N), "ns/row")
	}
	b.Run("plan", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Plan(b.Context(), path, Options{}); err != nil {
				b.Fatal(err)
			}
		}
		perRow(b)
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, c := range chunks {
				if _, err := c.Read(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		}
		perRow(b)
	})
}
