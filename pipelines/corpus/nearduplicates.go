package corpus

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/logobeam/logobeam/transforms"
)

// What PrepareOptions.NearDuplicates does about images that are nearly the same in two splits.
const (
	Warn   = "warn"   // name them
	Drop   = "drop"   // and leave them out of training, or of validation if it is test that has the other
	Ignore = "ignore" // do not look for them
)

// NearDuplicatesCSV is the file in the output folder that lists them, if there are any.
const NearDuplicatesCSV = "near-duplicates.csv"

// NearDuplicate is an image that is nearly the same as one of a later split, in the order of training, validation and
// test: the one that is nearest to it.
type NearDuplicate struct {
	Image, Other           Row // named where they lie in the source, as a listing names images that are not copied
	ImageSplit, OtherSplit string
	Distance               int // of their perceptual hashes in bits, at most 56 of 255
}

// String is one line.
func (n NearDuplicate) String() string {
	return fmt.Sprintf("%s (%s) and %s (%s), %d bits apart", n.Image.Key(), n.ImageSplit, n.Other.Key(), n.OtherSplit, n.Distance)
}

// fingerprint is a perceptual hash, the pHash of Zauner (Implementation and Benchmarking of Perceptual Image Hash
// Functions, 2010) with more frequencies: the luminance of the upright picture, resized to 32 x 32, goes through a
// discrete cosine transform, and the lowest 16 x 16 coefficients but the mean have a bit each, which says whether they are
// above their median. The first word holds those of the lowest 8 x 8. The 63 bits of that word alone, which is the common
// pHash, bring photographs of different brands together: a light thing in the middle of a dark picture.
type fingerprint [4]uint64

// Of 516 photographs of FlickrLogos-27, all are within these bounds when they are saved as JPEG of quality 30, in half the
// size, or without 1 % at each edge; 515 brightened by a fifth, 514 without 2 % at one edge, 506 without 2 % at each. Of the
// 532 thousand pairs of its 1,032 files 29 are within them, all of the same drawing, of which some are coloured in another
// way; from 58 on there are different drawings, and the first two photographs of one thing are at 68.
const (
	nearBits = 56
	lowBits  = 20 // of the first word alone, which is looked at before the others; those pairs have at most 10
)

const (
	hashSide  = 32 // pixels
	hashFreqs = 16 // frequencies in each direction
)

// cosines are of the transform, times 2^13. The hash is of integers, so that it is the same on all machines.
var cosines = func() (c [hashFreqs][hashSide]int64) {
	for u := range c {
		for x := range c[u] {
			c[u][x] = int64(math.Round(math.Cos(math.Pi*float64(u)*(float64(x)+0.5)/hashSide) * (1 << 13)))
		}
	}
	return c
}()

func fingerprintOf(m *transforms.Image) (f fingerprint, err error) {
	small, err := transforms.List{transforms.Orient{}, transforms.Resize{Width: hashSide, Height: hashSide}}.Apply(m, transforms.Key{Epoch: -1})
	if err != nil {
		return f, err
	}
	var rows [hashSide][hashFreqs]int64
	for y := range rows {
		for x := range hashSide {
			p := small.Pix[3*(y*hashSide+x):]
			luminance := 299*int64(p[0]) + 587*int64(p[1]) + 114*int64(p[2])
			for u := range rows[y] {
				rows[y][u] += luminance * cosines[u][x]
			}
		}
	}
	var low, high []int64 // below 8 x 8, and the others
	for v := range hashFreqs {
		for u := range hashFreqs {
			sum := int64(0) // below 2^10 * 255,000 * 2^26
			for y := range hashSide {
				sum += rows[y][u] * cosines[v][y]
			}
			switch {
			case u == 0 && v == 0:
			case u < 8 && v < 8:
				low = append(low, sum)
			default:
				high = append(high, sum)
			}
		}
	}
	sorted := slices.Concat(low, high)
	slices.Sort(sorted)
	median := sorted[len(sorted)/2]
	for i, c := range low {
		if c > median {
			f[0] |= 1 << i
		}
	}
	for i, c := range high {
		if c > median {
			f[1+i/64] |= 1 << (i % 64)
		}
	}
	return f, nil
}

func (f fingerprint) distance(g fingerprint) int {
	n := 0
	for i := range f {
		n += bits.OnesCount64(f[i] ^ g[i])
	}
	return n
}

// closest finds the fingerprint that is nearest to each of a, and how far it is: the first of several, and -1 where none
// is within nearBits. It compares each with each, as that is quick: 100,000 images that are dealt out in the usual shares
// are 2.3 thousand million pairs, ten seconds of one core, where decoding them takes minutes.
func closest(ctx context.Context, a, b []fingerprint, workers int) (which, distance []int) {
	low := make([]uint64, len(b))
	for i, f := range b {
		low[i] = f[0]
	}
	which, distance = make([]int, len(a)), make([]int, len(a))
	var next atomic.Int64
	var wait sync.WaitGroup
	for range workers {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(a)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				f := a[i]
				which[i], distance[i] = -1, nearBits+1
				for k, g := range low {
					if bits.OnesCount64(f[0]^g) > lowBits {
						continue
					}
					if d := f.distance(b[k]); d < distance[i] {
						which[i], distance[i] = k, d
					}
				}
			}
		})
	}
	wait.Wait()
	return which, distance
}

// nearDuplicates finds the images of each split that are nearly the same as one of a later split, sorted as the splits
// are, and in drop those images' indices for the first two splits. hashes are of all splits, one after the other.
func nearDuplicates(ctx context.Context, splits [3][]Row, hashes []fingerprint, workers int) (found []NearDuplicate, drop [2]map[int]bool) {
	var of [3][]fingerprint
	for i, rows := range splits {
		of[i], hashes = hashes[:len(rows)], hashes[len(rows):]
	}
	for i := range drop {
		drop[i] = map[int]bool{}
		for j := i + 1; j < len(splits); j++ {
			which, distance := closest(ctx, of[i], of[j], workers)
			for k, w := range which {
				if w >= 0 {
					found = append(found, NearDuplicate{splits[i][k], splits[j][w], splitNames[i], splitNames[j], distance[k]})
					drop[i][k] = true
				}
			}
		}
	}
	slices.SortStableFunc(found, func(a, b NearDuplicate) int {
		order := func(n NearDuplicate) int { return slices.Index(splitNames[:], n.ImageSplit) }
		return cmp.Or(cmp.Compare(order(a), order(b)), cmp.Compare(a.Image.Label, b.Image.Label), cmp.Compare(a.Image.Image, b.Image.Image))
	})
	return found, drop
}

// without takes images out of the first two splits. It is an error if it takes all of a class from training, or all of a
// split.
func without(splits *[3][]Row, drop [2]map[int]bool) error {
	classes := labels(splits[0])
	for i, gone := range drop {
		var kept []Row
		for k, r := range splits[i] {
			if !gone[k] {
				kept = append(kept, r)
			}
		}
		if len(kept) == 0 && len(gone) > 0 {
			return fmt.Errorf("corpus: all images for %s are nearly the same as one of another split: no near-duplicate can be dropped", splitNames[i])
		}
		splits[i] = kept
	}
	left := labels(splits[0])
	for _, c := range classes {
		if !slices.Contains(left, c) {
			return fmt.Errorf("corpus: all training images of class %q are nearly the same as one of validation or test: dropping them leaves nothing to learn it from", c)
		}
	}
	return nil
}

// nearCSV writes near-duplicates.csv.
func nearCSV(found []NearDuplicate) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	rows := [][]string{{"image", "split", "label", "other", "other_split", "other_label", "distance"}}
	for _, n := range found {
		rows = append(rows, []string{n.Image.Image, n.ImageSplit, n.Image.Label, n.Other.Image, n.OtherSplit, n.Other.Label, strconv.Itoa(n.Distance)})
	}
	if err := w.WriteAll(rows); err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	return b.Bytes(), nil
}
