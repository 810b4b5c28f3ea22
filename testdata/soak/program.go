package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// program is a build of logobeam, and what it can do.
type program struct {
	path, temp     string
	help, commands string // of score; of all
	lacks          map[string]bool
}

func openProgram(ctx context.Context, path, work string) (*program, error) {
	p := &program{path: path, temp: filepath.Join(work, "tmp"), lacks: map[string]bool{}}
	if err := os.MkdirAll(p.temp, 0o755); err != nil {
		return nil, err
	}
	for _, of := range []struct {
		text *string
		args []string
	}{{&p.commands, []string{"--help"}}, {&p.help, []string{"score", "--help"}}} {
		out, err := exec.CommandContext(ctx, path, of.args...).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w: build it by make build, or name it by --logobeam", path, strings.Join(of.args, " "), err)
		}
		*of.text = string(out)
	}
	return p, nil
}

// has tells whether score has a flag, and remembers if not.
func (p *program) has(flag string) bool {
	name, _, _ := strings.Cut(flag, "=")
	ok := regexp.MustCompile(`(?m)^\s.*` + regexp.QuoteMeta(name) + `(\s|$)`).MatchString(p.help)
	if !ok {
		p.lacks["score "+name] = true
	}
	return ok
}

// command tells whether there is a command, and remembers if not.
func (p *program) command(name string) bool {
	ok := regexp.MustCompile(`(?m)^\s+` + name + `\s`).MatchString(p.commands)
	if !ok {
		p.lacks[name] = true
	}
	return ok
}

// having are those of the flags, each with its value, that score has.
func (p *program) having(flags ...string) []string {
	return slices.DeleteFunc(flags, func(f string) bool { return !p.has(f) })
}

func (p *program) lacking() []string {
	var all []string
	for name := range p.lacks {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// process is a run of the program.
type process struct {
	cmd      *exec.Cmd
	out, err tail
	began    time.Time
	done     chan struct{} // closed when it has ended
	ended    ended         // from then on

	mutex       sync.Mutex
	peak        int64 // bytes
	descriptors int
}

// ended is how a run of the program ended and what it took.
type ended struct {
	Code   int // -1 if it was killed
	Out    string
	Err    string // the last of it
	Wall   time.Duration
	CPU    time.Duration
	Peak   int64 // bytes of memory at most (VmHWM), 0 where there is no /proc
	MaxRSS int64 // the same by getrusage, which counts what this process had when it started that one
}

// start runs the program with further variables of the environment. It is killed at the end of ctx.
func (p *program) start(ctx context.Context, env []string, args ...string) (*process, error) {
	r := &process{cmd: exec.CommandContext(ctx, p.path, args...), done: make(chan struct{})}
	r.cmd.Env = append(append(os.Environ(), "TMPDIR="+p.temp), env...)
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.err
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is for this process
	r.began = time.Now()
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	go r.watch()
	go func() {
		defer close(r.done)
		r.cmd.Wait() // its error is in the state
		state := r.cmd.ProcessState
		r.mutex.Lock()
		defer r.mutex.Unlock()
		r.ended = ended{Code: state.ExitCode(), Out: r.out.String(), Err: r.err.String(), Wall: time.Since(r.began),
			CPU: state.UserTime() + state.SystemTime(), Peak: r.peak}
		if u, ok := state.SysUsage().(*syscall.Rusage); ok {
			r.ended.MaxRSS = int64(u.Maxrss) << 10
		}
	}()
	return r, nil
}

// run is start, and waiting for the end.
func (p *program) run(ctx context.Context, env []string, args ...string) (ended, error) {
	r, err := p.start(ctx, env, args...)
	if err != nil {
		return ended{}, err
	}
	<-r.done
	return r.ended, ctx.Err()
}

// killAfter kills the process once that time is over, if it has not ended by then, and tells whether it was killed.
func (r *process) killAfter(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		r.cmd.Process.Kill() // SIGKILL; an error says that it has ended
	case <-r.done:
	}
	<-r.done
	return r.ended.Code == -1
}

// watch keeps what /proc says of the process.
func (r *process) watch() {
	dir := filepath.Join("/proc", strconv.Itoa(r.cmd.Process.Pid))
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := os.ReadFile(filepath.Join(dir, "status"))
		fds, fdErr := os.ReadDir(filepath.Join(dir, "fd"))
		r.mutex.Lock()
		if err == nil {
			r.peak = max(r.peak, statusKB(status, "VmHWM")<<10)
		}
		if fdErr == nil {
			r.descriptors = len(fds)
		}
		r.mutex.Unlock()
		select {
		case <-tick.C:
		case <-r.done:
			return
		}
	}
}

// open is the number of the process's open descriptors, as last seen.
func (r *process) open() int {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.descriptors
}

// statusKB is a figure of /proc/PID/status, 0 if it is not there.
func statusKB(status []byte, name string) int64 {
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte(name+":")); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(string(rest)), " kB"), 10, 64)
			return n
		}
	}
	return 0
}

// complaint is the error that the program printed, without its name.
func (e ended) complaint() (string, error) {
	var lines []string
	for line := range strings.Lines(e.Err) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "logobeam: "); ok && !strings.HasPrefix(rest, "warning: ") {
			lines = append(lines, rest)
		}
	}
	if len(lines) != 1 {
		return e.Err, fmt.Errorf("exit code %d with %d lines of error, want 1: %.500q", e.Code, len(lines), e.Err)
	}
	return lines[0], nil
}

// failure is nil if the program ended well.
func (e ended) failure() error {
	if e.Code == 0 {
		return nil
	}
	return fmt.Errorf("exit code %d: %.500s", e.Code, strings.TrimSpace(e.Err))
}

// tail keeps the last of what is written.
type tail struct {
	mutex sync.Mutex
	data  []byte
}

const tailBytes = 64 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.data = append(t.data, b...)
	if over := len(t.data) - tailBytes; over > tailBytes {
		t.data = append(t.data[:0], t.data[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return string(t.data)
}

// verify runs logobeam verify on an output, if there is such a command.
func (p *program) verify(ctx context.Context, env []string, out string) error {
	if !p.command("verify") {
		return nil
	}
	e, err := p.run(ctx, env, "verify", out)
	if err := errors.Join(err, e.failure()); err != nil {
		return fmt.Errorf("verify %s: %w", out, err)
	}
	return nil
}
