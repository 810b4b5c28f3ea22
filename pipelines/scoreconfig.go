package pipelines

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/scores"
	"github.com/logobeam/logobeam/transforms"
)

// ScoreConfig says what to score and how. Listing and Out must be given; zero fields take the values of DefaultScoreConfig.
type ScoreConfig struct {
	Listing string          // a file or a pattern
	Options listing.Options // its format, its columns, the rows of a chunk
	Out     string          // folder for what comes out
	Model   string          // folder of the model; empty for the built-in one
	// Precision is what the model is run in; empty for what its card says is best.
	Precision model.Precision
	Images    Images // where photographs come from and what one may cost
	Workers   int    // goroutines that fetch, decode and classify, in the whole process
	Batch     int    // photographs that a worker classifies at once; 0 for what suits the model
	Memory    int64  // bytes that decoding may take at one time, in the whole process
	Runner    string // one of Runners
	Flink     Flink  // what Beam's flags do not say of it
	Program   string // name and version for the manifest

	// Progress, if there is one, is called as rows are finished, by several goroutines. Rows that an earlier,
	// interrupted run has finished count as soon as their chunk is come to.
	Progress func(Progress)
}

// Images says where photographs come from and what one may cost.
type Images struct {
	Root     string            // folder of relative paths; empty for the listing's own
	Limits   transforms.Limits // for reading and decoding one
	Timeout  time.Duration     // for getting one
	AllowNet []netip.Prefix    // addresses that may be fetched from though they are not public
}

// Progress is how far a run is.
type Progress struct {
	Rows, Done, Rejected int64
}

// DefaultScoreConfig uses all cores, and lets decoding take 512 MB at one time.
func DefaultScoreConfig() ScoreConfig {
	return ScoreConfig{
		Images:  Images{Limits: transforms.DefaultLimits(), Timeout: fetch.DefaultConfig().Timeout},
		Workers: runtime.GOMAXPROCS(0), Memory: 512 << 20, Runner: "prism",
	}
}

// MaxBatch is the most photographs that a worker may classify at once. Larger batches are no faster, and each
// photograph of one takes some megabytes.
const MaxBatch = 1024

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
	cfg.Images.Timeout = cmp.Or(cfg.Images.Timeout, d.Images.Timeout)
	switch {
	case cfg.Workers < 1 || cfg.Batch < 0 || cfg.Memory < 1:
		return cfg, fmt.Errorf("score: %d workers, batches of %d, %d bytes for decoding: want at least 1 of each", cfg.Workers, cfg.Batch, cfg.Memory)
	case l.Bytes < 1 || l.Pixels < 1 || l.Memory < 1 || l.Time < 0 || cfg.Images.Timeout < 0:
		return cfg, fmt.Errorf("score: photographs of at most %d bytes, %d pixels and %d bytes of memory, fetched in %v and decoded in %v: want more than 0 of each",
			l.Bytes, l.Pixels, l.Memory, cfg.Images.Timeout, l.Time)
	case cfg.Batch > MaxBatch:
		return cfg, fmt.Errorf("score: batches of %d photographs: want at most %d", cfg.Batch, MaxBatch)
	case cfg.Options.ChunkRows < 0 || cfg.Options.ChunkRows > listing.MaxChunkRows:
		return cfg, fmt.Errorf("score: chunks of %d rows: want 1 to %d, or 0 for as many as suit the listing", cfg.Options.ChunkRows, listing.MaxChunkRows)
	case cfg.Options.Format != "" && !slices.Contains(listing.Formats(), cfg.Options.Format):
		return cfg, fmt.Errorf("score: listings cannot be read as %q: the formats are %q", cfg.Options.Format, listing.Formats())
	case cfg.Precision != "" && !slices.Contains(model.Precisions(), cfg.Precision):
		return cfg, fmt.Errorf("score: no precision %q: want one of %q", cfg.Precision, model.Precisions())
	case !slices.Contains(Runners(), cfg.Runner):
		return cfg, fmt.Errorf("score: no runner %q: want one of %v", cfg.Runner, Runners())
	}
	if cfg.Runner == "dataflow" {
		for _, place := range []string{cfg.Out, cfg.Listing, cfg.Model, cfg.Images.Root} {
			if place != "" && !strings.HasPrefix(place, "gs://") {
				return cfg, fmt.Errorf("score: %s is on this machine, where workers of Dataflow do not come: name a place in a bucket, gs://", place)
			}
		}
	}
	return cfg, nil
}

// describe is what tells the run from those with other results.
func (cfg ScoreConfig) describe(chunks []listing.Chunk, modelHash string, precision model.Precision) scores.Run {
	truncated := "reject"
	if cfg.Images.Limits.Truncated {
		truncated = "score"
	}
	run := scores.Run{Listing: cfg.Listing, ListingHash: listing.Hash(chunks), Model: cmp.Or(cfg.Model, "built-in"), ModelHash: modelHash, Options: map[string]string{
		"root":       cfg.Images.Root,
		"precision":  string(precision),
		"pixels":     transforms.Pixels,
		"chunk-rows": strconv.Itoa(cfg.Options.ChunkRows),
		"max-bytes":  strconv.FormatInt(cfg.Images.Limits.Bytes, 10),
		"max-pixels": strconv.FormatInt(cfg.Images.Limits.Pixels, 10),
		"truncated":  truncated,
		"max-memory": strconv.FormatInt(cfg.Images.Limits.Memory, 10),
	}}
	for _, c := range chunks {
		run.Rows += c.Rows
	}
	return run
}
