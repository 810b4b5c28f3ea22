package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/model/metrics"
	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/corpus"
	"github.com/logobeam/logobeam/transforms"
)

// calibrateFlags are the settings of calibrate.
type calibrateFlags struct {
	model, out string
	views      int
	overwrite  bool
	json       bool
	limits     transforms.Limits
}

func newCalibrate() *cobra.Command {
	var o calibrateFlags
	cmd := &cobra.Command{
		Use:   "calibrate LISTING --out OUT",
		Short: "make a model whose probabilities are as often right as they say",
		Long: `calibrate classifies the photographs of a labelled listing (image,label), which the
model must not have learnt from (data/val.csv), and writes the model to OUT with its
logits divided by the temperature that makes the labels likeliest (Guo et al., On
Calibration of Modern Neural Networks, 2017). No answer changes, only how sure it
is. OUT can be asked for a precision: score --precision 0.95.

train does this itself; calibrate is for models that were trained before it did, or
for photographs of another kind, or to look at several parts of a photograph: the
card of OUT has --views, and the temperature is theirs.`,
		Example: `  logobeam calibrate data/val.csv --model my-model --out calibrated`,
		Args:    exactly("LISTING"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.out == "" {
				return usagef("--out is missing: name the folder to write the model to")
			}
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0])
		},
	}
	modelFlag(cmd, &o.model)
	viewsFlag(cmd, &o.views)
	f := cmd.Flags()
	f.StringVar(&o.out, "out", "", "folder to write the model to, or gs://bucket/prefix")
	f.BoolVar(&o.overwrite, "overwrite", false, "replace a model in --out")
	jsonFlag(cmd, &o.json)
	limitFlags(cmd, &o.limits)
	return cmd
}

func (o *calibrateFlags) run(ctx context.Context, stdout, stderr io.Writer, listing string) error {
	if err := checkModelOut(ctx, o.out, o.overwrite); err != nil {
		return err
	}
	c, err := classifier.Load(ctx, o.model, classifier.Config{Views: o.views})
	if err != nil {
		return err
	}
	data, err := corpus.Open(listing, corpus.Options{Classes: c.Classes(), Limits: o.limits})
	if err != nil {
		return err
	}
	ev, err := measure(ctx, stderr, c, data)
	if err != nil {
		return err
	}
	truth := make([]int, len(ev.answers))
	for i, a := range ev.answers {
		truth[i] = a.Truth
	}
	calibration := metrics.Calibrate(c.Classes(), len(c.Views), truth, ev.views)
	m, err := c.Model.Calibrated(calibration)
	if err != nil {
		return err
	}
	m.Card.Program = "logobeam " + version()
	if o.views > 0 {
		m.Card.Views = o.views
	}
	if err := classifier.Save(ctx, &m, o.out, m.Card.Precision == "float16"); err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(stdout).Encode(calibration)
	}
	_, err = fmt.Fprintf(stdout, "%s: logits divided by %.3f by %s; negative log-likelihood %.3f (was %.3f), expected calibration error %.3f (was %.3f)\n",
		o.out, calibration.Temperature, count(int64(calibration.Images), "photograph"), calibration.NLL, calibration.NLLBefore, calibration.ECE, calibration.ECEBefore)
	return err
}

// checkModelOut keeps a command from replacing a model that somebody may still want.
func checkModelOut(ctx context.Context, out string, overwrite bool) error {
	switch there, err := classifier.Exists(ctx, out); {
	case err != nil:
		return err
	case there && !overwrite:
		return fmt.Errorf("%s holds a model: replace it with --overwrite, or choose another --out", out)
	}
	return nil
}
