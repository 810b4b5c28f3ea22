package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"
)

// A smallDisk is a file system that can be filled.
type smallDisk struct{ dir string }

const (
	smallBytes = 16 << 20
	largest    = 256 << 20
)

// mountSmall mounts a file system in memory, or takes the folder that was named. unmount takes it away again.
func mountSmall(ctx context.Context, cfg config) (d smallDisk, unmount func() error, err error) {
	if d.dir = cfg.small; d.dir != "" {
		entries, err := os.ReadDir(d.dir)
		if err == nil && len(entries) > 0 {
			err = fmt.Errorf("--dir %s is not empty", d.dir)
		}
		if total, _, sizeErr := d.space(); err == nil && (sizeErr != nil || total > largest) {
			err = errors.Join(fmt.Errorf("--dir %s is on a file system of %d bytes: filling it would take long and do harm", d.dir, total), sizeErr)
		}
		return d, func() error { return nil }, err
	}
	if d.dir = filepath.Join(cfg.work, "small"); os.MkdirAll(d.dir, 0o755) != nil {
		return d, nil, fmt.Errorf("%s cannot be made", d.dir)
	}
	text, err := exec.CommandContext(ctx, "mount", "-t", "tmpfs", "-o", fmt.Sprint("size=", smallBytes), "soak", d.dir).CombinedOutput()
	if err != nil {
		return d, nil, fmt.Errorf("mounting a small file system: %w: %.200s: be root, or give --dir", err, text)
	}
	return d, func() error {
		if text, err := exec.Command("umount", d.dir).CombinedOutput(); err != nil { // also when ctx is over
			return fmt.Errorf("umount %s: %w: %.200s", d.dir, err, text)
		}
		return nil
	}, nil
}

// space is the file system's size and what is free of it, in bytes.
func (d smallDisk) space() (total, free int64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(d.dir, &s); err != nil {
		return 0, 0, err
	}
	return int64(s.Blocks) * int64(s.Bsize), int64(s.Bavail) * int64(s.Bsize), nil
}

func (d smallDisk) filler() string { return filepath.Join(d.dir, "filler") }

// leave fills the file system until that many bytes are free.
func (d smallDisk) leave(bytes int64) error {
	f, err := os.Create(d.filler())
	if err != nil {
		return err
	}
	_, free, err := d.space()
	if err == nil && free > bytes {
		_, err = f.Write(make([]byte, free-bytes))
	}
	return errors.Join(err, f.Close())
}

// filled are the figures of the command diskfull.
type filled struct {
	Rows      int   `json:"rows"`
	Output    int64 `json:"output_bytes"` // on the disk
	Tries     int   `json:"tries"`
	Full      int   `json:"full"`       // tries in which the run ended for want of space
	Parts     int   `json:"with_parts"` // of these, those after some parts were there
	Identical int   `json:"identical"`  // outputs with the bytes of the undisturbed run
	// Errors are those that the program gave, without what differs from one time to another.
	Errors map[string]int `json:"errors"`
}

var (
	saysFull = regexp.MustCompile(`(?i)no space left|disk.* full|full.* disk`)
	varying  = regexp.MustCompile(`/\S+|[0-9a-f]{8,}\S*`)
)

func runDiskFull(ctx context.Context, cfg config, p *program, r *report) (err error) {
	rows, err := cfg.oneRowCount(200)
	if err != nil {
		return err
	}
	tries, m := cfg.tries, mix{rows: rows, faults: 0.2, slow: 0.01}
	if cfg.quick {
		tries, m.faults, m.hurried = 2, 0.05, true
	}
	disk, unmount, err := mountSmall(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unmount()) }()
	o, err := serve(cfg, p, m, 4, fmt.Sprint("--chunk-rows=", max(rows/40, 10)), "--connections=128", "--host-connections=32")
	if err != nil {
		return err
	}
	defer o.server.Close()

	out := filepath.Join(disk.dir, "out")
	_, before, err := disk.space()
	if err != nil {
		return err
	}
	want, _, err := o.undisturbed(ctx, p, out, r)
	if err != nil {
		return err
	}
	_, after, err := disk.space()
	if err != nil {
		return err
	}
	f := filled{Rows: rows, Output: before - after, Errors: map[string]int{}}
	random := rand.New(rand.NewPCG(cfg.seed, 2))
	for range tries {
		if err := errors.Join(os.RemoveAll(out), os.RemoveAll(disk.filler())); err != nil {
			return err
		}
		if err := disk.leave(random.Int64N(f.Output)); err != nil {
			return err
		}
		o.server.Forget()
		if err := f.try(ctx, p, o, disk, out, want, r); err != nil {
			return err
		}
	}
	if f.Full == 0 {
		r.problem("the disk was never full")
	}
	r.Runs = f
	r.row("rows", "output", "tries", "full", "with parts", "identical after resuming")
	r.row(f.Rows, f.Output, f.Tries, f.Full, f.Parts, f.Identical)
	for text, n := range f.Errors {
		r.row(fmt.Sprintf("%d times: %s", n, text))
	}
	return nil
}

// try runs on a disk that will be full, and again once there is space.
func (f *filled) try(ctx context.Context, p *program, o *overHTTP, disk smallDisk, out string, want output, r *report) error {
	f.Tries++
	what := fmt.Sprint("try ", f.Tries)
	e, err := p.run(ctx, nil, o.to(out)...)
	if err != nil {
		return err
	}
	got, err := readOutput(out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if e.Code != 0 {
		f.Full++
		text, err := e.complaint()
		if err != nil {
			r.problem("%s: %v", what, err)
		} else if e.Code != 1 || !saysFull.MatchString(text) {
			r.problem("%s: exit code %d, and not a word of the disk being full: %.300s", what, e.Code, text)
		}
		text = varying.ReplaceAllString(text, "...")
		f.Errors[text[:min(len(text), 300)]]++
		for _, w := range want.whole(got) {
			r.problem("%s, the disk is full: %s", what, w)
		}
		for name := range got {
			if filepath.Dir(name) == "scores" {
				f.Parts++
				break
			}
		}
	}
	if err := os.Remove(disk.filler()); err != nil {
		return err
	}
	if e, err = p.run(ctx, nil, o.to(out)...); err != nil {
		return err
	}
	if err := e.failure(); err != nil {
		r.problem("%s cannot be resumed: %v", what, err)
		return nil
	}
	if got, err = readOutput(out); err != nil {
		return err
	}
	if len(want.differences(got)) == 0 {
		f.Identical++
	}
	r.check(what, ctx, p, out, want, got)
	return nil
}
