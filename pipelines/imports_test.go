package pipelines

import (
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/logobeam/logobeam/"

// The packages from the top down: each may import those below its own line, and none of its own line or above.
var layers = [][]string{
	{"cmd/logobeam", "cmd/bench"},
	{"pipelines"},
	{"pipelines/corpus", "pipelines/serve"},
	{"pipelines/corpus/composite"},
	{"pipelines/report", "pipelines/scores", "pipelines/fetch", "pipelines/fetch/hostile", "pipelines/listing", "pipelines/classifier", "pipelines/monitor"},
	{"pipelines/store", "pipelines/store/storetest"},
	{"transforms"},
	{"model/device/cuda"},
	{"model/device"},
	{"model/train"},
	{"model/infer"},
	{"model/metrics", "model/builtin", "model/onnx"},
	{"model"},
	{"pipelines/user", "model/device/ptx", "model/kernel", "model/nearest", "model/onnx/internal/onnxpb", "transforms/jpeg", "transforms/svg"},
}

// Who alone may import what is named by a prefix of its path.
var reserved = []struct {
	prefix string
	only   []string
	reason string
}{
	{"github.com/apache/beam", []string{"pipelines"}, "only pipelines/*.go know Beam"},
	{"gorgonia.org/gorgonia", []string{"model/train"}, "only training differentiates graphs"},
	{"gorgonia.org/tensor", []string{"model/train"}, "activations are slices everywhere else"},
	{"github.com/parquet-go", []string{"pipelines/scores", "pipelines/listing"}, "Parquet is a format of listings and of output"},
	{"github.com/spf13", []string{"cmd/logobeam"}, "only commands read flags"},
	{"gorgonia.org/cu", []string{"model/device/cuda"}, "one package drives accelerators"},
	{"flag", []string{"cmd/logobeam", "cmd/bench"}, "only commands read flags"},
	{"gonum.org/v1/plot", []string{"pipelines/report"}, "report draws what people look at"},
	{"github.com/vbauerster/mpb", []string{"cmd/logobeam"}, "only commands talk to people"},
	{"gonum.org/v1/plot", []string{"pipelines/report"}, "what people look at is drawn in report"},
	{"github.com/prometheus", []string{"pipelines/monitor"}, "what is shown of a run is gathered in monitor"},
	{"cloud.google.com", []string{"pipelines/store"}, "only the store knows where files lie"},
	{"github.com/fsouza", []string{"pipelines/store/storetest"}, "only tests serve a bucket"},
	{module + "pipelines/store/storetest", nil, "only tests serve a bucket"},
	{module + "pipelines/fetch/hostile", nil, "only tests serve what harms"},
	{"net/http", []string{"pipelines/fetch", "pipelines/fetch/hostile", "pipelines/store", "pipelines/store/storetest", "pipelines/monitor", "pipelines/serve", "pipelines"},
		"every connection for images goes through the guard of fetch"},
}

// kernelOnly is all that the kernels may import: they know nothing but slices.
var kernelOnly = []string{"fmt", "math", "math/bits", "os", "runtime", "unsafe", "golang.org/x/sys/cpu"}

// imported is an import of a file that is no test.
type imported struct {
	pkg, path, file string
	gpu             bool // the file is built with the tag gpu alone
}

func imports(t *testing.T) []imported {
	t.Helper()
	root := ".."
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal("this package has moved: ", err)
	}
	var all []imported
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && file != root && (name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		gpu := false
		for _, group := range f.Comments {
			for _, c := range group.List {
				if expr, err := constraint.Parse(c.Text); err == nil && c.Pos() < f.Package {
					gpu = gpu || !expr.Eval(func(tag string) bool { return tag != "gpu" })
				}
			}
		}
		pkg, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			all = append(all, imported{filepath.ToSlash(pkg), p, file, gpu})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func layerOf(pkg string) int {
	return slices.IndexFunc(layers, func(l []string) bool { return slices.Contains(l, pkg) })
}

// forbidden says why a package may not have an import, or nothing.
func forbidden(i imported) string {
	if inner, ours := strings.CutPrefix(i.path, module); ours {
		from, to := layerOf(i.pkg), layerOf(inner)
		switch {
		case to < 0:
			return "it is in no layer: give it one in this test"
		case to <= from:
			return "imports point down the list of layers alone"
		}
	}
	for _, r := range reserved {
		if (i.path == r.prefix || strings.HasPrefix(i.path, r.prefix+"/")) && !slices.Contains(r.only, i.pkg) {
			return r.reason
		}
	}
	if (i.path == "gorgonia.org/cu" || strings.HasPrefix(i.path, "gorgonia.org/cu/")) && !i.gpu {
		return "CUDA is there with the tag gpu alone"
	}
	if i.path == "C" {
		return "the program is pure Go"
	}
	if i.pkg == "model/kernel" && !slices.Contains(kernelOnly, i.path) {
		return "kernels know nothing but slices"
	}
	return ""
}

func TestImports(t *testing.T) {
	seen := map[string]bool{}
	for _, i := range imports(t) {
		seen[i.pkg] = true
		if layerOf(i.pkg) < 0 {
			t.Errorf("%s: %s is in no layer: give it one in this test", i.file, i.pkg)
		}
		if why := forbidden(i); why != "" {
			t.Errorf("%s imports %s: %s", i.file, i.path, why)
		}
	}
	for _, l := range layers {
		for _, pkg := range l {
			if !seen[pkg] {
				t.Errorf("there is no package %s any more: take it from the layers", pkg)
			}
		}
	}
}

// What the rule is for, it catches.
func TestForbidden(t *testing.T) {
	for _, tt := range []struct {
		pkg, path string
		gpu, want bool
	}{
		{"pipelines", module + "model", false, false},
		{"cmd/logobeam", module + "pipelines/report", false, false},
		{"model", module + "model/infer", false, true},
		{"transforms", module + "pipelines/fetch", false, true},
		{"pipelines/fetch", module + "pipelines/listing", false, true},
		{"pipelines/scores", module + "pipelines", false, true},
		{"model/infer", module + "somewhere", false, true},
		{"pipelines", "github.com/apache/beam/sdks/v2/go/pkg/beam", false, false},
		{"pipelines/corpus", "github.com/apache/beam/sdks/v2/go/pkg/beam", false, true},
		{"cmd/logobeam", "github.com/apache/beam/sdks/v2/go/pkg/beam", false, true},
		{"model/infer", "gorgonia.org/tensor", false, true},
		{"pipelines", module + "pipelines/store", false, false},
		{"pipelines/store", module + "transforms", false, false},
		{"pipelines/listing", "cloud.google.com/go/storage", false, true},
		{"pipelines/scores", module + "pipelines/store/storetest", false, true},
		{"model/train", "gorgonia.org/cu", false, true},
		{"model/train", "gorgonia.org/cu", true, true},
		{"model/device/cuda", "gorgonia.org/cu", false, true},
		{"model/device/cuda", "gorgonia.org/cu", true, false},
		{"model/kernel", "io", false, true},
		{"model", "C", false, true},
	} {
		why := forbidden(imported{pkg: tt.pkg, path: tt.path, file: path.Join(tt.pkg, "x.go"), gpu: tt.gpu})
		if (why != "") != tt.want {
			t.Errorf("%s imports %s (gpu %v): %q; want it forbidden: %v", tt.pkg, tt.path, tt.gpu, why, tt.want)
		}
	}
}
