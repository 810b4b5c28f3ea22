package kernel

// denseBlock is how many inputs Dense sums at a time: of a block, the rows of src stay in the cache while all weights
// pass by.
const denseBlock = 2048

// Dense computes dst[rows][out] = act(bias + src[rows][in] * w). bias may be nil.
func Dense(dst, src []float32, rows int, w *Packed, bias []float32, act Act) {
	dst = dst[:rows*w.out]
	for r := range rows {
		d := dst[r*w.out:][:w.out]
		if bias == nil {
			clear(d)
		} else {
			copy(d, bias[:w.out])
		}
	}
	for k := 0; k < w.in; k += denseBlock {
		addDots(dst, src[k:], w.w[k:], rows, w.out, min(denseBlock, w.in-k), w.in)
	}
	if act != Linear {
		activate(dst, act)
	}
}

// addDots adds, to each dst[r][o], the product of the k values at src[r*stride] and those at w[o*stride]. The order of
// the additions depends on k alone.
func addDots(dst, src, w []float32, rows, out, k, stride int) {
	if rows == 0 {
		return
	}
	reach(src, 0, k, (rows-1)*stride, 0, 0)
	reach(w, 0, k, (out-1)*stride, 0, 0)
	reach(dst, 0, rows*out, 0, 0, 0)
	dots(dst, src, w, rows, out, k, stride)
}

// dotsGeneric is dots in Go.
func dotsGeneric(dst, src, w []float32, rows, out, k, stride int) {
	for r := range rows {
		x := src[r*stride:][:k]
		d := dst[r*out:][:out]
		o := 0
		for ; o+4 <= out; o += 4 {
			w0, w1, w2, w3 := w[o*stride:][:k], w[(o+1)*stride:][:k], w[(o+2)*stride:][:k], w[(o+3)*stride:][:k]
			var v0, v1, v2, v3 float32
			for i, x := range x {
				v0 += float32(x * w0[i])
				v1 += float32(x * w1[i])
				v2 += float32(x * w2[i])
				v3 += float32(x * w3[i])
			}
			d[o] += v0
			d[o+1] += v1
			d[o+2] += v2
			d[o+3] += v3
		}
		for ; o < out; o++ {
			w0 := w[o*stride:][:k]
			var v float32
			for i, x := range x {
				v += float32(x * w0[i])
			}
			d[o] += v
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
	dy            []float32 // the gradient of the outputs before the activation, [rows][out]
	turned        []float32 // the same, [out][rows]
	db            []float32
}

// denseInputs and denseOutputs are the size of a part: of the inputs, and of the outputs in one pass. Such a part of the
// weights and of their gradient fit the second cache.
const (
	denseInputs  = 512
	denseOutputs = 96
)

// NewDenseBatch makes one for at most so many rows.
func NewDenseBatch(rows, out, in int, act Act) *DenseBatch {
	return &DenseBatch{rows: rows, out: out, in: in, act: act, dy: make([]float32, rows*out), turned: make([]float32, rows*out), db: make([]float32, out)}
}

// Begin takes the gradients ddst[rows][out] of the outputs dst and gives the gradient of the bias, valid until the next
// Begin.
func (d *DenseBatch) Begin(ddst, dst []float32, rows int) (db []float32) {
	d.rows, d.dy = rows, d.dy[:rows*d.out]
	copy(d.dy, ddst[:rows*d.out])
	ActGrad(d.dy, dst, d.act)
	transpose(d.turned[:rows*d.out], d.dy, rows, d.out)
	sumRows(d.db, d.dy, rows, d.out)
	return d.db
}

// Parts is how many parts there are. They can be worked out at the same time.
func (d *DenseBatch) Parts() int { return (d.in + denseInputs - 1) / denseInputs }

// DenseBatchScratch is how many values of scratch memory Part needs.
func DenseBatchScratch(rows int) int {
	return (2*denseOutputs+rows)*denseInputs + lineValues
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
	if change != nil {
		for r := range d.rows {
			strips(inputs, src[r*d.in+j0:], r, d.rows, n)
		}
	}
	for o := 0; o < d.out; o += denseOutputs {
		outs := min(denseOutputs, d.out-o)
		if dsrc != nil {
			for i := range outs {
				strips(weights, w[(o+i)*d.in+j0:], i, outs, n)
			}
			t := outer{a: d.turned, b: weights, c: dsrc, aStep: d.rows, m: d.rows, cs: d.in, images: 1, rows: 1, run: outs}
			t.height = even(t.m, tallest())
			t.at = t.height
			if o > 0 {
				t.add = 1
			}
			for j := 0; j < n; j += width {
				t.cols = min(width, n-j)
				t.a0, t.b0, t.c0, t.bStep = o*d.rows, j*outs, j0+j, roundUp(t.cols, lanes())
				t.sum()
			}
		}
		if change == nil {
			continue
		}
		t := outer{a: d.dy, b: inputs, c: grad, aStep: d.out, m: outs, cs: n, images: 1, rows: 1, run: d.rows}
		t.height = even(t.m, tallest())
		t.at = t.height
		for j := 0; j < n; j += width {
			t.cols = min(width, n-j)
			t.a0, t.b0, t.c0, t.bStep = o, j*d.rows, j, roundUp(t.cols, lanes())
			t.sum()
		}
		for i := range outs {
			change((o+i)*d.in+j0, grad[i*n:][:n])
		}
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
