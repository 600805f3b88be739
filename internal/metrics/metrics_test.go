package metrics_test

import (
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/internal/metrics"
)

func TestPage(t *testing.T) {
	t.Parallel()
	var p metrics.Page
	c := p.Counter("auditail_input_lines_total", "Lines, by what became of them.")
	c.Sample(12, "input", "vllm", "outcome", "recorded")
	c.Sample(1e12, "input", "a \"quoted\" \\ name\nof two lines", "outcome", "ignored")
	p.Gauge("auditail_agent_ready", "1 when ready.").Flag(true)
	p.Gauge("auditail_x_age_seconds", "Age.").Sample(math.Inf(1))
	const want = `# HELP auditail_input_lines_total Lines, by what became of them.
# TYPE auditail_input_lines_total counter
auditail_input_lines_total{input="vllm",outcome="recorded"} 12
auditail_input_lines_total{input="a \"quoted\" \\ name\nof two lines",outcome="ignored"} 1e+12
# HELP auditail_agent_ready 1 when ready.
# TYPE auditail_agent_ready gauge
auditail_agent_ready 1
# HELP auditail_x_age_seconds Age.
# TYPE auditail_x_age_seconds gauge
auditail_x_age_seconds +Inf
`
	if got := string(p.Bytes()); got != want {
		t.Errorf("page:\n%s\nwant:\n%s", got, want)
	}
}

func TestProcess(t *testing.T) {
	t.Parallel()
	var p metrics.Page
	metrics.Process(&p, time.Unix(1_700_000_000, 0))
	names := []string{"process_start_time_seconds 1.7e+09", "go_goroutines "}
	if runtime.GOOS == "linux" {
		names = append(names, "process_cpu_seconds_total ", "process_resident_memory_bytes ", "process_open_fds ")
	}
	for _, name := range names {
		if !strings.Contains(string(p.Bytes()), "\n"+name) {
			t.Errorf("no line %q in:\n%s", name, p.Bytes())
		}
	}
}
