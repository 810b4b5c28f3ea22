package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var someFlags = []string{"arch", "augment", "epochs", "freeze", "init", "lr", "source"}

func TestParseGrid(t *testing.T) {
	for _, tt := range []struct {
		why, text string
		want      []string // name, folder and flags of each run
	}{
		{"nothing said is one run of train's defaults", `{}`, []string{"base | base |"}},
		{"flags by their names, in their order", `{"train": {"lr": 1e-3, "arch": "mlp", "freeze": true}}`,
			[]string{"base | base | --arch=mlp --freeze=true --lr=1e-3"}},
		{"all combinations, the last name changing fastest", `{"vary": {"lr": [0.1, 1], "arch": ["mlp", "a b"]}}`, []string{
			"lr 0.1, arch mlp | lr-0.1-arch-mlp | --arch=mlp --lr=0.1", "lr 0.1, arch a b | lr-0.1-arch-a-b | --arch=a b --lr=0.1",
			"lr 1, arch mlp | lr-1-arch-mlp | --arch=mlp --lr=1", "lr 1, arch a b | lr-1-arch-a-b | --arch=a b --lr=1"}},
		{"a list over the base, whose values it replaces", `{"train": {"lr": 1, "epochs": 3}, "runs": [{"name": "Größer", "lr": -2}, {"epochs": 4}, {"name": "as it is"}]}`,
			[]string{"Größer | Größer | --epochs=3 --lr=-2", "epochs 4 | epochs-4 | --epochs=4 --lr=1", "as it is | as-it-is | --epochs=3 --lr=1"}},
		{"both", `{"vary": {"lr": [1]}, "runs": [{"name": "b"}]}`, []string{"lr 1 | lr-1 | --lr=1", "b | b |"}},
		{"a list is a flag that comes again", `{"train": {"source": ["x", "y"]}, "vary": {"source": [["z"]]}, "runs": [{"name": "b"}]}`,
			[]string{"source z | source-z | --source=z", "b | b | --source=x --source=y"}},
		{"a name that is a path stays inside", `{"runs": [{"name": "../../x"}, {"name": ".hidden"}]}`, []string{"../../x | x |", ".hidden | hidden |"}},
		{"data of a run's own is no flag", `{"data": "a", "runs": [{"name": "other", "data": "b"}]}`, []string{"other | other | in b"}},
	} {
		g, err := parseGrid([]byte(tt.text), someFlags)
		if err != nil {
			t.Errorf("%s: %v", tt.why, err)
			continue
		}
		var got []string
		for _, r := range g.runs {
			flags := strings.Join(r.flags, " ")
			if r.data != "" {
				flags += "in " + r.data
			}
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s | %s | %s", r.name, r.folder, flags)))
		}
		if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
			t.Errorf("%s:\n got %q\nwant %q", tt.why, got, tt.want)
		}
		if g.baseline != g.runs[0].name || len(g.seeds) != 1 || g.seeds[0] != 1 {
			t.Errorf("%s: baseline %q, seeds %d: want the first run, and seed 1", tt.why, g.baseline, g.seeds)
		}
	}
}

func TestParseGridRefuses(t *testing.T) {
	for _, tt := range []struct{ why, text, want string }{
		{"no JSON", `name: x`, "want a JSON object"},
		{"cut short", `{"seeds": [1`, "unexpected EOF"},
		{"more than one value", `{} {}`, "follows after"},
		{"another value", `[1]`, `found "[1]"`},
		{"a key misspelt", `{"seed": [1]}`, `no key "seed"; did you mean "seeds"?`},
		{"a flag misspelt", `{"train": {"epoch": 3}}`, `"train": train has no flag "epoch" that an experiment may set; did you mean "epochs"?`},
		{"a flag misspelt in a grid", `{"vary": {"ach": ["mlp"]}}`, `did you mean "arch"?`},
		{"a name misspelt in a run", `{"runs": [{"nam": "x"}]}`, `run 1: train has no flag "nam" that an experiment may set; did you mean "name"?`},
		{"a flag that the experiment sets", `{"train": {"out": "x"}}`, `no flag "out"`},
		{"a key twice", `{"seeds": [1], "seeds": [2]}`, `"seeds" is there twice`},
		{"a flag twice", `{"train": {"lr": 1, "lr": 2}}`, `"lr" is there twice`},
		{"a seed twice", `{"seeds": [1, 2, 1]}`, "has 1 twice"},
		{"no seed", `{"seeds": []}`, "want at least one"},
		{"a seed below 0", `{"seeds": [-1]}`, `"seeds" wants a list of whole numbers`},
		{"no value", `{"train": {"lr": null}}`, "found null"},
		{"null for a setting", `{"test": null}`, `"test" wants true or false: found null`},
		{"an object for a value", `{"train": {"lr": {"x": 1}}}`, `"lr" wants a text, a number, true or false`},
		{"one value to vary", `{"vary": {"lr": 0.1}}`, `"lr" wants a list of values`},
		{"nothing to vary", `{"vary": {"lr": []}}`, `"lr" wants a list of values`},
		{"two runs of one name", `{"runs": [{"name": "a"}, {"name": "a"}]}`, `two runs are named "a"`},
		{"two runs of one value", `{"vary": {"lr": [1, 1]}}`, `two runs are named "lr 1"`},
		{"two runs of one folder", `{"runs": [{"name": "a b"}, {"name": "A-B"}]}`, "would have the same folder"},
		{"no letters", `{"runs": [{"name": "../.."}]}`, "folder"},
		{"a name that is not a name", `{"runs": [{"name": 3}]}`, `"name" wants text`},
		{"data that is no path", `{"runs": [{"data": 3}]}`, `"data" wants text`},
		{"a name that cannot be printed", `{"runs": [{"name": "a\tb"}]}`, "can be printed"},
		{"a name that is too long", `{"runs": [{"name": "` + strings.Repeat("x", 101) + `"}]}`, "1 to 100 letters"},
		{"a baseline that is no run", `{"runs": [{"name": "before"}, {"name": "x"}], "baseline": "befor"}`, `no run is named "befor"; did you mean "before"?`},
		{"too many", `{"seeds": [` + strings.Repeat("1,", 10_000) + `1]}`, "twice"},
		{"too many combinations", `{"vary": {` + strings.TrimSuffix(strings.Repeat(`"FLAG": [1,2,3,4,5,6,7,8,9,10],`, 5), ",") + `}}`, "more than 10000 runs"},
		{"too large", strings.Repeat(" ", maxGridBytes+1), "the limit is"},
	} {
		for i := range 5 {
			tt.text = strings.Replace(tt.text, "FLAG", someFlags[i], 1)
		}
		if _, err := parseGrid([]byte(tt.text), someFlags); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.why, err, tt.want)
		}
	}
}

// Whatever is read has at least one run, all runs of other names and folders that are names and no paths.
func FuzzParseGrid(f *testing.F) {
	f.Add([]byte(`{"data": "d", "train": {"arch": "mlp"}, "seeds": [1, 2], "vary": {"lr": [0.1, 1]}, "runs": [{"name": "x/y", "freeze": true}], "test": true}`))
	f.Add([]byte(`{"runs": [{"source": ["a", "b"]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := parseGrid(data, someFlags)
		if err != nil {
			return
		}
		folders := map[string]bool{}
		for _, r := range g.runs {
			if r.name == "" || folders[r.folder] || !filepath.IsLocal(r.folder) || filepath.Base(r.folder) != r.folder {
				t.Errorf("%q: run %q in folder %q", data, r.name, r.folder)
			}
			folders[r.folder] = true
			for _, a := range r.flags {
				if !strings.HasPrefix(a, "--") || !strings.Contains(a, "=") {
					t.Errorf("%q: %q is no flag with a value", data, a)
				}
			}
		}
		if len(g.runs) == 0 || len(g.seeds) == 0 {
			t.Errorf("%q: nothing to run", data)
		}
	})
}

// Files are looked for beside the grid; what is not there is a name, or train's to miss.
func TestGridPaths(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "steps.json"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r := gridRun{flags: []string{"--augment=steps.json", "--init=builtin", "--lr=1", "--transforms=absent.json"}}
	want := []string{"--augment=" + filepath.Join(dir, "steps.json"), "--init=builtin", "--lr=1", "--transforms=absent.json"}
	if got := r.arguments(dir); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%q, want %q", got, want)
	}
}

// The experiments that come with the program are such as it runs.
func TestGridsOfTestdata(t *testing.T) {
	files, err := filepath.Glob("../../testdata/experiments/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no experiments: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseGrid(text, settable()); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}
