package admin_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/auditail/auditail/internal/admin"
)

var (
	metricName = regexp.MustCompile(`\b(?:auditail|process|go)_[a-z0-9_]+\b`)
	ruleLine   = regexp.MustCompile(`^ {8}expr: (.+)$`)
	labelName  = regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)"`)
	byLabels   = regexp.MustCompile(`by \(([a-z_, ]+)\)`)
)

// expressions returns those of the dashboard and of the alert rules, by where they stand.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	text, err := os.ReadFile("../../configs/grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		for i, target := range p.Targets {
			all[fmt.Sprintf("panel %s, %d", p.Title, i)] = target.Expr
		}
	}
	if text, err = os.ReadFile("../../configs/prometheus-alerts.yml"); err != nil {
		t.Fatal(err)
	}
	name := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if alert, ok := strings.CutPrefix(line, "      - alert: "); ok {
			name = alert
		}
		if found := ruleLine.FindStringSubmatch(line); found != nil {
			all["alert "+name] = found[1]
		}
	}
	if len(all) < 25 {
		t.Fatalf("found only %d expressions", len(all))
	}
	return all
}

// Each metric and label that the dashboard and the rules name stands in a real
// scrape, and the expressions have their brackets in pairs.
func TestDashboardAndAlertsNameRealMetrics(t *testing.T) {
	_, url := start(t, admin.Settings{}, admin.Deps{Status: sample})
	_, _, scrape := get(t, url+"/metrics", "")
	labels := map[string]bool{"job": true, "instance": true} // Prometheus adds them
	for _, found := range labelName.FindAllStringSubmatch(scrape, -1) {
		labels[found[1]] = true
	}
	for where, expr := range expressions(t) {
		if !strings.Contains(expr, "up{job=") && !metricName.MatchString(expr) {
			t.Errorf("%s: %s names no metric", where, expr)
		}
		for _, name := range metricName.FindAllString(expr, -1) {
			if !strings.Contains(scrape, "\n# TYPE "+name+" ") {
				t.Errorf("%s: there is no metric %s", where, name)
			}
			counter := strings.Contains(scrape, "\n# TYPE "+name+" counter\n")
			inRate := strings.Contains(expr, "rate("+name) || strings.Contains(expr, "increase("+name)
			if counter && !inRate && !strings.HasPrefix(expr, "sum("+name) {
				t.Errorf("%s: the counter %s stands outside of rate and increase", where, name)
			}
			if !counter && inRate {
				t.Errorf("%s: the gauge %s stands in rate or increase", where, name)
			}
		}
		for _, found := range labelName.FindAllStringSubmatch(expr, -1) {
			if !labels[found[1]] {
				t.Errorf("%s: no metric has the label %s", where, found[1])
			}
		}
		for _, found := range byLabels.FindAllStringSubmatch(expr, -1) {
			for label := range strings.SplitSeq(found[1], ", ") {
				if !labels[label] {
					t.Errorf("%s: no metric has the label %s", where, label)
				}
			}
		}
		for _, pair := range []string{"()", "{}", "[]"} {
			if strings.Count(expr, pair[:1]) != strings.Count(expr, pair[1:]) {
				t.Errorf("%s: %s are not in pairs in %s", where, pair, expr)
			}
		}
	}
}
