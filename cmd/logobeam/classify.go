package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/model/infer"
	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/transforms"
)

// answer is one class with its probability, as --json prints it.
type answer struct {
	Brand       string  `json:"brand"`
	Probability float32 `json:"probability"`
}

func newClassify() *cobra.Command {
	var dir string
	var how classifier.Config
	var top int
	var asJSON bool
	var allow []string
	var limits transforms.Limits
	cmd := &cobra.Command{
		Use:   "classify IMAGE_OR_URL...",
		Short: "name the brand in photographs, by path or http(s) URL",
		Example: `  logobeam classify photograph.jpg
  logobeam classify --top 3 https://example.org/a.jpg`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("name at least one image or URL to classify")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if top < 1 {
				return usagef("--top is %d: want at least 1", top)
			}
			nets, err := prefixes(allow)
			if err != nil {
				return err
			}
			c, err := classifier.Load(cmd.Context(), dir, how)
			if err != nil {
				return err
			}
			cfg := fetch.DefaultConfig()
			cfg.AllowNet, cfg.MaxBytes = nets, limits.Bytes
			cfg.IgnoreRobots = true // it is a person who asks for these images, as with a browser
			fetcher, err := fetch.New(cfg)
			if err != nil {
				return err
			}
			defer fetcher.Close()
			room, err := c.Engine.Workspace(len(c.Views))
			if err != nil {
				return err
			}
			if r, ok := room.(interface{ Spread(cores int) *infer.Arena }); ok { // of the processor
				r.Spread(runtime.GOMAXPROCS(0))
			}
			failed := 0
			for _, image := range args {
				probs, err := look(cmd.Context(), c, fetcher, room, image, limits)
				if cmd.Context().Err() != nil {
					return cmd.Context().Err()
				}
				if err != nil { // one bad image does not keep the others from an answer
					fmt.Fprintf(cmd.ErrOrStderr(), "logobeam: %s\n", oneLine(err))
					failed++
					continue
				}
				if err := printAnswers(cmd.OutOrStdout(), image, c, probs, top, len(args) > 1, asJSON); err != nil {
					return err
				}
			}
			if failed > 0 {
				return fmt.Errorf("%d of %d images could not be classified", failed, len(args))
			}
			return nil
		},
	}
	modelFlag(cmd, &dir)
	runModelFlags(cmd, &how)
	cmd.Flags().IntVar(&top, "top", 1, "how many of the likeliest brands to print")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object an image")
	limitFlags(cmd, &limits)
	allowNetFlag(cmd, &allow)
	return cmd
}

// look gives the probability of each class for one image.
func look(ctx context.Context, c *classifier.Classifier, f *fetch.Fetcher, room infer.Workspace, image string, limits transforms.Limits) ([]float32, error) {
	data, err := f.Fetch(ctx, image)
	if err != nil {
		return nil, err
	}
	if err := c.Look(room, 0, data, transforms.Key{Epoch: -1, Image: image}, limits); err != nil {
		return nil, fmt.Errorf("%s: %w", fetch.Redact(image), err)
	}
	probs, err := room.Run(len(c.Views))
	if err != nil {
		return nil, err
	}
	infer.Softmax(probs, len(c.Classes()))
	return c.Pool(probs), nil
}

// printAnswers writes the answer for an image and then the likeliest other brands, as text a line each.
func printAnswers(w io.Writer, image string, c *classifier.Classifier, probs []float32, top int, named, asJSON bool) error {
	classes := c.Classes()
	order := make([]int, len(probs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(probs[b], probs[a]) })
	given, _ := c.Answer(probs)
	at := slices.Index(order, given)
	order = slices.Insert(slices.Delete(order, at, at+1), 0, given)
	order = order[:min(top, len(order))]
	if asJSON {
		out := struct {
			Image  string   `json:"image"`
			Brands []answer `json:"brands"`
		}{Image: image}
		for _, i := range order {
			out.Brands = append(out.Brands, answer{classes[i], probs[i]})
		}
		return json.NewEncoder(w).Encode(out)
	}
	var errs []error
	for _, i := range order {
		prefix := ""
		if named {
			prefix = image + ": "
		}
		_, err := fmt.Fprintf(w, "%sWith prob=%.3f, %s\n", prefix, probs[i], classes[i])
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
