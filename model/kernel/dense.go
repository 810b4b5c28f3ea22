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
