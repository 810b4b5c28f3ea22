package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/logobeam/logobeam/model/kernel"
	"github.com/logobeam/logobeam/model/train"
	"github.com/logobeam/logobeam/pipelines"
	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/corpus"
	"github.com/logobeam/logobeam/pipelines/report"
	"github.com/logobeam/logobeam/pipelines/store"
	"github.com/logobeam/logobeam/transforms"
)

// experiment is a grid with its trainings, in the order in which they are run: seed by seed, so that a first figure of each
// run is there early, and what the others will take is known.
type experiment struct {
	*grid
	out, data string
	json      bool
	trainings []*training
}

// training is a run of the grid with a seed: a command line of train, and what has come of it.
type training struct {
	run    gridRun
	seed   uint64
	folder string
	data   string
	flags  *trainFlags
	cfg    train.Config
	images int // of an epoch

	validation, test *corpus.Dataset // test is nil where it is not asked for
	record           record
	resume           bool
}

// record is a training's result.json. It is written when the training begins, ends and is measured, so what is there says what is still
// to be done.
type record struct {
	Arguments []string `json:"arguments"` // of train, as the grid has them
	// From is a hash of all that decides which weights come out: network, classes, transforms, data, first weights, configuration.
	From    string `json:"from"`
	Program string `json:"program"`
	Kernels string `json:"kernels"`
	report.Outcome
	TestID string `json:"test_id,omitempty"` // of the photographs that Test is of
}

const (
	recordFile = "result.json"
	epochsFile = "epochs.jsonl"
)

func newExperiment() *cobra.Command {
	var e experiment
	cmd := &cobra.Command{
		Use:   "experiment FILE --out DIR",
		Short: "run a grid of trainings, and compare them in a table and in learning curves",
		Long: `experiment runs the trainings that a JSON file declares, each with several seeds,
and writes DIR/results.md (means and standard deviations over the seeds),
results.csv (every figure), and learning curves, curves.svg and curves.png:

  {
    "data": "data",
    "train": {"arch": "efficientnet-lite0", "epochs": 12},
    "seeds": [1, 2, 3],
    "vary": {"freeze": [true, false], "lr": [0.0003, 0.001]},
    "runs": [{"name": "without augmentation", "augment": "none"}],
    "baseline": "without augmentation",
    "test": false
  }

"train" holds flags of logobeam train, by their names without dashes. "vary" tries
all combinations of values, "runs" lists further runs with names of their own;
both go over "train". A run may have "data" of its own, of the same validation and
test photographs. "data" and files are looked for beside FILE. A run is the
command logobeam train with those flags, and DIR/RUN/seed-N is its model, with
epochs.jsonl and result.json. With "test", test.csv is measured once, by the
models that were kept; it decides nothing.

The same command goes on where it was interrupted, and runs again only what is
no longer as FILE has it.`,
		Example: "  logobeam experiment testdata/experiments/article.json --data data --out article",
		Args:    exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if e.out == "" || store.IsRemote(e.out) {
				return usagef("--out %s: name the folder that models and results are written to, on a disk of this machine", e.out)
			}
			text, err := os.ReadFile(args[0])
			if err != nil {
				return usagef("an experiment: %w", err)
			}
			if e.grid, err = parseGrid(text, settable()); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			beside := filepath.Dir(args[0])
			e.title = cmp.Or(e.title, strings.TrimSuffix(filepath.Base(args[0]), filepath.Ext(args[0])))
			if e.data == "" {
				if e.data = e.grid.data; e.data == "" {
					return usagef(`%s has no "data": name the folder there, or with --data`, args[0])
				}
				e.data = pathFrom(beside, e.data)
			}
			if err := e.plan(cmd.Context(), cmd.ErrOrStderr(), beside); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return e.runAll(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&e.out, "out", "", "`folder` of models and results")
	jsonFlag(cmd, &e.json)
	cmd.Flags().StringVar(&e.data, "data", "", "`folder` with train.csv, val.csv and test.csv (default that of FILE)")
	return cmd
}

// pathFrom is a path as it is meant in a file that lies in folder.
func pathFrom(folder, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder, path)
}

// settable are the flags of train that a run may set: all, those of workers too, but those that an experiment sets itself.
func settable() []string {
	own := []string{"out", "seed", "resume", "overwrite", "json", "no-test", "plot", "no-report"}
	var list []string
	newTrain().Flags().VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(own, f.Name) && !f.Hidden { // Beam's are hidden
			list = append(list, f.Name)
		}
	})
	return list
}

// plan looks at all trainings before the first begins: whether their flags and data are right, and what is there of them.
func (e *experiment) plan(ctx context.Context, stderr io.Writer, beside string) error {
	begins := map[[2]string]string{} // what weights there are to begin with, by flag and architecture
	warned := map[string]bool{}
	for _, seed := range e.seeds {
		for _, run := range e.runs {
			t := &training{run: run, seed: seed, folder: filepath.Join(e.out, run.folder, fmt.Sprintf("seed-%d", seed)), data: e.data}
			if run.data != "" {
				t.data = pathFrom(beside, run.data)
			}
			cmd := trainCommand(func(_ *cobra.Command, o *trainFlags, _ string, cfg train.Config) error {
				t.flags, t.cfg = o, cfg
				return nil
			})
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			args := append(run.arguments(beside), fmt.Sprintf("--seed=%d", seed), "--out="+t.folder, "--no-test", "--json", "--no-report", "--", t.data)
			cmd.SetArgs(args)
			var warning strings.Builder
			cmd.SetErr(&warning)
			err := cmd.ExecuteContext(ctx)
			if text := warning.String(); !warned[text] { // all runs would say it
				warned[text] = true
				io.WriteString(stderr, text)
			}
			if err == nil {
				t.flags.arguments = append([]string{"train"}, args...)
				err = e.look(ctx, stderr, t, begins)
			}
			if err != nil {
				return fmt.Errorf("run %q: %w", run.name, err)
			}
			e.trainings = append(e.trainings, t)
		}
	}
	return nil
}

// look finds what there is of a training, and says so where that is of another one.
func (e *experiment) look(ctx context.Context, stderr io.Writer, t *training, begins map[[2]string]string) error {
	m, data, err := t.flags.prepare(t.data, t.cfg)
	if err != nil {
		return err
	}
	t.images, t.validation = data.Train.Len(), data.Validation.(*corpus.Dataset)
	testID := ""
	if e.test {
		steps, err := transforms.Parse(m.Card.Transforms)
		if err != nil {
			return err
		}
		t.test, err = corpus.Open(filepath.Join(t.data, "test.csv"), corpus.Options{Classes: m.Card.Classes, Scoring: steps, Views: m.Card.Views, Limits: t.flags.limits})
		if err != nil {
			return err
		}
		testID = t.test.ID()
	}
	from := t.flags.from()
	key := [2]string{from, t.flags.arch}
	if _, ok := begins[key]; !ok && from != initNone {
		if _, begins[key], err = t.flags.weights(ctx, m.Network, m.Card.Classes, t.seed); err != nil {
			return err
		}
	}
	text, err := json.Marshal([]any{m.Network, m.Card.Classes, m.Card.Transforms, m.Card.Training.Config, data.ID, begins[key], t.flags.half})
	if err != nil {
		return err
	}
	now := record{Arguments: t.run.flags, From: fmt.Sprintf("%x", sha256.Sum256(text)), Program: version(), Kernels: kernel.Features(),
		Outcome: report.Outcome{Seed: t.seed}, TestID: testID}

	text, err = os.ReadFile(filepath.Join(t.folder, recordFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		t.record = now
		_, err := os.Stat(t.cfg.State)
		found, other := classifier.Exists(ctx, t.folder)
		if found = found || err == nil; found {
			return fmt.Errorf("%s holds a training that is no experiment's: choose another --out", t.folder)
		}
		return other
	case err != nil:
		return err
	}
	t.flags.overwrite = true // what is there is this experiment's
	if err := json.Unmarshal(text, &t.record); err != nil {
		return fmt.Errorf("%s: %w; remove it to train anew", filepath.Join(t.folder, recordFile), err)
	}
	if was := t.record.Arguments; t.record.From != now.From || !slices.Equal(was, now.Arguments) {
		why := "its data, transforms or first weights have changed"
		if !slices.Equal(was, now.Arguments) {
			why = fmt.Sprintf("it was trained with %q, and is to be with %q", without(was, now.Arguments), without(now.Arguments, was))
		}
		fmt.Fprintf(stderr, "%s is run again: %s\n", t, why)
		t.record = now
		return nil
	}
	_, err = os.Stat(t.cfg.State)
	t.resume = err == nil && !t.trained()
	if t.record.TestID != testID && e.test {
		t.record.Test, t.record.TestID = nil, testID
	}
	return nil
}

// without are those of list that are not among others.
func without(list, others []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(others, s) })
}

func (t *training) String() string { return fmt.Sprintf("%s, seed %d", t.run.name, t.seed) }

func (t *training) trained() bool { return t.record.Epoch > 0 }

func (t *training) done() bool {
	return t.trained() && t.record.Validation != nil && (t.test == nil || t.record.Test != nil)
}

// work is the number of images that the training goes through.
func (t *training) work() int64 { return int64(t.images) * int64(t.cfg.Epochs) }

// runAll runs what is not there, one after another, and keeps the results up to date. A training that fails, as one that
// diverges does, does not keep the others from being run.
func (e *experiment) runAll(ctx context.Context, stdout, stderr io.Writer) error {
	if err := os.MkdirAll(e.out, 0o755); err != nil {
		return err
	}
	if err := e.write("curves.svg"); err != nil {
		return err
	}
	failed := 0
	there := 0
	for i, t := range e.trainings {
		if t.done() {
			there++
			continue
		}
		err := e.run(ctx, stderr, i)
		if ctx.Err() != nil {
			fmt.Fprintf(stderr, "logobeam: stopped in run %d of %d; the same command goes on\n", i+1, len(e.trainings))
			return ctx.Err()
		}
		if err != nil {
			fmt.Fprintf(stderr, "run %d of %d: %s failed: %s\n", i+1, len(e.trainings), t, oneLine(err))
			failed++
		}
		if err := e.write("curves.svg"); err != nil {
			return err
		}
	}
	if err := e.write("curves.png"); err != nil { // which takes a second to draw
		return err
	}
	if there > 0 {
		fmt.Fprintf(stderr, "%d of %d trainings were there already\n", there, len(e.trainings))
	}
	say := func() error { _, err := io.WriteString(stdout, e.report().Markdown()); return err }
	if e.json {
		say = func() error { return json.NewEncoder(stdout).Encode(e.report()) }
	}
	if err := say(); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d trainings failed; the same command tries them again", failed, len(e.trainings))
	}
	return nil
}

// run trains and measures what is not trained and measured of a training.
func (e *experiment) run(ctx context.Context, stderr io.Writer, i int) error {
	t := e.trainings[i]
	if !t.trained() {
		if err := e.train(ctx, stderr, i); err != nil {
			return err
		}
	}
	if err := pipelines.ClearRounds(ctx, t.folder); err != nil { // may be there still if the program was killed just then
		return err
	}
	os.Remove(t.cfg.State)
	c, err := classifier.Load(ctx, t.folder, classifier.Config{})
	if err != nil {
		return err
	}
	for _, split := range []struct {
		to   **report.Measured
		data *corpus.Dataset
	}{{&t.record.Validation, t.validation}, {&t.record.Test, t.test}} {
		if *split.to != nil || split.data == nil {
			continue
		}
		ev, err := measure(ctx, stderr, c, split.data)
		if err != nil {
			return err
		}
		*split.to = &report.Measured{Summary: ev.Summary, ECE: ev.ECE}
		if err := t.save(); err != nil {
			return err
		}
	}
	fmt.Fprintf(stderr, "run %d of %d: %s: macro-F1 %s on validation, epoch %d of %d, %.0f s\n", i+1, len(e.trainings), t,
		figure(t.record.Validation.MacroF1), t.record.Epoch, t.record.Epochs, t.record.Seconds)
	return nil
}

func (e *experiment) train(ctx context.Context, stderr io.Writer, i int) error {
	t := e.trainings[i]
	if err := os.MkdirAll(t.folder, 0o755); err != nil {
		return err
	}
	how := os.O_TRUNC
	if t.resume {
		how = os.O_APPEND
		t.cfg.Resume, t.flags.overwrite = true, false
	}
	if !t.resume { // a state of another run is gone before the record says what this one is
		if err := os.Remove(t.cfg.State); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := t.save(); err != nil {
		return err
	}
	epochs, err := os.OpenFile(filepath.Join(t.folder, epochsFile), os.O_WRONLY|os.O_CREATE|how, 0o644)
	if err != nil {
		return err
	}
	defer epochs.Close()
	var epoch, seen atomic.Int64
	var stop func()
	err = t.flags.run(ctx, epochs, io.Discard, t.data, t.cfg, train.Hook{Name: "note the result",
		OnStep: func(_ context.Context, s train.StepInfo) error {
			epoch.Store(int64(s.Epoch))
			seen.Store(int64(s.Epoch-1)*int64(t.images) + int64(s.Images))
			if stop == nil {
				since := newPace(seen.Load())
				stop = watch(ctx, stderr, fmt.Sprintf("run %d of %d", i+1, len(e.trainings)), func() tick {
					done := seen.Load()
					now := tick{done: done, total: t.work(), note: fmt.Sprintf("epoch %d of %d of %s", epoch.Load(), t.cfg.Epochs, t)}
					if now = since.of(now); now.left > 0 {
						now.note = e.left(i, done, now.rate) + "; " + now.note
					}
					return now
				})
			}
			return nil
		},
		OnEnd: func(_ context.Context, r train.Result) error {
			t.record.Epoch, t.record.Epochs = r.History[r.Best].Epoch, len(r.History)
			t.record.Seconds, t.record.ImagesPerSecond = 0, 0
			var lines bytes.Buffer
			for _, e := range r.History {
				t.record.Seconds += e.Seconds
				t.record.ImagesPerSecond += e.ImagesPerSecond / float64(len(r.History))
				if err := json.NewEncoder(&lines).Encode(e); err != nil {
					return err
				}
			}
			// An interrupted run may have a line that was not its state's yet.
			if err := replaceText(filepath.Join(t.folder, epochsFile), lines.Bytes()); err != nil {
				return err
			}
			return t.save()
		},
	})
	if stop != nil {
		stop()
	}
	return err
}

// left is how long the experiment will take in words, where training i has seen so many images, at a rate of so many a
// second. Runs that nothing is known of yet are taken to be as fast as those of their architecture, or, which is no more than a guess, as
// all others.
func (e *experiment) left(i int, seen int64, rate float64) string {
	t := e.trainings[i]
	seconds := float64(t.work()-seen) / rate
	kind := func(t *training) string { return fmt.Sprint(t.flags.arch, " ", t.flags.size, " ", t.cfg.Freeze) }
	runs, kinds := map[string][]float64{}, map[string][]float64{} // seconds an image
	var all []float64
	know := func(t *training, pace float64) {
		runs[t.run.name], kinds[kind(t)], all = append(runs[t.run.name], pace), append(kinds[kind(t)], pace), append(all, pace)
	}
	know(t, 1/rate)
	for _, other := range e.trainings {
		if other.trained() {
			know(other, other.record.Seconds/float64(other.work()))
		}
	}
	roughly := ""
	for _, next := range e.trainings[i+1:] {
		if next.trained() {
			continue
		}
		known := runs[next.run.name]
		if known == nil {
			known = kinds[kind(next)]
		}
		if known == nil {
			known, roughly = all, "roughly "
		}
		seconds += report.Over(known...).Mean * float64(next.work())
	}
	text := time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
	if seconds > 600 {
		text = strings.TrimSuffix(time.Duration(seconds*float64(time.Second)).Round(time.Minute).String(), "0s")
	}
	return roughly + text + " left for all runs"
}

func (t *training) save() error {
	text, err := json.MarshalIndent(t.record, "", "  ")
	if err != nil {
		return err
	}
	return replaceText(filepath.Join(t.folder, recordFile), append(text, '\n'))
}

// report is what is known by now.
func (e *experiment) report() report.Experiment {
	r := report.Experiment{Title: e.title, Baseline: e.baseline, Machine: kernel.Features()}
	for _, run := range e.runs {
		one := report.Run{Name: run.name, Planned: len(e.seeds)}
		for _, t := range e.trainings {
			if t.run.name == run.name && t.record.Validation != nil {
				o := t.record.Outcome
				if !e.test {
					o.Test = nil
				}
				one.Outcomes = append(one.Outcomes, o)
			}
		}
		r.Runs = append(r.Runs, one)
	}
	return r
}

// write writes the tables, and the curves to a picture, of what there is by now.
func (e *experiment) write(picture string) error {
	r := e.report()
	if err := replaceText(filepath.Join(e.out, "results.md"), []byte(r.Markdown())); err != nil {
		return err
	}
	if err := replaceText(filepath.Join(e.out, "results.csv"), []byte(r.CSV())); err != nil {
		return err
	}
	var curves []report.Curve
	for _, run := range e.runs {
		curve := report.Curve{Name: run.name}
		for _, t := range e.trainings {
			if t.run.name == run.name && t.trained() {
				epochs, err := t.epochs()
				if err != nil {
					return err
				}
				curve.Seeds = append(curve.Seeds, points(epochs))
			}
		}
		curves = append(curves, curve)
	}
	if !slices.ContainsFunc(e.trainings, (*training).trained) {
		return nil
	}
	return writeCurves(filepath.Join(e.out, picture), curves)
}

func (t *training) epochs() (list []train.Epoch, err error) {
	f, err := os.Open(filepath.Join(t.folder, epochsFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for d := json.NewDecoder(bufio.NewReader(f)); d.More(); {
		var e train.Epoch
		if err := d.Decode(&e); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		list = append(list, e)
	}
	return list, nil
}
