package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/infer"
	"github.com/logobeam/logobeam/model/onnx"
	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/transforms"
)

// importFlags are the settings of import.
type importFlags struct {
	out, classes    string
	transforms      string
	mean, std       []float64
	size            int
	half, overwrite bool
	description     string
	sources         []string
}

func newImport() *cobra.Command {
	mean, std := model.Normalisation("")
	o := importFlags{mean: mean[:], std: std[:]}
	cmd := &cobra.Command{
		Use:   "import MODEL.onnx --classes FILE --out DIR",
		Short: "make a model of a network in an ONNX file, as PyTorch exports it",
		Long: `import makes a model of a network that was trained elsewhere, as an image classifier
of torchvision or timm, exported as ONNX with its weights in the same file. From
then on it is a model like any other: score, classify, evaluate, calibrate and
quantize take it, and train --init DIR goes on with it.

The network takes float images [n][3][height][width] (or [n][height][width][3]) and
gives logits, or probabilities by a softmax. --classes names them, one a line. How
photographs become the input, ONNX does not say: unless --transforms, --mean and
--std do, it is as torchvision evaluates its ImageNet networks. A file that logobeam
export wrote says all of that itself.

Supported operators:
` + wrapped(onnx.Operators()),
		Example: `  logobeam import resnet18.onnx --classes labels.txt --out resnet18`,
		Args:    exactly("MODEL.onnx"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.out == "":
				return usagef("--out is missing: name the folder to write the model to")
			case o.size < 0:
				return usagef("--size is %d: want at least 1", o.size)
			case len(o.mean) != 3 || len(o.std) != 3:
				return usagef("--mean %v --std %v: want three numbers each, of red, green and blue", o.mean, o.std)
			}
			if o.transforms != "crop" && o.transforms != "squash" && (cmd.Flags().Changed("mean") || cmd.Flags().Changed("std")) {
				return usagef("--mean and --std belong to --transforms crop and squash: %s has its own", o.transforms)
			}
			asked := cmd.Flags().Changed("transforms") || cmd.Flags().Changed("mean") || cmd.Flags().Changed("std")
			return o.run(cmd.Context(), cmd.OutOrStdout(), args[0], asked)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.classes, "classes", "", "text `file` with the names of the network's outputs, one a line, in their order (default those that logobeam export wrote)")
	f.StringVar(&o.out, "out", "", "folder to write the model to, or gs://bucket/prefix")
	f.StringVar(&o.transforms, "transforms", "crop", "from photograph to input, `crop|squash|FILE`: the short side, then the centre; all of the picture; or a JSON file with a list")
	f.Float64SliceVar(&o.mean, "mean", o.mean, "what is taken from red, green and blue, 0 to 255")
	f.Float64SliceVar(&o.std, "std", o.std, "what they are divided by then")
	f.IntVar(&o.size, "size", 0, "height and width of the network's input in `pixels`, if the file leaves them open")
	f.BoolVar(&o.half, "half", false, "keep the weights in float16")
	f.BoolVar(&o.overwrite, "overwrite", false, "replace a model in --out")
	f.StringVar(&o.description, "description", "", "what to say of the model in its card")
	f.StringArrayVar(&o.sources, "source", nil, "photographs or weights to name in the card, with their licence; may be repeated")
	return cmd
}

// wrapped is a list of names in lines of a help text.
func wrapped(names []string) string {
	var lines []string
	line := " "
	for _, n := range names {
		if len(line)+len(n) > 80 {
			lines, line = append(lines, line), " "
		}
		line += " " + n
	}
	return strings.Join(append(lines, line), "\n")
}

// maxONNX is the largest file that the format allows.
const maxONNX = math.MaxInt32

// run imports a file. asked says that the command line has transforms of its own.
func (o *importFlags) run(ctx context.Context, stdout io.Writer, path string, asked bool) error {
	if err := checkModelOut(ctx, o.out, o.overwrite); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > maxONNX {
		return fmt.Errorf("%s: want a file of at most 2 GiB", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	im, err := onnx.Import(data, o.size)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	m := model.Model{Network: im.Network, Params: im.Params, Card: model.Card{
		Classes: im.Classes, Transforms: im.Transforms, Description: o.description, Program: "logobeam " + version(),
		Sources: append(o.sources, fmt.Sprintf("%s, sha256 %x, by %s", filepath.Base(path), sha256.Sum256(data), im.Producer)),
	}}
	if o.classes != "" {
		if m.Card.Classes, err = readClasses(o.classes); err != nil {
			return err
		}
	}
	if m.Card.Classes == nil {
		return usagef("--classes is missing: %s does not name its %d outputs; give a file that does, one a line", path, im.Network.Classes())
	}
	if got, want := len(m.Card.Classes), im.Network.Classes(); got != want {
		return fmt.Errorf("%s names %d classes, and %s has %d outputs", o.classes, got, path, want)
	}
	if asked || m.Card.Transforms == nil {
		list, err := o.list(im.Network.Input)
		if err != nil {
			return err
		}
		if m.Card.Transforms, err = json.Marshal(list); err != nil {
			return err
		}
	}
	if _, err := classifier.Transforms(&m); err != nil {
		return err
	}
	if _, err := infer.Compile(m.Network, m.Params); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := classifier.Save(ctx, &m, o.out, o.half); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s: %s of %s are %s, %v to %d classes\n", o.out, count(int64(im.Nodes), "node"), filepath.Base(path),
		count(int64(len(m.Network.Layers)), "layer"), m.Network.Input, len(m.Card.Classes))
	return err
}

// list are the transforms that the command line asks for.
func (o *importFlags) list(in model.Shape) (transforms.List, error) {
	mean, std := [3]float64(o.mean), [3]float64(o.std)
	switch o.transforms {
	case "crop":
		if in.H != in.W {
			return nil, errors.New("--transforms crop makes squares, and the network takes others: use squash, or a JSON file with a list")
		}
		return transforms.DefaultScoring(in.H, mean, std), nil
	case "squash":
		return squash(in.W, in.H, mean, std), nil
	}
	return readList(o.transforms)
}

// readClasses reads the names of classes, one a line.
func readClasses(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, usagef("--classes: %w", err)
	}
	var names []string
	for line := range strings.Lines(strings.TrimRight(string(text), "\r\n")) {
		names = append(names, strings.TrimSpace(line))
	}
	return names, nil
}
