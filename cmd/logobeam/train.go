package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/kernel"
	"github.com/logobeam/logobeam/model/train"
	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/corpus"
	"github.com/logobeam/logobeam/pipelines/store"
	"github.com/logobeam/logobeam/transforms"
)

// trainFlags are the flags of train that are not train.Config's.
type trainFlags struct {
	arch, init, out  string
	folder           string // where training keeps its model and state: out, or a folder here for one in a bucket
	augment, scoring string
	size, views      int
	half, overwrite  bool
	asJSON, skipTest bool
	description      string
	sources          []string
	limits           transforms.Limits
}

const (
	initBuiltin = "builtin"
	initNone    = "none"
)

func newTrain() *cobra.Command {
	cfg := train.DefaultConfig()
	var o trainFlags
	cmd := &cobra.Command{
		Use:   "train DIR --out MODEL",
		Short: "train a model on DIR/train.csv, and keep the epoch that is best on DIR/val.csv",
		Long: `train reads the listings that prepare leaves in DIR, trains, and keeps in MODEL
the epoch with the best macro-F1 on DIR/val.csv. DIR/test.csv, if it is there,
is measured and decides nothing.

An interrupted run goes on with --resume and the same flags, and ends with the
same weights, bit for bit, as if it had never stopped. The number of workers
does not change the weights either.`,
		Example: `  logobeam train data --out my-model
  logobeam train data --out my-model --freeze            # only the head: minutes
  logobeam train data --out cnn --arch article-cnn       # from nothing, as the article`,
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
			}
			if o.overwrite && cfg.Resume {
				return usagef("--resume goes on with a run and --overwrite gives it up: choose one")
			}
			if o.size < 0 {
				return usagef("--size is %d: want at least 1, or 0 for the architecture's", o.size)
			}
			var err error
			if o.folder, err = workFolder(o.out); err != nil {
				return err
			}
			cfg.State = filepath.Join(o.folder, stateFile)
			if err := cfg.Validate(); err != nil {
				return usageError{err}
			}
			if _, err := model.New(o.arch, 2); err != nil {
				return usageError{err}
			}
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0], cfg)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.out, "out", "", "folder of the model, or gs://bucket/prefix, which gets it when training has ended")
	f.StringVar(&o.arch, "arch", "efficientnet-lite0", "architecture: "+strings.Join(model.Architectures(), ", "))
	f.StringVar(&o.init, "init", "", "weights to begin with: a safetensors file with PyTorch's names, the folder of a model (or gs://bucket/prefix), builtin, or none (default builtin for efficientnet-lite0, none for the others)")
	f.StringVar(&o.augment, "augment", "light", "random transforms in training: none, light, strong, or a JSON file with a list (logobeam show --by-step draws them)")
	f.StringVar(&o.scoring, "transforms", "crop", "transforms in scoring: crop (short side, then the centre), squash (all of the picture), or a JSON file with a list")
	f.IntVar(&o.size, "size", 0, "height and width of the network's input (default the architecture's)")
	viewsFlag(cmd, &o.views)
	f.BoolVar(&o.half, "half", false, "keep the weights in float16")
	f.BoolVar(&o.overwrite, "overwrite", false, "replace a model or an unfinished run in --out")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object an epoch")
	f.BoolVar(&o.skipTest, "no-test", false, "leave DIR/test.csv alone")
	f.StringVar(&o.description, "description", "", "what to say of the model in its card")
	f.StringArrayVar(&o.sources, "source", nil, "photographs or weights to name in the card, with their licence; may be repeated")

	f.IntVar(&cfg.Epochs, "epochs", cfg.Epochs, "how often to go through the training photographs")
	f.IntVar(&cfg.Batch, "batch", cfg.Batch, "photographs a step")
	f.IntVar(&cfg.Slices, "slices", cfg.Slices, "parts that a batch is cut into, as many as cores can work on")
	f.IntVar(&cfg.Workers, "workers", 0, "cores to use (default all)")
	f.StringVar(&cfg.Precision, "precision", cfg.Precision, "fp32, or bf16: multiply in bfloat16 and sum in float32, faster where the processor has AVX512_BF16 and far slower elsewhere")
	f.Uint64Var(&cfg.Seed, "seed", 1, "seed of everything that is random")
	f.StringVar(&cfg.Solver, "solver", cfg.Solver, "sgd or adamw")
	f.Float64Var(&cfg.LearningRate, "lr", cfg.LearningRate, "learning rate at its highest")
	f.Float64Var(&cfg.HeadRate, "head-lr", cfg.HeadRate, "factor on the learning rate of the last layer")
	f.Float64Var(&cfg.Momentum, "momentum", cfg.Momentum, "momentum of sgd")
	f.BoolVar(&cfg.Nesterov, "nesterov", cfg.Nesterov, "look ahead, as Nesterov (sgd)")
	f.Float64Var(&cfg.WeightDecay, "weight-decay", cfg.WeightDecay, "weight decay")
	f.StringVar(&cfg.Schedule, "schedule", cfg.Schedule, "of the learning rate: constant, step or cosine")
	f.Float64Var(&cfg.Warmup, "warmup", cfg.Warmup, "epochs in which the learning rate climbs to its highest")
	f.IntVar(&cfg.StepEpochs, "step-epochs", cfg.StepEpochs, "epochs between two falls of the step schedule")
	f.Float64Var(&cfg.StepFactor, "step-factor", cfg.StepFactor, "what the step schedule multiplies by")
	f.Float64Var(&cfg.LabelSmoothing, "label-smoothing", cfg.LabelSmoothing, "share of a label spread over all classes")
	f.Float64Var(&cfg.Mixup, "mixup", cfg.Mixup, "mix pairs of photographs: alpha of mixup, as 0.2 (default none)")
	f.Float64Var(&cfg.Cutmix, "cutmix", cfg.Cutmix, "exchange rectangles of pairs of photographs: alpha of CutMix, as 1 (default none)")
	f.StringVar(&cfg.Balance, "balance", cfg.Balance, "how often a class is drawn: none (as it occurs), sqrt, full (all alike)")
	f.BoolVar(&cfg.Freeze, "freeze", cfg.Freeze, "train the last layer alone")
	f.StringVar(&cfg.Best, "best", cfg.Best, "what makes an epoch the best on validation: macro-f1 or accuracy")
	f.BoolVar(&cfg.Resume, "resume", false, "go on with an interrupted run")
	limitFlags(cmd, &o.limits)
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
		"solver":          c.Solver,
		"lr":              fmt.Sprint(c.LearningRate),
		"head-lr":         fmt.Sprint(c.HeadRate),
		"weight-decay":    fmt.Sprint(c.WeightDecay),
		"schedule":        c.Schedule,
		"warmup":          fmt.Sprint(c.Warmup),
		"label-smoothing": fmt.Sprint(c.LabelSmoothing),
		"balance":         c.Balance,
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

// stateFile lies in the model's folder while a run is not finished.
const stateFile = "training.state"

func (o *trainFlags) run(ctx context.Context, stdout, stderr io.Writer, dir string, cfg train.Config) error {
	if err := o.checkOut(ctx, cfg); err != nil {
		return err
	}
	if cfg.Precision == train.BF16 && !kernel.HasBFloat16() {
		fmt.Fprintf(stderr, "warning: this processor (%s) has no instruction for bfloat16: --precision fp32 is many times as fast\n", kernel.Features())
	}
	classes, err := corpus.Classes(filepath.Join(dir, "train.csv"))
	if err != nil {
		return err
	}
	net, err := model.New(o.arch, len(classes))
	if err != nil {
		return err
	}
	if o.size > 0 {
		net.Input.H, net.Input.W = o.size, o.size
	}
	scoring, training, err := o.lists(net)
	if err != nil {
		return err
	}
	data, images, err := o.data(dir, classes, scoring, training, cfg)
	if err != nil {
		return err
	}
	params, init, err := o.weights(ctx, net, classes, cfg.Seed)
	if err != nil {
		return err
	}
	if o.views > 0 {
		if _, err := transforms.Views(scoring, o.views); err != nil {
			return usageError{err}
		}
	}
	list, err := json.Marshal(scoring)
	if err != nil {
		return err
	}
	config, err := json.Marshal(cfg)
	if err != nil {
		return err
	}
	m := model.Model{Network: net, Card: model.Card{
		Classes: classes, Transforms: list, Views: o.views, Description: o.description, Sources: o.sources, Program: "logobeam " + version(),
		Training: &model.Training{Arguments: os.Args[1:], Seed: cfg.Seed, Epochs: cfg.Epochs, Init: init, Frozen: cfg.Freeze, Images: images, Config: config},
	}}

	whole := m
	whole.Params = params
	if err := whole.Validate(); err != nil { // now, rather than when the first epoch is to be saved
		return err
	}

	var seen, epoch atomic.Int64 // images of all epochs, the epoch under way
	total := int64(data.Train.Len())
	show := func() (stop func()) {
		return watch(ctx, stderr, "training", func() tick {
			return tick{done: seen.Load(), total: total * int64(cfg.Epochs), note: fmt.Sprintf("epoch %d of %d", epoch.Load(), cfg.Epochs)}
		})
	}
	var stop func()
	progress := train.Hook{Name: "show the progress",
		OnStep: func(_ context.Context, s train.StepInfo) error {
			epoch.Store(int64(s.Epoch))
			seen.Store(int64(s.Epoch-1)*total + int64(s.Images))
			if stop == nil { // only now a resumed run says where it was
				stop = show()
			}
			return nil
		},
		OnEpoch: func(_ context.Context, e train.Epoch, _ model.Params) error {
			stop() // a bar and a line do not mix
			defer func() { stop = show() }()
			if o.asJSON {
				return json.NewEncoder(stdout).Encode(e)
			}
			_, err := fmt.Fprintln(stdout, epochLine(e, cfg.Epochs))
			return err
		},
	}
	if !cfg.Resume { // of a run that --overwrite gives up, now that nothing is wrong with this one
		if err := os.Remove(cfg.State); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	result, err := train.Run(ctx, net, params, data, cfg, progress, train.SaveBest(o.folder, m, o.half))
	if stop != nil {
		stop()
	}
	if err != nil {
		if ctx.Err() != nil {
			fmt.Fprintf(stderr, "logobeam: stopped after epoch %d; go on with the same command and --resume\n", len(result.History))
		}
		return err
	}
	if o.folder != o.out {
		if err := classifier.Publish(ctx, o.folder, o.out); err != nil {
			return fmt.Errorf("%w; the same command with --resume tries again", err)
		}
	}
	best := result.History[result.Best]
	fmt.Fprintf(stderr, "%s holds epoch %d: macro-F1 %s on validation\n", o.out, best.Epoch, figure(best.Validation.MacroF1))
	if best.Validation.Accuracy <= best.Validation.Majority {
		fmt.Fprintln(stderr, "warning: this model is no better on validation than giving the commonest answer to everything")
	}
	if o.views > 1 {
		fmt.Fprintf(stderr, "its probabilities are calibrated for one view: logobeam calibrate %s --model %s does it for %d\n", filepath.Join(dir, "val.csv"), o.out, o.views)
	}
	if o.folder != o.out {
		return os.RemoveAll(o.folder)
	}
	return os.Remove(cfg.State)
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
	_, err = os.Stat(cfg.State)
	switch unfinished := err == nil; {
	case o.overwrite:
	case unfinished && !cfg.Resume:
		return fmt.Errorf("%s holds an unfinished run: go on with --resume, replace it with --overwrite, or choose another --out", o.out)
	case !unfinished && finished:
		return fmt.Errorf("%s holds a finished model: replace it with --overwrite, or choose another --out", o.out)
	}
	return nil
}

// lists are the transforms of scoring, which the model keeps, and those of training.
func (o *trainFlags) lists(net model.Network) (scoring, training transforms.List, err error) {
	mean, std := model.Normalisation(net.Arch)
	size := net.Input.H
	switch o.scoring {
	case "crop":
		scoring = transforms.DefaultScoring(size, mean, std)
	case "squash":
		scoring = transforms.List{transforms.Orient{}, transforms.Resize{Width: size, Height: size}, transforms.Normalise{Mean: mean, Std: std}}
	default:
		if scoring, err = readList(o.scoring); err != nil {
			return nil, nil, err
		}
	}
	if training = scoring; o.augment != "none" {
		if training, err = augmentation(o.augment, size, mean, std); err != nil {
			return nil, nil, err
		}
	}
	for _, l := range []transforms.List{scoring, training} {
		if err := l.Validate(); err != nil {
			return nil, nil, err
		}
		if w, h := l.Size(); w != net.Input.W || h != net.Input.H {
			return nil, nil, usagef("the transforms make pictures of %d x %d, and %s takes %d x %d", w, h, net.Arch, net.Input.W, net.Input.H)
		}
	}
	return scoring, training, nil
}

// data opens the listings of DIR, and counts their photographs.
func (o *trainFlags) data(dir string, classes []string, scoring, training transforms.List, cfg train.Config) (train.Data, map[string]int, error) {
	d := train.Data{Classes: classes}
	images := map[string]int{}
	id := sha256.New()
	for _, split := range []struct {
		name, file string
		to         *train.Dataset
	}{{"train", "train.csv", &d.Train}, {"validation", "val.csv", &d.Validation}, {"test", "test.csv", &d.Test}} {
		path := filepath.Join(dir, split.file)
		if split.name == "test" {
			if _, err := os.Stat(path); o.skipTest || errors.Is(err, os.ErrNotExist) {
				continue
			}
		}
		set, err := corpus.Open(path, corpus.Options{Classes: classes, Training: training, Scoring: scoring, Seed: cfg.Seed, Limits: o.limits})
		if err != nil {
			return d, nil, err
		}
		*split.to = set
		images[split.name] = set.Len()
		fmt.Fprintln(id, split.name, set.ID())
	}
	d.ID = hex.EncodeToString(id.Sum(nil))
	return d, images, nil
}

// weights are those to begin with, and what to say of them in the card.
func (o *trainFlags) weights(ctx context.Context, net model.Network, classes []string, seed uint64) (model.Params, string, error) {
	from := o.from()
	if from == initNone {
		params, err := model.Init(net, seed)
		return params, "", err
	}
	if info, err := os.Stat(from); from == initBuiltin || store.IsRemote(from) || err == nil && info.IsDir() {
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
