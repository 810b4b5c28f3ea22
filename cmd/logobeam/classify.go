package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/model/infer"
	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/pipelines/serve"
	"github.com/logobeam/logobeam/transforms"
)

func newClassify() *cobra.Command {
	var dir, listen string
	var how classifier.Config
	var top int
	var asJSON bool
	var allow []string
	var limits transforms.Limits
	cmd := &cobra.Command{
		Use:   "classify IMAGE_OR_URL...",
		Short: "name the brand in photographs, by path or http(s) URL",
		Example: `  logobeam classify photograph.jpg
  logobeam classify --top 3 https://example.org/a.jpg
  logobeam classify --listen localhost:8081
  curl --data-binary @photograph.jpg http://localhost:8081`,
		Args: func(cmd *cobra.Command, args []string) error {
			if listen != "" && len(args) > 0 {
				return usagef("--listen waits for photographs: name none")
			}
			if len(args) == 0 && listen == "" {
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
			if listen != "" {
				cfg := serve.DefaultConfig()
				cfg.Limits, cfg.Fetch.AllowNet = limits, nets
				if cmd.Flags().Changed("top") {
					cfg.Top = top
				}
				return answer(cmd, listen, c, cfg)
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
	cmd.Flags().StringVar(&listen, "listen", "", "`address`, as localhost:8081, at which photographs are taken by HTTP until the program is interrupted: a page to try the model, and POST / for programs, with JSON for an answer (logobeam help training)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object an image")
	limitFlags(cmd, &limits)
	allowNetFlag(cmd, &allow)
	return cmd
}

// answer answers HTTP until it is interrupted. To end like that is what is expected of it, and no failure.
func answer(cmd *cobra.Command, listen string, c *classifier.Classifier, cfg serve.Config) error {
	s, err := serve.New(c, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	l, err := new(net.ListenConfig).Listen(cmd.Context(), "tcp", listen)
	if err != nil {
		return fmt.Errorf("--listen: %w: choose another address or port", err)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "logobeam: photographs are classified at http://%s/\n", l.Addr())
	return s.Serve(cmd.Context(), l)
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
	guesses := c.Top(probs, top)
	if asJSON {
		out := struct {
			Image  string             `json:"image"`
			Brands []classifier.Guess `json:"brands"`
		}{image, guesses}
		return json.NewEncoder(w).Encode(out)
	}
	var errs []error
	for _, g := range guesses {
		prefix := ""
		if named {
			prefix = image + ": "
		}
		_, err := fmt.Fprintf(w, "%sWith prob=%.3f, %s\n", prefix, g.Probability, g.Brand)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
