package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/infer"
	"github.com/logobeam/logobeam/model/metrics"
	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/corpus"
	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/transforms"
)

// quantizeFlags are the settings of quantize.
type quantizeFlags struct {
	model, out string
	method     string
	images     int
	cores      int
	overwrite  bool
	json       bool
	limits     transforms.Limits
}

func newQuantize() *cobra.Command {
	var o quantizeFlags
	cmd := &cobra.Command{
		Use:   "quantize LISTING_OR_DIR --out OUT",
		Short: "make a model that also runs in int8, and measure what that costs",
		Long: `quantize looks at what a network computes on some photographs, writes the model
with the range of every layer to OUT, and measures it in fp32 and in int8. The
weights stay as they are: the same model runs in both (--precision).

Given DIR as prepare makes it, the photographs are those of train.csv, and int8
is measured on val.csv and test.csv. Given a listing (image, label), both are its
own; without labels nothing is measured.

Where int8 costs at most 0.3 points of macro-F1 it is what the model runs in from
then on, unless --precision says otherwise.`,
		Example: `  logobeam quantize data --model my-model --out my-model-int8`,
		Args:    exactly("LISTING_OR_DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.out == "":
				return usagef("--out is missing: name the folder to write the model to")
			case o.images < 1 || o.cores < 1:
				return usagef("--images is %d and --cores %d: want at least 1 of each", o.images, o.cores)
			case !slices.Contains(infer.Methods(), infer.Method(o.method)):
				return usagef("no method %q: want one of %q", o.method, infer.Methods())
			}
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0])
		},
	}
	modelFlag(cmd, &o.model)
	f := cmd.Flags()
	f.StringVar(&o.out, "out", "", "folder to write the model to, or gs://bucket/prefix")
	f.StringVar(&o.method, "method", string(infer.Percentile), "how ranges are chosen: min-max, percentile or mse (of the least error)")
	f.IntVar(&o.images, "images", 256, "photographs to look at, taken from all over the listing")
	f.IntVar(&o.cores, "cores", runtime.GOMAXPROCS(0), "cores to use")
	f.BoolVar(&o.overwrite, "overwrite", false, "replace a model in --out")
	jsonFlag(cmd, &o.json)
	limitFlags(cmd, &o.limits)
	return cmd
}

func (o *quantizeFlags) run(ctx context.Context, stdout, stderr io.Writer, source string) error {
	if err := checkModelOut(ctx, o.out, o.overwrite); err != nil {
		return err
	}
	read, err := classifier.Read(ctx, o.model)
	if err != nil {
		return err
	}
	m := *read // what was read may be the built-in one, which is everybody's
	steps, err := transforms.Parse(m.Card.Transforms)
	if err != nil {
		return fmt.Errorf("the model's transforms: %w", err)
	}
	photographs, splits, err := openSplits(source, m.Card.Classes, steps, m.Card.Views, o.limits)
	if err != nil {
		return err
	}
	q, err := o.calibrate(ctx, stderr, &m, photographs)
	if err != nil {
		return err
	}
	half := m.Card.Precision == "float16"
	if half {
		if err := q.Halve(); err != nil {
			return err
		}
	}
	if err := compare(ctx, stderr, &m, steps, q, splits); err != nil {
		return err
	}
	m.Card.Quantization, m.Card.Program = q, "logobeam "+version()
	if err := classifier.Save(ctx, &m, o.out, half); err != nil {
		return err
	}
	if skipped := min(o.images, photographs.Len()) - q.Images; skipped > 0 {
		fmt.Fprintf(stderr, "logobeam: %d photographs could not be read and were left out\n", skipped)
	}
	if o.json {
		return json.NewEncoder(stdout).Encode(struct {
			Out       string                                            `json:"out"`
			Method    string                                            `json:"method"`
			Images    int                                               `json:"images"`
			Metrics   map[string]map[model.Precision]map[string]float64 `json:"metrics"`   // of each split
			Precision model.Precision                                   `json:"precision"` // that it runs in
		}{o.out, q.Method, q.Images, q.Metrics, m.Card.DefaultPrecision()})
	}
	_, err = io.WriteString(stdout, describeQuantization(o.out, m.Card, splits))
	return err
}

// split is labelled photographs to measure on, by the name that a card gives them.
type split struct {
	name string
	data *corpus.Dataset
}

// openSplits gives the photographs to calibrate with, and those to measure on.
func openSplits(source string, classes []string, steps transforms.List, views int, limits transforms.Limits) (calibration *corpus.Dataset, splits []split, err error) {
	opts := corpus.Options{Classes: classes, Scoring: steps, Views: views, Limits: limits}
	if info, err := os.Stat(source); err != nil || !info.IsDir() {
		calibration, err := corpus.Open(source, opts)
		if missing := new(listing.MissingColumnError); errors.As(err, &missing) && missing.Column == "label" {
			// A photograph's name does for a label where nobody asks for it.
			opts.Classes, opts.LabelColumn = nil, "image"
			calibration, err = corpus.Open(source, opts)
			return calibration, nil, err
		}
		return calibration, []split{{"listing", calibration}}, err
	}
	for _, s := range []struct{ name, file string }{{"train", "train.csv"}, {"validation", "val.csv"}, {"test", "test.csv"}} {
		path := filepath.Join(source, s.file)
		if _, err := os.Stat(path); s.name != "train" && errors.Is(err, os.ErrNotExist) {
			continue
		}
		data, err := corpus.Open(path, opts)
		if err != nil {
			return nil, nil, err
		}
		if s.name == "train" {
			calibration = data
		} else {
			splits = append(splits, split{s.name, data})
		}
	}
	return calibration, splits, nil
}

// calibrate looks at photographs from all over the listing, which is often sorted, and at their views in turn.
func (o *quantizeFlags) calibrate(ctx context.Context, stderr io.Writer, m *model.Model, data *corpus.Dataset) (*model.Quantization, error) {
	count := min(o.images, data.Len())
	var done atomic.Int64
	stop := watch(ctx, stderr, "calibrating", func() tick { return tick{done: done.Load(), total: int64(2 * count)} })
	defer stop()
	return infer.Calibrate(ctx, m.Network, m.Params, infer.Method(o.method), count, o.cores, func(i int, image []float32) error {
		defer done.Add(1)
		return data.Load(i*data.Len()/count, -1-i%max(m.Card.Views, 1), image)
	})
}

// compare measures a model in both precisions, with the views that its card names, and notes the figures in q.
func compare(ctx context.Context, stderr io.Writer, m *model.Model, steps transforms.List, q *model.Quantization, splits []split) error {
	views, err := transforms.Views(steps, max(m.Card.Views, 1))
	if err != nil {
		return err
	}
	fp32, err := infer.Compile(m.Network, m.Params)
	if err != nil {
		return err
	}
	int8, err := infer.CompileInt8(m.Network, m.Params, q)
	if err != nil {
		return err
	}
	q.Metrics, q.Intervals = map[string]map[model.Precision]map[string]float64{}, map[string]map[model.Precision]map[string][2]float64{}
	for _, s := range splits {
		q.Metrics[s.name], q.Intervals[s.name] = map[model.Precision]map[string]float64{}, map[model.Precision]map[string][2]float64{}
		for _, plan := range []*infer.Plan{fp32, int8} {
			ev, err := measure(ctx, stderr, &classifier.Classifier{Model: m, Views: views, Engine: plan}, s.data)
			if err != nil {
				return err
			}
			between := metrics.Intervals(s.data.Classes(), ev.answers, metrics.ECEBins, bootstrapSeed)
			figures, intervals := map[string]float64{}, map[string][2]float64{}
			for name, f := range map[string]metrics.Figure{"accuracy": ev.Accuracy, "macro_f1": ev.MacroF1, "logo_recall": ev.LogoRecall,
				"false_alarm_rate": ev.FalseAlarms, "ece": ev.ECE} {
				if !f.Absent() {
					figures[name] = float64(f)
					intervals[name] = [2]float64{float64(between[name][0]), float64(between[name][1])}
				}
			}
			q.Metrics[s.name][plan.Precision()], q.Intervals[s.name][plan.Precision()] = figures, intervals
		}
	}
	return nil
}

// describeQuantization is what to say to people of a model that was quantised.
func describeQuantization(out string, card model.Card, splits []split) string {
	var b strings.Builder
	q := card.Quantization
	fmt.Fprintf(&b, "%s: ranges by %s of %d photographs\n", out, q.Method, q.Images)
	if len(splits) > 0 {
		b.WriteString("\n")
		t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "\timages\tprecision\taccuracy\tmacro-F1\trecall on logos\tfalse alarms\tcalibration error\t")
		for _, s := range splits {
			for _, p := range model.Precisions() {
				fmt.Fprintf(t, "%s\t%d\t%s\t", s.name, s.data.Len(), p)
				for _, name := range []string{"accuracy", "macro_f1", "logo_recall", "false_alarm_rate", "ece"} {
					if v, ok := q.Metrics[s.name][p][name]; ok {
						fmt.Fprintf(t, "%.3f\t", v)
					} else {
						fmt.Fprint(t, "-\t")
					}
				}
				fmt.Fprintln(t)
			}
		}
		t.Flush()
		b.WriteString("\n")
	}
	for _, s := range splits {
		if cost, ok := q.Cost(s.name); ok {
			fmt.Fprintf(&b, "int8 costs %.2f points of macro-F1 on %s\n", 100*cost, s.name)
		}
	}
	fmt.Fprintf(&b, "it runs in %s unless --precision says otherwise\n", card.DefaultPrecision())
	return b.String()
}
