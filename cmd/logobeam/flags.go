package main

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/model"
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

// modelFlag is the flag --model, which every command that needs a model has.
func modelFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "model", "", "folder of a model (default the built-in one)")
}

// precisionFlag is the flag --precision of the commands that run a model. A value that is none of model.Precisions is
// wrong usage.
func precisionFlag(cmd *cobra.Command, precision *model.Precision) {
	cmd.Flags().Var((*precisionValue)(precision), "precision", "fp32 or int8 (default what the model's card says is best)")
}

type precisionValue model.Precision

func (p *precisionValue) String() string { return string(*p) }
func (p *precisionValue) Type() string   { return "string" }
func (p *precisionValue) Set(s string) error {
	if !slices.Contains(model.Precisions(), model.Precision(s)) {
		return fmt.Errorf("want one of %q", model.Precisions())
	}
	*p = precisionValue(s)
	return nil
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
	cmd.Flags().StringSliceVar(allow, "allow-net", nil, "network whose addresses may be fetched from though they are not public, as 10.0.0.0/8; may be repeated")
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
