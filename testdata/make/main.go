// Make draws the photographs of testdata: marks of brands laid on open photographs and textures, as a camera might see them,
// in the layout of FlickrLogos-32, and files that are odd in one way each. From the repository's root,
//
//	go run ./testdata/make
//
// writes the same bytes again. The marks are read from testdata/marks, the backgrounds from testdata/backgrounds. What Go's
// packages cannot encode is made by oddities.py beside this file and only checked for here. With -bombs it writes, to a folder
// outside the repository, what shows that bombs do not slow scoring down.
package main

import (
	"bytes"
	"encoding/csv"
	"flag"
	"fmt"
	"hash/fnv"
	"image"
	"image/jpeg"
	"log"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/sfnt"

	"github.com/logobeam/logobeam/transforms/svg"
)

const (
	noLogo       = "no-logo"
	noLogoImages = 42
)

func main() {
	log.SetFlags(0)
	out := flag.String("out", "testdata", "folder to write to")
	marks := flag.String("marks", "testdata/marks", "folder of single-path drawings, NAME.svg")
	backgrounds := flag.String("backgrounds", "testdata/backgrounds", "folder of photographs, NAME.jpg")
	seed := flag.Uint64("seed", 1, "what everything random is drawn from")
	bombs := flag.String("bombs", "", "write bombs and listings with and without them to this folder, and nothing else")
	photographs := flag.String("photographs", "testdata/classes", "folder of the photographs that these listings name")
	rows := flag.Int("rows", 2000, "rows of these listings")
	flag.Parse()
	if *bombs != "" {
		if err := writeBombs(*bombs, *photographs, *rows); err != nil {
			log.Fatal(err)
		}
		return
	}
	if err := run(*out, *marks, *backgrounds, *seed); err != nil {
		log.Fatal(err)
	}
}

// A background is a photograph without any mark. The textures among them are grey: tints gives them colours.
type background struct {
	name  string
	image image.Image
	tints []rgb
}

var tints = map[string][]rgb{
	"brick":  {{1.5, 0.95, 0.75}, {1.3, 1.15, 1}, {1, 1, 1}, {1.6, 1.5, 1.35}, {0.7, 0.95, 1.35}},
	"grass":  {{0.75, 1.15, 0.5}, {0.9, 1.1, 0.55}, {1.2, 1.1, 0.7}},
	"gravel": {{1.1, 1, 0.85}, {1, 1, 1}, {1.25, 1.1, 0.9}, {0.8, 0.9, 1.05}},
}

// A photograph is one file of the corpus.
type photograph struct {
	class, path string
}

func run(out, marks, backgrounds string, seed uint64) error {
	grounds, err := readBackgrounds(backgrounds)
	if err != nil {
		return err
	}
	bold, err := sfnt.Parse(gobold.TTF)
	if err != nil {
		return err
	}
	tree := filepath.Join(out, "classes")
	if err := os.RemoveAll(tree); err != nil {
		return err
	}

	var all []photograph
	write := func(class string, n int, draw func(d dice, c *canvas, n int) error) error {
		h := fnv.New64a()
		fmt.Fprintf(h, "%s %d", class, n)
		d := dice{rand.New(rand.NewPCG(seed, h.Sum64()))}
		id := strconv.FormatInt(1e8+d.Int64N(4.9e9), 10) // as Flickr numbered them
		w, hgt := size(d)
		c := backdrop(d, pick(d, grounds), w, hgt)
		if err := draw(d, c, n); err != nil {
			return err
		}
		data, err := encode(c.develop(d), 45+d.IntN(48))
		if err != nil {
			return err
		}
		p := photograph{class, "classes/jpg/" + class + "/" + id + ".jpg"}
		all = append(all, p)
		return writeFile(filepath.Join(out, filepath.FromSlash(p.path)), data)
	}
	for _, b := range brands {
		var shapes []svg.Outline
		for _, f := range b.files {
			o, err := readMark(filepath.Join(marks, f+".svg"))
			if err != nil {
				return err
			}
			shapes = append(shapes, o)
		}
		for n := range b.images {
			if err := write(b.name, n, func(d dice, c *canvas, n int) error {
				if d.is(0.3) {
					if err := clutter(d, c, bold, 0.1, 0.25); err != nil {
						return err
					}
				}
				c.sign(d, shapes[n%len(shapes)], pick(d, b.schemes), pick(d, b.plates), 0.34, 0.8)
				return nil
			}); err != nil {
				return err
			}
		}
	}
	for n := range noLogoImages {
		if err := write(noLogo, n, func(d dice, c *canvas, n int) error {
			switch n % 3 {
			case 0: // nothing at all
				return nil
			case 1:
				return clutter(d, c, bold, 0.34, 0.8)
			}
			for range 1 + d.IntN(3) {
				if err := clutter(d, c, bold, 0.15, 0.45); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	if err := writeLists(out, all); err != nil {
		return err
	}
	if err := writePosts(out, all, seed); err != nil {
		return err
	}
	return writeOddities(out, marks, grounds)
}

func readBackgrounds(dir string) ([]background, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.jpg"))
	if err != nil {
		return nil, err
	}
	var list []background
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		m, err := jpeg.Decode(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		name := strings.TrimSuffix(filepath.Base(f), ".jpg")
		list = append(list, background{name, m, tints[name]})
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no backgrounds in %s", dir)
	}
	return list, nil
}

func size(d dice) (w, h int) {
	long := 240 + 16*d.IntN(6)
	short := int(float64(long) * pick(d, []float64{0.66, 0.75, 0.75, 0.8, 1}))
	if d.is(0.3) {
		return short, long
	}
	return long, short
}

// sign puts a mark, with a plate behind it if it has one or needs one, somewhere into the scene. least and most are its
// longer side as a share of the scene's shorter one.
func (c *canvas) sign(d dice, mark svg.Outline, colours scheme, kind string, least, most float64) {
	lo, hi := mark.Bounds()
	p := pose{
		roll:     d.NormFloat64() * 0.12,
		yaw:      d.in(-0.75, 0.75),
		pitch:    d.in(-0.5, 0.5),
		distance: d.in(2, 6),
		size:     d.in(least, most) * float64(min(c.w, c.h)),
	}
	if d.is(0.25) { // on a can or a cup
		p.bend = d.in(0.6, 1.5)
		p.yaw *= 0.5
	}
	if flat := (hi.Y - lo.Y) / (hi.X - lo.X); flat < 0.5 { // lettering needs room to be read
		p.size = min(p.size*1.5, 0.92*float64(c.w))
	}
	room := p.size * 0.55
	p.x = d.in(min(room, float64(c.w)/2), max(float64(c.w)-room, float64(c.w)/2))
	p.y = d.in(min(room*0.7, float64(c.h)/2), max(float64(c.h)-room*0.7, float64(c.h)/2))

	slope, turn := d.in(0, 0.3), d.in(0, 2*math.Pi)
	sin, cos := math.Sincos(turn)
	light := func(x, y int) float64 {
		return 1 + slope*((float64(x)-p.x)*cos+(float64(y)-p.y)*sin)/p.size
	}

	shape := fill(mark.Map(p.at))
	mean, deviation := c.luma(shape)
	if kind == "" && (math.Abs(colours.mark.luma()-mean) < 75 || deviation > 38) {
		kind = "rounded" // it could not be told from its ground
	}
	margin := d.in(0.12, 0.4)
	if kind != "" {
		back := fill(plate(kind, hi.X-lo.X, hi.Y-lo.Y, margin).Map(p.at))
		if d.is(0.6) {
			c.shadow(back, int(d.in(-5, 5)), int(d.in(1, 7)), d.in(0.2, 0.5), d.in(1.5, 4))
		}
		c.paint(back, colours.plate, d.in(0.97, 1), d.in(0, 0.14), light)
		c.paint(shape, colours.mark, d.in(0.92, 1), d.in(0, 0.14), light)
		return
	}
	c.paint(shape, colours.mark, d.in(0.85, 1), d.in(0.1, 0.5), light) // painted on the ground
}

// clutter is a sign that means nothing.
func clutter(d dice, c *canvas, f *sfnt.Font, least, most float64) error {
	o, err := meaningless(d, f)
	if err != nil {
		return err
	}
	colours := pick(d, pick(d, brands).schemes) // in colours that brands wear too
	c.sign(d, centred(o), colours, pick(d, []string{"", "rectangle", "rounded", "disc", "ellipse"}), least, most)
	return nil
}

func encode(m image.Image, quality int) ([]byte, error) {
	var b bytes.Buffer
	err := jpeg.Encode(&b, m, &jpeg.Options{Quality: quality})
	return b.Bytes(), err
}

// writeLists deals the photographs of each class out: two fifths of a brand's to training, the rest in halves to
// validation and test. As in FlickrLogos-32, none of those without a logo are for training.
func writeLists(out string, all []photograph) error {
	lists := map[string][]string{}
	seen := map[string]int{}
	total := map[string]int{}
	for _, p := range all {
		total[p.class]++
	}
	for _, p := range all {
		k, n := seen[p.class], total[p.class]
		seen[p.class]++
		list := "testset"
		switch {
		case p.class == noLogo && k < n*4/7:
			list = "valset-nologos"
		case p.class == noLogo:
		case k < (2*n+4)/5:
			list = "trainset"
		case k < (2*n+4)/5+(n-(2*n+4)/5)/2:
			list = "valset-logosonly"
		}
		lists[list] = append(lists[list], p.path)
	}
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		slices.Sort(lists[name])
		if err := writeFile(filepath.Join(out, name+".relpaths.txt"), []byte(strings.Join(lists[name], "\n")+"\n")); err != nil {
			return err
		}
	}
	return nil
}

// writePosts lists all photographs in the order in which they were posted.
func writePosts(out string, all []photograph, seed uint64) error {
	d := rand.New(rand.NewPCG(seed, 0))
	all = slices.Clone(all)
	d.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	rows := [][]string{{"post_id", "image"}}
	id := int64(178412000000000000)
	for _, p := range all {
		id += d.Int64N(5e12)
		rows = append(rows, []string{strconv.FormatInt(id, 10), p.path})
	}
	return writeCSV(filepath.Join(out, "posts.csv"), rows)
}

func writeCSV(path string, rows [][]string) error {
	var b bytes.Buffer
	if err := csv.NewWriter(&b).WriteAll(rows); err != nil {
		return err
	}
	return writeFile(path, b.Bytes())
}

func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}
