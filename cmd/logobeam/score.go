package main

import (
	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/pipelines"
	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/monitor"
	"github.com/logobeam/logobeam/transforms"
)

func newScore() *cobra.Command {
	cfg := pipelines.DefaultScoreConfig()
	r := runFlags{cfg: &cfg, nothing: "was finished before"}
	cmd := &cobra.Command{
		Use:   "score LISTING --out OUT",
		Short: "classify the photographs of a listing of posts, into Parquet",
		Long: `score reads a listing of posts (post_id,image), classifies each photograph, and
writes

  OUT/scores/*.parquet    post_id, brand, probability, frames
  OUT/rejects/*.parquet   post_id, image, stage, reason, detail, retryable
  OUT/manifest.json       what was run on what, and what came out
  OUT/_SUCCESS            last
  OUT/report.html         for people, with OUT/runs.jsonl, and no part of the output

Every row of the listing is in exactly one of scores and rejects. A second run on
a finished output does nothing; an interrupted one goes on where it was. Exit code
3 says that there are more rejects than --max-rejects, or that --deadline came first.

LISTING is CSV with a header, JSON Lines, Parquet, or text with an image a line,
plain or compressed with gzip or zstd; a pattern of such files in quotes; or a
folder of images. Listings, OUT, the model and images are on a disk or at
gs://bucket/..., images also at http(s) URLs. "logobeam help reasons" lists why rows
are rejected.`,
		Example: `  logobeam score posts.csv --out scored
  logobeam score 'gs://posts/2026-11-26/*.parquet' --out gs://scores/2026-11-26 --model my-model --post-id-column id
  logobeam score posts.csv.gz --out scored --keep author,time --after last-night --deadline 06:00`,
		Args: exactly("LISTING"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg.Listing = args[0]
			if cfg.Out == "" {
				return usagef("--out is missing: name the folder to write to")
			}
			if err := cfg.Validate(); err != nil {
				return usageError{err}
			}
			if err := checkRunner(cmd, cfg.Runner); err != nil {
				return err
			}
			if err := checkFolder("--root", cfg.Images.Root); err != nil {
				return err
			}
			return r.run(cmd, "scoring", pipelines.Score)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Out, "out", "", "`folder` or gs:// prefix to write to")
	modelFlag(cmd, &cfg.Model)
	runModelFlags(cmd, &cfg.Config)
	jsonFlag(cmd, &r.json)
	heading(cmd, "Flags")
	listingFlags(cmd, &cfg)
	r.fetching(cmd)
	limitFlags(cmd, &cfg.Images.Limits)
	heading(cmd, "Limits of one photograph")
	r.resources(cmd)
	r.watching(cmd)
	return cmd
}

// listingFlags are the flags of the commands that read a listing of posts.
func listingFlags(cmd *cobra.Command, cfg *pipelines.ScoreConfig) {
	f, o := cmd.Flags(), &cfg.Options
	f.StringVar((*string)(&o.Format), "format", "", "`csv|jsonl|parquet|text`: the listing's format (default by its extension)")
	f.StringVar(&o.PostIDColumn, "post-id-column", listing.DefaultPostIDColumn, "`column` of the listing that identifies the post")
	f.StringVar(&o.ImageColumn, "image-column", listing.DefaultImageColumn, "`column` of the listing that holds the image")
	f.StringSliceVar(&o.Keep, "keep", nil, "further `columns` of the listing that go into the output, as author,time")
	f.StringSliceVar(&cfg.After, "after", nil, "`output` of an earlier run of the same model, whose scored posts are skipped; may be repeated")
	f.StringVar(&cfg.Images.Root, "root", "", "`folder` or gs:// prefix that the images' paths are relative to (default the listing's)")
	f.IntVar(&o.ChunkRows, "chunk-rows", 0, "`rows` of a chunk, which is done as a whole (default by the number of rows)")
	f.BoolVar(&o.Exact, "exact-chunks", false, "read a large listing once before the run, to cut it at exact rows")
	heading(cmd, "The listing")
}

// A rejection is why a row may end among the rejects, and the flag that moves the line, if there is one.
type rejection struct{ stage, reason, text, flag string }

// rejections lists all there are.
func rejections() []rejection {
	flags := map[string]string{
		string(fetch.TooLarge):                 "--max-bytes",
		string(fetch.Robots):                   "--robots",
		string(fetch.RobotsUnknown):            "--robots",
		string(fetch.RateLimited):              "--host-rate",
		string(fetch.Timeout):                  "--timeout",
		string(fetch.BlockedAddress):           "--allow-net",
		string(transforms.ReasonTooManyBytes):  "--max-bytes",
		string(transforms.ReasonTooManyPixels): "--max-pixels",
		string(transforms.ReasonTooMuchMemory): "--max-memory",
		string(transforms.ReasonTruncated):     "--truncated",
		string(transforms.ReasonDecodeTimeout): "--decode-timeout",
	}
	all := []rejection{{"listing", pipelines.ReasonMalformed, "the row breaks the rules of the listing's format", ""}}
	for _, r := range fetch.Reasons() {
		all = append(all, rejection{"fetch", string(r), fetch.Explain(r), flags[string(r)]})
	}
	for _, r := range transforms.Reasons() {
		all = append(all, rejection{"decode", string(r), transforms.Explain(r), flags[string(r)]})
	}
	return append(all,
		rejection{"infer", pipelines.ReasonNoNumber, "the network's answer is no probability: the model is broken", ""},
		rejection{"any", pipelines.ReasonPanic, "a fault of this program: please report the photograph", ""})
}

// advice is what to do about rows that are rejected for a reason.
func advice(stage monitor.Stage, reason string) string {
	switch fetch.Reason(reason) {
	case fetch.NotFound:
		return "paths are relative to --root, or else to the listing's folder; of URLs, see whether the listing is old"
	case fetch.UnsupportedScheme, fetch.BadURL:
		return "see whether --image-column names the right column"
	case fetch.BlockedAddress:
		return "if these addresses are meant, allow their network with --allow-net"
	case fetch.Unreachable, fetch.UnknownHost, fetch.BadTLS:
		return "see whether this machine reaches the network, perhaps by a proxy (HTTPS_PROXY)"
	case fetch.RateLimited:
		return "ask less often: --host-rate, --host-connections"
	case fetch.Permission:
		return "see whether this user, or these credentials, may read the images"
	}
	for _, r := range rejections() {
		if r.reason == reason && (r.stage == stage.String() || r.stage == "any") && r.flag != "" {
			return "if this is too strict, " + r.flag + " moves the line"
		}
	}
	if stage == monitor.Listing {
		return "see whether --format, --post-id-column and --image-column fit the listing"
	}
	return ""
}
