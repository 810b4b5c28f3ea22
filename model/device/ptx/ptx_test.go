package ptx_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/logobeam/logobeam/model/device/ptx"
)

// kernelOf is a kernel with two pointers, %rd1 to read from and %rd2 to write to, and the place of its thread in them, %rd3 and
// %rd4, at 8 bytes a thread.
func kernelOf(body string) string {
	return `.version 8.1
.target sm_80
.address_size 64
.visible .entry f(
	.param .u64 f_param_0, // from
	.param .u64 f_param_1  /* to */
)
.maxntid 64, 1, 1
{
	.reg .pred %p<9>;
	.reg .b16 %rs<9>;
	.reg .b32 %r<20>;
	.reg .f32 %f<20>;
	.reg .b64 %rd<20>;
	.reg .f64 %fd<20>;
	.shared .align 16 .b8 tile[1024];
	ld.param.u64 %rd1, [f_param_0];
	ld.param.u64 %rd2, [f_param_1];
	mov.u32 %r1, %tid.x;
	mul.wide.u32 %rd5, %r1, 8;
	add.s64 %rd3, %rd1, %rd5;
	add.s64 %rd4, %rd2, %rd5;
` + body + `
	ret;
}
`
}

// launch runs a kernel of kernelOf for so many threads on what it reads.
func launch(t *testing.T, body string, threads int, from []uint64) ([]uint64, error) {
	t.Helper()
	m, err := ptx.Parse(kernelOf(body))
	if err != nil {
		t.Fatal(err)
	}
	mem := ptx.NewMemory()
	a, b := mem.Alloc(8*threads), mem.Alloc(8*threads)
	in, err := mem.Bytes(a, 8*threads)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range from {
		binary.LittleEndian.PutUint64(in[8*i:], v)
	}
	if err := m.Launch(mem, "f", ptx.Dim{}, ptx.Dim{X: threads}, a, b); err != nil {
		return nil, err
	}
	out, err := mem.Bytes(b, 8*threads)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]uint64, threads)
	for i := range got {
		got[i] = binary.LittleEndian.Uint64(out[8*i:])
	}
	return got, nil
}

func f32(v float64) uint64 { return uint64(math.Float32bits(float32(v))) }

// What the twins in package kernel would not show: the edges of operations.
func TestOperations(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	minus := func(v int64) uint64 { return uint64(-v) }
	for _, tt := range []struct {
		op      string
		kind    string // of registers: r, rd, f, fd
		args    []uint64
		want    uint64
		because string
	}{
		{"add.s32", "r", []uint64{1<<32 - 1, 1}, 0, "it wraps"},
		{"sub.s32", "r", []uint64{0, 1}, 1<<32 - 1, "nothing is left above 32 bits"},
		{"mul.hi.u32", "r", []uint64{1<<32 - 1, 1<<32 - 1}, 1<<32 - 2, ""},
		{"mad.lo.s32", "r", []uint64{1 << 31, 2, 7}, 7, ""},
		{"shl.b32", "r", []uint64{1, 32}, 0, "shifts of the width and above leave nothing"},
		{"shr.u32", "r", []uint64{1 << 31, 200}, 0, ""},
		{"shr.s32", "r", []uint64{1 << 31, 40}, 1<<32 - 1, "the sign stays"},
		{"min.s32", "r", []uint64{1<<32 - 5, 3}, 1<<32 - 5, "-5 is less than 3"},
		{"div.s32", "r", []uint64{1<<32 - 7, 2}, 1<<32 - 3, "towards 0"},
		{"rem.s32", "r", []uint64{1<<32 - 7, 2}, 1<<32 - 1, ""},
		{"div.u32", "r", []uint64{5, 0}, 1<<32 - 1, "as the hardware"},
		{"div.s32", "r", []uint64{1 << 31, 1<<32 - 1}, 1 << 31, "the one that overflows"},
		{"clz.b32", "r", []uint64{0}, 32, ""},
		{"not.b32", "r", []uint64{0}, 1<<32 - 1, ""},
		{"neg.s32", "r", []uint64{1}, 1<<32 - 1, ""},
		{"shr.s64", "rd", []uint64{minus(8), 2}, minus(2), ""},
		{"div.s64", "rd", []uint64{minus(7), 2}, minus(3), ""},
		{"rem.u64", "rd", []uint64{minus(1), 10}, 5, ""},
		{"min.s64", "rd", []uint64{minus(1), 1}, minus(1), ""},
		{"fma.rn.f32", "f", []uint64{f32(1 + 0x1p-12), f32(1 + 0x1p-12), f32(0x1p-60)}, f32(1 + 0x1p-11 + 0x1p-23), "half way and a trifle: one rounding goes up"},
		{"fma.rn.f32", "f", []uint64{f32(1 + 0x1p-12), f32(1 + 0x1p-12), f32(0)}, f32(1 + 0x1p-11), "half way goes to even"},
		{"fma.rn.f32", "f", []uint64{f32(inf), f32(0), f32(1)}, 0x7fffffff, "the one NaN that the hardware makes"},
		{"fma.rm.f32", "f", []uint64{f32(1), f32(1), f32(0x1p-40)}, f32(1), ""},
		{"fma.rm.f32", "f", []uint64{f32(1), f32(1), f32(-0x1p-60)}, f32(1 - 0x1p-24), "down, by less than a float64 has room for"},
		{"ex2.approx.ftz.f32", "f", []uint64{f32(-130)}, 0, "too small to be normal"},
		{"ex2.approx.ftz.f32", "f", []uint64{f32(3)}, f32(8), ""},
		{"cvt.sat.f32.f32", "f", []uint64{f32(-3)}, 0, ""},
		{"cvt.sat.f32.f32", "f", []uint64{f32(7)}, f32(1), ""},
		{"cvt.sat.f32.f32", "f", []uint64{f32(nan)}, 0, ""},
		{"sqrt.rn.f32", "f", []uint64{f32(2)}, f32(math.Sqrt(2)), ""},
		{"add.f64", "fd", []uint64{math.Float64bits(1), math.Float64bits(0x1p-40)}, math.Float64bits(1 + 0x1p-40), ""},
		{"fma.rn.f64", "fd", []uint64{math.Float64bits(3), math.Float64bits(5), math.Float64bits(-1)}, math.Float64bits(14), ""},
	} {
		types := map[string]string{"r": "u32", "rd": "u64", "f": "f32", "fd": "f64"}
		var b strings.Builder
		args := ""
		for i := range tt.args {
			kind := tt.kind
			if i == 1 && strings.HasPrefix(tt.op, "sh") { // numbers of bits have 32 themselves
				kind = "r"
			}
			fmt.Fprintf(&b, "ld.global.%s %%%s1%d, [%%rd1+%d];\n", types[kind], kind, i, 8*i)
			args += fmt.Sprintf(", %%%s1%d", kind, i)
		}
		fmt.Fprintf(&b, "mov.u64 %%rd6, 0;\nst.global.u64 [%%rd4], %%rd6;\n%s %%%s9%s;\nst.global.%s [%%rd4], %%%s9;", tt.op, tt.kind, args, types[tt.kind], tt.kind)
		got, err := launch(t, b.String(), 3, tt.args)
		if err != nil {
			t.Errorf("%s: %v", tt.op, err)
		} else if got[0] != tt.want {
			t.Errorf("%s of %#x is %#x; want %#x: %s", tt.op, tt.args, got[0], tt.want, tt.because)
		}
	}
}

func TestBFloat16(t *testing.T) {
	for _, tt := range []struct{ from, want uint64 }{
		{0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81}, {0xff7fffff, 0xff80}, {0x7f800001, 0x7fff}, {0x00000001, 0},
	} {
		body := fmt.Sprintf("mov.b32 %%f1, %d; mov.f32 %%f2, 0f40000000; cvt.rn.bf16x2.f32 %%r2, %%f2, %%f1; cvt.u64.u32 %%rd6, %%r2; st.global.u64 [%%rd4], %%rd6;", tt.from)
		got, err := launch(t, body, 1, nil)
		if err != nil || got[0] != 0x40000000|tt.want {
			t.Errorf("%#x becomes %#x, %v; want 2 above %#x", tt.from, got, err, tt.want)
		}
	}
}

// Conditions of floats, with and without NaN.
func TestConditions(t *testing.T) {
	for _, tt := range []struct {
		condition string
		want      string // for 1 and 2, 2 and 2, 2 and 1, NaN and 1
	}{
		{"eq", ".x.."}, {"ne", "x.x."}, {"lt", "x..."}, {"le", "xx.."}, {"gt", "..x."}, {"ge", ".xx."},
		{"equ", ".x.x"}, {"neu", "x.xx"}, {"ltu", "x..x"}, {"leu", "xx.x"}, {"gtu", "..xx"}, {"geu", ".xxx"}, {"num", "xxx."}, {"nan", "...x"},
	} {
		var from []uint64
		for _, p := range [][2]float64{{1, 2}, {2, 2}, {2, 1}, {math.NaN(), 1}} {
			from = append(from, f32(p[0])|f32(p[1])<<32)
		}
		got, err := launch(t, `ld.global.v2.f32 {%f1, %f2}, [%rd3];
			setp.`+tt.condition+`.f32 %p1, %f1, %f2;
			selp.b64 %rd6, 120, 46, %p1;
			st.global.u64 [%rd4], %rd6;`, 4, from)
		if err != nil {
			t.Fatal(err)
		}
		is := ""
		for _, v := range got {
			is += string(rune(v))
		}
		if is != tt.want {
			t.Errorf("setp.%s gives %s; want %s", tt.condition, is, tt.want)
		}
	}
}

// Threads go their ways and meet again before they exchange values: here those of odd lanes count to their number first.
func TestDivergence(t *testing.T) {
	got, err := launch(t, `
	and.b32 %r2, %r1, 1;
	setp.eq.s32 %p1, %r2, 0;
	mov.u32 %r3, 0;
	@%p1 bra $meet;
	bra.uni $far;
$loop:
	add.s32 %r3, %r3, 1;
	setp.lt.u32 %p2, %r3, %r1;
	@%p2 bra $loop;
$meet:
	shfl.sync.bfly.b32 %r4|%p3, %r3, 1, 31, -1;
	@!%p1 mov.u32 %r4, %r3;
	cvt.u64.u32 %rd6, %r4;
	st.global.u64 [%rd4], %rd6;
	ret;
$far:
	bra $loop;`, 64, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if want := uint64(i | 1); v != want {
			t.Errorf("thread %d has %d; want %d", i, v, want)
		}
	}
}

// Memory passes from one warp to another by a barrier.
func TestBarrier(t *testing.T) {
	got, err := launch(t, `
	shl.b32 %r2, %r1, 2;
	mov.u32 %r3, tile;
	add.s32 %r4, %r3, %r2;
	st.shared.u32 [%r4], %r1;
	bar.sync 0;
	mov.u32 %r5, 63;
	sub.s32 %r5, %r5, %r1;
	shl.b32 %r5, %r5, 2;
	add.s32 %r5, %r5, %r3;
	ld.shared.u32 %r6, [%r5];
	cvt.u64.u32 %rd6, %r6;
	st.global.u64 [%rd4], %rd6;`, 64, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if v != uint64(63-i) {
			t.Errorf("thread %d has %d; want %d", i, v, 63-i)
		}
	}
}

// ldmatrix and mma place values as the PTX manual draws them: a[i][k] = 1 alone in a and b[k][j] = 1 alone in b make d[i][j] 1.
func TestMatrices(t *testing.T) {
	// The lane and the half of the register that hold a[row][col] of 16 x 16, b[row][col] of 16 x 8 and d[row][col] of 16 x 8, from
	// the figures of the manual (mma.m16n8k16, .bf16).
	for _, tt := range []struct{ i, k, j int }{{0, 0, 0}, {3, 5, 2}, {11, 6, 7}, {4, 13, 1}, {15, 15, 6}, {9, 8, 3}} {
		a := [2]int{tt.i%8*4 + tt.k%8/2, tt.i/8 + tt.k/8*2} // lane, register
		b := [2]int{tt.j*4 + tt.k%8/2, tt.k / 8}
		d := [2]int{tt.i%8*4 + tt.j/2, tt.i/8*2 + tt.j%2}
		one := uint64(0x3f80) << (tt.k % 2 * 16)
		var body strings.Builder
		for r := range 16 {
			fmt.Fprintf(&body, "mov.u32 %%r%d, 0;\n", r+2)
		}
		for r := range 4 {
			fmt.Fprintf(&body, "mov.f32 %%f%d, 0f00000000;\n", r+1)
		}
		fmt.Fprintf(&body, "setp.eq.s32 %%p1, %%r1, %d; selp.b32 %%r%d, %d, 0, %%p1;\n", a[0], a[1]+2, one)
		fmt.Fprintf(&body, "setp.eq.s32 %%p1, %%r1, %d; selp.b32 %%r%d, %d, 0, %%p1;\n", b[0], b[1]+6, one)
		body.WriteString("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f1, %f2, %f3, %f4}, {%r2, %r3, %r4, %r5}, {%r6, %r7}, {%f1, %f2, %f3, %f4};\n")
		body.WriteString("mov.u64 %rd6, 0;\n")
		for r := range 4 { // a digit for each register
			fmt.Fprintf(&body, "setp.eq.f32 %%p1, %%f%d, 0f3F800000; selp.b64 %%rd7, %d, 0, %%p1; add.s64 %%rd6, %%rd6, %%rd7;\n", r+1, 1<<(4*r))
		}
		body.WriteString("st.global.u64 [%rd4], %rd6;")
		got, err := launch(t, body.String(), 32, nil)
		if err != nil {
			t.Fatal(err)
		}
		for lane, v := range got {
			want := uint64(0)
			if lane == d[0] {
				want = 1 << (4 * d[1])
			}
			if v != want {
				t.Errorf("a[%d][%d] b[%d][%d]: lane %d has %#x; want %#x", tt.i, tt.k, tt.k, tt.j, lane, v, want)
			}
		}
	}

	// Four matrices of numbers 0 to 255, row by row; lane l gets neighbours in row l/4, or turned, in column l/4.
	for turned, op := range []string{"ldmatrix.sync.aligned.m8n8.x4.shared.b16", "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16"} {
		body := `
	shl.b32 %r2, %r1, 4;
	mov.u32 %r3, tile;
	add.s32 %r4, %r3, %r2;
	shl.b32 %r5, %r1, 3;`
		for i := 0; i < 8; i += 2 { // the row of this lane, in pairs
			body += fmt.Sprintf("\nadd.s32 %%r6, %%r5, %d; add.s32 %%r7, %%r6, 1; shl.b32 %%r7, %%r7, 16; or.b32 %%r6, %%r6, %%r7; st.shared.u32 [%%r4+%d], %%r6;", i, 2*i)
		}
		body += "\nbar.sync 0;\n" + op + " {%r10, %r11, %r12, %r13}, [%r4];\nmov.b64 %rd6, {%r10, %r13};\nst.global.u64 [%rd4], %rd6;"
		got, err := launch(t, body, 32, nil)
		if err != nil {
			t.Fatal(err)
		}
		for lane, v := range got {
			first, second := lane/4*8+lane%4*2, lane/4*8+lane%4*2+1
			if turned == 1 {
				first, second = lane%4*2*8+lane/4, (lane%4*2+1)*8+lane/4
			}
			want := uint64(first) | uint64(second)<<16
			want |= (want + 192 + 192<<16) << 32
			if v != want {
				t.Errorf("%s: lane %d has %#x; want %#x", op, lane, v, want)
			}
		}
	}
}

// What a GPU may pass over in silence is an error that names the instruction and the thread.
func TestFaults(t *testing.T) {
	for _, tt := range []struct{ why, body, want string }{
		{"past the end", "ld.global.u32 %r2, [%rd3+8];", `line 23, "ld.global.u32 %r2, [%rd3+8];", thread (63,0,0) of block (0,0,0): 4 bytes at 0x100000200 reach past an allocation of 512 bytes`},
		{"half past the end", "add.s64 %rd3, %rd3, 4; ld.global.v2.u32 {%r2, %r3}, [%rd3];", "not aligned"},
		{"before the beginning", "ld.global.u8 %rs1, [%rd3+-1];", "thread (0,0,0) of block (0,0,0): 1 bytes at 0xffffffff are outside of all that was allocated"},
		{"nowhere", "mov.u64 %rd6, 0; st.global.u64 [%rd6], %rd6;", "outside of all that was allocated"},
		{"not aligned", "ld.global.u32 %r2, [%rd3+2];", "not aligned"},
		{"outside of shared memory", "mov.u32 %r2, tile; ld.shared.u32 %r3, [%r2+40000];", "outside of the"},
		{"outside of shared arrays", "mov.u32 %r2, tile; ld.shared.u32 %r3, [%r2+1024];", "outside of all arrays"},
		{"two write one place", "mov.u32 %r2, tile; st.shared.u32 [%r2], %r1;", "thread (1,0,0) of block (0,0,0): byte 0x0 of shared memory was written by thread 0"},
		{"one reads what another has written", "shl.b32 %r2, %r1, 2; st.shared.u32 [%r2], %r1; xor.b32 %r2, %r2, 4; ld.shared.u32 %r3, [%r2];", "was written by thread 1, with no barrier since"},
		{"one writes what others have read", "mov.u32 %r2, tile; ld.shared.u32 %r3, [%r2]; setp.eq.s32 %p1, %r1, 5; @%p1 st.shared.u32 [%r2], %r1;", "thread (5,0,0) of block (0,0,0): byte 0x0 of shared memory was read by others"},
		{"a barrier for some", "setp.lt.u32 %p1, %r1, 7; @%p1 bra $out; bar.sync 0; bra $end; $out: add.s32 %r1, %r1, 1; bar.sync 0; $end:", "not all threads reach it together"},
		{"a barrier that a warp leaves out", "setp.lt.u32 %p1, %r1, 32; @%p1 bra $out; bar.sync 0; $out:", "that others have left out"},
		{"an exchange for some", "setp.lt.u32 %p1, %r1, 7; @%p1 shfl.sync.bfly.b32 %r2|%p2, %r1, 1, 31, -1;", "not all threads reach it together"},
		{"an exchange that names too few", "shfl.sync.bfly.b32 %r2|%p2, %r1, 1, 31, 255;", "the threads named are 0xff"},
	} {
		t.Run(tt.why, func(t *testing.T) {
			_, err := launch(t, tt.body, 64, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v; want %q", err, tt.want)
			}
		})
	}
}

func TestLaunchRefuses(t *testing.T) {
	m, err := ptx.Parse(kernelOf(""))
	if err != nil {
		t.Fatal(err)
	}
	mem := ptx.NewMemory()
	for _, tt := range []struct {
		name       string
		grid, size ptx.Dim
		params     []uint64
		want       string
	}{
		{"g", ptx.Dim{}, ptx.Dim{}, nil, `no kernel "g"`},
		{"f", ptx.Dim{}, ptx.Dim{}, []uint64{1}, "1 parameters: want 2"},
		{"f", ptx.Dim{}, ptx.Dim{X: 65}, []uint64{1, 2}, "at most 64"},
		{"f", ptx.Dim{}, ptx.Dim{X: 1 << 40, Y: 1 << 40}, []uint64{1, 2}, "at most 64"},
		{"f", ptx.Dim{Y: 65536}, ptx.Dim{}, []uint64{1, 2}, "at most 2147483647 x 65535 x 65535"},
	} {
		if err := m.Launch(mem, tt.name, tt.grid, tt.size, tt.params...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v; want %q", err, tt.want)
		}
	}
}

func TestMemory(t *testing.T) {
	mem := ptx.NewMemory()
	a, b, none := mem.Alloc(100), mem.Alloc(100), mem.Alloc(0)
	if v, err := mem.Bytes(a+99, 1); err != nil || v[0] != 0xff {
		t.Error("the last byte: ", v, err)
	}
	for _, tt := range []struct {
		p uint64
		n int
	}{{a, 101}, {a + 100, 1}, {b - 1, 1}, {a, -1}, {none, 1}, {0, 0}} {
		if _, err := mem.Bytes(tt.p, tt.n); err == nil {
			t.Errorf("%d bytes at %#x are there", tt.n, tt.p)
		}
	}
	if err := mem.Free(a); err != nil {
		t.Error(err)
	}
	if err := mem.Free(a); err == nil {
		t.Error("memory is freed twice")
	}
	if _, err := mem.Bytes(a, 1); err == nil {
		t.Error("memory is there after it was freed")
	}
	if _, err := mem.Bytes(b, 100); err != nil {
		t.Error(err)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "is it PTX?"},
		{".version 8.1\n.target sm_90a\n", `line 2: target "sm_90a"`},
		{".address_size 32", "addresses of 32 bits"},
		{".func f", `".func" is not known here`},
		{kernelOf("frob.s32 %r1, %r2;"), `line 23: "frob.s32" is no instruction that is known`},
		{kernelOf("add.s32 %r1, %r2;\nadd.s32 %r1;"), `line 24: "add.s32 %r1;": its operands`},
		{kernelOf("add.s32 %r1, %p2, %r3;"), "its operands"},
		{kernelOf("add.s32 %r99, %r1, %r3;"), `"%r99" is no operand`},
		{kernelOf("setp.lt.s32 %r1, %r2, %r3;"), "its operands"},
		{kernelOf("setp.num.s32 %p1, %r2, %r3;"), `"setp.num.s32" is no instruction that is known`},
		{kernelOf("bra $nowhere;"), `there is no label "$nowhere"`},
		{kernelOf("$a: $a:"), `label "$a" stands twice`},
		{kernelOf("ld.global.u32 %r1, [%r2];"), "its operands"},
		{kernelOf("ld.param.u64 %rd1, [f_param_2];"), "its operands"},
		{kernelOf("mov.b64 %rd1, {%r1};"), "its operands"},
		{kernelOf("mov.u32 %r1, 0x;"), `"0x" is no number`},
		{kernelOf("@%r1 bra $x;"), "the guard is no predicate"},
		{kernelOf(".reg .b32 %q<99999999>;"), "99999999 registers"},
		{kernelOf(".shared .align 16 .b8 more[49153];"), "49153 bytes"},
		{kernelOf(".shared .align 16 .b8 more[49152];"), "more than 49152 bytes of shared memory"},
		{kernelOf("call f;"), `"call" is no instruction that is known`},
		{strings.TrimSuffix(kernelOf(""), "}\n"), "the text ends within kernel f"},
		{kernelOf("") + kernelOf(""), `two kernels "f"`},
	} {
		if _, err := ptx.Parse(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v; want %q", err, tt.want)
		}
	}
}

// Whatever the text, Parse gives a module or an error; and what it takes, it takes with a comment more as well.
func FuzzParse(f *testing.F) {
	f.Add(kernelOf("ld.global.v2.f32 {%f1, %f2}, [%rd3+8];\n@!%p1 bra $a;\n$a: selp.f32 %f3, 0f3F800000, %f1, %p1;"))
	f.Add(kernelOf("bar.sync 0; shfl.sync.bfly.b32 %r2|%p2, %r1, 1, 31, -1; vote.sync.all.pred %p1, %p2, -1; mov.b64 {%r1, %r2}, %rd1; bfi.b32 %r1, %r2, %r3, 5, 27;"))
	f.Add(".address_size 64\n.shared .align 8 .b8 s[64];\n.global .u32 g = 1;\n.visible .entry f()\n.minnctapersm 1\n{ .pragma \"nounroll\"; .reg .b32 q; mov.pred q, -1; }")
	f.Add("/*")
	f.Add(".visible .entry f(.param .f64 x) { .reg .b64 %d<2>; ld.param.f64 %d1, [x]; ")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ptx.Parse(text)
		if err != nil {
			return
		}
		again, err := ptx.Parse("// once more\n" + text)
		if err != nil || len(again.Kernels()) != len(m.Kernels()) {
			t.Errorf("a comment before it makes it %v", err)
		}
	})
}
