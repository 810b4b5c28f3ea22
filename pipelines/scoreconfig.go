package pipelines

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/monitor"
	"github.com/logobeam/logobeam/pipelines/scores"
	"github.com/logobeam/logobeam/pipelines/store"
	"github.com/logobeam/logobeam/transforms"
)

// ScoreConfig says what to score and how. Listing and Out must be given; zero fields take the values of DefaultScoreConfig.
type ScoreConfig struct {
	Listing string          // a file, a pattern, or a folder of images; local or gs://
	Options listing.Options // its format, its columns, the rows of a chunk
	Out     string          // folder or gs:// prefix for what comes out
	Model   string          // folder or gs:// prefix of the model; empty for the built-in one
	// Config says how the model is run.
	classifier.Config
	Images  Images   // where photographs come from and what one may cost
	After   []string // outputs of earlier runs, whose scored posts are skipped
	Repeats bool     // work on an image that comes again as if it were new
	Workers int      // goroutines that decode and classify, in a process
	Batch   int      // photographs that a worker classifies at once; 0 for what suits the model
	Memory  int64    // bytes that a process may take
	Runner  string   // one of Runners
	Flink   Flink    // for that runner
	Program string   // name and version for the manifest

	// MaxRejects is the share of rejects above which the run ends early with ErrRejects, when that is plain
	// (monitor.Monitor.Tripped); nil for no such share.
	MaxRejects *float64
	Deadline   time.Time    // when the run ends with ErrDeadline, finished or not; zero for never
	Log        *slog.Logger // hears a line a chunk, and what is stuck; nil for nobody
	// Started, if there is one, is told where the run can be watched, before any row is worked on.
	Started func(*monitor.Monitor)
}

// Images says where photographs come from and what one may cost.
type Images struct {
	Root   string            // folder or gs:// prefix of relative paths; empty for the listing's own
	Limits transforms.Limits // for reading and decoding one
	Fetch  fetch.Config      // how they are got; its Root, MaxBytes and Memory are those of the run
}

// DefaultScoreConfig uses all cores, and a gigabyte of memory and 128 MB more for each.
func DefaultScoreConfig() ScoreConfig {
	cores := runtime.GOMAXPROCS(0)
	return ScoreConfig{
		Images:  Images{Limits: transforms.DefaultLimits(), Fetch: fetch.DefaultConfig()},
		Workers: cores, Memory: 1<<30 + int64(cores)<<27, Runner: "prism",
	}
}

// maxBatch is the most photographs that a worker may classify at once. Larger batches are no faster, and each
// photograph of one takes some megabytes.
const maxBatch = 1024

// Validate says what no run can have, whatever lies on the disk.
func (cfg ScoreConfig) Validate() error {
	_, err := cfg.complete()
	return err
}

// complete fills in what was left out, and checks the rest.
func (cfg ScoreConfig) complete() (ScoreConfig, error) {
	d := DefaultScoreConfig()
	if cfg.Listing == "" || cfg.Out == "" {
		return cfg, errors.New("score: a listing and an output folder must be named")
	}
	cfg.Workers = cmp.Or(cfg.Workers, d.Workers)
	cfg.Memory = cmp.Or(cfg.Memory, d.Memory)
	cfg.Runner = cmp.Or(cfg.Runner, d.Runner)
	l := &cfg.Images.Limits
	l.Bytes = cmp.Or(l.Bytes, d.Images.Limits.Bytes)
	l.Pixels = cmp.Or(l.Pixels, d.Images.Limits.Pixels)
	l.Memory = cmp.Or(l.Memory, d.Images.Limits.Memory)
	l.Time = cmp.Or(l.Time, d.Images.Limits.Time)
	reading := cfg.Options
	reading.Keep = nil // which Plan checks
	badReading := reading.Check()
	switch {
	case cfg.Workers < 1 || cfg.Batch < 0 || cfg.Memory < 1:
		return cfg, fmt.Errorf("score: %d workers, batches of %d, %d bytes of memory: want at least 1 of each", cfg.Workers, cfg.Batch, cfg.Memory)
	case l.Bytes < 1 || l.Pixels < 1 || l.Memory < 1 || l.Time < 0:
		return cfg, fmt.Errorf("score: photographs of at most %d bytes, %d pixels and %d bytes of memory, decoded in %v: want more than 0 of each",
			l.Bytes, l.Pixels, l.Memory, l.Time)
	case cfg.Batch > maxBatch:
		return cfg, fmt.Errorf("score: batches of %d photographs: want at most %d", cfg.Batch, maxBatch)
	case badReading != nil:
		return cfg, fmt.Errorf("score: %w", badReading)
	case cfg.Config.Validate() != nil:
		return cfg, fmt.Errorf("score: %w", cfg.Config.Validate())
	case !slices.Contains(Runners(), cfg.Runner):
		return cfg, fmt.Errorf("score: no runner %q: want one of %v", cfg.Runner, Runners())
	}
	if cfg.Runner == "dataflow" {
		for _, place := range append([]string{cfg.Out, cfg.Listing, cfg.Model, cfg.Images.Root}, cfg.After...) {
			if place != "" && !store.IsRemote(place) {
				return cfg, fmt.Errorf("score: %s is on this machine, where workers of Dataflow do not come: name a place in a bucket, gs://", place)
			}
		}
	}
	return cfg, nil
}

// describe is what tells the run from those with other results.
func (cfg ScoreConfig) describe(ctx context.Context, chunks []listing.Chunk, c *classifier.Classifier) (scores.Run, error) {
	truncated := "reject"
	if cfg.Images.Limits.Truncated {
		truncated = "score"
	}
	run := scores.Run{Listing: cfg.Listing, ListingHash: listing.Hash(chunks), Chunks: len(chunks), Model: cmp.Or(cfg.Model, builtIn), ModelHash: c.Model.Hash(), Keep: cfg.Options.Keep,
		After: cfg.After, Options: map[string]string{
			"root":       cfg.Images.Root,
			"pixels":     transforms.Pixels,
			"chunk-rows": strconv.Itoa(cfg.Options.ChunkRows),
			"max-bytes":  strconv.FormatInt(cfg.Images.Limits.Bytes, 10),
			"max-pixels": strconv.FormatInt(cfg.Images.Limits.Pixels, 10),
			"truncated":  truncated,
			"max-memory": strconv.FormatInt(cfg.Images.Limits.Memory, 10),
		}}
	maps.Copy(run.Options, modelOptions(c.Config))
	for _, c := range chunks {
		if c.File < len(run.Files) {
			continue
		}
		for len(run.Files) < c.File { // one without rows
			run.Files = append(run.Files, scores.File{})
		}
		f := scores.File{Location: c.Source, Root: cmp.Or(cfg.Images.Root, c.Root()), Format: string(c.Format)}
		run.PostID, run.Image = c.PostIDColumn, c.ImageColumn
		if err := absolute(&f.Location, &f.Root); err != nil { // a retry may be run from another folder
			return scores.Run{}, err
		}
		run.Files = append(run.Files, f)
	}
	if rows, exact := listing.Rows(chunks); exact {
		run.Rows = rows
	}
	return run, checkEarlier(ctx, cfg.After, run)
}

const builtIn = "built-in" // what a manifest calls that model

// modelOptions is how a model is run, by the flags that would say it. The device, views and the input's size are there if they are
// not as usual.
func modelOptions(c classifier.Config) map[string]string {
	options := map[string]string{"precision": string(c.Precision)}
	if c.BrandPrecision > 0 {
		options["precision"] += "," + strconv.FormatFloat(c.BrandPrecision, 'g', -1, 64)
	}
	if c.Device != "" {
		options["device"] = c.Device
	}
	if c.Views > 1 {
		options["views"] = strconv.Itoa(c.Views)
	}
	if c.Size > 0 {
		options["size"] = strconv.Itoa(c.Size)
	}
	return options
}

// configOf is how the model of a run is run, as modelOptions has it.
func configOf(run scores.Run) (c classifier.Config, err error) {
	c.Views, c.Device = 1, run.Options["device"]
	arithmetic, share, ok := strings.Cut(run.Options["precision"], ",")
	c.Precision = model.Precision(arithmetic)
	if ok {
		if c.BrandPrecision, err = strconv.ParseFloat(share, 64); err != nil {
			return c, fmt.Errorf("no --precision that can be read: %w", err)
		}
	}
	for name, to := range map[string]*int{"views": &c.Views, "size": &c.Size} {
		if text, ok := run.Options[name]; ok {
			if *to, err = strconv.Atoi(text); err != nil {
				return c, fmt.Errorf("no --%s that can be read: %w", name, err)
			}
		}
	}
	return c, nil
}

// scoring is what the processes that work on the run have to know.
func (cfg ScoreConfig) scoring(id string, run scores.Run) Scoring {
	config, _ := configOf(run) // which describe, or like, has seen
	return Scoring{Run: id, Out: cfg.Out, Model: cfg.Model, Config: config, ModelHash: run.ModelHash, Options: run.Options,
		Keep: run.Keep, After: cfg.After, Images: cfg.Images, Workers: cfg.Workers, Batch: cfg.Batch, Memory: cfg.Memory, Repeats: cfg.Repeats}
}
