package model

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
)

// Import reads the parameters of n from a safetensors file with PyTorch's names and layouts: conv [out][in][y][x],
// depthwise [channels][1][y][x], dense [out][inputs] with inputs in the order channel, y, x. Where the file holds the
// batch normalisation that a layer names (weight, bias, running_mean, running_var), it is folded into the layer; where
// it does not, the layer's own bias must be there. Tensors that n has no use for are ignored.
//
// With newHead the head, the last layer with parameters, is drawn anew from seed when the file lacks it or has it in
// another shape, as for weights of other classes; fresh then names the parameters drawn.
//
// The names are torchvision's for resnet18 and squeezenet (squeezenet1_0). For efficientnet-lite0 they are those of the
// efficientnet-lite0-pytorch package, or timm's for tf_efficientnet_lite0; timm's own efficientnet_lite0 has the same
// names, but was trained with another padding, epsilon and normalisation, and so needs fine-tuning. A leading "module."
// is dropped.
func Import(n Network, path string, newHead bool, seed uint64) (p Params, fresh []string, err error) {
	tensors, err := readWeights(path)
	if err != nil {
		return nil, nil, err
	}
	renamed := make(map[string]Tensor, len(tensors))
	for name, t := range tensors {
		name = strings.TrimPrefix(name, "module.")
		if n.Arch == "efficientnet-lite0" {
			if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
				if ours, ok := timmLite[name[:dot]]; ok {
					name = ours + name[dot:]
				}
			}
		}
		if _, dup := renamed[name]; dup {
			return nil, nil, fmt.Errorf("weights %s: two tensors are both %q once their names are made ours", path, name)
		}
		renamed[name] = t
	}
	head := -1
	if newHead {
		head = n.Head()
	}
	p, missing, err := n.assemble(renamed, head)
	if err != nil {
		return nil, nil, fmt.Errorf("weights %s: %w", path, err)
	}
	if missing {
		if err := initLayer(n, head, seed, p); err != nil {
			return nil, nil, err
		}
		l := n.Layers[head]
		fresh = []string{l.Name + ".weight", l.Name + ".bias"}
	}
	return p, fresh, nil
}

func readWeights(path string) (map[string]Tensor, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	if info.IsDir() {
		return nil, fmt.Errorf("weights %s: a folder; give the safetensors file in it, as %s/%s", path, strings.TrimRight(path, "/"), weightsFile)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("weights %s: not a regular file", path)
	}
	r := bufio.NewReader(f)
	start, _ := r.Peek(4)
	tensors, err := ReadSafetensors(r, info.Size())
	if errors.Is(err, errNotSafetensors) {
		// torch.save writes zip archives, and wrote bare pickles before version 1.6.
		if s := string(start); strings.HasPrefix(s, "PK\x03\x04") || strings.HasPrefix(s, "\x80\x02") {
			return nil, fmt.Errorf(`weights %s: a PyTorch pickle, which could run any code when read; convert it once in Python: `+
				`import torch, safetensors.torch as s; s.save_file(torch.load("model.pth", map_location="cpu", weights_only=True), "model.safetensors")`, path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("weights %s: %w", path, err)
	}
	return tensors, nil
}

// FromTensors is the way back from Tensors: the parameters of n, batch normalisations that its layers name folded in.
func (n Network) FromTensors(tensors map[string]Tensor) (Params, error) {
	p, _, err := n.assemble(tensors, -1)
	return p, err
}

// assemble turns the tensors of a file into the parameters of n. The layer with index optional may be missing or have other
// shapes, which is told and leaves it out; -1 makes none optional.
func (n Network) assemble(tensors map[string]Tensor, optional int) (params Params, missing bool, err error) {
	all, err := n.Parameters()
	if err != nil {
		return nil, false, err
	}
	params = make(Params, len(all))
	for i := 0; i < len(all); i += 2 { // weight and bias of a layer follow each other
		l := n.Layers[all[i].Layer]
		weight, bias, err := layerParams(l, all[i], all[i+1], tensors)
		var misfit *misfitError
		if errors.As(err, &misfit) {
			if all[i].Layer == optional {
				missing = true
				continue
			}
			if misfit.got == nil {
				return nil, false, fmt.Errorf("no tensor %q, which %s needs; it expects %s; the file has %s",
					misfit.name, n.Arch, n.expected(), some(slices.Sorted(maps.Keys(tensors))))
			}
		}
		if err != nil {
			return nil, false, err
		}
		params[all[i].Name], params[all[i+1].Name] = weight, bias
	}
	return params, missing, nil
}

// misfitError says that a file lacks a tensor, or has it in another shape.
type misfitError struct {
	name      string
	got, want []int // got is nil for a tensor that is not there
}

func (e *misfitError) Error() string {
	if e.got == nil {
		return fmt.Sprintf("no tensor %q", e.name)
	}
	return fmt.Sprintf("tensor %q has the shape %v; the network wants %v", e.name, e.got, e.want)
}

// layerParams takes one layer's weight and bias out of tensors, in the layout of memory and with its normalisation
// folded in.
func layerParams(l Layer, w, b Param, tensors map[string]Tensor) (weight, bias []float32, err error) {
	take := func(name string, shape []int) ([]float32, error) {
		t, ok := tensors[name]
		if !ok {
			return nil, &misfitError{name: name, want: shape}
		}
		if !slices.Equal(t.Shape, shape) {
			return nil, &misfitError{name, append([]int{}, t.Shape...), shape}
		}
		if t.Data == nil {
			return nil, fmt.Errorf("tensor %q is stored as %s; want F32, F16 or BF16", name, t.Type)
		}
		if i, ok := finite(t.Data); !ok {
			return nil, fmt.Errorf("tensor %q holds %g at %d; its training has diverged or the file is damaged", name, t.Data[i], i)
		}
		return t.Data, nil
	}
	shape, groups, rows, cols := fileLayout(l.Op, w.Shape)
	raw, err := take(w.Name, shape)
	if err != nil {
		return nil, nil, err
	}
	weight = transpose(raw, groups, cols, rows)
	channels := b.Shape

	_, biased := tensors[b.Name]
	_, normed := tensors[l.Norm+".weight"]
	if l.Norm == "" || biased && !normed {
		bias, err = take(b.Name, channels)
		return weight, bias, err
	}
	var norm [4][]float32
	for i, part := range []string{".weight", ".bias", ".running_mean", ".running_var"} {
		if norm[i], err = take(l.Norm+part, channels); err != nil {
			return nil, nil, err
		}
	}
	bias = make([]float32, channels[0])
	if biased {
		raw, err := take(b.Name, channels)
		if err != nil {
			return nil, nil, err
		}
		copy(bias, raw)
	}
	scale := make([]float64, channels[0])
	for c := range scale {
		deviation := math.Sqrt(float64(norm[3][c]) + l.NormEps)
		if !(deviation > 0) {
			return nil, nil, fmt.Errorf("tensor %q holds the variance %g at %d", l.Norm+".running_var", norm[3][c], c)
		}
		scale[c] = float64(norm[0][c]) / deviation
		bias[c] = float32((float64(bias[c])-float64(norm[2][c]))*scale[c] + float64(norm[1][c]))
	}
	folded := make([]float32, len(weight)) // transpose may have given the file's own values
	inner := len(weight) / channels[0]
	for i, v := range weight {
		c := i / inner
		if l.Op == Depthwise { // the channel is its last axis
			c = i % channels[0]
		}
		folded[i] = float32(float64(v) * scale[c])
	}
	for _, values := range [][]float32{folded, bias} {
		if i, ok := finite(values); !ok {
			return nil, nil, fmt.Errorf("tensor %q holds numbers too large to be folded into %q: they give %g", l.Norm+".weight", w.Name, values[i])
		}
	}
	return folded, bias, nil
}

// Tensors gives params with PyTorch's layouts, which Import describes, as model.safetensors keeps them.
func (n Network) Tensors(params Params) (map[string]Tensor, error) {
	all, err := n.Parameters()
	if err != nil {
		return nil, err
	}
	out := make(map[string]Tensor, len(all))
	for _, p := range all {
		if len(p.Shape) == 1 {
			out[p.Name] = Tensor{Shape: p.Shape, Data: params[p.Name]}
			continue
		}
		shape, groups, rows, cols := fileLayout(n.Layers[p.Layer].Op, p.Shape)
		out[p.Name] = Tensor{Shape: shape, Data: transpose(params[p.Name], groups, rows, cols)}
	}
	return out, nil
}

// fileLayout is the shape that a weight has in a file, and the transposition that leads there from memory: groups
// matrices of rows (pixels) by cols (channels).
func fileLayout(op Op, memory []int) (shape []int, groups, rows, cols int) {
	if op == Depthwise {
		k, c := memory[0], memory[2]
		return []int{c, 1, k, k}, 1, k * k, c
	}
	out, h, w, in := memory[0], memory[1], memory[2], memory[3]
	if op == Dense {
		return []int{out, in * h * w}, out, h * w, in
	}
	return []int{out, in, h, w}, out, h * w, in
}

// transpose turns each of groups matrices of rows by cols. It gives src itself when that changes nothing.
func transpose(src []float32, groups, rows, cols int) []float32 {
	if rows == 1 || cols == 1 {
		return src
	}
	dst := make([]float32, len(src))
	for g := range groups {
		from, to := src[g*rows*cols:][:rows*cols], dst[g*rows*cols:][:rows*cols]
		for r := range rows {
			for c := range cols {
				to[c*rows+r] = from[r*cols+c]
			}
		}
	}
	return dst
}

// expected describes the tensor names that n is imported from.
func (n Network) expected() string {
	var names []string
	for _, l := range n.Layers {
		switch l.Op {
		case Conv, Depthwise, Dense:
		default:
			continue
		}
		names = append(names, l.Name+".weight")
		if l.Norm == "" {
			names = append(names, l.Name+".bias")
			continue
		}
		for _, part := range []string{"weight", "bias", "running_mean", "running_var"} {
			names = append(names, l.Norm+"."+part)
		}
	}
	return some(names)
}

// some shows the first and the last of many names.
func some(names []string) string {
	switch n := len(names); {
	case n == 0:
		return "none"
	case n > 8:
		return fmt.Sprintf("%d tensors: %s, ..., %s", n, strings.Join(names[:6], ", "), names[n-1])
	default:
		return strings.Join(names, ", ")
	}
}
