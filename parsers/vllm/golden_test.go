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
