package train

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/logobeam/logobeam/model"
	"github.com/zeebo/xxh3"
)

// A state file holds all that is needed to go on after a finished epoch, or to begin: a line of JSON, the parameters and the solver's
// moments as safetensors, and the SHA-256 of what comes before it.

// state is the line of JSON.
type state struct {
	Format int `json:"format"`
	// Run tells the run this is the state of, as JSON by name; another one cannot be continued from it.
	Run     map[string]string `json:"run"`
	Steps   int               `json:"steps"`   // of the phase
	History []Epoch           `json:"history"` // of all finished epochs
}

const (
	stateFormat = 2
	maxState    = 64 << 20 // bytes of the line
)

// Fingerprint tells runs apart that do not lead to the same weights: what each is, as JSON by name.
func Fingerprint(net model.Network, params model.Params, data Data, cfg Config) (map[string]string, error) {
	labels, err := check(net, data, cfg)
	if err != nil {
		return nil, err
	}
	return fingerprint(net, params, data, labels, cfg)
}

// fingerprint tells runs apart that do not lead to the same weights.
func fingerprint(net model.Network, params model.Params, data Data, labels []int, cfg Config) (map[string]string, error) {
	list, err := net.Parameters()
	if err != nil {
		return nil, err
	}
	weights, truth := xxh3.New(), xxh3.New()
	var buf []byte
	for _, p := range list {
		for v := params[p.Name]; len(v) > 0; v = v[min(len(v), 4096):] {
			buf = buf[:0]
			for _, x := range v[:min(len(v), 4096)] {
				buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(x))
			}
			weights.Write(buf)
		}
	}
	for _, l := range labels {
		fmt.Fprintln(truth, l)
	}
	run := map[string]any{
		"network": net, "classes": data.Classes, "starting weights": hex.EncodeToString(weights.Sum(nil)),
		"training images": len(labels), "training labels": hex.EncodeToString(truth.Sum(nil)), "data": data.ID,
	}
	// The configuration goes in field by field, so that a message can name what differs.
	text, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	for name, value := range fields {
		run[name] = value
	}
	texts := map[string]string{}
	for name, value := range run {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		texts[name] = string(text)
	}
	return texts, nil
}

// Difference names what tells two runs apart by their fingerprints, empty if nothing does.
func Difference(saved, now map[string]string) string { return difference(saved, now) }

// difference names what tells two runs apart, empty if nothing does.
func difference(saved, now map[string]string) string {
	names := map[string]bool{}
	for _, run := range []map[string]string{saved, now} {
		for name := range run {
			names[name] = true
		}
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		switch a, b := saved[name], now[name]; {
		case a == b:
		case len(a) > 40 || len(b) > 40 || name == "training labels" || name == "starting weights":
			list = append(list, name)
		default:
			list = append(list, fmt.Sprintf("%s (%s there, %s now)", name, cmp.Or(a, "nothing"), cmp.Or(b, "nothing")))
		}
	}
	return strings.Join(list, ", ")
}

// save writes the state, at once: whoever reads finds the former one or this one.
func (t *trainer) save(path string, s state) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("train: saving the state: %w", err)
		}
	}()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".state-*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // does nothing once it is renamed
	defer f.Close()
	out := bufio.NewWriterSize(f, 1<<20)
	if err := s.write(out, t.tensors()); err != nil {
		return err
	}
	if err := errors.Join(out.Flush(), f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		d.Sync() // makes the rename last through a power cut; not every file system can
		d.Close()
	}
	return nil
}

// write writes a state file.
func (s state) write(out io.Writer, tensors map[string]model.Tensor) error {
	sum := sha256.New()
	w := io.MultiWriter(out, sum)
	line, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return err
	}
	if err := model.WriteSafetensors(w, tensors, false); err != nil {
		return err
	}
	_, err = out.Write(sum.Sum(nil))
	return err
}

// tensors are the values that change in training.
func (t *trainer) tensors() map[string]model.Tensor {
	list := map[string]model.Tensor{}
	for _, p := range t.learn {
		list[p.Name] = model.Tensor{Shape: []int{len(p.Values)}, Data: p.Values}
		for k, m := range p.Moments {
			list[moment(p.Name, k)] = model.Tensor{Shape: []int{len(m)}, Data: m}
		}
		if p.Average != nil {
			list[p.Name+".average"] = model.Tensor{Shape: []int{len(p.Average)}, Data: p.Average}
		}
	}
	return list
}

func moment(name string, k int) string { return fmt.Sprintf("%s.moment%d", name, k+1) }

// saved is what a state file holds.
type saved struct {
	state
	tensors map[string]model.Tensor
}

// readState reads a state of the run; nil if there is no such file.
func readState(path string, run map[string]string) (*saved, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	defer f.Close()
	fail := func(err error) (*saved, error) {
		return nil, fmt.Errorf("train: state %s: %w, or remove it to start anew", path, err)
	}
	info, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	s, err := parseState(bufio.NewReaderSize(f, 1<<20), info.Size(), run)
	if err != nil {
		return fail(err)
	}
	return s, nil
}

// parseState reads a state file of so many bytes.
func parseState(in io.Reader, size int64, run map[string]string) (*saved, error) {
	sum := sha256.New()
	body := io.TeeReader(io.LimitReader(in, size-sha256.Size), sum)
	line, err := readLine(body)
	if err != nil {
		return nil, err
	}
	var s saved
	if err := json.Unmarshal(line, &s.state); err != nil {
		return nil, fmt.Errorf("not the state of a training: %w", err)
	}
	if s.Format != stateFormat {
		return nil, fmt.Errorf("format %d: this program reads %d", s.Format, stateFormat)
	}
	if differs := difference(s.Run, run); differs != "" {
		return nil, fmt.Errorf("it is of another run, which differs in %s: train as that one was", differs)
	}
	if s.tensors, err = model.ReadSafetensors(body, size-sha256.Size-int64(len(line))-1); err != nil {
		return nil, err
	}
	want := make([]byte, sha256.Size)
	if _, err := io.ReadFull(in, want); err != nil {
		return nil, err
	}
	if !bytes.Equal(want, sum.Sum(nil)) {
		return nil, errors.New("damaged: its checksum is not that of its content")
	}
	return &s, nil
}

// restore makes what was saved the trainer's.
func (t *trainer) restore(s *saved) error {
	for name, to := range t.tensors() {
		if from := s.tensors[name].Data; len(from) != len(to.Data) {
			return fmt.Errorf("%s has %d values: want %d", name, len(from), len(to.Data))
		}
	}
	for name, to := range t.tensors() {
		copy(to.Data, s.tensors[name].Data)
	}
	t.steps = s.Steps
	return t.write()
}

// readLine reads up to a newline byte by byte, since what follows belongs to somebody else.
func readLine(r io.Reader) ([]byte, error) {
	var line []byte
	var one [1]byte
	for len(line) < maxState {
		if _, err := io.ReadFull(r, one[:]); err != nil {
			return nil, errors.New("not the state of a training, or cut short")
		}
		if one[0] == '\n' {
			return line, nil
		}
		line = append(line, one[0])
	}
	return nil, fmt.Errorf("not the state of a training: no line ends in %d bytes", maxState)
}
