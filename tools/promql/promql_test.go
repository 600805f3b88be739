// Package promql_test puts the alert rules and the expressions of the dashboard
// before Prometheus itself: its parser takes them, and its engine shows that each
// alert fires for an agent that has what the alert is about, and for no sound one.
// It is a module of its own, so that nothing of Prometheus is in the programs.
package promql_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
)

// As a server without experimental features has it.
var syntax = parser.NewParser(parser.Options{})

func rules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile("../../configs/prometheus-alerts.yml", false, model.UTF8Validation, syntax, slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err) // annotations and their templates too
	}
	if t.Failed() {
		t.FailNow()
	}
	var list []rulefmt.Rule
	for _, group := range groups.Groups {
		list = append(list, group.Rules...)
	}
	return list
}

func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../../configs/grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	parsed := 0
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			parsed++
			// Grafana puts a pattern in place of a variable.
			if _, err := syntax.ParseExpr(strings.ReplaceAll(target.Expr, "$instance", ".*")); err != nil {
				t.Errorf("panel %q: %v in %s", panel.Title, err, target.Expr)
			}
		}
	}
	if parsed < 15 {
		t.Errorf("found only %d expressions", parsed)
	}
}

// at is when alerts are looked at: later than the longest silence that one waits for.
const at = 28 * time.Hour

// sound is what an agent tells that has nothing to tell. Values are promqltest's:
// one a minute.
const sound = `
up{job="auditail"} 1x1700
auditail_agent_ready 1x1700
auditail_agent_alerts{level="critical"} 0x1700
auditail_agent_alerts{level="warning"} 0x1700
auditail_agent_last_run_info{end="crashed"} 0x1700
auditail_agent_last_run_info{end="stopped"} 1x1700
auditail_buffer_oldest_unacknowledged_age_seconds 20x1700
auditail_output_stopped{output="worm"} 0x1700
auditail_output_failing{output="worm"} 0x1700
auditail_output_quarantined_batches_total{output="worm"} 0x1700
auditail_buffer_full 0x1700
auditail_buffer_disk_full 0x1700
auditail_buffer_used_bytes 1000x1700
auditail_buffer_max_bytes 10000x1700
auditail_input_unreadable_sources{input="vllm"} 0x1700
auditail_input_gaps_total{input="vllm"} 0x1700
auditail_input_lines_total{input="vllm",outcome="recorded"} 0+95x1700
auditail_input_lines_total{input="vllm",outcome="unparsed"} 0+5x1700
auditail_input_read_lines_total{input="vllm"} 0+100x1700
auditail_input_last_line_timestamp_seconds{input="vllm"} 0+60x1700
auditail_seal_last_timestamp_seconds 0+60x1700
auditail_buffer_damaged_ranges_total 0x1700
auditail_config_reload_refused 0x1700
`

// trouble is, for each alert, what an agent tells that has it, in place of what a
// sound one tells of the same series.
var trouble = map[string]string{
	"AuditailDown":            `up{job="auditail"} 0x1700`,
	"AuditailNotReady":        `auditail_agent_ready 0x1700`,
	"AuditailCritical":        `auditail_agent_alerts{level="critical"} 1x1700`,
	"AuditailCrashed":         `auditail_agent_last_run_info{end="crashed"} 1x1700`,
	"AuditailNotAcknowledged": `auditail_buffer_oldest_unacknowledged_age_seconds 1000x1700`,
	"AuditailOutputStopped":   `auditail_output_stopped{output="worm"} 1x1700`,
	"AuditailOutputFailing":   `auditail_output_failing{output="worm"} 1x1700`,
	"AuditailQuarantine":      `auditail_output_quarantined_batches_total{output="worm"} 0x1650 1x50`,
	"AuditailBufferFull":      `auditail_buffer_full 1x1700`,
	"AuditailBufferFilling":   `auditail_buffer_used_bytes 8100x1700`,
	"AuditailUnreadable":      `auditail_input_unreadable_sources{input="vllm"} 1x1700`,
	"AuditailGap":             `auditail_input_gaps_total{input="vllm"} 0x1650 1x50`,
	"AuditailUnparsed":        `auditail_input_lines_total{input="vllm",outcome="unparsed"} 0+20x1700`,
	"AuditailInputSilent":     `auditail_input_last_line_timestamp_seconds{input="vllm"} 60x1700`,
	"AuditailNoSeal":          `auditail_seal_last_timestamp_seconds 60x1700`,
	"AuditailBufferDamaged":   `auditail_buffer_damaged_ranges_total 0x1650 2x50`,
	"AuditailReloadRefused":   `auditail_config_reload_refused 1x1700`,
}

// of names the agent that tells the series.
func of(agent, series string) string {
	named := regexp.MustCompile(`^(\w+)(?:\{(.*)\})? `).FindStringSubmatch(series)
	return fmt.Sprintf("  %s{instance=%q,%s}%s\n", named[1], agent, named[2], series[len(named[0])-1:])
}

// load is what Prometheus has of a sound agent, and of one in trouble.
func load(wrong string) string {
	name := wrong[:strings.LastIndex(wrong[:strings.Index(wrong, "x")], " ")+1]
	var b strings.Builder
	b.WriteString("load 1m\n")
	for series := range strings.Lines(strings.TrimSpace(sound)) {
		series = strings.TrimSuffix(series, "\n")
		b.WriteString(of("sound", series))
		if !strings.HasPrefix(series, name) {
			b.WriteString(of("troubled", series))
		}
	}
	b.WriteString(of("troubled", wrong))
	return b.String()
}

func TestAlertsFire(t *testing.T) {
	engine := promqltest.NewTestEngineWithOpts(t, promql.EngineOpts{
		MaxSamples: 1_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, Parser: syntax,
	})
	seen := map[string]bool{}
	for _, rule := range rules(t) {
		seen[rule.Alert] = true
		t.Run(rule.Alert, func(t *testing.T) {
			if trouble[rule.Alert] == "" {
				t.Fatal("what has an agent with this trouble? Add it above")
			}
			storage := promqltest.LoadedStorage(t, load(trouble[rule.Alert]))
			t.Cleanup(func() { _ = storage.Close() })
			// It fires when the condition held for all of `for`.
			for when := at - time.Duration(rule.For); when <= at; when += time.Minute {
				query, err := engine.NewInstantQuery(t.Context(), storage, nil, rule.Expr, time.Unix(0, 0).Add(when))
				if err != nil {
					t.Fatal(err)
				}
				vector, err := query.Exec(t.Context()).Vector()
				if err != nil {
					t.Fatal(err)
				}
				if len(vector) != 1 || vector[0].Metric.Get("instance") != "troubled" {
					t.Errorf("at %s: %v, want the troubled agent alone", when, vector)
				}
				query.Close()
			}
		})
	}
	for alert := range trouble {
		if !seen[alert] {
			t.Errorf("there is no alert %s", alert)
		}
	}
}
