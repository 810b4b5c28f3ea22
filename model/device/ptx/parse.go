package ptx

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Limits on what is parsed.
const (
	maxText      = 16 << 20
	maxRegisters = 1 << 14 // of a kernel, declared and constants
	maxParams    = 64
	maxFiles     = 64 // declarations of registers in a kernel
)

// Parse reads a module for a target of sm_80 or below and 64-bit addresses. Errors name the line.
func Parse(text string) (*Module, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("ptx: %d bytes of text: want at most %d", len(text), maxText)
	}
	p := parser{text: text, line: 1, arrays: map[string]array{}}
	m := &Module{kernels: map[string]*kernel{}}
	for p.next(); p.token != ""; {
		if err := p.directive(m); err != nil {
			return nil, fmt.Errorf("ptx: line %d: %w", p.line, err)
		}
	}
	if p.bits != 64 {
		return nil, errors.New("ptx: the text says nothing of .address_size 64: is it PTX?")
	}
	return m, nil
}

// parser reads tokens: names and numbers with their dots, signs and brackets, strings.
type parser struct {
	text  string
	at    int    // after token
	start int    // of token
	token string // "" at the end
	line  int    // of token

	bits   int
	arrays map[string]array // outside of kernels
}

func word(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c == '%' || c == '.'
}

func (p *parser) next() {
	for {
		rest := p.text[p.at:]
		switch {
		case rest == "":
			p.start, p.token = p.at, ""
			return
		case rest[0] == '\n':
			p.line++
			p.at++
		case rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r':
			p.at++
		case strings.HasPrefix(rest, "//"):
			if n := strings.IndexByte(rest, '\n'); n >= 0 {
				p.at += n
			} else {
				p.at = len(p.text)
			}
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest, "*/")
			if n < 0 {
				n = len(rest) - 2
			}
			p.line += strings.Count(rest[:n+2], "\n")
			p.at += n + 2
		default:
			n := 0
			for n < len(rest) && word(rest[n]) {
				n++
			}
			if rest[0] == '"' {
				if n = strings.IndexByte(rest[1:], '"') + 2; n == 1 {
					n = len(rest)
				}
			}
			n = max(n, 1)
			p.start, p.token = p.at, rest[:n]
			p.at += n
			return
		}
	}
}

// accept goes past a token if it is there.
func (p *parser) accept(token string) bool {
	if p.token == token {
		p.next()
		return true
	}
	return false
}

// expect goes past tokens that must be there.
func (p *parser) expect(tokens ...string) error {
	for _, t := range tokens {
		if !p.accept(t) {
			return fmt.Errorf("%q: want %q", p.token, t)
		}
	}
	return nil
}

func (p *parser) take() string {
	t := p.token
	p.next()
	return t
}

// number is a size or an offset.
func (p *parser) number() (int, error) {
	n, err := strconv.ParseInt(p.token, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("%q: want a number", p.token)
	}
	p.next()
	return int(n), nil
}

// directive is one of those outside of kernels.
func (p *parser) directive(m *Module) error {
	switch t := p.take(); t {
	case ".version":
		p.next()
		return nil
	case ".target":
		if sm, ok := strings.CutPrefix(p.token, "sm_"); !ok || len(sm) != 2 || sm > "80" {
			return fmt.Errorf("target %q: want sm_80 or below", p.token)
		}
		p.next()
		return nil
	case ".address_size":
		var err error
		if p.bits, err = p.number(); err == nil && p.bits != 64 {
			err = fmt.Errorf("addresses of %d bits: want 64", p.bits)
		}
		return err
	case ".global": // the compiler leaves some that nobody reads; a name that is read is unknown
		for p.token != ";" && p.token != "" {
			p.next()
		}
		return p.expect(";")
	case ".shared": // of those kernels that name it
		name, a, err := p.array()
		if err == nil && len(p.arrays) == maxParams {
			err = fmt.Errorf("more than %d arrays outside of kernels", maxParams)
		}
		if err == nil {
			p.arrays[name] = a
		}
		return err
	case ".visible":
		if err := p.expect(".entry"); err != nil {
			return err
		}
		return p.kernel(m)
	default:
		return fmt.Errorf("%q is not known here", t)
	}
}

// body is a kernel under way.
type body struct {
	*parser
	*kernel
	files   []file
	arrays  map[string]int // places of shared arrays
	used    int            // bytes of them
	imms    map[uint64]int // registers of constants
	labels  map[string]int
	jumps   []jump
	reading map[string]int // parameters by name
}

// file is a set of registers: %r<5> are %r0 to %r4.
type file struct {
	prefix   string
	first, n int
	bits     int // 1 for predicates
	numbered bool
}

type jump struct {
	at    int
	label string
	line  int
}

func (p *parser) kernel(m *Module) error {
	k := &kernel{name: p.take(), special: map[string]int{}}
	if m.kernels[k.name] != nil {
		return fmt.Errorf("there are two kernels %q", k.name)
	}
	b := &body{parser: p, kernel: k, arrays: map[string]int{}, imms: map[uint64]int{}, labels: map[string]int{}, reading: map[string]int{}}
	if err := b.parameters(); err != nil {
		return err
	}
	for p.token != "{" {
		switch t := p.take(); t {
		case ".maxntid":
			k.most = 1
			for i := range 3 {
				if i > 0 && !p.accept(",") {
					break
				}
				n, err := p.number()
				if err != nil {
					return err
				}
				if n < 1 || n > maxThreads {
					return fmt.Errorf("blocks of %d threads: want 1 to %d", n, maxThreads)
				}
				k.most = min(k.most*n, maxThreads+1)
			}
		case ".minnctapersm":
			if _, err := p.number(); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%q is not known before a kernel's body", t)
		}
	}
	p.next()
	for !p.accept("}") {
		if err := b.statement(); err != nil {
			return err
		}
		if b.registers+b.predicates > maxRegisters {
			return fmt.Errorf("kernel %s has more than %d registers and constants", k.name, maxRegisters)
		}
	}
	for _, j := range b.jumps {
		target, ok := b.labels[j.label]
		if !ok {
			p.line = j.line
			return fmt.Errorf("there is no label %q", j.label)
		}
		k.code[j.at].target = target
	}
	k.code = append(k.code, instr{kind: leave, guard: -1, line: p.line, text: "}"})
	k.registers = max(k.registers, 1)
	m.kernels[k.name] = k
	m.names = append(m.names, k.name)
	return nil
}

// parameters of the kernel: ( .param .u64 name, ... ).
func (b *body) parameters() error {
	if err := b.expect("("); err != nil {
		return err
	}
	for !b.accept(")") {
		if len(b.params) > 0 {
			if err := b.expect(","); err != nil {
				return err
			}
		}
		if err := b.expect(".param"); err != nil {
			return err
		}
		bits := width(b.token)
		if bits < 32 {
			return fmt.Errorf("a parameter of type %q: want 4 or 8 bytes", b.token)
		}
		b.next()
		if len(b.params) == maxParams {
			return fmt.Errorf("more than %d parameters", maxParams)
		}
		b.reading[b.token] = len(b.params)
		b.params = append(b.params, param{b.take(), bits / 8, -1})
	}
	return nil
}

// width is how many bits a type has, 0 if it is none. Predicates have 1.
func width(kind string) int {
	switch strings.TrimPrefix(kind, ".") {
	case "pred":
		return 1
	case "u8", "s8", "b8":
		return 8
	case "u16", "s16", "b16":
		return 16
	case "u32", "s32", "b32", "f32":
		return 32
	case "u64", "s64", "b64", "f64":
		return 64
	}
	return 0
}

func (b *body) statement() error {
	switch b.token {
	case "":
		return fmt.Errorf("the text ends within kernel %s", b.name)
	case ".reg":
		return b.declare()
	case ".shared":
		b.next()
		name, a, err := b.array()
		if err != nil {
			return err
		}
		return b.lay(name, a)
	case ".pragma":
		b.next()
		b.next()
		return b.expect(";")
	}
	start, line := b.start, b.line
	in := instr{guard: -1, line: line}
	if b.accept("@") {
		in.not = b.accept("!")
		p, ok := b.find(b.take())
		if !ok || p.bits != 1 {
			return fmt.Errorf("the guard is no predicate")
		}
		in.guard = p.slot
	}
	op := b.take()
	if in.guard < 0 && b.token == ":" {
		if _, there := b.labels[op]; there {
			return fmt.Errorf("label %q stands twice", op)
		}
		b.labels[op] = len(b.code)
		b.next()
		return nil
	}
	args, err := b.operands(op)
	if err != nil {
		return err
	}
	in.text = b.text[start : b.start+1]
	if err := b.expect(";"); err != nil {
		return err
	}
	if err := b.instruction(&in, op, args); err != nil {
		b.line = line
		if errors.Is(err, errUnknown) {
			return fmt.Errorf("%q is no instruction that is known", op)
		}
		return fmt.Errorf("%q: %w", in.text, err)
	}
	b.code = append(b.code, in)
	return nil
}

func (b *body) declare() error {
	b.next()
	f := file{bits: width(b.token)}
	if f.bits == 0 {
		return fmt.Errorf("registers of type %q", b.token)
	}
	b.next()
	f.prefix, f.n = b.take(), 1
	if b.accept("<") {
		var err error
		f.numbered = true
		if f.n, err = b.number(); err != nil {
			return err
		}
		if f.n < 0 || f.n > maxRegisters {
			return fmt.Errorf("%d registers: want at most %d", f.n, maxRegisters)
		}
		if err := b.expect(">"); err != nil {
			return err
		}
	}
	count := &b.registers
	if f.bits == 1 {
		count = &b.predicates
	}
	if len(b.files) == maxFiles {
		return fmt.Errorf("more than %d declarations of registers", maxFiles)
	}
	f.first = *count
	*count += f.n
	b.files = append(b.files, f)
	return b.expect(";")
}

// array is a declaration of shared memory.
type array struct{ bytes, align int }

func (p *parser) array() (name string, a array, err error) {
	a.align = 1
	if p.accept(".align") {
		if a.align, err = p.number(); err != nil {
			return "", a, err
		}
	}
	if err := p.expect(".b8"); err != nil {
		return "", a, err
	}
	name = p.take()
	if err := p.expect("["); err != nil {
		return "", a, err
	}
	if a.bytes, err = p.number(); err != nil {
		return "", a, err
	}
	if a.bytes < 0 || a.bytes > maxShared || a.align < 1 || a.align > arraySpace || a.align&(a.align-1) != 0 {
		return "", a, fmt.Errorf("array %s of %d bytes, aligned to %d: want at most %d, aligned to at most %d", name, a.bytes, a.align, maxShared, arraySpace)
	}
	return name, a, p.expect("]", ";")
}

// arraySpace is what lies between shared arrays at least, and what they are aligned to.
const arraySpace = 256

// lay gives an array its place, with a gap behind it that belongs to none.
func (b *body) lay(name string, a array) error {
	if _, there := b.arrays[name]; there {
		return fmt.Errorf("array %q stands twice", name)
	}
	if b.used += a.bytes; b.used > maxShared {
		return fmt.Errorf("kernel %s has more than %d bytes of shared memory", b.name, maxShared)
	}
	b.arrays[name] = b.shared
	end := b.shared + a.bytes
	b.shared = (end + 2*arraySpace) &^ (arraySpace - 1)
	b.gaps = append(b.gaps, gap{(end + 3) &^ 3, b.shared})
	return nil
}

// operand is what an instruction works on.
type operand struct {
	place
	list    []place // {a, b}
	address bool    // [a+offset]
	offset  int64
	name    string // as it stands, of labels and parameters
	also    *place // the second result of a|b
	fixed   bool   // a constant, of this value
	value   uint64
}

// place is a register.
type place struct {
	slot, bits int
}

func (b *body) find(name string) (place, bool) {
	for _, f := range b.files {
		rest, ok := strings.CutPrefix(name, f.prefix)
		if !ok || (rest != "") != f.numbered {
			continue
		}
		if !f.numbered {
			return place{f.first, f.bits}, true
		}
		if n, err := strconv.ParseUint(rest, 10, 31); err == nil && int(n) < f.n {
			return place{f.first + int(n), f.bits}, true
		}
	}
	return place{}, false
}

// fresh is another register.
func (b *body) fresh() int {
	b.registers++
	return b.registers - 1
}

func (b *body) constant(v uint64) int {
	slot, ok := b.imms[v]
	if !ok {
		slot = b.fresh()
		b.imms[v] = slot
		b.constants = append(b.constants, constant{slot, v})
	}
	return slot
}

// operands are those up to the semicolon.
func (b *body) operands(op string) (args []operand, err error) {
	const most = 8
	for b.token != ";" {
		if len(args) > 0 {
			if err := b.expect(","); err != nil {
				return nil, err
			}
		}
		if len(args) == most {
			return nil, fmt.Errorf("more than %d operands", most)
		}
		var o operand
		switch {
		case b.accept("{"):
			for !b.accept("}") {
				if len(o.list) > 0 {
					if err := b.expect(","); err != nil {
						return nil, err
					}
				}
				if len(o.list) == most {
					return nil, fmt.Errorf("more than %d registers in braces", most)
				}
				e, err := b.single(op)
				if err != nil {
					return nil, err
				}
				o.list = append(o.list, e.place)
			}
		case b.accept("["):
			if o, err = b.single(""); err != nil {
				return nil, err
			}
			o.address = true
			if b.accept("+") {
				sign := int64(1)
				if b.accept("-") {
					sign = -1
				}
				n, err := b.number()
				if err != nil {
					return nil, err
				}
				o.offset = sign * int64(n)
			}
			if err := b.expect("]"); err != nil {
				return nil, err
			}
		default:
			if o, err = b.single(op); err != nil {
				return nil, err
			}
			if b.accept("|") {
				e, err := b.single(op)
				if err != nil {
					return nil, err
				}
				o.also = &e.place
			}
		}
		args = append(args, o)
	}
	return args, nil
}

// single is a register, a constant or a name.
func (b *body) single(op string) (o operand, err error) {
	o.name = b.token
	if r, ok := b.find(o.name); ok {
		b.next()
		return operand{place: r, name: o.name}, nil
	}
	if specials[o.name] != nil {
		slot, ok := b.special[o.name]
		if !ok {
			slot = b.fresh()
			b.special[o.name] = slot
		}
		b.next()
		return operand{place: place{slot, 32}, name: o.name}, nil
	}
	if a, ok := b.parser.arrays[o.name]; ok {
		if _, there := b.arrays[o.name]; !there {
			if err := b.lay(o.name, a); err != nil {
				return o, err
			}
		}
	}
	if at, ok := b.arrays[o.name]; ok {
		b.next()
		return operand{place: place{b.constant(uint64(at)), 64}, name: o.name}, nil
	}
	if strings.HasPrefix(o.name, "%") || o.name == "" || !word(o.name[0]) && o.name != "-" {
		return o, fmt.Errorf("%q is no operand", o.name)
	}
	if _, ok := b.reading[o.name]; ok || o.name[0] != '-' && (o.name[0] < '0' || o.name[0] > '9') {
		b.next()
		return o, nil // a label or a parameter: bits are 0
	}
	sign := ""
	if b.accept("-") {
		sign = "-"
	}
	switch t := b.token; {
	case strings.HasPrefix(t, "0f") && len(t) == 10:
		o.value, err = strconv.ParseUint(t[2:], 16, 32)
	case strings.HasPrefix(t, "0d") && len(t) == 18:
		o.value, err = strconv.ParseUint(t[2:], 16, 64)
	default:
		var v int64
		if v, err = strconv.ParseInt(sign+t, 0, 64); err != nil && sign == "" {
			o.value, err = strconv.ParseUint(t, 0, 64)
		} else {
			o.value = uint64(v)
		}
	}
	if err != nil {
		return o, fmt.Errorf("%q is no number", sign+b.token)
	}
	b.next()
	bits := width(op[strings.LastIndexByte(op, '.')+1:])
	if bits > 1 && bits < 64 {
		o.value &= 1<<bits - 1
	}
	o.fixed, o.bits = true, bits
	if bits != 1 {
		o.bits = 64
		o.slot = b.constant(o.value)
	}
	return o, nil
}

var (
	errUnknown  = errors.New("unknown")
	errOperands = errors.New("its operands are not those it should have")
)

// values checks that operands are registers that hold values, or constants.
func values(args ...operand) bool {
	return !slices.ContainsFunc(args, func(o operand) bool { return o.bits < 8 || o.address || o.list != nil || o.also != nil })
}

func predicates(args ...operand) bool {
	return !slices.ContainsFunc(args, func(o operand) bool { return o.bits != 1 || o.fixed || o.address || o.list != nil || o.also != nil })
}

// registers are the places of a vector, or of a single register.
func registers(o operand) ([]int, bool) {
	list := o.list
	if list == nil {
		list = []place{o.place}
	}
	slots := make([]int, len(list))
	for i, p := range list {
		if p.bits < 8 {
			return nil, false
		}
		slots[i] = p.slot
	}
	return slots, o.also == nil
}

// instruction works out what op does with its operands.
func (b *body) instruction(in *instr, op string, args []operand) error {
	n := len(args)
	if f, ok := operations[op]; ok {
		if op[:4] == "mov." && n == 2 && (args[0].list != nil) != (args[1].list != nil) {
			return in.pack(op, args)
		}
		if n < 2 || n > 4 || !values(args...) || args[0].fixed {
			return errOperands
		}
		in.kind, in.compute, in.d, in.a = compute, f, args[0].slot, args[1].slot
		if n > 2 {
			in.b = args[2].slot
		}
		if n > 3 {
			in.c = args[3].slot
		}
		return nil
	}
	if f, ok := logics[op]; ok {
		if n == 2 && args[1].fixed && op == "mov.pred" {
			v := uint32(0)
			if args[1].value != 0 {
				v = all
			}
			f = func(_, _ uint32) uint32 { return v }
			args[1] = args[0]
		}
		if n < 2 || n > 3 || !predicates(args...) {
			return errOperands
		}
		in.kind, in.logic, in.d, in.a, in.b = logic, f, args[0].slot, args[1].slot, args[n-1].slot
		return nil
	}
	name, rest, _ := strings.Cut(op, ".")
	switch {
	case op == "ret":
		in.kind = leave
		if n != 0 {
			return errOperands
		}
	case op == "bra" || op == "bra.uni":
		if n != 1 || args[0].bits != 0 || args[0].name == "" {
			return errOperands
		}
		in.kind = branch
		b.jumps = append(b.jumps, jump{len(b.code), args[0].name, in.line})
	case op == "bar.sync":
		if n != 1 || !args[0].fixed || args[0].value != 0 {
			return errOperands
		}
		in.kind = barrier
	case name == "setp":
		condition, kind, _ := strings.Cut(rest, ".")
		if in.compare = ordered(condition, kind); in.compare == nil {
			return errUnknown
		}
		if n != 3 || !predicates(args[0]) || !values(args[1:]...) {
			return errOperands
		}
		in.kind, in.d, in.a, in.b = compare, args[0].slot, args[1].slot, args[2].slot
	case name == "selp" && width(rest) > 8:
		if n != 4 || !values(args[:3]...) || args[0].fixed || !predicates(args[3]) {
			return errOperands
		}
		in.kind, in.d, in.a, in.b, in.c = choose, args[0].slot, args[1].slot, args[2].slot, args[3].slot
	case op == "bfi.b32":
		if n != 5 || !values(args...) || args[0].fixed || !args[3].fixed || !args[4].fixed {
			return errOperands
		}
		pos, length := uint32(args[3].value), uint32(args[4].value)
		in.kind, in.d, in.a, in.b = compute, args[0].slot, args[1].slot, args[2].slot
		in.compute = halves(func(a, b, _ uint32) uint32 { return insert(a, b, pos, length) })
	case name == "ld" || name == "st":
		return b.memory(in, name, rest, args)
	case op == "ldmatrix.sync.aligned.m8n8.x4.shared.b16" || op == "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16":
		in.kind = loadMatrix
		if strings.Contains(op, "trans") {
			in.kind = loadMatrixTurned
		}
		if n != 2 || !args[1].address || args[1].bits < 32 {
			return errOperands
		}
		var ok bool
		if in.list, ok = registers(args[0]); !ok || len(in.list) != 4 {
			return errOperands
		}
		in.a, in.offset = args[1].slot, args[1].offset
	case op == "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32":
		in.kind = multiply
		if n != 4 {
			return errOperands
		}
		for i, want := range []int{4, 4, 2, 4} {
			r, ok := registers(args[i])
			if !ok || len(r) != want {
				return errOperands
			}
			in.list = append(in.list, r...)
		}
	case op == "shfl.sync.bfly.b32":
		// The fourth operand bounds segments of lanes: 31 for the whole warp.
		if n != 5 || args[0].bits < 8 || args[0].fixed || args[0].list != nil || !values(args[1:]...) {
			return errOperands
		}
		in.kind, in.list, in.a, in.b, in.c = exchange, []int{args[0].slot}, args[1].slot, args[2].slot, args[4].slot
		if args[0].also != nil {
			if args[0].also.bits != 1 {
				return errOperands
			}
			in.list = append(in.list, args[0].also.slot)
		}
	case op == "vote.sync.all.pred":
		if n != 3 || !predicates(args[:2]...) || !values(args[2]) {
			return errOperands
		}
		in.kind, in.d, in.a, in.c = vote, args[0].slot, args[1].slot, args[2].slot
	default:
		return errUnknown
	}
	return nil
}

// pack is mov.b64 between a register and a pair of registers.
func (in *instr) pack(op string, args []operand) error {
	in.kind = join
	whole, parts := args[0], args[1]
	if parts.list == nil {
		in.kind = split
		whole, parts = parts, whole
	}
	var ok bool
	if in.list, ok = registers(parts); !ok || len(in.list) != 2 || op != "mov.b64" || whole.bits != 64 || !values(whole) {
		return errOperands
	}
	if parts.list[0].bits != 32 || parts.list[1].bits != 32 || whole.fixed {
		return errOperands
	}
	in.d, in.a = whole.slot, whole.slot
	return nil
}

// memory is ld and st: .param, .global, .shared, of one value or a vector.
func (b *body) memory(in *instr, name, rest string, args []operand) error {
	space, kind, _ := strings.Cut(rest, ".")
	want := 1
	if v, k, ok := strings.Cut(kind, "."); ok && (v == "v2" || v == "v4") {
		want, kind = int(v[1]-'0'), k
	}
	bits := width(kind)
	if bits < 8 {
		return errUnknown
	}
	if len(args) != 2 {
		return errOperands
	}
	value, address := args[0], args[1]
	if name == "st" {
		value, address = address, value
	}
	if !address.address || value.address {
		return errOperands
	}
	var ok bool
	if in.list, ok = registers(value); !ok || len(in.list) != want || want > 1 && value.list == nil {
		return errOperands
	}
	if space == "param" && name == "ld" && want == 1 && bits >= 32 {
		i, ok := b.reading[address.name]
		if !ok || address.offset != 0 || value.fixed || b.params[i].size*8 < bits {
			return errOperands
		}
		q := &b.params[i]
		if q.slot < 0 {
			q.slot = b.fresh()
		}
		in.kind, in.d, in.a, in.compute = compute, in.list[0], q.slot, operations["mov.b64"]
		if bits == 32 {
			in.compute = operations["cvt.u32.u64"]
			if kind == "s32" && value.bits == 64 {
				in.compute = operations["cvt.s64.s32"]
			}
		}
		return nil
	}
	if address.bits != 64 && (space != "shared" || address.bits != 32) || name == "ld" && (value.fixed || kind[0] == 's' && value.bits > bits) {
		return errOperands
	}
	in.a, in.offset, in.bytes = address.slot, address.offset, bits/8
	switch {
	case space == "global" && name == "ld":
		in.kind = load
	case space == "global":
		in.kind = store
	case space == "shared" && name == "ld":
		in.kind = loadShared
	case space == "shared":
		in.kind = storeShared
	default:
		return errUnknown
	}
	return nil
}
