package monitor

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// The names of the figures, which Prometheus has after "logobeam_". Beam's counters, whose namespace is logobeam, carry the
// same names; see Counter.
const (
	RowsTotal             = "rows_total"              // by outcome: scored, rejected, skipped, found
	RowsRepeatedTotal     = "rows_repeated_total"     // of those scored and rejected
	Rows                  = "rows"                    // of the listing
	RejectsTotal          = "rejects_total"           // by stage and reason
	StageSecondsTotal     = "stage_seconds_total"     // by stage
	StagePhotographsTotal = "stage_photographs_total" // by stage
	StageBytesTotal       = "stage_bytes_total"       // by stage
	ChunksNow             = "chunks"                  // by state: waiting, under-way, done
	UnderWayNow           = "photographs_under_way"
	OldestSeconds         = "oldest_seconds"
	IdleSeconds           = "idle_seconds"
	FetchRequestsTotal    = "fetch_requests_total"
	FetchRetriesTotal     = "fetch_retries_total"
	FetchBytesTotal       = "fetch_bytes_total"
	FetchConnections      = "fetch_connections"
	FetchWaiting          = "fetch_waiting"
)

// Counter is the name of a Beam counter, which has no labels: their values follow the name, so that Prometheus's
// logobeam_rejects_total{stage="fetch",reason="timeout"} is Counter(RejectsTotal, "fetch", "timeout"), rejects_total_fetch_timeout.
func Counter(name string, labels ...string) string {
	return strings.Join(append([]string{name}, labels...), "_")
}

// family describes a figure to Prometheus.
type family struct {
	kind prometheus.ValueType
	desc *prometheus.Desc
}

var families = map[string]family{}

func init() {
	for _, f := range []struct {
		name   string
		kind   prometheus.ValueType
		help   string
		labels []string
	}{
		{RowsTotal, prometheus.CounterValue, "Rows finished, by outcome; found ones were finished by an earlier run.", []string{"outcome"}},
		{RowsRepeatedTotal, prometheus.CounterValue, "Rows scored or rejected that were answered from the cache.", nil},
		{Rows, prometheus.GaugeValue, "Rows of the listing, perhaps an estimate.", nil},
		{RejectsTotal, prometheus.CounterValue, "Rows rejected, by stage and reason.", []string{"stage", "reason"}},
		{StageSecondsTotal, prometheus.CounterValue, "Time that photographs spent in a stage, of all together.", []string{"stage"}},
		{StagePhotographsTotal, prometheus.CounterValue, "Photographs that were through a stage.", []string{"stage"}},
		{StageBytesTotal, prometheus.CounterValue, "Bytes that were through a stage.", []string{"stage"}},
		{ChunksNow, prometheus.GaugeValue, "Chunks of the listing, by state.", []string{"state"}},
		{UnderWayNow, prometheus.GaugeValue, "Photographs under way.", nil},
		{OldestSeconds, prometheus.GaugeValue, "Age of the oldest photograph under way, 0 if there is none.", nil},
		{IdleSeconds, prometheus.GaugeValue, "Time since any row was finished.", nil},
		{FetchRequestsTotal, prometheus.CounterValue, "Requests sent, retries among them.", nil},
		{FetchRetriesTotal, prometheus.CounterValue, "Requests that were another try.", nil},
		{FetchBytesTotal, prometheus.CounterValue, "Bytes received.", nil},
		{FetchConnections, prometheus.GaugeValue, "Connections open.", nil},
		{FetchWaiting, prometheus.GaugeValue, "Images that wait for a connection or for their turn at a host.", nil},
	} {
		families[f.name] = family{f.kind, prometheus.NewDesc(prometheus.BuildFQName("logobeam", "", f.name), f.help, f.labels, nil)}
	}
}

// collector hands a Monitor's figures to Prometheus when it asks.
type collector struct{ *Monitor }

// Describe names the figures that Collect may give.
func (collector) Describe(to chan<- *prometheus.Desc) {
	for _, f := range families {
		to <- f.desc
	}
}

// Collect gives the figures of this moment.
func (c collector) Collect(to chan<- prometheus.Metric) {
	give := func(name string, value float64, labels ...string) {
		f := families[name]
		to <- prometheus.MustNewConstMetric(f.desc, f.kind, value, labels...)
	}
	s := c.Snapshot()
	give(RowsTotal, float64(c.own.scored.Load()), "scored")
	give(RowsTotal, float64(c.own.rejected.Load()), "rejected")
	give(RowsTotal, float64(c.own.skipped.Load()), "skipped")
	give(RowsTotal, float64(s.Found), "found")
	give(RowsRepeatedTotal, float64(s.Repeated))
	give(Rows, float64(s.Rows))
	for _, r := range s.Reasons {
		give(RejectsTotal, float64(r.Count), r.Stage.String(), strings.ToValidUTF8(r.Reason, "\uFFFD"))
	}
	for _, stage := range s.Stages {
		give(StageSecondsTotal, float64(stage.Busy), stage.Stage.String())
		give(StagePhotographsTotal, float64(stage.Photographs), stage.Stage.String())
		give(StageBytesTotal, float64(stage.Bytes), stage.Stage.String())
	}
	give(ChunksNow, float64(max(s.Chunks.Total-s.Chunks.Done-len(s.Chunks.UnderWay), 0)), "waiting")
	give(ChunksNow, float64(len(s.Chunks.UnderWay)), "under-way")
	give(ChunksNow, float64(s.Chunks.Done), "done")
	give(UnderWayNow, float64(s.UnderWay))
	oldest := Seconds(0)
	if s.Oldest != nil {
		oldest = s.Oldest.Age
	}
	give(OldestSeconds, float64(oldest))
	give(IdleSeconds, float64(s.Idle))
	if f := s.Fetching; f != nil {
		give(FetchRequestsTotal, float64(f.Requests))
		give(FetchRetriesTotal, float64(f.Retries))
		give(FetchBytesTotal, float64(f.Bytes))
		give(FetchConnections, float64(f.Open))
		give(FetchWaiting, float64(f.Waiting))
	}
}
