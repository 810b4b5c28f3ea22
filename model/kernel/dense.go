package kernel

// denseRows is how many rows Dense works on together: each weight is read from memory once for so many.
const denseRows = 64

// DenseScratch is how many values of scratch memory Dense needs for so many rows.
func DenseScratch(rows, out, in int) int {
	rows = min(rows, denseRows)
	return PackedRows(rows, in) + rows*out
}

// Dense computes dst[rows][out] = act(bias + src[rows][in] * w). bias may be nil.
func Dense(dst, src []float32, rows int, w *Packed, bias []float32, act Act, scratch []float32) {
	for r := 0; r < rows; r += denseRows {
		n := min(denseRows, rows-r)
		packed := scratch[:PackedRows(n, w.in)]
		PackRows(packed, src[r*w.in:], n, w.in, 0, w.in)
		DensePacked(dst[r*w.out:], w.out, packed, n, w, bias, act, scratch[len(packed):])
	}
}

// The weights of a dense layer are far more than its inputs, and each is used but once a row. So they are left as they
// are, and the inputs are packed, as a convolution packs its weights: the outputs of a few rows of weights are the
// rows of a product, and the rows of the batch lie side by side in its vectors.

// PackedRows is how many values PackRows writes.
func PackedRows(rows, in int) int {
	whole := rows / denseRows
	return whole*panelsSize(in, denseRows) + panelsSize(in, rows-whole*denseRows) + lineValues
}

// PackRows packs the values from..to-1 of each of rows src[rows][in] for DensePacked. Parts can be packed at the same time.
func PackRows(dst, src []float32, rows, in, from, to int) {
	dst = aligned(dst, PackedRows(rows, in)-lineValues)
	for r := 0; r < rows; r += denseRows {
		n := min(denseRows, rows-r)
		p := newPanels(dst[r*in:], in, n)
		p.transposePart(src[r*in:][:n*in], from, to)
	}
}

// PackRowsBFloat16 is PackRows for weights of PackDenseBFloat16. from is even. It takes as much memory.
func PackRowsBFloat16(dst, src []float32, rows, in, from, to int) {
	dst = aligned(dst, PackedRows(rows, in)-lineValues)
	for r := 0; r < rows; r += denseRows {
		n := min(denseRows, rows-r)
		newPanels(dst[r*paired(in):], paired(in), n).transposePairs(src[r*in:][:n*in], in, from, to)
	}
}

// DensePackedScratch is how many values of scratch memory DensePacked needs.
func DensePackedScratch(rows, out int) int {
	return min(rows, denseRows)*out + min(out, densePairedOuts)*densePairs
}

// densePairedOuts and densePairs are how many rows of weights become pairs at a time, and how many pairs of each: so many as
// stay in the second cache with the inputs that they are multiplied by.
const (
	densePairedOuts = 64
	densePairs      = 1024
)

// multiplyPairs computes sums[out][p.n] = w * p in bfloat16.
func (w *Packed) multiplyPairs(sums []float32, p panels, scratch []float32) {
	for o := 0; o < w.out; o += densePairedOuts {
		t := tile{a: scratch, b: p.data, c: sums, m: min(densePairedOuts, w.out-o), ak: 1, runs: 1, cs: p.n, padded: 1, pairs: true}
		for k := 0; k < p.k; k += densePairs {
			t.run = min(densePairs, p.k-k)
			t.as = t.run
			for i := range t.m {
				row := w.w[(o+i)*w.in:][:w.in]
				pairNeighbours(scratch[i*t.run:], row[2*k:min(2*(k+t.run), w.in)])
			}
			for j := 0; j < p.n; j += p.width {
				var b0 int
				b0, t.cols, t.bk = p.strip(j)
				t.b0, t.c0 = b0+k*t.bk, o*p.n+j
				t.product()
			}
			t.add = 1
		}
	}
}

// DensePacked is Dense for rows that PackRows has packed, or PackRowsBFloat16 for weights of PackDenseBFloat16. Rows of dst are
// pitch values apart, so that layers can be worked out a part of the outputs at a time.
func DensePacked(dst []float32, pitch int, packed []float32, rows int, w *Packed, bias []float32, act Act, scratch []float32) {
	packed = aligned(packed, PackedRows(rows, w.in)-lineValues)
	for r := 0; r < rows; r += denseRows {
		n := min(denseRows, rows-r)
		sums := scratch[:w.out*n] // [out][n]
		if w.bfloat16 {
			w.multiplyPairs(sums, newPanels(packed[r*paired(w.in):], paired(w.in), n), scratch[w.out*n:])
		} else {
			multiply(sums, w.w, w.out, n, newPanels(packed[r*w.in:], w.in, n), nil, Linear)
		}
		const block = 64 // outputs of all rows that are turned while they are in the first cache
		for o := 0; o < w.out; o += block {
			outs := min(block, w.out-o)
			for i := range n {
				d := dst[(r+i)*pitch+o:][:outs]
				for k := range d {
					d[k] = sums[(o+k)*n+i]
				}
				if bias != nil {
					addTo(d, bias[o:][:outs])
				}
				if act != Linear {
					activate(d, act)
				}
			}
		}
	}
}

// denseOuts is how many rows of weights DenseGradInput reads side by side: enough that its sums are not stored and
// loaded all the time, few enough for the processor to foresee the loads.
const denseOuts = 32

// DenseGradInput computes the gradient dsrc[rows][in] of Dense's input from the gradient ddst[rows][out] of its output,
// taken before the activation. w are the weights [out][in], not packed.
func DenseGradInput(dsrc, ddst, w []float32, rows, out, in int) {
	if rows == 0 {
		return
	}
	width := 2 * lanes()
	t := tile{a: ddst, as: out, ak: 1, b: w, bk: in, c: dsrc, cs: in, m: rows, runs: 1}
	for o := 0; o < out; o += denseOuts {
		t.a0, t.run = o, min(denseOuts, out-o)
		for j := 0; j < in; j += width {
			t.b0, t.c0, t.cols = o*in+j, j, min(width, in-j)
			t.product()
		}
		t.add = 1
	}
}

// DenseGradWeights computes the gradients dw[out][in] and db[out] of Dense's weights and bias, summed over the rows,
// from the gradient ddst[rows][out] of its output, taken before the activation. db may be nil.
func DenseGradWeights(dw, db, ddst, src []float32, rows, out, in int) {
	sumRows(db, ddst, rows, out)
	if rows == 0 {
		clear(dw[:out*in])
		return
	}
	width := 2 * lanes()
	t := tile{a: ddst, as: 1, ak: out, b: src, bk: in, c: dw, cs: in, runs: 1, run: rows}
	const block = 12 // rows of dw written side by side
	for o := 0; o < out; o += block {
		t.a0, t.m = o, min(block, out-o)
		for j := 0; j < in; j += width {
			t.b0, t.c0, t.cols = j, o*in+j, min(width, in-j)
			t.product()
		}
	}
}

// DenseGrad computes the gradients of Dense as ConvGrad does those of Conv.
func DenseGrad(dsrc, dw, db, ddst, dst, src, w []float32, rows, out, in int, act Act) {
	ActGrad(ddst[:rows*out], dst, act)
	if dsrc != nil {
		DenseGradInput(dsrc, ddst, w, rows, out, in)
	}
	if dw != nil {
		DenseGradWeights(dw, db, ddst, src, rows, out, in)
	}
}

// DenseBatch is the gradient of a dense layer too large for any cache, for a whole batch: it is worked out a part of the
// inputs at a time, and whoever changes the weights does so while that part of them is in the cache. So the weights are
// read and written once, and their gradient is never in memory as a whole.
type DenseBatch struct {
	rows, out, in int
	act           Act
	bfloat16      bool
	// The gradient of the outputs before the activation, [rows][out], and turned, [out][rows]. In bfloat16 both are pairs of
	// two halves: of the rows, and of the outputs of each pass.
	dy, turned []float32
	db         []float32
}

// denseInputs and denseOutputs are the size of a part: of the inputs, and of the outputs in one pass. Such a part of the
// weights and of their gradient fit the second cache.
const (
	denseInputs  = 512
	denseOutputs = 96
)

// NewDenseBatch makes one for at most so many rows, whose products are of values rounded to bfloat16 if that is wanted.
func NewDenseBatch(rows, out, in int, act Act, bfloat16 bool) *DenseBatch {
	return &DenseBatch{rows: rows, out: out, in: in, act: act, bfloat16: bfloat16, dy: make([]float32, rows*out), turned: make([]float32, rows*out), db: make([]float32, out)}
}

// Begin takes the gradients ddst[rows][out] of the outputs dst and gives the gradient of the bias, valid until the next
// Begin.
func (d *DenseBatch) Begin(ddst, dst []float32, rows int) (db []float32) {
	d.rows, d.dy = rows, d.dy[:rows*d.out]
	copy(d.dy, ddst[:rows*d.out])
	ActGrad(d.dy, dst, d.act)
	transpose(d.turned[:rows*d.out], d.dy, rows, d.out)
	sumRows(d.db, d.dy, rows, d.out)
	if d.bfloat16 {
		pairHalves(d.dy, d.dy, rows, d.out)
		for o := 0; o < d.out; o += denseOutputs {
			outs := min(denseOutputs, d.out-o)
			pairHalves(d.turned[o*rows:], d.turned[o*rows:], outs, rows)
		}
	}
	return d.db
}

// Parts is how many parts there are. They can be worked out at the same time.
func (d *DenseBatch) Parts() int { return (d.in + denseInputs - 1) / denseInputs }

// DenseBatchScratch is how many values of scratch memory Part needs.
func DenseBatchScratch(rows int) int {
	return (2*denseOutputs+rows+1)*denseInputs + lineValues
}

// Part works out part k: dsrc[rows][in], the gradient of the inputs src[rows][in], from the weights w, as far as it lies in
// the part; and the gradient of the weights, handed to change a piece at a time, with the place of its first value in w.
// dsrc or change may be nil.
func (d *DenseBatch) Part(k int, dsrc, src, w []float32, change func(first int, g []float32), scratch []float32) {
	j0 := k * denseInputs
	n := min(denseInputs, d.in-j0)
	width := outerWidth()
	whole := roundUp(n, lanes())
	scratch = aligned(scratch, DenseBatchScratch(d.rows)-lineValues)
	weights, grad, inputs := scratch[:denseOutputs*whole], scratch[denseOutputs*denseInputs:][:denseOutputs*n], scratch[2*denseOutputs*denseInputs:][:d.rows*whole]
	both := scratch[(2*denseOutputs+d.rows)*denseInputs:][:n]
	if change != nil {
		d.strips(inputs, src[j0:], d.rows, n, both)
	}
	for o := 0; o < d.out; o += denseOutputs {
		outs := min(denseOutputs, d.out-o)
		if dsrc != nil {
			d.strips(weights, w[o*d.in+j0:], outs, n, both)
			t := outer{a: d.turned, b: weights, c: dsrc, aStep: d.rows, m: d.rows, cs: d.in, images: 1, rows: 1, run: d.steps(outs), pairs: d.bfloat16}
			t.height = even(t.m, tallest())
			t.at = t.height
			if o > 0 {
				t.add = 1
			}
			for j := 0; j < n; j += width {
				t.cols = min(width, n-j)
				t.a0, t.b0, t.c0, t.bStep = o*d.rows, j*t.run, j0+j, roundUp(t.cols, lanes())
				t.sum()
			}
		}
		if change == nil {
			continue
		}
		t := outer{a: d.dy, b: inputs, c: grad, aStep: d.out, m: outs, cs: n, images: 1, rows: 1, run: d.steps(d.rows), pairs: d.bfloat16}
		t.height = even(t.m, tallest())
		t.at = t.height
		for j := 0; j < n; j += width {
			t.cols = min(width, n-j)
			t.a0, t.b0, t.c0, t.bStep = o, j*t.run, j, roundUp(t.cols, lanes())
			t.sum()
		}
		for i := range outs {
			change((o+i)*d.in+j0, grad[i*n:][:n])
		}
	}
}

// steps is how many steps a sum of n products takes.
func (d *DenseBatch) steps(n int) int {
	if d.bfloat16 {
		return paired(n)
	}
	return n
}

// strips copies n values of each row of src, which begin in apart, to the strips [strip][steps][lanes] in dst: as pairs of
// two halves in bfloat16. both is memory for n values.
func (d *DenseBatch) strips(dst, src []float32, rows, n int, both []float32) {
	steps := d.steps(rows)
	for r := range steps {
		row := src[r*d.in:][:n]
		if d.bfloat16 {
			var lower []float32
			if r+steps < rows {
				lower = src[(r+steps)*d.in:][:n]
			}
			pairRows(both, row, lower)
			row = both
		}
		strips(dst, row, r, steps, n)
	}
}

// strips copies n values to row r of the strips [strip][rows][lanes] in dst.
func strips(dst, src []float32, r, rows, n int) {
	width := outerWidth()
	whole := n / width
	if whole > 0 {
		copyRows(dst[r*width:], src, whole, width, rows*width, width, false)
	}
	if rest := n - whole*width; rest > 0 {
		copyRows(dst[whole*width*rows+r*roundUp(rest, lanes()):], src[whole*width:], 1, rest, 0, 0, true)
	}
}
