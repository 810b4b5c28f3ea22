package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/logobeam/logobeam/model"
)

// request is a line that --serve reads: one measurement, for a program that compares several systems in turns.
type request struct {
	Do        string          `json:"do"` // forward, train, logits, save, quantize, decode, pixels, peak or idle
	Arch      string          `json:"arch"`
	Precision model.Precision `json:"precision"`
	GPU       bool            `json:"gpu"` // of forward, train and logits: on an accelerator
	Threads   int             `json:"threads"`
	Batch     int             `json:"batch"`
	Seconds   float64         `json:"seconds"`  // at least, of forward and train
	Steps     int             `json:"steps"`    // at least, of train, after the first
	Momentum  float64         `json:"momentum"` // of train
	Model     string          `json:"model"`    // folder, for weights other than random ones
	Images    string          `json:"images"`   // of logits and quantize: a file of float32 in H, W, C order
	Out       string          `json:"out"`      // of logits and pixels: the file to write; of save: the folder
	Photos    string          `json:"photos"`   // of decode and pixels: a folder
}

// answer is the line that it writes for each.
type answer struct {
	Rate    float64            `json:"rate,omitempty"`  // images a second
	Peaks   map[string]float64 `json:"peaks,omitempty"` // GOP/s by precision
	PeakRSS int64              `json:"peak_rss,omitempty"`
	Error   string             `json:"error,omitempty"`
}

// serve answers requests until the input ends. What a network needs is made at the first request that asks for it, so the
// first measurement of each kind is to be thrown away.
func serve(r io.Reader, w io.Writer) error {
	in, out := json.NewDecoder(r), json.NewEncoder(w)
	networks := map[request]*forward{}
	for {
		var q request
		if err := in.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		a, err := q.answer(networks)
		if err != nil {
			a.Error = err.Error()
		}
		a.PeakRSS = peakRSS()
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

func (q request) answer(networks map[request]*forward) (a answer, err error) {
	switch q.Do {
	case "idle":
		return a, nil
	case "peak":
		a.Peaks = map[string]float64{}
		for _, p := range peaks {
			if p.has {
				a.Peaks[p.precision] = max(a.Peaks[p.precision], p.rate(q.Threads, q.Seconds))
			}
		}
		return a, nil
	case "save":
		return a, save(q.Arch, q.Out)
	case "quantize":
		return a, quantize(q.Model, q.Images)
	case "train":
		a.Rate, err = steps(q.Arch, string(q.Precision), q.Threads, q.Batch, q.Steps, q.Seconds, q.Momentum, q.GPU)
		return a, err
	case "forward":
		key := q
		key.Seconds = 0
		f, ok := networks[key]
		if !ok {
			_, engine, err := compile(q.Arch, q.Model, q.Precision, q.GPU)
			if err != nil {
				return a, err
			}
			if f, err = newForward(engine, q.Threads, q.Batch); err != nil {
				return a, err
			}
			networks[key] = f
			if _, err := f.measure(0); err != nil {
				return a, err
			}
		}
		a.Rate, err = f.measure(q.Seconds)
		return a, err
	case "logits":
		return a, q.logits()
	case "decode":
		a.Rate, err = decode(q.Photos, q.Seconds)
		return a, err
	case "pixels":
		return a, pixelsOf(q.Photos, q.Out)
	}
	return a, fmt.Errorf("no request %q", q.Do)
}

// logits runs the images of a file and writes what comes out, as little-endian float32 both.
func (q request) logits() error {
	net, engine, err := compile(q.Arch, q.Model, q.Precision, q.GPU)
	if err != nil {
		return err
	}
	in, err := os.Open(q.Images)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(q.Out)
	if err != nil {
		return err
	}
	defer out.Close()
	room, err := engine.Workspace(1)
	if err != nil {
		return err
	}
	image := make([]float32, net.Input.Size())
	for {
		if err := binary.Read(in, binary.LittleEndian, image); errors.Is(err, io.EOF) {
			return out.Close()
		} else if err != nil {
			return fmt.Errorf("%s: %w", q.Images, err)
		}
		copy(room.Input(0), image)
		logits, err := room.Run(1)
		if err != nil {
			return err
		}
		if err := binary.Write(out, binary.LittleEndian, logits); err != nil {
			return err
		}
	}
}
