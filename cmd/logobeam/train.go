package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/kernel"
	"github.com/logobeam/logobeam/model/train"
	"github.com/logobeam/logobeam/pipelines"
	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/corpus"
	"github.com/logobeam/logobeam/pipelines/report"
	"github.com/logobeam/logobeam/pipelines/store"
	"github.com/logobeam/logobeam/transforms"
)

// trainFlags are the flags of train that are not train.Config's.
type trainFlags struct {
	arch, init, out  string
	folder           string // where training keeps its model and state: out, or a folder here for one in a bucket
	augment, scoring string
	size, views      int
	share            float64
	half, overwrite  bool
	asJSON, skipTest bool
	noReport         bool
	plot             string
	description      string
	sources          []string
	limits           transforms.Limits
	devices          string
	options          corpus.Options        // of the listings, once they are open
	rounds           pipelines.TrainConfig // workers, and where they work; no workers for training without rounds
	base             *model.Model          // of --init, whose network is trained: one that is no architecture of ours
	arguments        []string              // of the command line, for the card
}

const (
	initBuiltin = "builtin"
	initNone    = "none"
)

func newTrain() *cobra.Command {
	return trainCommand(func(cmd *cobra.Command, o *trainFlags, dir string, cfg train.Config) error {
		o.arguments = os.Args[1:]
		return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), dir, cfg)
	})
}

// trainCommand is train, which does then with what its flags came to.
func trainCommand(then func(cmd *cobra.Command, o *trainFlags, dir string, cfg train.Config) error) *cobra.Command {
	cfg := train.DefaultConfig()
	var o trainFlags
	cmd := &cobra.Command{
		Use:   "train DIR --out MODEL",
		Short: "train a model on DIR/train.csv, and keep the epoch that is best on DIR/val.csv",
		Long: `train reads the listings that prepare leaves in DIR, trains, and keeps in MODEL
the epoch with the best macro-F1 on DIR/val.csv. DIR/test.csv, if it is there,
is measured and decides nothing.

An interrupted run goes on with --resume and the same flags, and ends with the
same weights, bit for bit, as if it had never stopped. The number of cores
does not change the weights either.

With --workers it trains in rounds, here or on a cluster: each worker takes
steps with its share of an epoch, what they have come to is averaged, and so on.
One worker comes to the same weights as none. MODEL/rounds.jsonl tells who was
where. On a cluster --parallelism is the number of machines, which share the
workers evenly.`,
		Example: `  logobeam train data --out my-model
  logobeam train data --out my-model --freeze            # only the head: minutes
  logobeam train data --out cnn --arch article-cnn       # from nothing, as the article
  logobeam train /shared/data --out /shared/model --workers 8 --sync 0.25 \
    --runner flink --endpoint jobs:8099 --parallelism 8`,
		Args: exactly("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.out == "" {
				return usagef("--out is missing: name the folder that the model is written to")
			}
			if o.from() != initNone {
				for name, value := range fineTuning() {
					if f := cmd.Flags().Lookup(name); !f.Changed {
						if err := f.Value.Set(value); err != nil {
							return err
						}
					}
				}
				if !cmd.Flags().Changed("head-epochs") { // there are too few for some
					cfg.HeadEpochs = min(cfg.HeadEpochs, cfg.Epochs/4)
				}
				if !cmd.Flags().Changed("views") && o.scoring != "crop" && o.scoring != "squash" { // a list of one's own need not have others
					o.views = 1
				}
			}
			if o.overwrite && cfg.Resume {
				return usagef("--resume goes on with a run and --overwrite gives it up: choose one")
			}
			if !(o.share > 0 && o.share <= 1) {
				return usagef("--share is %v: want more than 0 and at most 1", o.share)
			}
			if o.size < 0 {
				return usagef("--size is %d: want at least 1, or 0 for the architecture's", o.size)
			}
			var err error
			if o.folder, err = workFolder(o.out); err != nil {
				return err
			}
			cfg.State, cfg.BadBatch = filepath.Join(o.folder, stateFile), filepath.Join(o.folder, badBatch)
			if cfg.Devices, err = parseDevices(o.devices); err != nil {
				return err
			}
			if err := o.checkRounds(cmd, args[0], &cfg); err != nil {
				return err
			}
			if err := cfg.Validate(); err != nil {
				return usageError{err}
			}
			if !cmd.Flags().Changed("arch") && o.initModel() {
				if err := o.adopt(cmd.Context()); err != nil {
					return err
				}
			}
			if o.base == nil {
				if _, err := model.New(o.arch, 2); err != nil {
					return usageError{err}
				}
			}
			if o.plot != "" {
				if ext := filepath.Ext(o.plot); ext != ".svg" && ext != ".png" {
					return usagef("--plot %s: want a name that ends in .svg or .png", o.plot)
				}
				if store.IsRemote(o.plot) {
					return usagef("--plot %s: name a file on this machine", o.plot)
				}
				if folder := filepath.Dir(o.plot); folder != filepath.Clean(o.out) { // which may not be there yet
					if err := checkFolder("--plot", folder); err != nil {
						return err
					}
				}
			}
			if cfg.Precision == train.BF16 && !kernel.HasBFloat16() {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: this processor (%s) has no instruction for bfloat16: --precision fp32 is many times as fast\n", kernel.Features())
			}
			return then(cmd, &o, args[0], cfg)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.out, "out", "", "folder of the model, or gs://bucket/prefix, which gets it when training has ended")
	f.StringVar(&o.arch, "arch", "efficientnet-lite0", "architecture: "+strings.Join(model.Architectures(), ", ")+"; where --init names a model, its own unless this is given")
	f.StringVar(&o.init, "init", "", "`builtin|none|FILE` whose weights to begin with: FILE is a safetensors file with PyTorch's names, or the folder of a model (or gs://bucket/prefix) (default builtin for efficientnet-lite0, none for the others)")
	f.StringVar(&o.augment, "augment", "light", "random transforms in training: `none|light|strong|FILE`, a JSON file with a list (logobeam show --by-step draws them)")
	f.StringVar(&o.scoring, "transforms", "crop", "transforms in scoring, `crop|squash|FILE`: the short side, then the centre; all of the picture; or a JSON file with a list")
	f.IntVar(&o.size, "size", 0, "height and width of the network's input (default the architecture's)")
	f.Float64Var(&o.share, "share", 1, "share of the training photographs to learn from, of each class at least one; --seed draws them")
	f.IntVar(&o.views, "views", 0, viewsUsage)
	f.Lookup("views").DefValue = "1"
	f.BoolVar(&o.half, "half", false, "keep the weights in float16")
	f.BoolVar(&o.overwrite, "overwrite", false, "replace a model or an unfinished run in --out")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object an epoch, and progress as JSON lines on standard error")
	f.BoolVar(&o.skipTest, "no-test", false, "leave DIR/test.csv alone")
	f.BoolVar(&o.noReport, "no-report", false, "do not write MODEL/report.html: curves, confusion, worst mistakes")
	f.StringVar(&o.plot, "plot", "", "draw the learning curves to this SVG or PNG file")
	f.StringVar(&o.description, "description", "", "what to say of the model in its card")
	f.StringArrayVar(&o.sources, "source", nil, "photographs or weights to name in the card, with their licence; may be repeated")

	f.IntVar(&cfg.Epochs, "epochs", cfg.Epochs, "how often to go through the training photographs")
	f.IntVar(&cfg.Batch, "batch", cfg.Batch, "photographs a step, of --workers each")
	f.IntVar(&cfg.Slices, "slices", cfg.Slices, "parts that a batch is cut into, as many as cores can work on")
	f.IntVar(&cfg.Cores, "cores", 0, "cores to use, of --workers each (default all, which the workers on a machine share)")
	f.StringVar(&o.devices, "devices", train.CPU.Kind, "devices that share each batch, such as cpu,cpu; this build has "+strings.Join(kinds(), ", "))
	f.StringVar(&cfg.Precision, "precision", cfg.Precision, "`fp32|bf16`: bf16 multiplies in bfloat16 and sums in float32, faster where the processor has AVX512_BF16 and far slower elsewhere")
	f.Uint64Var(&cfg.Seed, "seed", 1, "seed of everything that is random")
	f.StringVar(&cfg.Solver, "solver", cfg.Solver, "`sgd|adamw`: the method of descent")
	f.Float64Var(&cfg.LearningRate, "lr", cfg.LearningRate, "learning rate at its highest")
	f.StringVar(&cfg.Scaling, "lr-scaling", cfg.Scaling, "`none|linear|sqrt`: how --lr grows with --batch, times --workers, beyond --base-batch: linear for sgd, with --warmup, sqrt for adamw")
	f.IntVar(&cfg.BaseBatch, "base-batch", cfg.BaseBatch, "photographs a step that --lr is right for")
	f.Float64Var(&cfg.ClipNorm, "clip-norm", cfg.ClipNorm, "the most that the norm of a step's gradient may be: a longer one is scaled down (0: whatever it is)")
	f.Float64Var(&cfg.HeadRate, "head-lr", cfg.HeadRate, "factor on the learning rate of the last layer")
	f.Float64Var(&cfg.LayerRate, "layer-lr", cfg.LayerRate, "factor on the learning rate of the first layer; between it and the last the factor grows")
	f.IntVar(&cfg.HeadEpochs, "head-epochs", cfg.HeadEpochs, "epochs in which the last layer learns alone, before all do")
	f.Float64Var(&cfg.Average, "ema", cfg.Average, "time constant, in epochs, of the moving average of the weights, which is what is kept (0: none)")
	f.IntVar(&cfg.TrainSize, "train-size", cfg.TrainSize, "height and width of photographs in training, where others than --size are cheaper or better (default as --size)")
	f.Float64Var(&cfg.Momentum, "momentum", cfg.Momentum, "momentum of sgd")
	f.BoolVar(&cfg.Nesterov, "nesterov", cfg.Nesterov, "look ahead, as Nesterov (sgd)")
	f.Float64Var(&cfg.WeightDecay, "weight-decay", cfg.WeightDecay, "weight decay")
	f.StringVar(&cfg.Schedule, "schedule", cfg.Schedule, "of the learning rate: constant, step or cosine")
	f.Float64Var(&cfg.Warmup, "warmup", cfg.Warmup, "epochs in which the learning rate climbs to its highest")
	f.IntVar(&cfg.StepEpochs, "step-epochs", cfg.StepEpochs, "epochs between two falls of the step schedule")
	f.Float64Var(&cfg.StepFactor, "step-factor", cfg.StepFactor, "what the step schedule multiplies by")
	f.Float64Var(&cfg.LabelSmoothing, "label-smoothing", cfg.LabelSmoothing, "share of a label spread over all classes")
	f.Float64Var(&cfg.Mixup, "mixup", cfg.Mixup, "mix pairs of photographs: alpha of mixup, 0 for none")
	f.Float64Var(&cfg.Cutmix, "cutmix", cfg.Cutmix, "exchange rectangles of pairs of photographs: alpha of CutMix, as 1; 0 for none")
	f.StringVar(&cfg.Balance, "balance", cfg.Balance, "how often a class is drawn: none (as it occurs), sqrt, full (all alike)")
	f.BoolVar(&cfg.Freeze, "freeze", cfg.Freeze, "train the last layer alone")
	f.Float64Var(&cfg.FreezeShare, "freeze-share", cfg.FreezeShare, "leave this share of the layers as they are, from the first: they cost the most to teach")
	f.StringVar(&cfg.Best, "best", cfg.Best, "what makes an epoch the best on validation: macro-f1 or accuracy")
	f.BoolVar(&cfg.Resume, "resume", false, "go on with an interrupted run")
	limitFlags(cmd, &o.limits)
	heading(cmd, "Flags")

	f.IntVar(&o.rounds.Workers, "workers", 0, "workers that train in rounds, each with its share of an epoch (default none: train here, without rounds)")
	f.Float64Var(&o.rounds.Sync, "sync", 1, "part of an epoch after which the workers are averaged: 1, 0.5, 0.25 or another 1/n")
	f.Float64Var(&o.rounds.Outer.LearningRate, "outer-lr", 1, "how far a round goes along the workers' mean: 1 is the mean, 0.7 is DiLoCo's")
	f.Float64Var(&o.rounds.Outer.Momentum, "outer-momentum", 0, "Nesterov momentum of rounds: 0.9 is DiLoCo's")
	f.StringVar(&o.rounds.Runner, "runner", "prism", "`name` of what runs the workers: "+strings.Join(pipelines.Runners(), ", ")+" (logobeam help runners)")
	flinkFlags(cmd, &o.rounds.Flink)
	heading(cmd, "Workers")
	beamFlags(cmd)
	for name, value := range fineTuning() {
		l := f.Lookup(name)
		l.DefValue = value + ", or " + l.DefValue + " with --init none"
	}
	return cmd
}

// fineTuning are the defaults of the flags whose defaults are others where training begins with trained weights.
func fineTuning() map[string]string {
	c := train.FineTuneConfig()
	return map[string]string{
		"epochs":          fmt.Sprint(c.Epochs),
		"batch":           fmt.Sprint(c.Batch),
		"base-batch":      fmt.Sprint(c.BaseBatch),
		"solver":          c.Solver,
		"lr":              fmt.Sprint(c.LearningRate),
		"head-lr":         fmt.Sprint(c.HeadRate),
		"layer-lr":        fmt.Sprint(c.LayerRate),
		"head-epochs":     fmt.Sprint(c.HeadEpochs),
		"ema":             fmt.Sprint(c.Average),
		"freeze-share":    fmt.Sprint(c.FreezeShare),
		"mixup":           fmt.Sprint(c.Mixup),
		"views":           "2", // what is best at no more than twice the cost of one
		"augment":         "strong",
		"weight-decay":    fmt.Sprint(c.WeightDecay),
		"schedule":        c.Schedule,
		"warmup":          fmt.Sprint(c.Warmup),
		"label-smoothing": fmt.Sprint(c.LabelSmoothing),
	}
}

// from is what --init says, or what is meant where it says nothing.
func (o *trainFlags) from() string {
	switch {
	case o.init != "":
		return o.init
	case o.arch == "efficientnet-lite0":
		return initBuiltin
	}
	return initNone
}

// stateFile lies in the model's folder while a run is not finished, badBatch after one that has met a loss or a gradient
// that is not finite.
const (
	stateFile = "training.state"
	badBatch  = "bad-batch"
)

// checkRounds completes what is said of workers, and looks at what can be wrong.
func (o *trainFlags) checkRounds(cmd *cobra.Command, dir string, cfg *train.Config) error {
	if o.rounds.Workers == 0 {
		for _, name := range append([]string{"sync", "outer-lr", "outer-momentum", "runner"}, clusterFlags...) {
			if cmd.Flags().Changed(name) {
				return usagef("--%s is about workers that train in rounds: say how many with --workers", name)
			}
		}
		return nil
	}
	if o.rounds.Workers > 1 {
		cfg.Workers = o.rounds.Workers
	}
	o.rounds.Data, o.rounds.Out, o.rounds.Train = dir, o.out, *cfg
	if err := o.rounds.Validate(); err != nil {
		return usageError{err}
	}
	if err := checkRunner(cmd, o.rounds.Runner); err != nil {
		return err
	}
	cfg.State = store.Join(o.out, pipelines.RoundsFile)
	return nil
}

// initModel says whether --init names a model, in a folder or a bucket.
func (o *trainFlags) initModel() bool {
	if o.init == "" || o.init == initBuiltin || o.init == initNone {
		return false
	}
	info, err := os.Stat(o.init)
	return store.IsRemote(o.init) || err == nil && info.IsDir()
}

// adopt takes the architecture of the model that --init names, or its network if that was imported.
func (o *trainFlags) adopt(ctx context.Context) error {
	m, err := classifier.Read(ctx, o.init)
	if err != nil {
		return err
	}
	if o.arch = m.Network.Arch; !slices.Contains(model.Architectures(), o.arch) {
		o.base = m
	}
	return nil
}

// network is that which is trained, without weights.
func (o *trainFlags) network(classes int) (net model.Network, err error) {
	if o.base != nil {
		net, err = o.base.Network.WithClasses(classes)
	} else {
		net, err = model.New(o.arch, classes)
	}
	if o.size > 0 {
		net.Input.H, net.Input.W = o.size, o.size
	}
	return net, err
}

// normalisation is what the network wants its input divided by, which a list of transforms ends with.
func (o *trainFlags) normalisation() (mean, std [3]float64, err error) {
	if o.base == nil {
		mean, std = model.Normalisation(o.arch)
		return mean, std, nil
	}
	steps, err := classifier.Transforms(o.base)
	if err != nil {
		return mean, std, fmt.Errorf("%s: %w", o.init, err)
	}
	last := steps[len(steps)-1].(transforms.Normalise)
	return last.Mean, last.Std, nil
}

// prepare opens what a run is to learn from. The model has no weights yet.
func (o *trainFlags) prepare(dir string, cfg train.Config) (m model.Model, data train.Data, err error) {
	classes, err := corpus.Classes(filepath.Join(dir, "train.csv"))
	if err != nil {
		return m, data, err
	}
	net, err := o.network(len(classes))
	if err != nil {
		return m, data, err
	}
	scoring, training, err := o.lists(net, cfg)
	if err != nil {
		return m, data, err
	}
	if o.views > 0 {
		if _, err := transforms.Views(scoring, o.views); err != nil {
			return m, data, usageError{err}
		}
	}
	data, images, err := o.data(dir, classes, scoring, training, cfg)
	if err != nil {
		return m, data, err
	}
	list, err := json.Marshal(scoring)
	if err != nil {
		return m, data, err
	}
	config, err := json.Marshal(cfg)
	if err != nil {
		return m, data, err
	}
	m = model.Model{Network: net, Card: model.Card{
		Classes: classes, Transforms: list, Views: o.views, Description: o.description, Sources: o.sources, Program: "logobeam " + version(),
		Training: &model.Training{Arguments: o.arguments, Seed: cfg.Seed, Epochs: cfg.Epochs, Frozen: cfg.Freeze, Images: images, Config: config},
	}}
	return m, data, nil
}

// run trains, with hooks after those of its own.
func (o *trainFlags) run(ctx context.Context, stdout, stderr io.Writer, dir string, cfg train.Config, hooks ...train.Hook) error {
	if err := o.checkOut(ctx, cfg); err != nil {
		return err
	}
	m, data, err := o.prepare(dir, cfg)
	if err != nil {
		return err
	}
	if m.Params, m.Card.Training.Init, err = o.weights(ctx, m.Network, m.Card.Classes, cfg.Seed); err != nil {
		return err
	}
	if err := m.Validate(); err != nil { // now, rather than when the first epoch is to be saved
		return err
	}

	var seen, epoch atomic.Int64 // images of all epochs, the epoch under way
	total := int64(data.Train.Len())
	var since pace // of all epochs, validation included
	show := func() (stop func()) {
		return watch(ctx, stderr, "training", func() tick {
			return since.of(tick{done: seen.Load(), total: total * int64(cfg.Epochs), note: fmt.Sprintf("epoch %d of %d", epoch.Load(), cfg.Epochs)})
		})
	}
	var stop func()
	progress := train.Hook{Name: "show the progress",
		OnStep: func(_ context.Context, s train.StepInfo) error {
			epoch.Store(int64(s.Epoch))
			seen.Store(int64(s.Epoch-1)*total + int64(s.Images))
			if stop == nil { // only now a resumed run says where it was
				since = newPace(seen.Load())
				stop = show()
			}
			return nil
		},
		OnEpoch: func(_ context.Context, e train.Epoch, _ model.Params) error {
			if stop != nil { // workers may have taken all steps before a run was resumed
				stop() // a bar and a line do not mix
			}
			defer func() { stop = show() }()
			if o.asJSON {
				return json.NewEncoder(stdout).Encode(e)
			}
			_, err := fmt.Fprintln(stdout, epochLine(e, cfg.Epochs))
			return err
		},
	}
	if err := os.RemoveAll(cfg.BadBatch); err != nil {
		return err
	}
	hooks = append([]train.Hook{progress}, hooks...)
	if o.plot != "" {
		hooks = append(hooks, train.Hook{Name: "draw the learning curves", OnEnd: func(_ context.Context, r train.Result) error {
			return writeCurves(o.plot, []report.Curve{{Name: o.arch, Seeds: [][]report.Point{points(r.History)}}})
		}})
	}
	result, err := o.train(ctx, m, data, cfg, hooks)
	if stop != nil {
		stop()
	}
	if err != nil {
		if ctx.Err() != nil {
			fmt.Fprintf(stderr, "logobeam: stopped after epoch %d; go on with the same command and --resume\n", len(result.History))
		}
		if bad := (*train.NotFiniteError)(nil); errors.As(err, &bad) && bad.Batch != "" {
			fmt.Fprintf(stderr, "to see the photographs of that batch: logobeam show %s --transforms %s --epoch %d --seed %d --out batch.png\n",
				filepath.Join(bad.Batch, "batch.csv"), o.augment, bad.Epoch, cfg.Seed)
		}
		return err
	}
	alone := o.rounds.Workers == 0 // rounds keep the model and their states where they belong
	if alone && o.folder != o.out {
		if err := classifier.Publish(ctx, o.folder, o.out); err != nil {
			return fmt.Errorf("%w; the same command with --resume tries again", err)
		}
	}
	best := result.History[result.Best]
	fmt.Fprintf(stderr, "%s holds epoch %d: macro-F1 %s on validation\n", o.out, best.Epoch, figure(best.Validation.MacroF1))
	if best.Validation.Accuracy <= best.Validation.Majority {
		fmt.Fprintln(stderr, "warning: this model is no better on validation than giving the commonest answer to everything")
	}
	if !o.noReport {
		o.report(ctx, stderr, dir, result.History)
	}
	switch {
	case !alone:
		return nil
	case o.folder != o.out:
		return os.RemoveAll(o.folder)
	}
	return os.Remove(cfg.State)
}

// train trains, with workers in rounds or without. A run that --overwrite gives up goes now, when nothing is wrong with this
// one.
func (o *trainFlags) train(ctx context.Context, m model.Model, data train.Data, cfg train.Config, hooks []train.Hook) (train.Result, error) {
	if !cfg.Resume { // the state of a run without workers
		if err := os.Remove(filepath.Join(o.folder, stateFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return train.Result{}, err
		}
	}
	if o.rounds.Workers > 0 {
		c := o.rounds
		c.Options, c.Test, c.Model, c.Half, c.Train, c.Resume = o.options, data.Test != nil, m, o.half, cfg, cfg.Resume
		return pipelines.Train(ctx, c, hooks...) // which gives up rounds
	}
	if !cfg.Resume {
		if err := pipelines.ForgetRounds(ctx, o.out); err != nil {
			return train.Result{}, err
		}
	}
	return train.Run(ctx, m.Network, m.Params, data, cfg, append([]train.Hook{hooks[0], train.SaveBest(o.folder, m, o.half)}, hooks[1:]...)...)
}

// workFolder is the folder in which a model is trained: its own, or one of this machine's caches, always the same, for
// a model that goes to a bucket.
func workFolder(out string) (string, error) {
	if !store.IsRemote(out) {
		return out, nil
	}
	caches, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder to train in: %w", err)
	}
	return filepath.Join(caches, "logobeam", fmt.Sprintf("train-%x", sha256.Sum256([]byte(out)))[:22]), nil
}

// checkOut keeps a run from replacing what somebody may still want.
func (o *trainFlags) checkOut(ctx context.Context, cfg train.Config) error {
	finished, err := classifier.Exists(ctx, o.out)
	if err != nil {
		return err
	}
	inRounds, err := pipelines.InRounds(ctx, o.out)
	if err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(o.folder, stateFile))
	alone := err == nil
	unfinished := inRounds || alone
	switch {
	case o.overwrite:
	case inRounds && o.rounds.Workers == 0:
		return fmt.Errorf("%s holds an unfinished run of workers: go on with --workers and --resume, replace it with --overwrite, or choose another --out", o.out)
	case alone && o.rounds.Workers > 0:
		return fmt.Errorf("%s holds an unfinished run without workers: go on without --workers and with --resume, replace it with --overwrite, or choose another --out", o.out)
	case unfinished && !cfg.Resume:
		return fmt.Errorf("%s holds an unfinished run: go on with --resume, replace it with --overwrite, or choose another --out", o.out)
	case !unfinished && finished:
		return fmt.Errorf("%s holds a finished model: replace it with --overwrite, or choose another --out", o.out)
	}
	return nil
}

// lists are the transforms of scoring, which the model keeps, and those of training.
func (o *trainFlags) lists(net model.Network, cfg train.Config) (scoring, training transforms.List, err error) {
	mean, std, err := o.normalisation()
	if err != nil {
		return nil, nil, err
	}
	size := net.Input.H
	switch o.scoring {
	case "crop":
		scoring = transforms.DefaultScoring(size, mean, std)
	case "squash":
		scoring = squash(size, size, mean, std)
	default:
		if scoring, err = readList(o.scoring); err != nil {
			return nil, nil, err
		}
	}
	trainSize := cmp.Or(cfg.TrainSize, size)
	if training = scoring; o.augment != "none" {
		if training, err = augmentation(o.augment, trainSize, mean, std); err != nil {
			return nil, nil, err
		}
	} else if trainSize != size {
		return nil, nil, usagef("--train-size %d with --augment none: without random crops there is nothing to make up for the size", trainSize)
	}
	for _, list := range []struct {
		transforms.List
		size int
	}{{scoring, size}, {training, trainSize}} {
		if err := list.Validate(); err != nil {
			return nil, nil, err
		}
		if w, h := list.Size(); w != list.size || h != list.size {
			return nil, nil, usagef("the transforms make pictures of %d x %d, and %s takes %d x %d", w, h, net.Arch, list.size, list.size)
		}
	}
	return scoring, training, nil
}

// data opens the listings of DIR, and counts their photographs.
func (o *trainFlags) data(dir string, classes []string, scoring, training transforms.List, cfg train.Config) (train.Data, map[string]int, error) {
	o.options = corpus.Options{Classes: classes, Training: training, Scoring: scoring, Views: o.views, Seed: cfg.Seed, Share: o.share, Limits: o.limits}
	_, err := os.Stat(filepath.Join(dir, "test.csv"))
	d, err := corpus.OpenSplits(dir, o.options, !o.skipTest && !errors.Is(err, os.ErrNotExist))
	if err != nil {
		return d, nil, err
	}
	images := map[string]int{"train": d.Train.Len(), "validation": d.Validation.Len()}
	if d.Test != nil {
		images["test"] = d.Test.Len()
	}
	return d, images, nil
}

// weights are those to begin with, and what to say of them in the card.
func (o *trainFlags) weights(ctx context.Context, net model.Network, classes []string, seed uint64) (model.Params, string, error) {
	from := o.from()
	if from == initNone {
		params, err := model.Init(net, seed)
		return params, "", err
	}
	if from == initBuiltin || o.initModel() {
		dir := from
		if from == initBuiltin {
			dir = ""
		}
		m, err := classifier.Read(ctx, dir)
		if err != nil {
			return nil, "", err
		}
		params, _, err := model.Transfer(net, classes, m, seed)
		return params, fmt.Sprintf("%s model %s", m.Network.Arch, m.Hash()), err
	}
	params, _, err := model.Import(net, from, true, seed)
	if err != nil {
		return nil, "", err
	}
	weights, err := os.Open(from)
	if err != nil {
		return nil, "", err
	}
	defer weights.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, weights); err != nil {
		return nil, "", err
	}
	return params, fmt.Sprintf("%s, sha256 %x", filepath.Base(from), sum.Sum(nil)), nil
}

// points are epochs as learning curves show them.
func points(epochs []train.Epoch) []report.Point {
	var list []report.Point
	for _, e := range epochs {
		list = append(list, report.Point{Epoch: e.Epoch, MacroF1: float64(e.Validation.MacroF1), Loss: e.Loss})
	}
	return list
}

// writeCurves draws learning curves to an SVG or PNG file.
func writeCurves(path string, curves []report.Curve) error {
	picture, err := report.LearningCurves(curves, strings.TrimPrefix(filepath.Ext(path), "."))
	if err != nil {
		return err
	}
	return replaceText(path, picture)
}

// epochLine is the one line that an epoch leaves in the log.
func epochLine(e train.Epoch, epochs int) string {
	line := fmt.Sprintf("epoch %*d/%d  loss %.4f  accuracy train %s val %s", len(fmt.Sprint(epochs)), e.Epoch, epochs, e.Loss,
		figure(e.TrainAccuracy), figure(e.Validation.Accuracy))
	if e.Test != nil {
		line += " test " + figure(e.Test.Accuracy)
	}
	line += fmt.Sprintf(" (commonest %s)  macro-F1 val %s", figure(e.Validation.Majority), figure(e.Validation.MacroF1))
	if e.Test != nil {
		line += " test " + figure(e.Test.MacroF1)
	}
	line += fmt.Sprintf("  logo recall val %s", figure(e.Validation.LogoRecall))
	if e.Test != nil {
		line += " test " + figure(e.Test.LogoRecall)
	}
	line += fmt.Sprintf("  lr %.2g  %.1f s  %.1f img/s", e.LearningRate, e.Seconds, e.ImagesPerSecond)
	if e.Best {
		line += "  best"
	}
	return line
}
