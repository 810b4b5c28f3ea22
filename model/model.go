package model

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/logobeam/logobeam/model/nearest"
)

// Model is a network that has learnt: all that is needed to score a photograph, and where it came from.
type Model struct {
	Card    Card
	Network Network
	Params  Params
}

// Card is what model.json says of a model beside its network. Only Classes, Transforms, Quantization's ranges and
// means, and Calibration's answers change what it answers.
type Card struct {
	// Classes are the names of the network's outputs, in their order.
	Classes []string `json:"classes"`
	// Transforms is the JSON list of steps from a file's bytes to the network's input, as package transforms reads it.
	Transforms json.RawMessage `json:"transforms"`
	// Precision is how model.safetensors keeps the weights, float32 or float16. Save sets it.
	Precision string `json:"precision"`
	// Weights is the SHA-256 of model.safetensors in hexadecimal. Save sets it and Load compares it.
	Weights string `json:"weights_sha256"`

	// Quantization is there if the model can be run in int8.
	Quantization *Quantization `json:"quantization,omitempty"`
	// Calibration is there if the probabilities were fitted to validation photographs.
	Calibration *Calibration `json:"calibration,omitempty"`

	// Views is how many parts of a photograph are looked at unless something else is asked for; 0 is 1.
	Views int `json:"views,omitempty"`

	Description string    `json:"description,omitempty"`
	Sources     []string  `json:"sources,omitempty"` // weights and photographs it was made from, and their licences
	Training    *Training `json:"training,omitempty"`
	// Metrics are the figures of each split ("validation", "test"), named as `logobeam evaluate --json` names them. A
	// figure that is undefined is absent.
	Metrics map[string]map[string]float64 `json:"metrics,omitempty"`
	Program string                        `json:"program,omitempty"` // name and version of what wrote it
}

// Training is how a model was made, in so far as it can be repeated.
type Training struct {
	Arguments []string `json:"arguments"`        // of the command line
	Seed      uint64   `json:"seed"`             //
	Epochs    int      `json:"epochs"`           // that were run
	Epoch     int      `json:"epoch"`            // whose weights these are, from 1
	Init      string   `json:"init,omitempty"`   // file name and SHA-256 of the weights it began with
	Frozen    bool     `json:"frozen,omitempty"` // only the head was trained
	// Config is all that was set, defaults included, by the names of package train.
	Config json.RawMessage `json:"config,omitempty"`
	Images map[string]int  `json:"images"` // in each split
}

const (
	cardFile    = "model.json"
	weightsFile = "model.safetensors"
	format      = 1        // of model.json
	maxCard     = 16 << 20 // bytes of model.json
)

// file is model.json.
type file struct {
	Format int `json:"format"`
	Card
	Network Network `json:"network"`
}

// Class is the index of a class by its name.
func (c Card) Class(name string) (int, error) {
	for i, known := range c.Classes {
		if known == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("model: unknown class %q%s; the model's %d classes are %s",
		name, nearest.Hint(name, c.Classes), len(c.Classes), strings.Join(c.Classes, ", "))
}

// Validate says what keeps m from being used: classes that do not fit its network, missing parameters, transforms that
// are no JSON list.
func (m *Model) Validate() error {
	if err := m.describe(); err != nil {
		return err
	}
	if q := m.Card.Quantization; q != nil {
		if err := q.Check(m.Network); err != nil {
			return err
		}
	}
	return m.Network.Check(m.Params)
}

// describe checks all but the parameters.
func (m *Model) describe() error {
	if _, err := m.Network.Parameters(); err != nil {
		return err
	}
	seen := map[string]int{}
	for i, name := range m.Card.Classes {
		if name == "" || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
			return fmt.Errorf("model: class %d is named %q; want a printable name", i, name)
		}
		if j, dup := seen[name]; dup {
			return fmt.Errorf("model: classes %d and %d are both named %q", j, i, name)
		}
		seen[name] = i
	}
	if n := len(m.Card.Classes); n != m.Network.Classes() || n < 2 {
		return fmt.Errorf("model: %d classes are named and the network has %d outputs; want as many, and at least 2", n, m.Network.Classes())
	}
	var steps []json.RawMessage
	if err := json.Unmarshal(m.Card.Transforms, &steps); err != nil || steps == nil {
		return fmt.Errorf("model: transforms are %.40q; want a JSON list of steps", m.Card.Transforms)
	}
	if c := m.Card.Calibration; c != nil {
		return c.check(m.Card.Classes)
	}
	return nil
}

// Hash is the SHA-256, in hexadecimal, of everything that changes what m answers: classes, network, transforms,
// weights, and its quantization and calibration if it has them. How the transforms are indented does not matter, nor what else the card says.
func (m *Model) Hash() string {
	h := sha256.New()
	var transforms any
	d := json.NewDecoder(bytes.NewReader(m.Card.Transforms))
	d.UseNumber()
	if d.Decode(&transforms) != nil {
		transforms = string(m.Card.Transforms) // no list, and Validate says so; still another hash
	}
	// Encoding strings, numbers and what Decode gave cannot fail.
	json.NewEncoder(h).Encode([]any{"logobeam model", format, m.Card.Classes, transforms, m.Network})
	if q := m.Card.Quantization; q != nil {
		json.NewEncoder(h).Encode(q.Ranges)
		for _, name := range slices.Sorted(maps.Keys(q.Means)) {
			fmt.Fprintf(h, "%s %d\n", name, len(q.Means[name]))
			hashFloats(h, q.Means[name])
		}
	}
	if c := m.Card.Calibration; c != nil {
		json.NewEncoder(h).Encode(c.Answers)
	}
	all, err := m.Network.Parameters()
	if err != nil {
		return hex.EncodeToString(h.Sum(nil))
	}
	for _, p := range all {
		fmt.Fprintf(h, "%s %d\n", p.Name, len(m.Params[p.Name]))
		hashFloats(h, m.Params[p.Name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

func hashFloats(h hash.Hash, values []float32) {
	buffer := make([]byte, 0, 1<<14)
	for len(values) > 0 {
		part := values[:min(len(values), cap(buffer)/4)]
		buffer = buffer[:0]
		for _, v := range part {
			buffer = binary.LittleEndian.AppendUint32(buffer, math.Float32bits(v))
		}
		h.Write(buffer)
		values = values[len(part):]
	}
}

// Save writes m as the folder dir: model.safetensors, which other programs read too, and model.json. With half the
// weights are kept in float16, and m.Params is replaced by what was kept (the former slices are not written to), so
// that m answers and hashes as Load's does; so are the means of its quantization. Card.Precision and Card.Weights are set.
//
// A folder that holds a model already turns into the new one at once: both files are written beside it and synced, then
// model.json is renamed over the old one, which names the weights by their content. Whoever loads meanwhile, or after a
// crash, gets the one model or the other.
func (m *Model) Save(dir string, half bool) error {
	if err := m.Validate(); err != nil {
		return err
	}
	params, quantization, precision := m.Params, m.Card.Quantization, "float32"
	if half {
		var err error
		if params, err = halve(m.Params); err != nil {
			return err
		}
		if quantization != nil {
			rounded := *quantization
			if err = rounded.Halve(); err != nil {
				return err
			}
			quantization = &rounded
		}
		precision = "float16"
	}
	tensors, err := m.Network.Tensors(params)
	if err != nil {
		return err
	}
	if quantization != nil {
		quantization.put(tensors)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("saving the model: %w", err)
	}
	sum := sha256.New()
	weights, err := aside(dir, func(w io.Writer) error { return WriteSafetensors(io.MultiWriter(w, sum), tensors, half) })
	if err != nil {
		return fmt.Errorf("saving the model: %w", err)
	}
	defer os.Remove(weights) // does nothing once it is renamed

	saved := file{Format: format, Card: m.Card, Network: m.Network}
	saved.Quantization, saved.Precision = quantization, precision
	saved.Weights = hex.EncodeToString(sum.Sum(nil))
	card, err := aside(dir, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(saved)
	})
	if err != nil {
		return fmt.Errorf("saving the model: %w", err)
	}
	defer os.Remove(card)

	pending := filepath.Join(dir, pendingFile(saved.Weights))
	for _, rename := range [][2]string{{weights, pending}, {card, filepath.Join(dir, cardFile)}, {pending, filepath.Join(dir, weightsFile)}} {
		if err := os.Rename(rename[0], rename[1]); err != nil {
			return fmt.Errorf("saving the model: %w", err)
		}
	}
	if d, err := os.Open(dir); err == nil {
		d.Sync() // makes the renames last through a power cut; not every file system can
		d.Close()
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries { // pending weights of a run that was killed between the renames
		if ok, _ := filepath.Match(pendingFile("*"), e.Name()); ok {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	m.Params, m.Card = params, saved.Card
	return nil
}

// Publish copies the model that Save wrote to the folder dir to another place, by two functions that put a file there at
// once, in place of the one that is there, and remove one. Its files come in Save's order: whoever loads meanwhile, or
// after a crash, gets the former model or this one.
func Publish(dir string, put func(name string, data []byte) error, remove func(name string) error) error {
	weights, err := os.ReadFile(filepath.Join(dir, weightsFile))
	if err != nil {
		return err
	}
	card, err := os.ReadFile(filepath.Join(dir, cardFile))
	if err != nil {
		return err
	}
	pending := pendingFile(fmt.Sprintf("%x", sha256.Sum256(weights)))
	for _, f := range []struct {
		name string
		data []byte
	}{{pending, weights}, {cardFile, card}, {weightsFile, weights}} {
		if err := put(f.name, f.data); err != nil {
			return err
		}
	}
	return remove(pending)
}

// halve rounds all values to what float16 can hold, in slices of their own.
func halve(values map[string][]float32) (map[string][]float32, error) {
	all := make(map[string][]float32, len(values))
	for name, from := range values {
		rounded := make([]float32, len(from))
		for i, v := range from {
			rounded[i] = FromHalf(toHalf(v))
			if math.IsInf(float64(rounded[i]), 0) {
				return nil, fmt.Errorf("model: parameter %s holds %g, which is too large for float16; save it in float32", name, v)
			}
		}
		all[name] = rounded
	}
	return all, nil
}

// pendingFile is where weights lie between the rename of model.json and their own.
func pendingFile(sum string) string { return ".model-" + sum + ".safetensors" }

// aside writes a new file in dir, synced, under a name that nobody reads.
func aside(dir string, write func(io.Writer) error) (path string, err error) {
	f, err := os.CreateTemp(dir, ".model-*.tmp")
	if err != nil {
		return "", err
	}
	err = errors.Join(write(f), f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// Load reads the model that Save wrote to the folder dir, and checks that its two files belong together.
func Load(dir string) (*Model, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w; want a folder as logobeam train writes it", dir, errors.Unwrap(err))
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("model %s: a file; give the folder that holds %s and %s", dir, cardFile, weightsFile)
	}
	m, err := LoadFS(os.DirFS(dir))
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", dir, err)
	}
	return m, nil
}

// errTorn says that model.json speaks of other weights than are there.
var errTorn = errors.New("model.safetensors is not the file that model.json describes (its SHA-256 differs): one of them was changed or copied alone; copy the folder again or train anew")

// LoadFS is Load for the root of any file system, such as one built into a program.
func LoadFS(fsys fs.FS) (*Model, error) {
	for attempt := 0; ; attempt++ {
		m, err := load(fsys)
		if attempt == 2 || !errors.Is(err, errTorn) { // else a Save may have come between the two files
			return m, err
		}
	}
}

func load(fsys fs.FS) (*Model, error) {
	text, err := readCard(fsys)
	if err != nil {
		return nil, err
	}
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", cardFile, err)
	}
	if f.Format != format {
		return nil, fmt.Errorf("%s: format %d; this program reads format %d", cardFile, f.Format, format)
	}
	var compact bytes.Buffer
	if len(f.Transforms) > 0 {
		json.Compact(&compact, f.Transforms) // what Unmarshal has accepted
		f.Transforms = compact.Bytes()
	}
	m := &Model{Card: f.Card, Network: f.Network}
	if err := m.describe(); err != nil {
		return nil, fmt.Errorf("%s: %w", cardFile, err)
	}
	tensors, err := loadWeights(fsys, weightsFile, f.Weights)
	if errors.Is(err, errTorn) || errors.Is(err, fs.ErrNotExist) {
		if pending, e := loadWeights(fsys, pendingFile(f.Weights), f.Weights); e == nil {
			tensors, err = pending, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if q := m.Card.Quantization; q != nil {
		q.take(tensors)
		if err := q.Check(m.Network); err != nil {
			return nil, fmt.Errorf("%s and %s: %w", cardFile, weightsFile, err)
		}
	}
	if m.Params, _, err = m.Network.assemble(tensors, -1); err != nil {
		return nil, fmt.Errorf("%s: %w", weightsFile, err)
	}
	for name := range tensors {
		if _, used := m.Params[name]; !used {
			return nil, fmt.Errorf("%s: tensor %q is no parameter of the network in %s", weightsFile, name, cardFile)
		}
	}
	return m, nil
}

func readCard(fsys fs.FS) ([]byte, error) {
	f, err := fsys.Open(cardFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no %s there: %w; want a folder as logobeam train writes it", cardFile, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxCard+1))
	if err == nil && len(text) > maxCard {
		err = fmt.Errorf("longer than %d bytes", maxCard)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cardFile, err)
	}
	return text, nil
}

// loadWeights reads a safetensors file whose SHA-256 must be sum.
func loadWeights(fsys fs.FS, name, sum string) (map[string]Tensor, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("weights: %s is not a regular file", name)
	}
	h := sha256.New()
	tensors, err := ReadSafetensors(io.TeeReader(f, h), info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if hex.EncodeToString(h.Sum(nil)) != sum {
		return nil, errTorn
	}
	return tensors, nil
}
