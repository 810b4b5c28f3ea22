package main

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/infer"
	"github.com/logobeam/logobeam/model/metrics"
	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/corpus"
	"github.com/logobeam/logobeam/pipelines/report"
	"github.com/logobeam/logobeam/transforms"
)

// evaluation is what a model does on a labelled listing. Figures that do not exist are null.
type evaluation struct {
	metrics.Summary
	ECE metrics.Figure `json:"ece"`

	Classes   []metrics.Class    `json:"classes"`
	Confusion *metrics.Confusion `json:"confusion"`
}

// eceBins is how many bins of equal width the expected calibration error is taken over, as usual since Guo et al., 2017.
const eceBins = 15

func newEvaluate() *cobra.Command {
	var dir, picture string
	var precision model.Precision
	var asJSON bool
	var limits transforms.Limits
	cmd := &cobra.Command{
		Use:   "evaluate LISTING",
		Short: "measure a model on a labelled listing (image,label)",
		Long: `evaluate classifies every photograph of a labelled listing and compares.

Accuracy alone can fool: where most photographs show no logo, "no-logo" is most
often right. So the accuracy of always giving the commonest answer stands beside
it, with macro-F1 (every class weighs the same), the recall on photographs that
show a logo, and the false alarms on those that show none.`,
		Args: exactly("LISTING"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFolder("--confusion", filepath.Dir(picture)); err != nil {
				return err
			}
			c, err := classifier.Load(cmd.Context(), dir, precision)
			if err != nil {
				return err
			}
			data, err := corpus.Open(args[0], corpus.Options{Classes: c.Classes(), Scoring: c.Steps, Limits: limits})
			if err != nil {
				return err
			}
			ev, err := measure(cmd.Context(), cmd.ErrOrStderr(), c.Plan, data)
			if err != nil {
				return err
			}
			if picture != "" {
				drawn, err := report.ConfusionMatrix(ev.Confusion)
				if err != nil {
					return err
				}
				if err := writePNG(picture, drawn); err != nil {
					return err
				}
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(ev)
			}
			_, err = io.WriteString(cmd.OutOrStdout(), ev.String())
			return err
		},
	}
	modelFlag(cmd, &dir)
	precisionFlag(cmd, &precision)
	limitFlags(cmd, &limits)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().StringVar(&picture, "confusion", "", "draw the confusion matrix to this PNG file")
	return cmd
}

func measure(ctx context.Context, stderr io.Writer, plan *infer.Plan, data *corpus.Dataset) (*evaluation, error) {
	var done atomic.Int64
	stop := watch(ctx, stderr, "evaluating", func() tick { return tick{done: done.Load(), total: int64(data.Len())} })
	probs, err := plan.Predict(ctx, data.Len(), runtime.GOMAXPROCS(0), plan.Batch(), func(i int, image []float32) error {
		defer done.Add(1)
		return data.Load(i, -1, image)
	})
	stop()
	if err != nil {
		return nil, err
	}
	truth := make([]int, data.Len())
	for i := range truth {
		truth[i] = data.Label(i)
	}
	m := metrics.New(data.Classes())
	m.AddAll(truth, probs)
	return &evaluation{
		Summary:   m.Summary(),
		ECE:       metrics.Figure(metrics.ECE(probs, truth, len(data.Classes()), eceBins)),
		Classes:   m.PerClass(),
		Confusion: m,
	}, nil
}

func (e *evaluation) String() string {
	text := report.Figures(e.Confusion) +
		fmt.Sprintf("%-18s%7s   expected calibration error: how far probabilities are from the truth\n\n", "ECE", figure(e.ECE)) +
		report.ClassTable(e.Confusion)
	if !(e.Accuracy > e.Majority) {
		text += "\nwarning: this model is no better than giving the commonest answer to everything\n"
	}
	return text
}

// figure writes a share, or a dash where there is none.
func figure(f metrics.Figure) string {
	if f.Absent() {
		return "-"
	}
	return fmt.Sprintf("%.3f", float64(f))
}

// writePNG draws a picture to a file.
func writePNG(path string, picture image.Image) error {
	return replace(path, func(w io.Writer) error { return png.Encode(w, picture) })
}
