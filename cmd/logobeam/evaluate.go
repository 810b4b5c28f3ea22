package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/model/metrics"
	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/corpus"
	"github.com/logobeam/logobeam/pipelines/report"
	"github.com/logobeam/logobeam/transforms"
)

// evaluation is what a model does on a labelled listing. Figures that do not exist are null.
type evaluation struct {
	metrics.Summary
	ECE       metrics.Figure              `json:"ece"`
	ChanceECE metrics.Figure              `json:"ece_by_chance"` // of probabilities that are right
	Intervals map[string]metrics.Interval `json:"intervals"`     // of the figures above, by their names

	Classes   []metrics.Class    `json:"classes"`
	Confusion *metrics.Confusion `json:"confusion"`

	AtPrecision *atPrecision `json:"at_precision,omitempty"` // with --precision SHARE

	views   []float32        // [image][view][class], in the listing's order
	probs   []float32        // [image][class]
	answers []metrics.Answer // the likeliest classes of these
}

// atPrecision is what a model does that gives brands only where they are sure enough.
type atPrecision struct {
	Wanted float64 `json:"wanted"`
	metrics.Selective
	Never []string `json:"never"` // brands that are never given
}

// evaluateFlags are the settings of evaluate.
type evaluateFlags struct {
	model                            string
	how                              classifier.Config
	asJSON                           bool
	confusion, mistakes, reliability string // PNG files to draw
	page                             string // HTML file to write
	limits                           transforms.Limits
}

func newEvaluate() *cobra.Command {
	var o evaluateFlags
	cmd := &cobra.Command{
		Use:   "evaluate LISTING",
		Short: "measure a model on a labelled listing (image,label)",
		Long: `evaluate classifies every photograph of a labelled listing and compares.

Accuracy alone can fool: where most photographs show no logo, "no-logo" is most
often right. So the accuracy of always giving the commonest answer stands beside
it, with macro-F1 (every class weighs the same), the recall on photographs that
show a logo, and the false alarms on those that show none.

So can a figure of few photographs: beside each stands the interval that 95 % of
2,000 resamples of the photographs (bootstrap) lie in. On other photographs of the
same kind, the figure is likely to be somewhere there.`,
		Example: `  logobeam evaluate data/test.csv --model my-model
  logobeam evaluate data/val.csv --model my-model --mistakes mistakes.png --confusion confusion.png`,
		Args: exactly("LISTING"),
		RunE: func(cmd *cobra.Command, args []string) error {
			for flag, path := range map[string]string{"--confusion": o.confusion, "--mistakes": o.mistakes, "--reliability": o.reliability, "--report": o.page} {
				if err := checkFolder(flag, filepath.Dir(path)); err != nil {
					return err
				}
			}
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0])
		},
	}
	f := cmd.Flags()
	modelFlag(cmd, &o.model)
	runModelFlags(cmd, &o.how)
	limitFlags(cmd, &o.limits)
	jsonFlag(cmd, &o.asJSON)
	f.StringVar(&o.page, "report", "", "write all of these pictures as one page to this HTML file")
	f.StringVar(&o.confusion, "confusion", "", "draw the confusion matrix to this PNG file")
	f.StringVar(&o.mistakes, "mistakes", "", "draw the mistakes, those made most surely first, to this PNG file")
	f.StringVar(&o.reliability, "reliability", "", "draw how often answers of each probability are right to this PNG file")
	return cmd
}

func (o *evaluateFlags) run(ctx context.Context, stdout, stderr io.Writer, listing string) error {
	c, err := classifier.Load(ctx, o.model, o.how)
	if err != nil {
		return err
	}
	ev, data, err := evaluate(ctx, stderr, c, listing, o.limits)
	if err != nil {
		return err
	}
	if o.how.BrandPrecision > 0 {
		ev.AtPrecision = ev.at(c)
	}
	if o.confusion != "" {
		drawn, err := report.ConfusionMatrix(ev.Confusion)
		if err != nil {
			return err
		}
		if err := writePNG(o.confusion, drawn); err != nil {
			return err
		}
	}
	if o.reliability != "" {
		drawn, err := report.ReliabilityDiagram(metrics.Reliability(ev.answers, metrics.ECEBins))
		if err != nil {
			return err
		}
		if err := writePNG(o.reliability, drawn); err != nil {
			return err
		}
	}
	if o.mistakes != "" {
		if err := o.drawMistakes(stderr, ev, data); err != nil {
			return err
		}
	}
	if o.page != "" {
		name := strings.TrimSuffix(filepath.Base(listing), filepath.Ext(listing))
		page, err := trainedPage(c, ev, data, cmp.Or(o.model, "built-in"), name, nil)
		if err != nil {
			return err
		}
		if err := replaceText(o.page, page); err != nil {
			return err
		}
	}
	if o.asJSON {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		return e.Encode(ev)
	}
	_, err = io.WriteString(stdout, ev.String())
	return err
}

// drawMistakes draws the wrong answers of the highest probability.
func (o *evaluateFlags) drawMistakes(stderr io.Writer, ev *evaluation, data *corpus.Dataset) error {
	const columns, most = 8, 64
	wrong := ev.wrong()
	if len(wrong) == 0 {
		fmt.Fprintf(stderr, "logobeam: there are no mistakes to draw to %s\n", o.mistakes)
		return nil
	}
	shown, err := ev.pictures(data, wrong[:min(len(wrong), most)])
	if err != nil {
		return err
	}
	var cells []report.Cell
	for _, p := range shown {
		cells = append(cells, report.Cell{Picture: p.Picture, Label: strings.Join(p.Lines, "\n")})
	}
	sheet, err := report.ContactSheet(cells, columns, pictureSide)
	if err != nil {
		return err
	}
	if err := writePNG(o.mistakes, sheet); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "%s shows %d of %s\n", o.mistakes, len(cells), count(int64(len(wrong)), "mistake"))
	return nil
}

// evaluate gives all figures of a model on a labelled listing, and the photographs that are in it.
func evaluate(ctx context.Context, stderr io.Writer, c *classifier.Classifier, listing string, limits transforms.Limits) (*evaluation, *corpus.Dataset, error) {
	data, err := corpus.Open(listing, corpus.Options{Classes: c.Classes(), Limits: limits})
	if err != nil {
		return nil, nil, err
	}
	ev, err := measure(ctx, stderr, c, data)
	if err != nil {
		return nil, nil, err
	}
	ev.estimate(c)
	return ev, data, nil
}

// measure gives the figures of a model, without what is known of their uncertainty, which takes thousands of resamples.
func measure(ctx context.Context, stderr io.Writer, c *classifier.Classifier, data *corpus.Dataset) (*evaluation, error) {
	views := len(c.Views)
	var done atomic.Int64
	stop := watch(ctx, stderr, "evaluating", func() tick { return tick{done: done.Load() / int64(views), total: int64(data.Len())} })
	seen, err := c.Predict(ctx, data.Len(), runtime.GOMAXPROCS(0), func(i int, view transforms.List, image []float32) error {
		defer done.Add(1)
		return data.View(i, view, image)
	})
	stop()
	if err != nil {
		return nil, err
	}
	truth := make([]int, data.Len())
	for i := range truth {
		truth[i] = data.Label(i)
	}
	probs := c.Pool(slices.Clone(seen))
	answers := metrics.Answers(truth, probs)
	m := metrics.New(data.Classes())
	m.Count(answers)
	return &evaluation{
		Summary:   m.Summary(),
		ECE:       metrics.Figure(metrics.ECE(answers, metrics.ECEBins)),
		Classes:   m.PerClass(),
		Confusion: m,
		views:     seen,
		probs:     probs,
		answers:   answers,
	}, nil
}

// at measures the answers that a model gives at the precision it was loaded for.
func (e *evaluation) at(c *classifier.Classifier) *atPrecision {
	given := slices.Clone(e.answers)
	n := len(c.Classes())
	for i := range given {
		given[i].Class, given[i].Probability = c.Answer(e.probs[i*n : (i+1)*n])
	}
	return &atPrecision{c.Config.BrandPrecision, metrics.Select(c.Classes(), e.answers, given, bootstrapSeed), append([]string{}, c.Never()...)}
}

func (a *atPrecision) String() string {
	line := func(name string, f metrics.Figure, key, note string) string {
		return report.Figure(name, f, a.Intervals, key, note)
	}
	text := fmt.Sprintf("\nno brand unless %g of its answers are right, by what validation has shown\n", a.Wanted) +
		line("precision", a.BrandPrecision, "precision", "right, of the brands given") +
		line("recall on logos", a.LogoRecall, "logo_recall", "right brand, of images with one") +
		line("false alarms", a.FalseAlarms, "false_alarm_rate", "some brand, of images without one") +
		line("coverage", a.Coverage, "coverage", "brands given, of those that were likeliest")
	if len(a.Never) > 0 {
		text += "never given: " + strings.Join(a.Never, ", ") + "\n"
	}
	return text
}

// bootstrapSeed draws the resamples, so that one listing gives one answer.
const bootstrapSeed = 1

func (e *evaluation) String() string {
	text := report.Figures(e.Confusion, e.ECE, e.ChanceECE, e.Intervals) + "\n" + report.ClassTable(e.Confusion)
	if e.AtPrecision != nil {
		text += e.AtPrecision.String()
	}
	switch {
	case !(e.Accuracy > e.Majority):
		text += "\nwarning: this model is no better than giving the commonest answer to everything\n"
	case !(float64(e.MacroF1) > e.Confusion.MajorityF1()):
		text += "\nwarning: by macro-F1 this model is no better than giving the commonest answer to everything\n"
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
