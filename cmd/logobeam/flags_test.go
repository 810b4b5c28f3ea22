package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/pipelines"
	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/pipelines/monitor"
)

func TestSize(t *testing.T) {
	for _, c := range []struct {
		text, why string
		want      int64 // 0: refused
		shown     string
	}{
		{"1", "the smallest", 1, "1"},
		{"500000", "a plain number", 500000, "500000"},
		{"1023", "below a unit", 1023, "1023"},
		{"1024", "a whole unit", 1024, "1KiB"},
		{"1536", "one and a half is shown exactly", 1536, "1536"},
		{"512MB", "letters count in powers of 1024", 512 << 20, "512MiB"},
		{"512m", "any case, without B", 512 << 20, "512MiB"},
		{"2GiB", "as IEC writes it", 2 << 30, "2GiB"},
		{"2Gi", "as Kubernetes does", 2 << 30, "2GiB"},
		{"1.5 GiB", "a fraction, and a space", 3 << 29, "1536MiB"},
		{" 4T ", "spaces around", 4 << 40, "4TiB"},
		{"100B", "bytes by name", 100, "100"},
		{"0", "nothing", 0, ""},
		{"-1", "less", 0, ""},
		{"0.5", "less than a byte", 0, ""},
		{"", "no number", 0, ""},
		{"GiB", "a unit alone", 0, ""},
		{"lots", "a word", 0, ""},
		{"1PB", "a unit that no machine has", 0, ""},
		{"NaN", "no number, though it is parsed as one", 0, ""},
		{"Inf", "likewise", 0, ""},
		{"1e30", "more than fits", 0, ""},
		{"8388608T", "likewise, by its unit", 0, ""},
	} {
		s := size(7)
		switch err := s.Set(c.text); {
		case c.want == 0 && (err == nil || s != 7):
			t.Errorf("%s: %q is taken for %d, want it refused and the value left", c.why, c.text, s)
		case c.want > 0 && (err != nil || int64(s) != c.want || s.String() != c.shown):
			t.Errorf("%s: %q is %d, shown as %s, %v; want %d, %s", c.why, c.text, s, s.String(), err, c.want, c.shown)
		}
	}
}

func TestParseDeadline(t *testing.T) {
	cet := time.FixedZone("CET", 3600)
	now := time.Date(2026, 11, 30, 22, 15, 30, 0, cet)
	for _, c := range []struct {
		text, why string
		want      time.Time // zero: refused
	}{
		{"23:00", "later today, in the zone of now", time.Date(2026, 11, 30, 23, 0, 0, 0, cet)},
		{"06:00", "tomorrow, which is the next month", time.Date(2026, 12, 1, 6, 0, 0, 0, cet)},
		{"6:00", "without the zero", time.Date(2026, 12, 1, 6, 0, 0, 0, cet)},
		{"22:15", "this minute has begun", time.Date(2026, 12, 1, 22, 15, 0, 0, cet)},
		{"00:00", "midnight", time.Date(2026, 12, 1, 0, 0, 0, 0, cet)},
		{"2026-11-30T21:15:31Z", "a second ahead, in another zone", time.Date(2026, 11, 30, 21, 15, 31, 0, time.UTC)},
		{"2026-11-30T21:15:30.5Z", "half a second ahead", time.Date(2026, 11, 30, 21, 15, 30, 5e8, time.UTC)},
		{"2026-12-02T06:00:00+01:00", "the day after", time.Date(2026, 12, 2, 6, 0, 0, 0, cet)},
		{"2026-11-30T21:15:30Z", "now", time.Time{}},
		{"2020-01-01T00:00:00Z", "over", time.Time{}},
		{"24:00", "no time of day", time.Time{}},
		{"noon", "a word", time.Time{}},
		{"06:00:00", "with seconds", time.Time{}},
		{"2026-12-01 06:00", "a date that is not as RFC 3339 has it", time.Time{}},
		{"", "nothing", time.Time{}},
	} {
		got, err := parseDeadline(c.text, now)
		switch {
		case c.want.IsZero() && err == nil:
			t.Errorf("%s: %q is taken for %v, want it refused", c.why, c.text, got)
		case !c.want.IsZero() && (err != nil || !got.Equal(c.want)):
			t.Errorf("%s: %q is %v, %v; want %v", c.why, c.text, got, err, c.want)
		}
		if err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: the error does not name %q: %v", c.why, c.text, err)
		}
	}
}

func TestParseShare(t *testing.T) {
	for _, c := range []struct {
		text string
		want float64 // below 0: refused
	}{
		{"5%", 0.05}, {"0.05", 0.05}, {"0%", 0}, {"100%", 1}, {"1", 1}, {"0.5%", 0.005},
		{"5", -1}, {"101%", -1}, {"-1%", -1}, {"NaN", -1}, {"NaN%", -1}, {"", -1}, {"%", -1}, {"many", -1},
	} {
		if got, err := parseShare(c.text); (err == nil) != (c.want >= 0) || err == nil && got != c.want {
			t.Errorf("%q is %v, %v; want %v", c.text, got, err, c.want)
		}
	}
}

// TestAdvice wants advice where there is some, and none that names a flag that does not exist.
func TestAdvice(t *testing.T) {
	score := newScore()
	for _, r := range rejections() {
		stage := monitor.Decode // for those that any stage may have
		for _, s := range monitor.Stages() {
			if s.String() == r.stage {
				stage = s
			}
		}
		text := advice(stage, r.reason)
		if r.flag != "" && !strings.Contains(text, r.flag) && r.reason != string(fetch.BlockedAddress) && r.reason != string(fetch.RateLimited) {
			t.Errorf("%s: %s is moved by %s, and the advice is %q", r.stage, r.reason, r.flag, text)
		}
		for word := range strings.FieldsFuncSeq(text, func(c rune) bool { return c == ' ' || c == ',' || c == ';' || c == ':' }) {
			if name, ok := strings.CutPrefix(word, "--"); ok && score.Flags().Lookup(name) == nil {
				t.Errorf("%s: %s: the advice names --%s, which score does not have", r.stage, r.reason, name)
			}
		}
	}
	for _, c := range []struct {
		stage  monitor.Stage
		reason string
		want   string // in it
	}{
		{monitor.Fetch, "not-found", "--root"},
		{monitor.Fetch, "unsupported-scheme", "--image-column"},
		{monitor.Fetch, "blocked-address", "--allow-net"},
		{monitor.Fetch, "unreachable", "HTTPS_PROXY"},
		{monitor.Fetch, "timeout", "--timeout"},
		{monitor.Fetch, "rate-limited", "--host-rate"},
		{monitor.Listing, "malformed-row", "--format"},
		{monitor.Decode, "too-many-pixels", "--max-pixels"},
	} {
		if got := advice(c.stage, c.reason); !strings.Contains(got, c.want) {
			t.Errorf("%v: %s: the advice is %q, want it to name %s", c.stage, c.reason, got, c.want)
		}
	}
	if got := advice(monitor.Decode, "not-an-image"); got != "" {
		t.Errorf("there is nothing to do about what is no image, and the advice is %q", got)
	}
}

func TestDescribePlan(t *testing.T) {
	now := time.Date(2026, 11, 26, 1, 0, 0, 0, time.UTC)
	got := describePlan(pipelines.Prediction{Rows: 3_000_000, Sampled: 500, Rejects: 0.0125, Fresh: 0.5, Hosts: 2, Latency: 0.21, Decode: 0.0011, Infer: 0.0013,
		Seconds: 3*3600 + 0.4, Binds: "fetch", ImageBytes: 41e9, OutputBytes: 999_949, Memory: 1_250_000_000}, now)
	want := `rows      about 3000000; 500 were looked at, 1.2 % of them rejected
          50.0 % have an image that none before has
time      3h0m0s, until Thu 04:00 if it begins now
binds     fetch: more --connections and --host-connections would help, if the hosts can bear them
an image  1.10 ms decode, 1.30 ms infer, 210.00 ms over the network from 2 hosts
images    41.0 GB to fetch
output    999.9 KB
memory    1.2 GB at most
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	got = describePlan(pipelines.Prediction{Rows: 215, Exact: true, Sampled: 207, Fresh: 1, Seconds: 0.6, Binds: "infer", OutputBytes: 999}, now)
	for _, line := range []string{"rows      215; 207 were looked at, 0.0 % of them rejected\ntime      600ms, ", "\nbinds     infer: more cores would help\n", "\noutput    999 bytes\n"} {
		if !strings.Contains(got, line) {
			t.Errorf("got\n%swithout\n%s", got, line)
		}
	}
}

// TestHelp holds the help of every command to what fits a terminal, and the flags of score to headings.
func TestHelp(t *testing.T) {
	root := newRoot()
	for _, cmd := range root.Commands() {
		if cmd.Runnable() && cmd.Name() != "help" {
			for line := range strings.SplitSeq(cmd.UsageString(), "\n") {
				if len(line) > helpColumns+20 { // examples, which are for copying, are not wrapped
					t.Errorf("%s: a line of help has %d columns: %s", cmd.Name(), len(line), line)
				}
			}
		}
	}
	score, _, err := root.Find([]string{"score"})
	if err != nil {
		t.Fatal(err)
	}
	score.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Annotations[headingKey] == nil && !f.Hidden && f.Name != "help" {
			t.Errorf("score --%s is under no heading", f.Name)
		}
	})
	text := score.UsageString()
	last := 0
	for _, h := range []string{"\nFlags:\n", "\nThe listing:\n", "\nFetching photographs:\n", "\nLimits of one photograph:\n", "\nThe machine:\n", "\nEnd and progress:\n", "\nWhere the work is done:\n"} {
		at := strings.Index(text, h)
		if at < last {
			t.Errorf("%q is not where it should be in\n%s", h, text)
		}
		last = max(at, last)
	}
}

func TestPrecisionValue(t *testing.T) {
	for _, tt := range []struct {
		values []string
		want   classifier.Config
		fails  string
	}{
		{[]string{"int8"}, classifier.Config{Precision: model.Int8}, ""},
		{[]string{"0.95"}, classifier.Config{BrandPrecision: 0.95}, ""},
		{[]string{"fp32", "1"}, classifier.Config{Precision: model.FP32, BrandPrecision: 1}, ""},
		{[]string{"0.5,int8"}, classifier.Config{Precision: model.Int8, BrandPrecision: 0.5}, ""},
		{[]string{"int8", "fp32"}, classifier.Config{Precision: model.FP32}, ""}, // the last one, as of other flags
		{[]string{"bf16"}, classifier.Config{Precision: model.BF16}, ""},
		{[]string{"fp16"}, classifier.Config{}, `precision is "fp16"`},
		{[]string{"95"}, classifier.Config{}, `precision is "95"`},
		{[]string{"NaN"}, classifier.Config{}, `precision is "NaN"`},
		{[]string{"int8,"}, classifier.Config{Precision: model.Int8}, `precision is ""`},
	} {
		var got classifier.Config
		var err error
		for _, v := range tt.values {
			err = errors.Join(err, (*precisionValue)(&got).Set(v))
		}
		if got != tt.want || (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
			t.Errorf("%q: %+v, %v; want %+v and %q", tt.values, got, err, tt.want, tt.fails)
		}
	}
}

// A flag of train whose default depends on --init says so, and names no other default.
func TestTrainDefaults(t *testing.T) {
	flags := newTrain().Flags()
	for name := range fineTuning() {
		if f := flags.Lookup(name); strings.Contains(f.Usage, "(default ") || !strings.HasSuffix(f.DefValue, " with --init none") {
			t.Errorf("--%s: %s (default %s)", name, f.Usage, f.DefValue)
		}
	}
}
