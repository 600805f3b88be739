package tqdm_test

import (
	"testing"

	"github.com/auditail/auditail/parsers/internal/tqdm"
)

func TestIsBar(t *testing.T) {
	titles := []string{"Loading: ", "Capturing ("}
	for line, want := range map[string]bool{
		"Loading:   0% Completed | 0/10":                true,
		"\rLoading:   0% | 0/10\rLoading: 100% | 10/10": true,
		"Capturing (bs=1 avail_mem=11 GB): 100%|███":    true,
		"Loading: nothing":                              false,
		"Loading: 1%\rINFO other":                       false,
		"Other: 1%":                                     false,
		"\r":                                            false,
		"":                                              false,
	} {
		if got := tqdm.IsBar([]byte(line), titles); got != want {
			t.Errorf("%q: %t", line, got)
		}
	}
}
