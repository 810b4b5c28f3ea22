package model

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// write puts tensors into a new safetensors file.
func write(t *testing.T, tensors map[string]Tensor) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "weights.safetensors")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := WriteSafetensors(f, tensors, false); err != nil {
		t.Fatal(err)
	}
	return path
}

// published makes a file's worth of random tensors under the names that a network is imported from, unfolded.
func published(t *testing.T, n Network, seed uint64) map[string]Tensor {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	values := func(size int, low, high float64) []float32 {
		v := make([]float32, size)
		for i := range v {
			v[i] = float32(low + (high-low)*random.Float64())
		}
		return v
	}
	all, err := n.Parameters()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]Tensor{}
	for _, p := range all {
		l := n.Layers[p.Layer]
		if len(p.Shape) > 1 {
			shape, _, _, _ := fileLayout(l.Op, p.Shape)
			out[p.Name] = Tensor{Shape: shape, Data: values(p.Len(), -0.5, 0.5)}
			continue
		}
		if l.Norm == "" {
			out[p.Name] = Tensor{Shape: p.Shape, Data: values(p.Len(), -1, 1)}
			continue
		}
		for part, bounds := range map[string][2]float64{"weight": {0.5, 1.5}, "bias": {-1, 1}, "running_mean": {-1, 1}, "running_var": {0.01, 2}} {
			out[l.Norm+"."+part] = Tensor{Shape: p.Shape, Data: values(p.Len(), bounds[0], bounds[1])}
		}
	}
	return out
}

// naive is a convolution in float64 as PyTorch defines it, over one NCHW image; groups of one channel when depthwise.
func naive(src []float64, in Shape, weight []float32, out, kernel int, depthwise bool) ([]float64, Shape) {
	shape := Shape{in.H - kernel + 1, in.W - kernel + 1, out}
	dst := make([]float64, shape.Size())
	for o := range out {
		for y := range shape.H {
			for x := range shape.W {
				sum := 0.
				for i := range in.C {
					if depthwise && i != o {
						continue
					}
					for ky := range kernel {
						for kx := range kernel {
							w := ((o*in.C+i)*kernel+ky)*kernel + kx
							if depthwise {
								w = (o*kernel+ky)*kernel + kx
							}
							sum += src[(i*in.H+y+ky)*in.W+x+kx] * float64(weight[w])
						}
					}
				}
				dst[(o*shape.H+y)*shape.W+x] = sum
			}
		}
	}
	return dst, shape
}

// Folding changes the weights, not the answers: a convolution and then its batch normalisation, by the formula and in
// float64, against the folded convolution with the folded bias.
func TestFolding(t *testing.T) {
	for _, biased := range []bool{false, true} {
		n := Network{Arch: "t", Input: Shape{7, 6, 3}, Layers: []Layer{
			{Name: "a", Op: Conv, Out: 5, Kernel: 3, Norm: "na", NormEps: 1e-3},
			{Name: "b", Op: Depthwise, Kernel: 2, Norm: "nb", NormEps: 1e-5}}}
		file := published(t, n, 1)
		if biased { // a convolution with a bias of its own and a normalisation after it, which some files have
			file["a.bias"] = Tensor{Shape: []int{5}, Data: []float32{1, -2, 3, -4, 5}}
		}
		file["na.num_batches_tracked"] = Tensor{Shape: []int{1}, Data: []float32{1}}
		p, fresh, err := Import(n, write(t, file), false, 0)
		if err != nil || fresh != nil {
			t.Fatal(err, fresh)
		}
		layout, err := n.Tensors(p)
		if err != nil {
			t.Fatal(err)
		}
		image := make([]float64, n.Input.Size())
		random := rand.New(rand.NewPCG(2, 0))
		for i := range image {
			image[i] = random.NormFloat64()
		}
		plain, folded, shape := image, image, n.Input
		for _, l := range n.Layers {
			out := l.Out
			if l.Op == Depthwise {
				out = shape.C
			}
			var next Shape
			plain, next = naive(plain, shape, file[l.Name+".weight"].Data, out, l.Kernel, l.Op == Depthwise)
			folded, _ = naive(folded, shape, layout[l.Name+".weight"].Data, out, l.Kernel, l.Op == Depthwise)
			for i := range plain {
				c := i / (next.H * next.W)
				if b, ok := file[l.Name+".bias"]; ok {
					plain[i] += float64(b.Data[c])
				}
				part := func(name string) float64 { return float64(file[l.Norm+"."+name].Data[c]) }
				plain[i] = (plain[i]-part("running_mean"))/math.Sqrt(part("running_var")+l.NormEps)*part("weight") + part("bias")
				folded[i] += float64(p[l.Name+".bias"][c])
			}
			shape = next
		}
		for i := range plain {
			if math.Abs(plain[i]-folded[i]) > 1e-5*(1+math.Abs(plain[i])) {
				t.Fatalf("biased %v: output %d is %g unfolded and %g folded", biased, i, plain[i], folded[i])
			}
		}
	}
}

// Every architecture takes a file under its public names, gives its values back when it was folded already, and keeps
// its features when the classes are others.
func TestImportArchitectures(t *testing.T) {
	for _, arch := range Architectures() {
		n, err := New(arch, 10)
		if err != nil {
			t.Fatal(err)
		}
		if arch == "mlp" || arch == "article-cnn" {
			n.Input = Shape{75, 75, 3}
		}
		path := write(t, published(t, n, 3))
		p, fresh, err := Import(n, path, true, 0)
		if err != nil || fresh != nil {
			t.Fatalf("%s: %v, drawn anew: %v", arch, err, fresh)
		}
		if err := n.Check(p); err != nil {
			t.Fatal(err)
		}
		folded, err := n.Tensors(p)
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := Import(n, write(t, folded), false, 0)
		if err != nil {
			t.Fatalf("%s, folded already: %v", arch, err)
		}
		for name := range p {
			if !slices.Equal(p[name], again[name]) {
				t.Errorf("%s, folded already: %s changed", arch, name)
			}
		}

		other, err := New(arch, 4)
		if err != nil {
			t.Fatal(err)
		}
		other.Input = n.Input
		if _, _, err := Import(other, path, false, 0); err == nil || !strings.Contains(err.Error(), "the network wants [4") {
			t.Errorf("%s: weights of 10 classes for 4: %v; want an error with both shapes", arch, err)
		}
		p4, fresh, err := Import(other, path, true, 5)
		if err != nil {
			t.Fatal(err)
		}
		head := other.Layers[other.Head()].Name
		if !slices.Equal(fresh, []string{head + ".weight", head + ".bias"}) {
			t.Errorf("%s: drawn anew: %v", arch, fresh)
		}
		if err := other.Check(p4); err != nil {
			t.Error(err)
		}
		want, err := Init(other, 5)
		if err != nil {
			t.Fatal(err)
		}
		for name := range p4 {
			source := p
			if strings.HasPrefix(name, head+".") {
				source = want
			}
			if !slices.Equal(p4[name], source[name]) {
				t.Errorf("%s with a new head: %s is neither the file's nor drawn from the seed", arch, name)
			}
		}
	}
}

// The names that torchvision and timm give their layers, from the published files.
func TestPublicNames(t *testing.T) {
	for arch, names := range map[string][]string{
		"resnet18": {"conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer1.1.bn2.bias", "layer2.0.downsample.0.weight",
			"layer2.0.downsample.1.running_mean", "layer4.1.conv2.weight", "fc.weight", "fc.bias"},
		"squeezenet": {"features.0.weight", "features.3.squeeze.bias", "features.3.expand1x1.weight", "features.12.expand3x3.weight", "classifier.1.bias"},
		"efficientnet-lite0": {"_conv_stem.weight", "_bn0.weight", "_blocks.0._depthwise_conv.weight", "_blocks.0._project_conv.weight", "_blocks.1._bn0.bias",
			"_blocks.15._expand_conv.weight", "_conv_head.weight", "_bn1.running_var", "_fc.bias"},
	} {
		n, err := New(arch, 3)
		if err != nil {
			t.Fatal(err)
		}
		file := published(t, n, 0)
		for _, name := range names {
			if _, ok := file[name]; !ok {
				t.Errorf("%s is not imported from %s", arch, name)
			}
		}
	}
}

func TestImportTimm(t *testing.T) {
	n := EfficientNetLite0(4)
	file := published(t, n, 9)
	want, _, err := Import(n, write(t, file), false, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := map[string]string{}
	for timm, ours := range timmLite {
		theirs[ours] = timm
	}
	renamed := map[string]Tensor{}
	for name, tensor := range file {
		dot := strings.LastIndexByte(name, '.')
		timm, ok := theirs[name[:dot]]
		if !ok {
			t.Fatalf("%s has no name in timm", name)
		}
		renamed["module."+timm+name[dot:]] = tensor
	}
	for _, name := range []string{"conv_stem.weight", "bn1.running_mean", "blocks.0.0.conv_dw.weight", "blocks.0.0.conv_pw.weight", "blocks.0.0.bn2.bias",
		"blocks.1.0.conv_pw.weight", "blocks.1.1.bn3.weight", "blocks.5.3.conv_pwl.weight", "blocks.6.0.conv_dw.weight", "conv_head.weight", "bn2.weight", "classifier.weight"} {
		if _, ok := renamed["module."+name]; !ok {
			t.Errorf("timm's %s is not known", name)
		}
	}
	got, _, err := Import(n, write(t, renamed), false, 0)
	if err != nil {
		t.Fatal(err)
	}
	for name := range want {
		if !slices.Equal(want[name], got[name]) {
			t.Errorf("%s differs under timm's names", name)
		}
	}
}

func TestImportRefuses(t *testing.T) {
	n := ResNet18(4) // its start and its end, which are quicker to write
	n.Layers = append(n.Layers[:5:5], n.Layers[len(n.Layers)-2:]...)
	change := func(f func(map[string]Tensor)) func(t *testing.T) string {
		return func(t *testing.T) string {
			file := published(t, n, 1)
			f(file)
			return write(t, file)
		}
	}
	bytes := func(name, content string) func(t *testing.T) string {
		return func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
			return path
		}
	}
	for _, c := range []struct {
		why  string
		path func(t *testing.T) string
		want []string
	}{
		{"a tensor is missing", change(func(f map[string]Tensor) { delete(f, "layer1.0.conv1.weight") }),
			[]string{`no tensor "layer1.0.conv1.weight"`, "resnet18 needs", "it expects", "conv1.weight, bn1.weight", "the file has"}},
		{"a statistic is missing", change(func(f map[string]Tensor) { delete(f, "bn1.running_var") }), []string{`no tensor "bn1.running_var"`}},
		{"neither normalisation nor bias", change(func(f map[string]Tensor) {
			for _, part := range []string{"weight", "bias", "running_mean", "running_var"} {
				delete(f, "bn1."+part)
			}
		}), []string{`no tensor "bn1.weight"`}},
		{"another network's names", change(func(f map[string]Tensor) {
			clear(f)
			f["features.0.weight"] = Tensor{Shape: []int{1}, Data: []float32{0}}
		}),
			[]string{`no tensor "conv1.weight"`, "the file has features.0.weight"}},
		{"an empty file of tensors", change(func(f map[string]Tensor) { clear(f) }), []string{"the file has none"}},
		{"another shape", change(func(f map[string]Tensor) { f["conv1.weight"] = Tensor{Shape: []int{2, 1}, Data: []float32{0, 0}} }),
			[]string{`"conv1.weight" has the shape [2 1]; the network wants [64 3 7 7]`}},
		{"a single value for a vector", change(func(f map[string]Tensor) { f["fc.bias"] = Tensor{Data: []float32{0}} }), []string{`"fc.bias" has the shape []; the network wants [4]`}},
		{"finite numbers that are not when multiplied", change(func(f map[string]Tensor) { f["bn1.weight"].Data[5], f["conv1.weight"].Data[5*3*7*7] = 3e38, 3e38 }),
			[]string{`"bn1.weight" holds numbers too large to be folded into "conv1.weight": they give +Inf`}},
		{"a negative variance", change(func(f map[string]Tensor) { f["bn1.running_var"].Data[5] = -1 }), []string{"bn1.running_var", "variance -1 at 5"}},
		{"not a number", change(func(f map[string]Tensor) { f["conv1.weight"].Data[7] = float32(math.NaN()) }), []string{"conv1.weight", "NaN at 7"}},
		{"one name twice", change(func(f map[string]Tensor) { f["module.conv1.weight"] = f["conv1.weight"] }), []string{"two tensors"}},
		{"a zip archive of torch.save", bytes("resnet.pth", "PK\x03\x04 and so on, more than eight bytes"), []string{"pickle", "save_file"}},
		{"a bare pickle", bytes("resnet.pt", "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20"), []string{"pickle", "save_file"}},
		{"an empty file", bytes("w.safetensors", ""), []string{"too few"}},
		{"a text", bytes("w.safetensors", "version https://git-lfs.github.com/spec/v1"), []string{"not a safetensors file"}},
		{"a folder", func(t *testing.T) string { return t.TempDir() }, []string{"a folder", "/model.safetensors"}},
		{"nothing there", func(t *testing.T) string { return filepath.Join(t.TempDir(), "w.safetensors") }, []string{"no such file"}},
		{"no file at all", func(t *testing.T) string { return os.DevNull }, []string{"not a regular file"}},
	} {
		path := c.path(t)
		p, _, err := Import(n, path, false, 0)
		for _, want := range append(c.want, path) {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; want an error with %q", c.why, err, want)
			}
		}
		if p != nil {
			t.Errorf("%s: parameters beside an error", c.why)
		}
	}
	// Only the head may be drawn anew.
	file := published(t, n, 1)
	delete(file, "fc.weight")
	delete(file, "fc.bias")
	if _, fresh, err := Import(n, write(t, file), true, 1); err != nil || fmt.Sprint(fresh) != "[fc.weight fc.bias]" {
		t.Errorf("features without a head: %v, drawn anew %v", err, fresh)
	}
	delete(file, "layer1.0.conv2.weight")
	if _, _, err := Import(n, write(t, file), true, 1); err == nil || !strings.Contains(err.Error(), "layer1.0.conv2.weight") {
		t.Errorf("features without their last convolution: %v", err)
	}
}

// A tensor of integers under the name of a parameter.
func TestImportIntegers(t *testing.T) {
	n := Network{Arch: "t", Input: Shape{1, 1, 1}, Layers: []Layer{{Name: "f", Op: Dense, Out: 2}}}
	path := filepath.Join(t.TempDir(), "w.safetensors")
	file := encoded(`{"f.bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"f.weight":{"dtype":"I64","shape":[2,1],"data_offsets":[8,24]}}`, 24)
	if err := os.WriteFile(path, file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Import(n, path, false, 0); err == nil || !strings.Contains(err.Error(), "stored as I64") {
		t.Errorf("%v; want an error that names the type", err)
	}
}
