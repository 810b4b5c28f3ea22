package listing

import (
	"context"
	"math/rand/v2"
	"slices"

	"golang.org/x/sync/errgroup"
)

const sampledChunks = 16 // that are read for a sample where rows cannot be found from the middle

// Sample draws about n rows evenly over a plan's listing, in its order; the same for the same seed. Of a text it looks at
// a few KiB around each row. Of others, compressed ones among them, it reads up to 16 chunks and draws from those; a
// compressed file is unpacked as far as the last of them.
func Sample(ctx context.Context, chunks []Chunk, n int, seed uint64) ([]Row, error) {
	total, _ := Rows(chunks)
	if n <= 0 || total == 0 {
		return nil, nil
	}
	random := rand.New(rand.NewPCG(seed, 0))
	all := total <= int64(n)
	drawn := make([]int64, min(int64(n), total)) // of the listing's rows, as many as there are expected to be
	for i := range drawn {
		if drawn[i] = int64(i); !all {
			drawn[i] = random.Int64N(total)
		}
	}
	slices.Sort(drawn)
	var draws []draw
	texts := map[string]bool{}
	begin := int64(0)
	for _, c := range chunks {
		end := begin + max(c.Rows, c.About)
		k, _ := slices.BinarySearch(drawn, end)
		d := draw{chunk: c, rows: slices.Compact(drawn[:k])}
		for i := range d.rows {
			d.rows[i] -= begin
		}
		drawn, begin = drawn[k:], end
		if len(d.rows) == 0 {
			continue
		}
		text, known := texts[c.Source]
		if !known {
			var err error
			if text, err = c.isText(ctx); err != nil {
				return nil, err
			}
			texts[c.Source] = text
		}
		d.text = text && !all
		draws = append(draws, d)
	}
	if !all {
		draws = thin(draws, random)
	}
	found := make([][]Row, len(draws))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(atATime)
	for i, d := range draws {
		if !d.text {
			continue
		}
		g.Go(func() (err error) {
			found[i], err = d.look(gctx)
			return err
		})
	}
	err := g.Wait()
	for i, d := range draws {
		if err == nil && !d.text { // one after the other, since compressed files are read from the front
			found[i], err = d.read(ctx)
		}
	}
	return slices.Concat(found...), err
}

// draw is what a sample takes from a chunk.
type draw struct {
	chunk Chunk
	rows  []int64 // numbers in the chunk, ascending
	text  bool    // rows can be found from the middle
}

// thin keeps a few of the chunks that are read whole, and draws more rows from those.
func thin(draws []draw, random *rand.Rand) []draw {
	var whole []int
	rows := 0
	for i, d := range draws {
		if !d.text {
			whole = append(whole, i)
			rows += len(d.rows)
		}
	}
	if len(whole) <= sampledChunks {
		return draws
	}
	random.Shuffle(len(whole), func(i, j int) { whole[i], whole[j] = whole[j], whole[i] })
	for k, i := range whole {
		d := &draws[i]
		if d.rows = nil; k < sampledChunks {
			for range (rows + sampledChunks - 1) / sampledChunks {
				d.rows = append(d.rows, random.Int64N(d.chunk.Rows))
			}
			slices.Sort(d.rows)
			d.rows = slices.Compact(d.rows)
		}
	}
	return slices.DeleteFunc(draws, func(d draw) bool { return len(d.rows) == 0 })
}

// isText says whether rows of a chunk's source can be found from the middle.
func (c Chunk) isText(ctx context.Context) (bool, error) {
	if c.Format == folder || c.Format == Parquet {
		return false, nil
	}
	s, err := openFile(ctx, c.Source)
	if err != nil {
		return false, err
	}
	defer s.close()
	return s.packed == plain, nil
}

// read takes rows of the chunk by their numbers.
func (d draw) read(ctx context.Context) ([]Row, error) {
	all, err := d.chunk.Read(ctx)
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, i := range d.rows {
		if i < int64(all.Len()) { // how many there are may have been a guess
			rows = append(rows, all.At(int(i)))
		}
	}
	return rows, nil
}

// look takes the rows that begin after places in the chunk's text.
func (d draw) look(ctx context.Context) ([]Row, error) {
	c := d.chunk
	in, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	defer in.close()
	defer in.during(ctx)()
	k := newCutter(in, usual)
	var rows []Row
	var post post
	last := int64(-1)
	for _, i := range d.rows {
		at := c.Offset + int64(float64(c.End-c.Offset)*float64(i)/float64(max(c.Rows, c.About)))
		_, start, err := k.rowStart(ctx, at)
		if err != nil {
			return nil, in.failed(err)
		}
		if start == none || start >= c.End {
			start = c.Offset
		}
		if start <= last {
			continue
		}
		last = start
		if err := in.seek(start, min(start+readBuffer, k.size), 0); err != nil {
			return nil, in.failed(err)
		}
		r, err := in.next()
		if err != nil {
			return nil, in.failed(err)
		}
		post.take(&c, r)
		rows = append(rows, post.row())
	}
	return rows, nil
}
