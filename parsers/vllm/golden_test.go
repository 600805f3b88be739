package vllm_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/parsers/parsertest"
)

// TestSamples compares every verdict and every record of the sample logs with
// the golden files.
func TestSamples(t *testing.T) {
	for _, name := range samples(t) {
		t.Run(name, func(t *testing.T) {
			r := parse(t, newParser(t), sample(t, name))
			got := r.String()
			golden := strings.TrimSuffix(name, ".log") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			wantLines := strings.Split(string(want), "\n")
			for i, line := range strings.Split(got, "\n") {
				if i >= len(wantLines) || line != wantLines[i] {
					t.Fatalf("%s:%d differs (look at git diff after -update), got\n%s", golden, i+1, line)
				}
			}
			if len(got) != len(want) {
				t.Fatalf("%s has more lines", golden)
			}
		})
	}
}

// TestSchema: every record of the sample logs is valid by the published JSON Schema.
func TestSchema(t *testing.T) {
	check := parsertest.Schema(t)
	for _, name := range samples(t) {
		p := newParser(t)
		for _, line := range sample(t, name) {
			drafts, _, err := p.Parse(nil, line)
			for i := range drafts {
				if err == nil {
					err = check(&drafts[i])
				}
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		drafts, _ := p.Flush(time.Time{}, nil)
		for i := range drafts {
			if err := check(&drafts[i]); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
