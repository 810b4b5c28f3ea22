package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// measured are the figures of one run of the command rows.
type measured struct {
	Case      string  `json:"case"`
	Rows      int     `json:"rows"`
	Seconds   float64 `json:"seconds"`
	CPU       float64 `json:"cpu_seconds"`
	Micros    float64 `json:"us_per_row"`
	CPUMicros float64 `json:"cpu_us_per_row"`
	Peak      int64   `json:"peak_bytes"`
	MaxRSS    int64   `json:"maxrss_bytes"`
	Growth    float64 `json:"growth"` // of the peak, over that of the fewest rows in the same case; 0 there
}

const mostGrowth = 1.10

func runRows(ctx context.Context, cfg config, p *program, r *report) error {
	counts, err := cfg.rowCounts()
	if err != nil {
		return err
	}
	if cfg.quick {
		counts = []int{5000}
	}
	model, err := cfg.modelFolder()
	if err != nil {
		return err
	}
	images, err := localImages(cfg.work)
	if err != nil {
		return err
	}
	r.row("case", "rows", "wall", "CPU", "us/row", "CPU us/row", "peak MB", "maxrss MB", "growth")
	var all []measured
	for name := range strings.SplitSeq(cfg.cases, ",") {
		ending, flags := name, []string(nil)
		switch name {
		case "csv", "parquet":
		case "off":
			ending = "csv"
			wanted := strings.Fields(cfg.offFlags)
			if flags = p.having(wanted...); len(flags) < len(wanted) {
				continue
			}
		default:
			return fmt.Errorf("--cases %s: want csv, parquet and off", cfg.cases)
		}
		fewest := int64(0)
		for _, rows := range counts {
			listing, out := filepath.Join(cfg.work, "posts."+ending), filepath.Join(cfg.work, "out")
			if err := localListing(listing, rows, images); err != nil {
				return err
			}
			e, err := p.run(ctx, nil, append(append([]string{"score", listing, "--out", out, "--model", model}, flags...), cfg.flags...)...)
			if err != nil {
				return err
			}
			if err := e.failure(); err != nil {
				r.problem("%s, %d rows: %v", name, rows, err)
				continue
			}
			text, err := os.ReadFile(filepath.Join(out, "manifest.json"))
			if err != nil {
				return err
			}
			if err := (expectation{}).check(text, rows); err != nil {
				r.problem("%s, %d rows: %v", name, rows, err)
			}
			if err := p.verify(ctx, nil, out); err != nil {
				r.problem("%s, %d rows: %v", name, rows, err)
			}
			m := measured{Case: name, Rows: rows, Seconds: round(e.Wall.Seconds()), CPU: round(e.CPU.Seconds()),
				Micros: round(e.Wall.Seconds() / float64(rows) * 1e6), CPUMicros: round(e.CPU.Seconds() / float64(rows) * 1e6),
				Peak: e.Peak, MaxRSS: e.MaxRSS}
			if fewest == 0 {
				fewest = m.Peak
			} else {
				m.Growth = round(float64(m.Peak) / float64(fewest))
			}
			if m.Growth > mostGrowth {
				r.problem("%s: %d rows take %.2f times the memory of %d", name, rows, m.Growth, counts[0])
			}
			all = append(all, m)
			r.row(name, rows, m.Seconds, m.CPU, m.Micros, m.CPUMicros, m.Peak>>20, m.MaxRSS>>20, m.Growth)
			if err := os.RemoveAll(out); err != nil {
				return err
			}
		}
	}
	r.Runs = all
	return nil
}
