package main

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

// raced are the figures of the command race, for one place.
type raced struct {
	Place     string `json:"place"`
	Races     int    `json:"races"`
	Done      int    `json:"done"`      // processes that ended well
	Refused   int    `json:"refused"`   // processes that said that another was at work
	Identical int    `json:"identical"` // outputs with the bytes of an undisturbed run
}

const racers = 3

var saysLocked = regexp.MustCompile(`(?i)another (run|process)`)

func runRace(ctx context.Context, cfg config, p *program, r *report) error {
	rows, err := cfg.oneRowCount(300)
	if err != nil {
		return err
	}
	races := cfg.tries
	if cfg.quick {
		races = 1
	}
	model, err := cfg.modelFolder()
	if err != nil {
		return err
	}
	images, err := localImages(cfg.work)
	if err != nil {
		return err
	}
	listing := filepath.Join(cfg.work, "posts.csv")
	if err := localListing(listing, rows, images); err != nil {
		return err
	}
	args := append([]string{"score", listing, "--model", model, "--chunk-rows", fmt.Sprint(max(rows/40, 10))}, cfg.flags...)
	first := filepath.Join(cfg.work, "undisturbed")
	e, err := p.run(ctx, nil, append(args, "--out", first)...)
	if err != nil {
		return err
	}
	if err := e.failure(); err != nil {
		return fmt.Errorf("the undisturbed run: %w", err)
	}
	want, err := readOutput(first)
	if err != nil {
		return err
	}
	places := []place{{name: "disk", prefix: cfg.work + "/race-", locks: true, read: readOutput}}
	if strings.Contains(p.help, "gs://") {
		bucket, stop, err := startBucket()
		if err != nil {
			return err
		}
		defer stop()
		places = append(places, bucket)
	} else {
		p.lacks["outputs in gs://"] = true
	}
	r.row("place", "races", "ended well", "refused", "identical")
	var all []raced
	for _, place := range places {
		f, err := place.race(ctx, p, args, races, want, r)
		if err != nil {
			return err
		}
		all = append(all, f)
		r.row(f.Place, f.Races, f.Done, f.Refused, f.Identical)
	}
	r.Runs = all
	return nil
}

// place is where outputs may be.
type place struct {
	name, prefix string
	env          []string
	locks        bool // so that a second process is refused
	read         func(location string) (output, error)
}

// startBucket serves an empty bucket until stop is called.
func startBucket() (place, func(), error) {
	web := httptest.NewUnstartedServer(nil)
	address := web.Listener.Addr().String()
	server, err := fakestorage.NewServerWithOptions(fakestorage.Options{NoListener: true, PublicHost: address, Writer: io.Discard})
	if err != nil {
		web.Close()
		return place{}, nil, err
	}
	const bucket = "soak"
	server.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: bucket})
	web.Config.Handler = server.HTTPHandler()
	web.Start()
	return place{name: "bucket", prefix: "gs://" + bucket + "/race-", env: []string{"STORAGE_EMULATOR_HOST=" + address},
		read: func(location string) (output, error) {
			prefix := strings.TrimPrefix(location, "gs://"+bucket+"/") + "/"
			list, err := server.ListObjectsWithOptionsPaginated(bucket, fakestorage.ListOptions{Prefix: prefix})
			if err != nil {
				return nil, err
			}
			all := output{}
			for _, attrs := range list.Objects {
				o, err := server.GetObject(bucket, attrs.Name)
				if err != nil {
					return nil, err
				}
				if name := strings.TrimPrefix(attrs.Name, prefix); !forPeople(name) {
					all[name] = string(o.Content)
				}
			}
			return all, nil
		}}, web.Close, nil
}

func (pl place) race(ctx context.Context, p *program, args []string, races int, want output, r *report) (raced, error) {
	f := raced{Place: pl.name, Races: races}
	for i := range races {
		out := fmt.Sprint(pl.prefix, i)
		var runs []*process
		for range racers {
			run, err := p.start(ctx, pl.env, append(args[:len(args):len(args)], "--out", out)...)
			if err != nil {
				return f, err
			}
			runs = append(runs, run)
		}
		well := 0
		for j, run := range runs {
			<-run.done
			text, err := run.ended.complaint()
			switch {
			case run.ended.Code == 0:
				well++
			case pl.locks && run.ended.Code == 1 && err == nil && saysLocked.MatchString(text):
				f.Refused++
			default:
				r.problem("%s, race %d, process %d: %v", pl.name, i+1, j+1, run.ended.failure())
			}
		}
		if err := ctx.Err(); err != nil {
			return f, err
		}
		f.Done += well
		if well == 0 {
			r.problem("%s, race %d: no process ended well", pl.name, i+1)
			continue
		}
		got, err := pl.read(out)
		if err != nil {
			return f, err
		}
		diff := want.differences(got)
		if len(diff) == 0 {
			f.Identical++
		}
		for _, d := range diff {
			r.problem("%s, race %d: %s", pl.name, i+1, d)
		}
		if err := p.verify(ctx, pl.env, out); err != nil {
			r.problem("%s, race %d: %v", pl.name, i+1, err)
		}
	}
	return f, nil
}
