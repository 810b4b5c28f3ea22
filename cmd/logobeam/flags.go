package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/transforms"
)

// What several commands have in common: arguments, flags, and what flags name.

// exactly wants as many arguments as names, which the message gives.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		if len(names) == 0 {
			return usagef("%s takes no arguments; got %d", cmd.CommandPath(), len(args))
		}
		return usagef("%s takes %d argument(s), %s; got %d", cmd.CommandPath(), len(names), strings.Join(names, " "), len(args))
	}
}

// heading puts those flags of cmd under a heading in its help that are not under one yet, in the order in which they were
// declared.
func heading(cmd *cobra.Command, text string) {
	cmd.Flags().SortFlags = false
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Annotations[headingKey] == nil {
			f.Annotations = map[string][]string{headingKey: {text}}
		}
	})
}

const headingKey = "heading"

// flagUsages is the part of a command's help on its flags, under their headings.
func flagUsages(all *pflag.FlagSet) string {
	var order []string
	groups := map[string]*pflag.FlagSet{}
	all.VisitAll(func(f *pflag.Flag) {
		name := "Flags"
		if h := f.Annotations[headingKey]; h != nil {
			name = h[0]
		}
		if groups[name] == nil {
			order = append(order, name)
			groups[name] = pflag.NewFlagSet(name, pflag.ContinueOnError)
			groups[name].SortFlags = all.SortFlags
		}
		groups[name].AddFlag(f)
	})
	var b strings.Builder
	for _, name := range order {
		if text := groups[name].FlagUsagesWrapped(helpColumns); text != "" {
			fmt.Fprintf(&b, "%s:\n%s\n", name, text)
		}
	}
	return b.String()
}

const helpColumns = 100

// modelFlag is the flag --model, which every command that needs a model has.
func modelFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "model", "", "`folder` of a model, or gs://bucket/prefix (default the built-in one)")
}

// jsonFlag is the flag --json.
func jsonFlag(cmd *cobra.Command, to *bool) {
	cmd.Flags().BoolVar(to, "json", false, "print what came out as one JSON object, and progress as JSON lines on standard error")
}

// runModelFlags are the flags of the commands that run a model: how. A value that no model can have is wrong usage.
func runModelFlags(cmd *cobra.Command, cfg *classifier.Config) {
	viewsFlag(cmd, &cfg.Views)
	cmd.Flags().IntVar(&cfg.Size, "size", 0, "height and width of the network's input in `pixels`, if the architecture allows another (default the model's own)")
	cmd.Flags().StringVar(&cfg.Device, "device", classifier.CPU, "what runs the network: cpu, or in logobeam-gpu gpu, or gpu:1 for the second")
	cmd.Flags().Var((*precisionValue)(cfg), "precision", "`fp32|int8|bf16`: the arithmetic, int8 on a cpu alone and bf16 on a gpu alone (default what the model's card says is best, or bf16 on a gpu), or the share of each brand's answers that are to be right, as 0.95: what is not sure enough for that is no-logo; both as int8,0.95")
}

// viewsUsage says what views are.
var viewsUsage = fmt.Sprintf("`parts` of a photograph to look at, 1 to %d, whose probabilities are averaged: 1 the model's own, 2 all of it and the centre enlarged, 3 all three; each costs as much as the first", transforms.MaxViews)

// viewsFlag is the flag --views of commands that have a model.
func viewsFlag(cmd *cobra.Command, views *int) {
	cmd.Flags().IntVar(views, "views", 0, viewsUsage+" (default what the model's card says, or 1)")
}

// precisionValue is the flag --precision, whose values are of two kinds.
type precisionValue classifier.Config

func (p *precisionValue) String() string { return "" } // the default is the card's
func (p *precisionValue) Type() string   { return "string" }
func (p *precisionValue) Set(s string) error {
	for _, v := range strings.Split(s, ",") {
		if slices.Contains(model.Precisions(), model.Precision(v)) || model.Precision(v) == model.BF16 {
			p.Precision = model.Precision(v)
			continue
		}
		share, err := strconv.ParseFloat(v, 64)
		if err != nil || !(share > 0 && share <= 1) {
			return fmt.Errorf("precision is %q: want int8, fp32 or bf16, or a share such as 0.95 of a brand's answers that are to be right", v)
		}
		p.BrandPrecision = share
	}
	return nil
}

// truncatedValue is the flag --truncated.
type truncatedValue bool

func (v *truncatedValue) String() string {
	if *v {
		return "score"
	}
	return "reject"
}
func (v *truncatedValue) Type() string { return "string" }
func (v *truncatedValue) Set(s string) error {
	if s != "reject" && s != "score" {
		return errors.New("want reject or score")
	}
	*v = s == "score"
	return nil
}

// limitFlags are the flags of the commands that decode photographs: what one of them may cost. A limit below 1 is wrong usage.
func limitFlags(cmd *cobra.Command, lim *transforms.Limits) {
	*lim = transforms.DefaultLimits()
	f := cmd.Flags()
	f.Var((*size)(&lim.Bytes), "max-bytes", "largest file to read")
	f.Int64Var(&lim.Pixels, "max-pixels", lim.Pixels, "largest photograph to decode, width x height")
	f.Var((*size)(&lim.Memory), "max-memory", "that decoding one photograph may take, beside its file")
	f.DurationVar(&lim.Time, "decode-timeout", lim.Time, "time for decoding one photograph")
	f.Var((*truncatedValue)(&lim.Truncated), "truncated", "`reject|score` a JPEG that ends too early though half of its rows are there")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if lim.Pixels < 1 || lim.Time < 1 {
			return usagef("--max-pixels %d, --decode-timeout %v: want more than 0 of each", lim.Pixels, lim.Time)
		}
		return nil
	}
}

// checkFolder wants the folder that a flag names to be there, before hours of work turn out to be for nothing. A flag that was
// not given names none.
func checkFolder(flag, dir string) error {
	if dir == "" {
		return nil
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("%s: there is no folder %s", flag, dir)
	}
	return nil
}

// allowNetFlag is the flag --allow-net of the commands that fetch; prefixes reads it.
func allowNetFlag(cmd *cobra.Command, allow *[]string) {
	cmd.Flags().StringSliceVar(allow, "allow-net", nil, "`network` whose addresses may be fetched from though they are not public, as 10.0.0.0/8; may be repeated")
}

func prefixes(cidrs []string) ([]netip.Prefix, error) {
	var nets []netip.Prefix
	for _, s := range cidrs {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, usagef("--allow-net %s: want an address and a length, as 10.0.0.0/8", s)
		}
		nets = append(nets, p)
	}
	return nets, nil
}

// augmentation is the list for training that a flag names: light, strong, or a JSON file.
func augmentation(name string, size int, mean, std [3]float64) (transforms.List, error) {
	switch name {
	case "light":
		return transforms.DefaultTraining(size, mean, std), nil
	case "strong":
		return transforms.StrongTraining(size, mean, std), nil
	}
	return readList(name)
}

// squash is the list for scoring that looks at all of a picture, in whatever shape.
func squash(width, height int, mean, std [3]float64) transforms.List {
	return transforms.List{transforms.Orient{}, transforms.Resize{Width: width, Height: height}, transforms.Normalise{Mean: mean, Std: std}}
}

// readList reads the list of transforms in a JSON file.
func readList(path string) (transforms.List, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, usagef("a list of transforms: %w", err)
	}
	list, err := transforms.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// replace has a file written beside its place and renames it, so that path is whole or what it was.
func replace(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".logobeam-*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing is left of it once it is renamed
	if err := errors.Join(write(f), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// replaceText is replace with what is there already.
func replaceText(path string, text []byte) error {
	return replace(path, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// count is a number of things.
func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
