// The kernels of training and scoring on an NVIDIA GPU (compute capability 8.0 and later), in CUDA C. `make ptx` compiles
// this file to kernels.ptx, which is what the program holds; package ptx runs the same text without a GPU in tests.
//
// Layouts are package kernel's: activations float32 [n][y][x][channel], weights of convolutions [out][ky][kx][in], of
// depthwise ones [ky][kx][c], of dense layers [out][in], biases [out]. A dense layer is a convolution with h = w = outh =
// outw = kernel = stride = 1, c = in, outc = out and n rows.
//
// Parameters. Every parameter takes 8 bytes: a pointer to memory of the device (0 where it is said to be optional), an i64 or
// a double. All float32 memory must be aligned to 4 bytes; where a layer's channels, pitches and pointers are multiples of 4
// values, four are moved at a time. SHAPE is eleven i64, in this order:
//
//   n, h, w, c, outh, outw, outc, kernel, stride, padtop, padleft
//
// as kernel.Shape has them, n being images. outc is c for depthwise layers and pools. pitch is how many values lie between
// an output pixel and the next, outc at least, so that layers can write into a stripe of a wider tensor. act is 0 for linear, 1
// for ReLU, 2 for ReLU6. n*outh*outw*max(tile), n*h*w, kernel*kernel*c and kernel*kernel*outc must be below 2^31.
//
// Geometry. No kernel wants dynamic shared memory. Where nothing else is said, a kernel has one thread for each of its count
// values: grid ceil(count/256), block 256. tiles(a, b, T) is ceil(a/T)*ceil(b/T). Products come in three kinds, by suffix:
//
//   _128  bfloat16 factors, float32 sums, T = 128, block 256
//   _64   the same, T = 64, block 128: where _128 would leave processors idle, or a side is 64 or less
//   _64x3 T = 64, block 128: factors in two parts of bfloat16 each, three products; 2^-14 off at most, of the sum of
//         magnitudes, where the others are 2^-7
//
//   kernel                           grid                            parameters
//   conv_forward_T                   tiles(n*outh*outw, outc, T)     dst, src, w, bias (optional), SHAPE, pitch, act
//   conv_data_grad_T                 tiles(n*ceil(h/stride)*ceil(w/stride), c, T), 1, stride*stride
//                                                                    dsrc, ddst, w, SHAPE, pitch of ddst, add
//   conv_weight_grad_T               tiles(outc, kernel*kernel*c, T), 1, parts
//                                                                    dw[parts][outc][kernel][kernel][c], ddst, src, SHAPE, pitch of ddst
//   depthwise_forward                count n*outh*outw*ceil(c/4)     dst, src, w, bias (optional), SHAPE, act
//   depthwise_data_grad              count n*h*w*ceil(c/4)           dsrc, ddst, w, SHAPE
//   depthwise_weight_grad_3, _5, _any  ceil(c/32), parts; block 256  dw[parts][kernel][kernel][c], ddst, src, SHAPE
//   max_pool                         count n*outh*outw*c             dst, src, SHAPE
//   max_pool_grad                    count n*h*w*c                   dsrc, ddst, src, dst, SHAPE
//   global_avg_pool                  count n*c                       dst, src, n, pixels, c
//   global_avg_pool_grad             count n*pixels*c                dsrc, ddst, n, pixels, c
//   add                              count                           dst, a, b, count, act
//   act_grad                         ceil(cols/32), parts; block 256 d, y (optional if linear), db[parts][cols] (optional), rows, cols,
//                                                                    pitch of d and y, act
//   sum_parts                        count                           dst[count], src[parts][count], parts, count
//   copy_columns                     count rows*cols                 dst, src, rows, cols, dst stride, src stride
//   cross_entropy                    ceil(rows/4), block 128         losses[rows] double, rights[rows] i64, d (optional), logits, targets,
//                                                                    labels[rows] i64, rows, classes
//   outcome                          1, block 256                    out[2] double: sum of losses, of rights; losses, rights, rows
//   momentum                         count                           w, g, m (optional if mu is 0), average (optional), scale (optional),
//                                                                    count, rate, decay, mu, nesterov (i64), rest
//   adamw                            count                           w, g, m, v, average (optional), scale (optional), count,
//                                                                    beta1, rest1, beta2, rest2, keep, rate, unbias, epsilon, rest
//   sum_squares                      parts; block 256                sums[parts] double, x, count
//   clip                             1, block 256                    out[2]: factor, norm; sums, parts, limit
//   fill                             count                           dst, count, value (double)
//   scale                            count                           x, count, factor (double)
//   normalise                        count pixels*c                  dst, src (bytes), scale[c], shift[c], pixels, c
//
// The gradients of a layer: act_grad takes ddst through the activation, in place, and gives the parts of the bias
// gradient; conv_data_grad and conv_weight_grad (or depthwise_) follow; sum_parts ends both sums where there are several
// parts. With one part, dw and db can be the gradient itself. add not 0 lets conv_data_grad add to what dsrc holds.
//
// Results are the same bits in every run of one geometry: there are no atomics, and every sum has one order. It depends on parts, not
// on the processor.

typedef long long i64;
typedef unsigned int u32;
typedef unsigned short u16;

#define SHAPE                                                                                                       \
	i64 n_, i64 h_, i64 w_, i64 c_, i64 outh_, i64 outw_, i64 outc_, i64 kernel_, i64 stride_, i64 padtop_, i64 padleft_
#define SHAPE_OF                                                                                                    \
	Shape { (int)n_, (int)h_, (int)w_, (int)c_, (int)outh_, (int)outw_, (int)outc_, (int)kernel_, (int)stride_,     \
		(int)padtop_, (int)padleft_ }
#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads, 1)

struct Shape {
	int n, h, w, c, outh, outw, outc, kernel, stride, padtop, padleft;
};

__device__ __forceinline__ float activate(float x, int act) {
	// Written so that NaN passes.
	if (act != 0 && x < 0) x = 0;
	if (act == 2 && x > 6) x = 6;
	return x;
}

// through is the gradient before an activation whose output is y.
__device__ __forceinline__ float through(float d, float y, int act) {
	if (act == 0) return d;
	return y > 0 && (act == 1 || y < 6) ? d : 0.0f;
}

// Divider divides numbers below 2^31 by one divisor (Granlund and Montgomery, Division by invariant integers using
// multiplication, 1994).
struct Divider {
	u32 by, mul, shift;
	__device__ __forceinline__ explicit Divider(int d) {
		by = d;
		shift = 32 - __clz(d - 1); // 0 for 1
		mul = (u32)(((((1ull << shift) - by) << 32) / by) + 1);
	}
	__device__ __forceinline__ int quotient(int n) const { return (__umulhi(n, mul) + n) >> shift; }
	__device__ __forceinline__ int divide(int n, int &rest) const {
		int q = quotient(n);
		rest = n - q * (int)by;
		return q;
	}
};

// aligned reports whether four values can be moved at a time.
__device__ __forceinline__ bool aligned(const void *p, int pitch) { return ((size_t)p & 15) == 0 && pitch % 4 == 0; }

__device__ __forceinline__ float4 load4(const float *p) { return *(const float4 *)p; }

// ---------------------------------------------------------------------------------------------------------------------
// Products of matrices: sums[m][n] += a[m][k] b[n][k] over k, cut in tiles of T x T sums that a block makes, STEP values of k
// at a time. Factors are read from where they lie in float32, while the step before them is multiplied, rounded to bfloat16
// and stored in shared memory, of which there are two halves, in one of two orders: ALONG, [row][k], for factors that are
// contiguous along k, or ACROSS, [k][row], for those contiguous along rows. Lines are 8 values longer than needed so that the
// 8 rows that ldmatrix reads lie in different banks.

enum { STEP = 32, ALONG_LINE = STEP + 8 };
enum Order { ALONG, ACROSS };

template <int T, Order O> struct Line {
	enum { length = O == ALONG ? (int)ALONG_LINE : T + 8, tile = O == ALONG ? T * (int)ALONG_LINE : (int)STEP * (T + 8) };
};

// A block has 2 T threads. Each moves 4 x 4 values of a tile for each step: 4 neighbours in 4 lines.
template <int T, Order O> struct Place {
	int line, at; // of the first; the others lie `lines` apart
	enum { lines = O == ALONG ? T / 4 : 8, wide = O == ALONG ? STEP / 4 : T / 4 };
	__device__ __forceinline__ Place() { line = threadIdx.x / wide, at = threadIdx.x % wide * 4; }
};

__device__ __forceinline__ u32 pair(float low, float high) { // of bfloat16, rounded to even
	u32 r;
	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
	return r;
}

__device__ __forceinline__ float low(u32 pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float high(u32 pair) { return __uint_as_float(pair & 0xffff0000); }

// store stores what a thread has loaded.
template <int T, Order O, int PARTS> __device__ __forceinline__ void store(u16 *tile, const float (&v)[4][4]) {
	Place<T, O> p;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		uint2 x = make_uint2(pair(v[i][0], v[i][1]), pair(v[i][2], v[i][3]));
		u16 *to = tile + (p.line + i * p.lines) * Line<T, O>::length + p.at;
		*(uint2 *)to = x;
		if (PARTS == 2)
			*(uint2 *)(to + Line<T, O>::tile) = make_uint2(pair(v[i][0] - low(x.x), v[i][1] - high(x.x)),
				pair(v[i][2] - low(x.y), v[i][3] - high(x.y)));
	}
}

__device__ __forceinline__ void zero(float (&v)[4]) { v[0] = v[1] = v[2] = v[3] = 0; }

__device__ __forceinline__ void take4(float (&v)[4], const float *p) {
	float4 x = load4(p);
	v[0] = x.x, v[1] = x.y, v[2] = x.z, v[3] = x.w;
}

// The factors. load reads the thread's values for the step that begins at k.

// Rows are those of a matrix, contiguous along k: weights.
template <int T> struct Rows {
	static constexpr Order order = ALONG;
	const float *p;
	int row, rows, k_end;
	i64 pitch;
	bool vector;
	Place<T, ALONG> place;
	__device__ Rows(const float *p, int first, int rows, int k_end)
		: p(p), rows(rows), k_end(k_end), pitch(k_end), vector(aligned(p, k_end)) { row = first + place.line; }
	__device__ __forceinline__ void load(float (&v)[4][4], int k) const {
		k += place.at;
#pragma unroll
		for (int i = 0; i < 4; i++) {
			int r = row + i * place.lines;
			const float *q = p + r * pitch + k;
			if (r >= rows || k >= k_end) {
				zero(v[i]);
			} else if (vector) {
				take4(v[i], q);
			} else {
#pragma unroll
				for (int j = 0; j < 4; j++) v[i][j] = k + j < k_end ? q[j] : 0;
			}
		}
	}
};

// Windows are rows that are gathered from images: row r is a window whose tap (0, 0) lies at pixel (y, x), and k runs over its taps and
// their channels. Taps go down and right from there, or up and left if direction is -1.
template <int T> struct Windows {
	static constexpr Order order = ALONG;
	const float *image[4];
	int y[4], x[4];
	int h, w, c, pitch, k_end, direction;
	Divider channels, across;
	bool vector;
	Place<T, ALONG> place;
	__device__ Windows(const float *p, int h, int w, int c, int pitch, int down, int across, int direction)
		: h(h), w(w), c(c), pitch(pitch), k_end(down * across * c), direction(direction), channels(c), across(max(across, 1)),
		  vector(aligned(p, pitch) && c % 4 == 0) {}
	__device__ __forceinline__ void row(int i, const float *p, int number, int top, int left, bool there) {
		image[i] = p + (i64)number * h * w * pitch;
		y[i] = there ? top : -(1 << 30);
		x[i] = left;
	}
	__device__ __forceinline__ const float *at(int i, int ky, int kx) const {
		int yy = y[i] + ky * direction, xx = x[i] + kx * direction;
		return (u32)yy < (u32)h && (u32)xx < (u32)w ? image[i] + (i64)(yy * w + xx) * pitch : 0;
	}
	__device__ __forceinline__ void load(float (&v)[4][4], int k) const {
		k += place.at;
		if (vector) {
			int ch, kx, ky = across.divide(channels.divide(k, ch), kx);
#pragma unroll
			for (int i = 0; i < 4; i++) {
				const float *q = at(i, ky, kx);
				if (q && k < k_end) take4(v[i], q + ch);
				else zero(v[i]);
			}
			return;
		}
#pragma unroll
		for (int j = 0; j < 4; j++) {
			int ch, kx, ky = across.divide(channels.divide(k + j, ch), kx);
#pragma unroll
			for (int i = 0; i < 4; i++) {
				const float *q = at(i, ky, kx);
				v[i][j] = q && k + j < k_end ? q[ch] : 0;
			}
		}
	}
};

// Columns are those of a matrix whose rows are contiguous: k is the row. The gradient of outputs.
template <int T> struct Columns {
	static constexpr Order order = ACROSS;
	const float *p;
	int col, cols, k_end, pitch;
	bool vector;
	Place<T, ACROSS> place;
	__device__ Columns(const float *p, int first, int cols, int k_end, int pitch)
		: p(p), cols(cols), k_end(k_end), pitch(pitch), vector(aligned(p, pitch) && cols % 4 == 0) { col = first + place.at; }
	__device__ __forceinline__ void load(float (&v)[4][4], int k) const {
#pragma unroll
		for (int i = 0; i < 4; i++) {
			int r = k + place.line + i * place.lines;
			const float *q = p + (i64)r * pitch + col;
			if (r >= k_end || col >= cols) {
				zero(v[i]);
			} else if (vector) {
				take4(v[i], q);
			} else {
#pragma unroll
				for (int j = 0; j < 4; j++) v[i][j] = col + j < cols ? q[j] : 0;
			}
		}
	}
};

// Taps are weights [out][ky][kx][c] as columns c, with k running over some of the taps, from (py, px) on in steps, and the outs of
// each.
template <int T> struct Taps {
	static constexpr Order order = ACROSS;
	const float *p;
	int col, c, kernel, py, px, step, k_end;
	Divider outs, across;
	bool vector;
	Place<T, ACROSS> place;
	__device__ Taps(const float *p, int first, const Shape &s, int py, int px, int down, int across)
		: p(p), c(s.c), kernel(s.kernel), py(py), px(px), step(s.stride), k_end(down * across * s.outc), outs(s.outc),
		  across(max(across, 1)), vector(aligned(p, s.c)) { col = first + place.at; }
	__device__ __forceinline__ void load(float (&v)[4][4], int k) const {
#pragma unroll
		for (int i = 0; i < 4; i++) {
			int r = k + place.line + i * place.lines;
			if (r >= k_end || col >= c) {
				zero(v[i]);
				continue;
			}
			int o, jx, jy = across.divide(outs.divide(r, o), jx);
			const float *q = p + (((i64)o * kernel + py + jy * step) * kernel + px + jx * step) * c + col;
			if (vector) {
				take4(v[i], q);
			} else {
#pragma unroll
				for (int j = 0; j < 4; j++) v[i][j] = col + j < c ? q[j] : 0;
			}
		}
	}
};

// Unfolded are the windows of images as columns (ky, kx, c): k is the output pixel.
template <int T> struct Unfolded {
	static constexpr Order order = ACROSS;
	const float *src;
	Shape s;
	int pixels, cols, col;
	int ky[4], kx[4], offset[4]; // of 4 columns, or of the first if vector
	Divider row, image;
	bool vector;
	Place<T, ACROSS> place;
	__device__ Unfolded(const float *src, int first, const Shape &s)
		: src(src), s(s), pixels(s.n * s.outh * s.outw), cols(s.kernel * s.kernel * s.c), row(s.outw), image(s.outh),
		  vector(aligned(src, s.c)) {
		Divider channels(s.c), across(s.kernel);
		col = first + place.at;
#pragma unroll
		for (int j = 0; j < 4; j++) {
			int ch;
			ky[j] = across.divide(channels.divide(col + j, ch), kx[j]);
			offset[j] = (ky[j] * s.w + kx[j]) * s.c + ch;
		}
	}
	__device__ __forceinline__ bool inside(int y, int x, int j) const {
		return col + j < cols && (u32)(y + ky[j]) < (u32)s.h && (u32)(x + kx[j]) < (u32)s.w;
	}
	__device__ __forceinline__ void load(float (&v)[4][4], int k) const {
#pragma unroll
		for (int i = 0; i < 4; i++) {
			int r = k + place.line + i * place.lines;
			if (r >= pixels) {
				zero(v[i]);
				continue;
			}
			int x, y, number = image.divide(row.divide(r, x), y);
			y = y * s.stride - s.padtop, x = x * s.stride - s.padleft;
			const float *q = src + (((i64)number * s.h + y) * s.w + x) * s.c;
			if (vector) {
				if (inside(y, x, 0)) take4(v[i], q + offset[0]);
				else zero(v[i]);
			} else {
#pragma unroll
				for (int j = 0; j < 4; j++) v[i][j] = inside(y, x, j) ? q[offset[j]] : 0;
			}
		}
	}
};

__device__ __forceinline__ u32 shared_address(const void *p) { return (u32)__cvta_generic_to_shared(p); }

// fragments reads four 8 x 8 matrices of a tile for mma: 16 rows from row on and 16 k from k on. The second matrix lies 8 rows
// below the first for the first factor, 8 k after it for the second.
template <int T, Order O, bool FIRST> __device__ __forceinline__ void fragments(u32 (&r)[4], const u16 *tile, int row, int k) {
	int lane = threadIdx.x % 32, i = lane % 8, odd = lane / 8 % 2, two = lane / 16;
	int rows = FIRST ? odd : two, ks = FIRST ? two : odd;
	const u16 *p;
	if (O == ALONG) {
		p = tile + (row + rows * 8 + i) * Line<T, O>::length + k + ks * 8;
		asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
			: "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(p)) : "memory");
	} else {
		p = tile + (k + ks * 8 + i) * Line<T, O>::length + row + rows * 8;
		asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
			: "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(p)) : "memory");
	}
}

__device__ __forceinline__ void mma(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
	asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
		: "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Sums are a warp's: 32 rows and T/2 columns of the tile, in pieces of 16 x 8 as mma has them.
template <int T> struct Sums {
	enum { pieces = T / 16 };
	float v[2][pieces][4];
	// begin lets the sums start with the biases of their columns, or with 0.
	__device__ __forceinline__ void begin(const float *bias, int first, int cols) {
		first += threadIdx.x / 32 % 2 * (T / 2) + threadIdx.x % 4 * 2;
#pragma unroll
		for (int j = 0; j < pieces; j++)
#pragma unroll
			for (int l = 0; l < 2; l++) {
				int n = first + j * 8 + l;
				float b = bias && n < cols ? bias[n] : 0;
#pragma unroll
				for (int i = 0; i < 4; i++) v[i / 2][j][i % 2 * 2 + l] = b;
			}
	}
	// each asks where a row of the tile goes, and calls f(row, column, first, second) for the pairs of neighbours of those that go anywhere.
	template <class R, class F> __device__ __forceinline__ void each(R row, F f) {
		int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
		int m = warp / 2 * 32 + lane / 4, n = warp % 2 * (T / 2) + lane % 4 * 2;
#pragma unroll
		for (int i = 0; i < 4; i++) {
			float *p = row(m + i * 8);
			if (!p) continue;
#pragma unroll
			for (int j = 0; j < pieces; j++) f(p, n + j * 8, v[i / 2][j][i % 2 * 2], v[i / 2][j][i % 2 * 2 + 1]);
		}
	}
};

template <int T, int PARTS, class A, class B> __device__ __forceinline__ void product(Sums<T> &sums, const A &a, const B &b, int k, int k_end) {
	typedef Line<T, A::order> LA;
	typedef Line<T, B::order> LB;
	__shared__ __align__(16) u16 tiles_a[2][PARTS * LA::tile], tiles_b[2][PARTS * LB::tile];
	int warp = threadIdx.x / 32, m = warp / 2 * 32, n = warp % 2 * (T / 2);
	float va[4][4], vb[4][4];
	// Each round reads a step and multiplies the one before.
	bool multiply = false;
	for (int half = 1;; half ^= 1, k += STEP, multiply = true) {
		if (k < k_end) {
			a.load(va, k);
			b.load(vb, k);
		}
#pragma unroll
		for (int kk = 0; kk < STEP && multiply; kk += 16) {
			u32 fa[PARTS][2][4];
#pragma unroll
			for (int part = 0; part < PARTS; part++)
#pragma unroll
				for (int i = 0; i < 2; i++)
					fragments<T, A::order, true>(fa[part][i], tiles_a[half] + part * LA::tile, m + i * 16, kk);
#pragma unroll
			for (int j = 0; j < Sums<T>::pieces; j += 2) {
				u32 fb[PARTS][4];
#pragma unroll
				for (int part = 0; part < PARTS; part++)
					fragments<T, B::order, false>(fb[part], tiles_b[half] + part * LB::tile, n + j * 8, kk);
#pragma unroll
				for (int i = 0; i < 2; i++)
#pragma unroll
					for (int l = 0; l < 2; l++) {
						float(&c)[4] = sums.v[i][j + l];
						if (PARTS == 2) { // the small ones first
							mma(c, fa[PARTS - 1][i], fb[0][2 * l], fb[0][2 * l + 1]);
							mma(c, fa[0][i], fb[PARTS - 1][2 * l], fb[PARTS - 1][2 * l + 1]);
						}
						mma(c, fa[0][i], fb[0][2 * l], fb[0][2 * l + 1]);
					}
			}
		}
		if (k >= k_end) return;
		store<T, A::order, PARTS>(tiles_a[half ^ 1], va);
		store<T, B::order, PARTS>(tiles_b[half ^ 1], vb);
		__syncthreads();
	}
}

__device__ __forceinline__ void put2(float *p, bool vector, bool second, float a, float b) {
	if (vector && second) {
		*(float2 *)p = make_float2(a, b);
	} else {
		p[0] = a;
		if (second) p[1] = b;
	}
}

// pairwise reports whether two values can be moved at a time.
__device__ __forceinline__ bool pairwise(const void *p, int pitch) { return ((size_t)p & 7) == 0 && pitch % 2 == 0; }

// Neighbouring blocks have the same rows of a, which are the larger factor, and other rows of b.
__device__ __forceinline__ void place_tile(int &m, int &n, int cols, int tile) {
	int across = (cols + tile - 1) / tile;
	m = blockIdx.x / across * tile, n = blockIdx.x % across * tile;
}

template <int T, int PARTS> __device__ __forceinline__ void conv_forward(float *dst, const float *src, const float *w, const float *bias,
	Shape s, int pitch, int act) {
	int m0, n0, pixels = s.n * s.outh * s.outw;
	place_tile(m0, n0, s.outc, T);
	Windows<T> a(src, s.h, s.w, s.c, s.c, s.kernel, s.kernel, 1);
	Divider row(s.outw), image(s.outh);
#pragma unroll
	for (int i = 0; i < 4; i++) {
		int m = m0 + a.place.line + i * a.place.lines;
		int x, y, number = image.divide(row.divide(min(m, pixels - 1), x), y);
		a.row(i, src, number, y * s.stride - s.padtop, x * s.stride - s.padleft, m < pixels);
	}
	Rows<T> b(w, n0, s.outc, a.k_end);
	Sums<T> sums;
	sums.begin(bias, n0, s.outc);
	product<T, PARTS>(sums, a, b, 0, a.k_end);
	bool two = pairwise(dst, pitch);
	sums.each([&](int m) { return m0 + m < pixels ? dst + (i64)(m0 + m) * pitch : 0; }, [&](float *p, int n, float v0, float v1) {
		n += n0;
		if (n >= s.outc) return;
		bool second = n + 1 < s.outc;
		put2(p + n, two, second, activate(v0, act), activate(v1, act));
	});
}

// The gradient of the input. With y + padtop = q*stride + phase, input row y receives, through kernel row phase + j*stride,
// from output row q - j. So the rows of one phase are a convolution with every stride-th row of the kernel; columns
// likewise. blockIdx.z is the phase of both.
template <int T, int PARTS> __device__ __forceinline__ void conv_data_grad(float *dsrc, const float *ddst, const float *w, Shape s, int pitch,
	bool add) {
	int py = blockIdx.z / s.stride, px = blockIdx.z % s.stride;
	// The first row and column of the phase, and how many there are.
	int y0 = (py - s.padtop % s.stride + s.stride) % s.stride, x0 = (px - s.padleft % s.stride + s.stride) % s.stride;
	int ny = y0 < s.h ? (s.h - y0 - 1) / s.stride + 1 : 0, nx = x0 < s.w ? (s.w - x0 - 1) / s.stride + 1 : 0;
	int down = py < s.kernel ? (s.kernel - py - 1) / s.stride + 1 : 0, across = px < s.kernel ? (s.kernel - px - 1) / s.stride + 1 : 0;
	int m0, n0, pixels = s.n * ny * nx;
	place_tile(m0, n0, s.c, T);
	if (m0 >= pixels) return;
	Windows<T> a(ddst, s.outh, s.outw, s.outc, pitch, down, across, -1);
	Divider row(nx), image(ny);
	int qy = (y0 + s.padtop) / s.stride, qx = (x0 + s.padleft) / s.stride;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		int m = m0 + a.place.line + i * a.place.lines;
		int x, y, number = image.divide(row.divide(min(m, pixels - 1), x), y);
		a.row(i, ddst, number, qy + y, qx + x, m < pixels);
	}
	Taps<T> b(w, n0, s, py, px, down, across);
	Sums<T> sums;
	sums.begin(0, n0, s.c);
	product<T, PARTS>(sums, a, b, 0, a.k_end);
	bool two = pairwise(dsrc, s.c);
	auto to = [&](int m) -> float * {
		if (m0 + m >= pixels) return 0;
		int x, y, number = image.divide(row.divide(m0 + m, x), y);
		return dsrc + (((i64)number * s.h + y0 + y * s.stride) * s.w + x0 + x * s.stride) * s.c;
	};
	sums.each(to, [&](float *p, int n, float v0, float v1) {
		n += n0;
		if (n >= s.c) return;
		p += n;
		bool second = n + 1 < s.c;
		if (add) {
			v0 += p[0];
			if (second) v1 += p[1];
		}
		put2(p, two, second, v0, v1);
	});
}

// The gradient of the weights sums over output pixels, of which each blockIdx.z takes a part.
template <int T, int PARTS> __device__ __forceinline__ void conv_weight_grad(float *dw, const float *ddst, const float *src, Shape s, int pitch) {
	int m0, n0;
	int cols = s.kernel * s.kernel * s.c;
	place_tile(m0, n0, cols, T);
	Unfolded<T> b(src, n0, s);
	Columns<T> a(ddst, m0, s.outc, b.pixels, pitch);
	int steps = (b.pixels + STEP - 1) / STEP, share = (steps + gridDim.z - 1) / gridDim.z * STEP;
	int k = min((int)blockIdx.z * share, b.pixels);
	Sums<T> sums;
	sums.begin(0, n0, cols);
	product<T, PARTS>(sums, a, b, k, min(k + share, b.pixels));
	dw += (i64)blockIdx.z * s.outc * cols;
	bool two = pairwise(dw, cols);
	sums.each([&](int m) { return m0 + m < s.outc ? dw + (i64)(m0 + m) * cols : 0; }, [&](float *p, int n, float v0, float v1) {
		n += n0;
		if (n < cols) put2(p + n, two, n + 1 < cols, v0, v1);
	});
}

#define PRODUCTS(suffix, T, PARTS)                                                                                  \
	KERNEL(2 * T) conv_forward_##suffix(float *dst, const float *src, const float *w, const float *bias, SHAPE,     \
		i64 pitch, i64 act) { conv_forward<T, PARTS>(dst, src, w, bias, SHAPE_OF, pitch, act); }                    \
	KERNEL(2 * T) conv_data_grad_##suffix(float *dsrc, const float *ddst, const float *w, SHAPE, i64 pitch,         \
		i64 add) { conv_data_grad<T, PARTS>(dsrc, ddst, w, SHAPE_OF, pitch, add != 0); }                            \
	KERNEL(2 * T) conv_weight_grad_##suffix(float *dw, const float *ddst, const float *src, SHAPE, i64 pitch) {     \
		conv_weight_grad<T, PARTS>(dw, ddst, src, SHAPE_OF, pitch);                                                 \
	}

PRODUCTS(128, 128, 1)
PRODUCTS(64, 64, 1)
PRODUCTS(64x3, 64, 2)

// ---------------------------------------------------------------------------------------------------------------------
// Depthwise convolutions, in float32. A thread has four channels of a pixel.

__device__ __forceinline__ i64 thread() { return (i64)blockIdx.x * blockDim.x + threadIdx.x; }

// some reads up to 4 values.
__device__ __forceinline__ float4 some(const float *p, int count, bool vector) {
	if (vector) return load4(p);
	return make_float4(p[0], count > 1 ? p[1] : 0, count > 2 ? p[2] : 0, count > 3 ? p[3] : 0);
}

__device__ __forceinline__ void put(float *p, float4 v, int count, bool vector) {
	if (vector) {
		*(float4 *)p = v;
		return;
	}
	p[0] = v.x;
	if (count > 1) p[1] = v.y;
	if (count > 2) p[2] = v.z;
	if (count > 3) p[3] = v.w;
}

__device__ __forceinline__ void accumulate(float4 &sum, float4 a, float4 b) {
	sum.x = fmaf(a.x, b.x, sum.x);
	sum.y = fmaf(a.y, b.y, sum.y);
	sum.z = fmaf(a.z, b.z, sum.z);
	sum.w = fmaf(a.w, b.w, sum.w);
}

KERNEL(256) depthwise_forward(float *dst, const float *src, const float *w, const float *bias, SHAPE, i64 act) {
	Shape s = SHAPE_OF;
	int groups = (s.c + 3) / 4;
	i64 id = thread();
	if (id >= (i64)s.n * s.outh * s.outw * groups) return;
	int c = id % groups * 4, pixel = id / groups, ox = pixel % s.outw, oy = pixel / s.outw % s.outh, number = pixel / (s.outw * s.outh);
	int count = s.c - c;
	bool vector = aligned(src, s.c) && aligned(dst, s.c) && aligned(w, s.c) && aligned(bias, s.c);
	float4 sum = bias ? some(bias + c, count, vector) : make_float4(0, 0, 0, 0);
	int y0 = oy * s.stride - s.padtop, x0 = ox * s.stride - s.padleft;
	for (int ky = max(-y0, 0); ky < min(s.kernel, s.h - y0); ky++)
		for (int kx = max(-x0, 0); kx < min(s.kernel, s.w - x0); kx++)
			accumulate(sum, some(src + (((i64)number * s.h + y0 + ky) * s.w + x0 + kx) * s.c + c, count, vector),
				some(w + (i64)(ky * s.kernel + kx) * s.c + c, count, vector));
	int a = act;
	put(dst + (i64)pixel * s.c + c, make_float4(activate(sum.x, a), activate(sum.y, a), activate(sum.z, a), activate(sum.w, a)), count, vector);
}

KERNEL(256) depthwise_data_grad(float *dsrc, const float *ddst, const float *w, SHAPE) {
	Shape s = SHAPE_OF;
	int groups = (s.c + 3) / 4;
	i64 id = thread();
	if (id >= (i64)s.n * s.h * s.w * groups) return;
	int c = id % groups * 4, pixel = id / groups, x = pixel % s.w + s.padleft, y = pixel / s.w % s.h + s.padtop, number = pixel / (s.w * s.h);
	int count = s.c - c;
	bool vector = aligned(dsrc, s.c) && aligned(ddst, s.c) && aligned(w, s.c);
	float4 sum = make_float4(0, 0, 0, 0);
	// Kernel row ky comes from output row (y-ky)/stride, where that is whole.
	for (int ky = y % s.stride, oy = y / s.stride; ky < s.kernel && oy >= 0; ky += s.stride, oy--) {
		if (oy >= s.outh) continue;
		for (int kx = x % s.stride, ox = x / s.stride; kx < s.kernel && ox >= 0; kx += s.stride, ox--)
			if (ox < s.outw)
				accumulate(sum, some(ddst + (((i64)number * s.outh + oy) * s.outw + ox) * s.c + c, count, vector),
					some(w + (i64)(ky * s.kernel + kx) * s.c + c, count, vector));
	}
	put(dsrc + (i64)pixel * s.c + c, sum, count, vector);
}

// A block has 32 channels and a part of the pixels, of which each of its 8 warps takes every eighth. All taps of a window, KxK, are
// summed in one pass; K = 0 stands for any kernel, a tap a pass.
template <int K> __device__ __forceinline__ void depthwise_weight_grad(float *dw, const float *ddst, const float *src, Shape s) {
	const int taps = K == 0 ? 1 : K * K;
	__shared__ float sums[8][32];
	int lane = threadIdx.x % 32, warp = threadIdx.x / 32, c = blockIdx.x * 32 + lane;
	int pixels = s.n * s.outh * s.outw, share = (pixels + gridDim.y - 1) / gridDim.y;
	int first = min((int)blockIdx.y * share, pixels), end = min(first + share, pixels);
	Divider row(s.outw), image(s.outh);
	int all = s.kernel * s.kernel;
	dw += (i64)blockIdx.y * all * s.c;
	for (int tap = 0; tap < all; tap += taps) {
		float sum[taps];
#pragma unroll
		for (int j = 0; j < taps; j++) sum[j] = 0;
		if (c < s.c) {
			for (int p = first + warp; p < end; p += 8) {
				int x, y, number = image.divide(row.divide(p, x), y);
				float d = ddst[(i64)p * s.c + c];
				y = y * s.stride - s.padtop, x = x * s.stride - s.padleft;
#pragma unroll
				for (int j = 0; j < taps; j++) {
					int ky = K == 0 ? tap / s.kernel : j / max(K, 1), kx = K == 0 ? tap % s.kernel : j % max(K, 1);
					if ((u32)(y + ky) < (u32)s.h && (u32)(x + kx) < (u32)s.w)
						sum[j] = fmaf(d, src[(((i64)number * s.h + y + ky) * s.w + x + kx) * s.c + c], sum[j]);
				}
			}
		}
#pragma unroll
		for (int j = 0; j < taps; j++) {
			sums[warp][lane] = sum[j];
			__syncthreads();
			if (warp == 0 && c < s.c) {
				float total = 0;
#pragma unroll
				for (int i = 0; i < 8; i++) total += sums[i][lane];
				dw[(i64)(tap + j) * s.c + c] = total;
			}
			__syncthreads();
		}
	}
}

KERNEL(256) depthwise_weight_grad_3(float *dw, const float *ddst, const float *src, SHAPE) { depthwise_weight_grad<3>(dw, ddst, src, SHAPE_OF); }
KERNEL(256) depthwise_weight_grad_5(float *dw, const float *ddst, const float *src, SHAPE) { depthwise_weight_grad<5>(dw, ddst, src, SHAPE_OF); }
KERNEL(256) depthwise_weight_grad_any(float *dw, const float *ddst, const float *src, SHAPE) { depthwise_weight_grad<0>(dw, ddst, src, SHAPE_OF); }

// ---------------------------------------------------------------------------------------------------------------------
// Pools.

// The largest value of each window. Padding never wins; nor does NaN, unless the window begins with it.
KERNEL(256) max_pool(float *dst, const float *src, SHAPE) {
	Shape s = SHAPE_OF;
	i64 id = thread();
	if (id >= (i64)s.n * s.outh * s.outw * s.c) return;
	int c = id % s.c, pixel = id / s.c, ox = pixel % s.outw, oy = pixel / s.outw % s.outh, number = pixel / (s.outw * s.outh);
	int y0 = max(oy * s.stride - s.padtop, 0), y1 = min(oy * s.stride - s.padtop + s.kernel, s.h);
	int x0 = max(ox * s.stride - s.padleft, 0), x1 = min(ox * s.stride - s.padleft + s.kernel, s.w);
	if (y0 >= y1 || x0 >= x1) {
		dst[id] = 0;
		return;
	}
	const float *image = src + (i64)number * s.h * s.w * s.c + c;
	float most = image[(i64)(y0 * s.w + x0) * s.c];
	for (int y = y0; y < y1; y++)
		for (int x = x0; x < x1; x++) {
			float v = image[(i64)(y * s.w + x) * s.c];
			if (v > most) most = v;
		}
	dst[id] = most;
}

// Each output's gradient goes to the first value in its window, row by row, that equals the output. So an input looks at the
// windows that it is in, and at what comes before it in each.
KERNEL(256) max_pool_grad(float *dsrc, const float *ddst, const float *src, const float *dst, SHAPE) {
	Shape s = SHAPE_OF;
	i64 id = thread();
	if (id >= (i64)s.n * s.h * s.w * s.c) return;
	int c = id % s.c, pixel = id / s.c, x = pixel % s.w, y = pixel / s.w % s.h, number = pixel / (s.w * s.h);
	const float *image = src + (i64)number * s.h * s.w * s.c + c;
	float v = src[id], sum = 0;
	int oy = max(y + s.padtop - s.kernel + s.stride, 0) / s.stride, ox0 = max(x + s.padleft - s.kernel + s.stride, 0) / s.stride;
	for (; oy < s.outh && oy * s.stride - s.padtop <= y; oy++)
		for (int ox = ox0; ox < s.outw && ox * s.stride - s.padleft <= x; ox++) {
			i64 o = (((i64)number * s.outh + oy) * s.outw + ox) * s.c + c;
			float most = dst[o];
			if (v != most) continue;
			int left = max(ox * s.stride - s.padleft, 0), right = min(ox * s.stride - s.padleft + s.kernel, s.w);
			bool first = true;
			for (int yy = max(oy * s.stride - s.padtop, 0); yy <= y && first; yy++)
				for (int xx = left; xx < (yy < y ? right : x) && first; xx++)
					first = image[(i64)(yy * s.w + xx) * s.c] != most;
			if (first) sum += ddst[o];
		}
	dsrc[id] = sum;
}

KERNEL(256) global_avg_pool(float *dst, const float *src, i64 n, i64 pixels, i64 c) {
	i64 id = thread();
	if (id >= n * c) return;
	const float *p = src + id / c * pixels * c + id % c;
	float sum = 0;
#pragma unroll 4
	for (int i = 0; i < (int)pixels; i++) sum += p[i * c];
	dst[id] = sum / (float)pixels;
}

KERNEL(256) global_avg_pool_grad(float *dsrc, const float *ddst, i64 n, i64 pixels, i64 c) {
	i64 id = thread();
	if (id < n * pixels * c) dsrc[id] = ddst[id / (pixels * c) * c + id % c] / (float)pixels;
}

// ---------------------------------------------------------------------------------------------------------------------
// Value by value, and sums of columns.

KERNEL(256) add(float *dst, const float *a, const float *b, i64 count, i64 act) {
	i64 id = thread();
	if (id < count) dst[id] = activate(a[id] + b[id], act);
}

// d becomes its gradient before the activation whose output is y, and db[part] the sums of its columns. A block has 32 columns and
// a part of the rows, of which each of its 8 warps takes every eighth.
KERNEL(256) act_grad(float *d, const float *y, float *db, i64 rows, i64 cols, i64 pitch, i64 act) {
	__shared__ float sums[8][32];
	int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
	i64 c = (i64)blockIdx.x * 32 + lane, share = (rows + gridDim.y - 1) / gridDim.y, row = blockIdx.y * share;
	i64 end = min(row + share, rows);
	float sum = 0;
	if (c < cols) {
		for (row += warp; row < end; row += 8) {
			float v = d[row * pitch + c];
			if (act != 0) {
				v = through(v, y[row * pitch + c], act);
				d[row * pitch + c] = v;
			}
			sum += v;
		}
	}
	if (!db) return;
	sums[warp][lane] = sum;
	__syncthreads();
	if (warp > 0 || c >= cols) return;
	sum = 0;
#pragma unroll
	for (int i = 0; i < 8; i++) sum += sums[i][lane];
	db[blockIdx.y * cols + c] = sum;
}

KERNEL(256) sum_parts(float *dst, const float *src, i64 parts, i64 count) {
	i64 id = thread();
	if (id >= count) return;
	float sum = 0;
#pragma unroll 8
	for (int i = 0; i < (int)parts; i++) sum += src[i * count + id];
	dst[id] = sum;
}

KERNEL(256) copy_columns(float *dst, const float *src, i64 rows, i64 cols, i64 to, i64 from) {
	i64 id = thread();
	if (id < rows * cols) dst[id / cols * to + id % cols] = src[id / cols * from + id % cols];
}

KERNEL(256) fill(float *dst, i64 count, double value) {
	i64 id = thread();
	if (id < count) dst[id] = (float)value;
}

KERNEL(256) scale(float *x, i64 count, double factor) {
	i64 id = thread();
	if (id < count) x[id] *= (float)factor;
}

KERNEL(256) normalise(float *dst, const unsigned char *src, const float *scale, const float *shift, i64 pixels, i64 c) {
	i64 id = thread();
	if (id < pixels * c) dst[id] = fmaf((float)src[id], scale[id % c], shift[id % c]);
}

// ---------------------------------------------------------------------------------------------------------------------
// The loss. A row of targets holds the share of each class in the label times the weight of the image; a warp has a row. Its
// loss is -sum t log softmax(logits), the gradient sum(t) softmax - t. rights is 1 where the first of the largest logits
// is the label's. Rows whose targets are all 0 count for nothing.

template <class V> __device__ __forceinline__ V warp_sum(V v) {
#pragma unroll
	for (int i = 16; i > 0; i /= 2) v += __shfl_xor_sync(~0u, v, i);
	return v;
}

KERNEL(128) cross_entropy(double *losses, i64 *rights, float *d, const float *logits, const float *targets, const i64 *labels, i64 rows, i64 classes) {
	int lane = threadIdx.x % 32;
	i64 r = (i64)blockIdx.x * 4 + threadIdx.x / 32;
	if (r >= rows) return;
	const float *row = logits + r * classes, *t = targets + r * classes;
	float most = -__int_as_float(0x7f800000), total = 0;
	int best = 0x7fffffff;
	bool number = true;
	for (int i = lane; i < classes; i += 32) {
		float v = row[i];
		total += t[i];
		number = number && v == v;
		if (v > most || best == 0x7fffffff) most = v, best = i;
	}
#pragma unroll
	for (int i = 16; i > 0; i /= 2) {
		float m = __shfl_xor_sync(~0u, most, i);
		int b = __shfl_xor_sync(~0u, best, i);
		if (b != 0x7fffffff && (best == 0x7fffffff || m > most || (m == most && b < best))) most = m, best = b;
	}
	total = warp_sum(total);
	float sum = 0;
	for (int i = lane; i < classes; i += 32) sum += expf(row[i] - most);
	sum = warp_sum(sum);
	float log = logf(sum);
	double loss = 0;
	for (int i = lane; i < classes; i += 32) {
		if (total > 0) loss += (double)t[i] * ((double)log + ((double)most - (double)row[i]));
		if (d) d[r * classes + i] = total > 0 ? total * (expf(row[i] - most) / sum) - t[i] : 0;
	}
	loss = warp_sum(loss);
	number = __all_sync(~0u, number);
	if (lane == 0) {
		losses[r] = loss;
		rights[r] = total > 0 && number && best == labels[r];
	}
}

// block_sum adds the values of 256 threads in a fixed order. All of them get the sum.
__device__ __forceinline__ double block_sum(double v) {
	__shared__ double sums[8];
	v = warp_sum(v);
	__syncthreads();
	if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = v;
	__syncthreads();
	v = 0;
	for (int i = 0; i < 8; i++) v += sums[i];
	return v;
}

KERNEL(256) outcome(double *out, const double *losses, const i64 *rights, i64 rows) {
	double loss = 0, right = 0;
	for (i64 i = threadIdx.x; i < rows; i += 256) loss += losses[i], right += (double)rights[i];
	loss = block_sum(loss);
	right = block_sum(right);
	if (threadIdx.x == 0) out[0] = loss, out[1] = right;
}

// ---------------------------------------------------------------------------------------------------------------------
// The solvers' steps, as package kernel has them, bit for bit: products and sums are rounded one by one. The gradient is
// multiplied by *scale first, which clip leaves, where there is one. The moving average goes a share, rest, of the way to the new
// weight.

__device__ __forceinline__ void follow(float *average, i64 id, float w, double rest) {
	if (average) average[id] = __fadd_rn(average[id], __fmul_rn((float)rest, __fsub_rn(w, average[id])));
}

// With mu = 0 this is plain SGD.
KERNEL(256) momentum(float *w, const float *g, float *m, float *average, const float *scale, i64 count, double rate, double decay, double mu,
	i64 nesterov, double rest) {
	i64 id = thread();
	if (id >= count) return;
	float d = g[id], value = w[id];
	if (scale) d = __fmul_rn(d, *scale);
	d = __fadd_rn(d, __fmul_rn((float)decay, value));
	if (m) {
		float moment = __fadd_rn(__fmul_rn((float)mu, m[id]), d);
		m[id] = moment;
		d = nesterov ? __fadd_rn(d, __fmul_rn((float)mu, moment)) : moment;
	}
	value = __fsub_rn(value, __fmul_rn((float)rate, d));
	w[id] = value;
	follow(average, id, value, rest);
}

KERNEL(256) adamw(float *w, const float *g, float *m, float *v, float *average, const float *scale, i64 count, double beta1, double rest1,
	double beta2, double rest2, double keep, double rate, double unbias, double epsilon, double rest) {
	i64 id = thread();
	if (id >= count) return;
	float d = g[id];
	if (scale) d = __fmul_rn(d, *scale);
	float first = __fadd_rn(__fmul_rn((float)beta1, m[id]), __fmul_rn((float)rest1, d));
	float second = __fadd_rn(__fmul_rn((float)beta2, v[id]), __fmul_rn(__fmul_rn((float)rest2, d), d));
	m[id] = first;
	v[id] = second;
	float step = __fdiv_rn(__fmul_rn((float)rate, first), __fadd_rn(__fmul_rn(__fsqrt_rn(second), (float)unbias), (float)epsilon));
	float value = __fsub_rn(__fmul_rn((float)keep, w[id]), step);
	w[id] = value;
	follow(average, id, value, rest);
}

// The sum of squares, in double: it is finite just where all values are, so it is the search for NaN as well.
KERNEL(256) sum_squares(double *sums, const float *x, i64 count) {
	double sum = 0;
	for (i64 i = thread(); i < count; i += (i64)gridDim.x * 256) sum += (double)x[i] * (double)x[i];
	sum = block_sum(sum);
	if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// The factor that brings the norm of all gradients down to limit, 1 if it is not above or limit is 0, and the norm.
KERNEL(256) clip(float *out, const double *sums, i64 parts, double limit) {
	double sum = 0;
	for (i64 i = threadIdx.x; i < parts; i += 256) sum += sums[i];
	sum = block_sum(sum);
	if (threadIdx.x > 0) return;
	double norm = sqrt(sum);
	out[0] = limit > 0 && norm > limit ? (float)(limit / norm) : 1.0f;
	out[1] = (float)norm;
}
