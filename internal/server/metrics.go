package server

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what a Prometheus server scrapes. The gauges of the agents are
// those of the last look at them.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec

	gauges []agentGauge

	mu     sync.Mutex
	agents []AgentStatus
}

// agentGauge is a gauge of an agent, by its log.
type agentGauge struct {
	desc  *prometheus.Desc
	value func(a *AgentStatus) float64
}

func agentGauges() []agentGauge {
	return []agentGauge{
		{newGauge("late", "1 when the agent's next batch is overdue."), func(a *AgentStatus) float64 { return boolean(a.Late) }},
		{newGauge("next_by_timestamp_seconds", "When the agent's next batch is due; 0 after close."), func(a *AgentStatus) float64 { return unix(a.NextBy) }},
		{newGauge("last_sealed_timestamp_seconds", "When the agent's newest stored batch was sealed."), func(a *AgentStatus) float64 { return unix(a.LastSealed) }},
		{newGauge("next_batch", "Number of the batch that the agent's log goes on with."), func(a *AgentStatus) float64 { return float64(a.NextBatch) }},
		{newGauge("epoch", "Newest epoch of the agent's log."), func(a *AgentStatus) float64 { return float64(a.Epoch) }},
		{newGauge("forks", "Contradictions of the agent that are kept as evidence."), func(a *AgentStatus) float64 { return float64(a.Forks) }},
		{newGauge("owed_payloads", "Payloads that were refused for good."), func(a *AgentStatus) float64 { return float64(a.Owed) }},
		{newGauge("unclosed_epochs", "Epochs that ended without close."), func(a *AgentStatus) float64 { return float64(len(a.Unclosed)) }},
	}
}

func newGauge(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("auditail_server_agent_"+name, help, []string{"log"}, nil)
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(), gauges: agentGauges(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "auditail_server_requests_total", Help: "Requests by method and status; success is any status below 400.",
		}, []string{"method", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "auditail_server_request_duration_seconds", Help: "Time to the answer, the sender's upload included.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"method"}),
	}
	m.registry.MustRegister(m.requests, m.duration, m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	for _, g := range m.gauges {
		to <- g.desc
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	m.mu.Lock()
	all := m.agents
	m.mu.Unlock()
	for i := range all {
		for _, g := range m.gauges {
			to <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value(&all[i]), all[i].Log)
		}
	}
}

func (m *metrics) seen(all []AgentStatus) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.agents = all
}

// answered counts a request. Methods are not taken from the request as they are:
// anyone can send any.
func (m *metrics) answered(r *http.Request, p *problem, took time.Duration) {
	method, status := "other", "success"
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost:
		method = r.Method
	}
	if p != nil {
		status = strconv.Itoa(p.Status)
	}
	m.requests.WithLabelValues(method, status).Inc()
	m.duration.WithLabelValues(method).Observe(took.Seconds())
}

// serveMetrics answers GET /metrics for admins.
func (s *Server) serveMetrics(w http.ResponseWriter, r *http.Request) error {
	who, err := s.authenticate(r)
	if err != nil {
		return err
	}
	if who.account == nil || who.account.Role != Admin {
		return refuse(http.StatusForbidden, "metrics are for accounts of the role %s", Admin)
	}
	s.Metrics().ServeHTTP(w, r)
	return nil
}

// Metrics returns the handler of /metrics, for a listener that only a scraper reaches.
func (s *Server) Metrics() http.Handler {
	return promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{})
}
