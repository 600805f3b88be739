package vllm_test

import (
	"os"
	"strings"
	"testing"
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
			if got != string(want) {
				t.Errorf("differs from %s; look at git diff after -update. Got:\n%s", golden, got)
			}
		})
	}
}
