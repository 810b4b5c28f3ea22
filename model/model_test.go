package model

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// small is a model with every kind of parameter, none of whose sizes are equal by chance.
func small(t *testing.T) *Model {
	t.Helper()
	n := Network{Arch: "small", Input: Shape{7, 6, 3}, Layers: []Layer{
		{Name: "a", Op: Conv, Out: 5, Kernel: 3, Act: ReLU, Norm: "na", NormEps: 1e-3},
		{Name: "b", Op: Depthwise, Kernel: 2, Act: ReLU6, Norm: "nb", NormEps: 1e-5},
		{Name: "c", Op: Dense, Out: 4},
	}}
	p, err := Init(n, 1)
	if err != nil {
		t.Fatal(err)
	}
	return &Model{
		Card: Card{
			Classes:    []string{"adidas", "no-logo", "tom & <jerry>", "ünü"},
			Transforms: json.RawMessage(`[{"step":"resize","short":7},{"step":"normalise","mean":[127,127,127],"std":[128,128,128]}]`),
			Training:   &Training{Arguments: []string{"train", "data"}, Seed: 1<<64 - 1, Epochs: 9, Epoch: 7, Images: map[string]int{"train": 525}},
			Metrics:    map[string]map[string]float64{"test": {"macro_f1": 0.62}},
		},
		Network: n,
		Params:  p,
	}
}

func TestSaveLoad(t *testing.T) {
	for _, half := range []bool{false, true} {
		m := small(t)
		before, original := m.Hash(), maps.Clone(m.Params)
		first := original["a.weight"][0]
		dir := filepath.Join(t.TempDir(), "new", "folder")
		if err := m.Save(dir, half); err != nil {
			t.Fatal(err)
		}
		got, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, got); diff != "" {
			t.Errorf("half %v: what is loaded is not what Save left (-saved +loaded):\n%s", half, diff)
		}
		if got.Hash() != m.Hash() {
			t.Errorf("half %v: the hash changed on the way", half)
		}
		if rounded := m.Hash() != before; rounded != half {
			t.Errorf("half %v: the hash of the weights before and after is the same: %v", half, !rounded)
		}
		if original["a.weight"][0] != first {
			t.Error("Save wrote to slices that others may hold")
		}
		if want := map[bool]string{false: "float32", true: "float16"}[half]; got.Card.Precision != want {
			t.Errorf("precision %q; want %q", got.Card.Precision, want)
		}
		var names []string
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			names = append(names, e.Name())
			if info, _ := e.Info(); info.Mode().Perm() != 0o644 {
				t.Errorf("%s has the mode %v", e.Name(), info.Mode())
			}
		}
		if !slices.Equal(names, []string{"model.json", "model.safetensors"}) {
			t.Errorf("Save left %v", names)
		}
	}
}

// Other programs read the file, so its shapes and the order of its values are a promise: value = 1000 o + 100 i + 10 y + x.
func TestFileLayout(t *testing.T) {
	n := Network{Arch: "t", Input: Shape{4, 3, 2}, Layers: []Layer{
		{Name: "c", Op: Conv, Out: 3, Kernel: 2}, {Name: "d", Op: Depthwise, Kernel: 2}, {Name: "f", Op: Dense, Out: 2}}}
	p := Params{}
	all, err := n.Parameters()
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range all {
		v := make([]float32, q.Len())
		s := q.Shape
		for j := range v {
			switch len(s) {
			case 1:
				v[j] = float32(j)
			case 3: // [y][x][channel]
				v[j] = float32(100*(j%s[2]) + 10*(j/s[2]/s[1]) + j/s[2]%s[1])
			case 4: // [out][y][x][in]
				v[j] = float32(1000*(j/(s[1]*s[2]*s[3])) + 100*(j%s[3]) + 10*(j/s[3]/s[2]%s[1]) + j/s[3]%s[2])
			}
		}
		p[q.Name] = v
	}
	got, err := n.Tensors(p)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]Tensor{
		"c.weight": {Shape: []int{3, 2, 2, 2}, Data: []float32{
			0, 1, 10, 11, 100, 101, 110, 111, 1000, 1001, 1010, 1011, 1100, 1101, 1110, 1111, 2000, 2001, 2010, 2011, 2100, 2101, 2110, 2111}},
		"d.weight": {Shape: []int{3, 1, 2, 2}, Data: []float32{0, 1, 10, 11, 100, 101, 110, 111, 200, 201, 210, 211}},
		// d leaves 2 rows, 1 column, 3 channels
		"f.weight": {Shape: []int{2, 6}, Data: []float32{0, 10, 100, 110, 200, 210, 1000, 1010, 1100, 1110, 1200, 1210}},
		"c.bias":   {Shape: []int{3}, Data: []float32{0, 1, 2}},
	} {
		if diff := cmp.Diff(want, got[name]); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
	back, missing, err := n.assemble(got, -1)
	if err != nil || missing {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p, back); diff != "" {
		t.Errorf("the layout does not come back: %s", diff)
	}
}

func TestHash(t *testing.T) {
	base := small(t).Hash()
	if len(base) != 64 {
		t.Fatalf("hash %q", base)
	}
	for why, change := range map[string]func(*Model){
		"a weight":               func(m *Model) { m.Params["b.bias"][2] += 1e-6 },
		"a class":                func(m *Model) { m.Card.Classes[0] = "adidos" },
		"the order of classes":   func(m *Model) { slices.Reverse(m.Card.Classes) },
		"a transform's number":   func(m *Model) { m.Card.Transforms = bytes.Replace(m.Card.Transforms, []byte("7}"), []byte("8}"), 1) },
		"a layer's activation":   func(m *Model) { m.Network.Layers[0].Act = ReLU6 },
		"the order of the steps": func(m *Model) { m.Card.Transforms = json.RawMessage(`[{"step":"b"},{"step":"a"}]`) },
	} {
		m := small(t)
		change(m)
		if m.Hash() == base {
			t.Errorf("%s changes what the model answers and not its hash", why)
		}
	}
	for why, change := range map[string]func(*Model){
		"the description":      func(m *Model) { m.Card.Description = "other" },
		"the metrics":          func(m *Model) { m.Card.Metrics = nil },
		"spaces in transforms": func(m *Model) { m.Card.Transforms = bytes.ReplaceAll(m.Card.Transforms, []byte(","), []byte(", \n")) },
		"the order of JSON keys": func(m *Model) {
			m.Card.Transforms = bytes.Replace(m.Card.Transforms, []byte(`"step":"resize","short":7`), []byte(`"short":7,"step":"resize"`), 1)
		},
		"other slices, same bits": func(m *Model) { m.Params["a.bias"] = slices.Clone(m.Params["a.bias"]) },
	} {
		m := small(t)
		change(m)
		if m.Hash() != base {
			t.Errorf("%s changes nothing that the model answers, yet its hash", why)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		change func(*Model)
		want   string
	}{
		{func(m *Model) { m.Card.Classes[1] = "adidas" }, `classes 0 and 1 are both named "adidas"`},
		{func(m *Model) { m.Card.Classes = m.Card.Classes[:3] }, "3 classes are named and the network has 4 outputs"},
		{func(m *Model) { m.Card.Classes[2] = "" }, "class 2"},
		{func(m *Model) { m.Card.Classes[2] = "a\nb" }, "class 2"},
		{func(m *Model) { m.Card.Classes[2] = "\xff" }, "class 2"},
		{func(m *Model) { m.Card.Transforms = nil }, "transforms"},
		{func(m *Model) { m.Card.Transforms = json.RawMessage("null") }, "transforms"},
		{func(m *Model) { m.Card.Transforms = json.RawMessage(`{"step":"resize"}`) }, "transforms"},
		{func(m *Model) { delete(m.Params, "b.weight") }, "b.weight is missing"},
		{func(m *Model) { m.Params["b.weight"] = m.Params["b.weight"][1:] }, "b.weight has 19 values; want [2 2 5]"},
		{func(m *Model) { m.Params["c.bias"][3] = float32(math.Inf(-1)) }, "c.bias holds -Inf at 3"},
		{func(m *Model) { m.Params["z"] = nil }, "no parameter z"},
		{func(m *Model) { m.Network.Layers = nil }, "0 layers"},
	} {
		m := small(t)
		c.change(m)
		if err := m.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v; want an error with %q", err, c.want)
		}
		dir := filepath.Join(t.TempDir(), "model")
		if err := m.Save(dir, false); err == nil {
			t.Errorf("a model with %q was saved", c.want)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%q: something was written", c.want)
		}
	}
	m := small(t)
	m.Params["a.bias"][0] = 1e6
	if err := m.Save(t.TempDir(), true); err == nil || !strings.Contains(err.Error(), "a.bias") {
		t.Errorf("%v; want an error that names the parameter too large for float16", err)
	}
}

func TestClass(t *testing.T) {
	c := small(t).Card
	if i, err := c.Class("no-logo"); i != 1 || err != nil {
		t.Errorf("no-logo: %d %v", i, err)
	}
	if _, err := c.Class("addidas"); err == nil || !strings.Contains(err.Error(), `did you mean "adidas"?`) {
		t.Errorf("addidas: %v; want an error that names the nearest", err)
	}
}

// files saves m and gives the folder as a file system in memory, to be damaged.
func files(t *testing.T, m *Model) fstest.MapFS {
	t.Helper()
	dir := t.TempDir()
	if err := m.Save(dir, false); err != nil {
		t.Fatal(err)
	}
	out := fstest.MapFS{}
	for _, name := range []string{cardFile, weightsFile} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = &fstest.MapFile{Data: data}
	}
	return out
}

func TestLoadDamaged(t *testing.T) {
	replace := func(from, to string) func(fstest.MapFS) {
		return func(f fstest.MapFS) {
			if !bytes.Contains(f[cardFile].Data, []byte(from)) {
				panic(from)
			}
			f[cardFile].Data = bytes.Replace(f[cardFile].Data, []byte(from), []byte(to), 1)
		}
	}
	rewrite := func(change func(map[string]Tensor)) func(fstest.MapFS) { // with the card's sum made right again
		return func(f fstest.MapFS) {
			m := small(t)
			tensors, err := m.Network.Tensors(m.Params)
			if err != nil {
				t.Fatal(err)
			}
			change(tensors)
			var b bytes.Buffer
			if err := WriteSafetensors(&b, tensors, false); err != nil {
				t.Fatal(err)
			}
			was := fmt.Sprintf("%x", sha256.Sum256(f[weightsFile].Data))
			f[weightsFile].Data = b.Bytes()
			replace(was, fmt.Sprintf("%x", sha256.Sum256(b.Bytes())))(f)
		}
	}
	for _, c := range []struct {
		why    string
		damage func(fstest.MapFS)
		want   string
	}{
		{"an empty folder", func(f fstest.MapFS) { clear(f) }, "no model.json there"},
		{"no weights", func(f fstest.MapFS) { delete(f, weightsFile) }, "model.safetensors: file does not exist"},
		{"the card cut short", func(f fstest.MapFS) { f[cardFile].Data = f[cardFile].Data[:100] }, "model.json: unexpected end"},
		{"a card of another kind", func(f fstest.MapFS) { f[cardFile].Data = []byte(`{}`) }, "format 0"},
		{"a newer format", replace(`"format": 1`, `"format": 2`), "format 2"},
		{"a huge card", func(f fstest.MapFS) { f[cardFile].Data = bytes.Repeat([]byte(" "), maxCard+1) }, "longer than"},
		{"weights cut short", func(f fstest.MapFS) { f[weightsFile].Data = f[weightsFile].Data[:900] }, "model.safetensors: "},
		{"one bit of a weight", func(f fstest.MapFS) { d := f[weightsFile].Data; d[len(d)-2] ^= 1 }, "SHA-256 differs"},
		{"weights of another model", func(f fstest.MapFS) {
			m := small(t)
			m.Params["c.bias"][0] = 3
			f[weightsFile] = files(t, m)[weightsFile]
		}, "SHA-256 differs"},
		{"a name that leads out of the folder", replace(`"weights_sha256": "`, `"weights_sha256": "/../../`), "SHA-256 differs"},
		{"a class twice", replace(`"adidas"`, `"no-logo"`), "both named"},
		{"fewer classes than outputs", replace(`"adidas",`, ``), "3 classes are named and the network has 4"},
		{"a layer of other size", replace(`"out": 5`, `"out": 6`), `tensor "a.weight" has the shape [5 3 3 3]; the network wants [6 3 3 3]`},
		{"a layer of another name", replace(`"name": "b"`, `"name": "bb"`), `no tensor "bb.weight"`},
		{"a network of endless size", replace(`"out": 5`, `"out": 1048576`), "the network wants [1048576 3 3 3]"},
		{"a tensor more", rewrite(func(t map[string]Tensor) { t["extra"] = Tensor{Shape: []int{1}, Data: []float32{1}} }), `"extra" is no parameter`},
		{"weights that are no numbers", rewrite(func(t map[string]Tensor) { t["b.bias"].Data[1] = float32(math.NaN()) }), `tensor "b.bias" holds NaN at 1`},
	} {
		f := files(t, small(t))
		c.damage(f)
		m, err := LoadFS(f)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want an error with %q", c.why, err, c.want)
		}
		if m != nil {
			t.Errorf("%s: a model beside an error", c.why)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "nowhere")); err == nil || !strings.Contains(err.Error(), "want a folder") {
		t.Errorf("no folder: %v", err)
	}
	path := filepath.Join(t.TempDir(), "file")
	os.WriteFile(path, nil, 0o644)
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "give the folder") {
		t.Errorf("a file for a folder: %v", err)
	}
}

// A crash between Save's renames, or a reader that comes between them.
func TestLoadBetweenRenames(t *testing.T) {
	old, m := files(t, small(t)), small(t)
	m.Params["c.bias"][0] = 3
	now := files(t, m)
	torn := fstest.MapFS{cardFile: now[cardFile], weightsFile: old[weightsFile], pendingFile(m.Card.Weights): now[weightsFile]}
	got, err := LoadFS(torn)
	if err != nil || got.Hash() != m.Hash() {
		t.Errorf("between the renames of a replaced model: %v", err)
	}
	delete(torn, weightsFile)
	if got, err := LoadFS(torn); err != nil || got.Hash() != m.Hash() {
		t.Errorf("between the renames of the first model: %v", err)
	}
	// A reader that has the former card when both files change under it gets the new model at its next look.
	race := &changing{before: fstest.MapFS{cardFile: old[cardFile], weightsFile: now[weightsFile]}, after: now}
	if got, err := LoadFS(race); err != nil || got.Hash() != m.Hash() {
		t.Errorf("while a model was replaced: %v", err)
	}
}

// changing is one file system until its weights have been opened, then another.
type changing struct {
	before, after fstest.MapFS
	seen          bool
}

func (c *changing) Open(name string) (fs.File, error) {
	if c.seen && name == cardFile {
		c.before = c.after
	}
	c.seen = c.seen || name == weightsFile
	return c.before.Open(name)
}

// Whenever a copy is cut off, what is there can be loaded.
func TestPublish(t *testing.T) {
	m, dir := small(t), t.TempDir()
	m.Params["c.bias"][0] = 3
	if err := m.Save(dir, false); err != nil {
		t.Fatal(err)
	}
	old := files(t, small(t))
	former := small(t).Hash()
	cut := errors.New("cut off")
	for steps := range 5 {
		there, done := fstest.MapFS{cardFile: old[cardFile], weightsFile: old[weightsFile]}, 0
		step := func() error {
			if done++; done > steps {
				return cut
			}
			return nil
		}
		err := Publish(dir, func(name string, data []byte) error {
			err := step()
			if err == nil {
				there[name] = &fstest.MapFile{Data: data}
			}
			return err
		}, func(name string) error {
			err := step()
			if err == nil {
				delete(there, name)
			}
			return err
		})
		if steps < 4 && err != cut || steps == 4 && (err != nil || len(there) != 2) {
			t.Errorf("after %d steps: %v, %d files", steps, err, len(there))
		}
		want := m.Hash()
		if steps < 2 { // the new card comes second
			want = former
		}
		if got, err := LoadFS(there); err != nil || got.Hash() != want {
			t.Errorf("after %d steps: %v", steps, err)
		}
	}
	if err := Publish(t.TempDir(), nil, nil); err == nil {
		t.Error("published nothing")
	}
}

func TestSaveReplaces(t *testing.T) {
	dir := t.TempDir()
	m := small(t)
	if err := m.Save(dir, false); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(dir, pendingFile("0123"))
	mine := filepath.Join(dir, "notes.txt")
	for _, path := range []string{stale, mine} {
		if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m.Params["c.bias"][1] = 42
	if err := m.Save(dir, true); err != nil {
		t.Fatal(err)
	}
	got, err := Load(dir)
	if err != nil || got.Params["c.bias"][1] != 42 {
		t.Errorf("the replaced model: %v", err)
	}
	if _, err := os.Stat(stale); err == nil {
		t.Error("weights of a killed run are still there")
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error("somebody else's file is gone")
	}
}
