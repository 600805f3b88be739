package agent

import (
	"testing"
	"time"
)

// TestRate: the average of the last minute, over what of it the process has seen.
func TestRate(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)
	var r rate
	at := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
	check := func(seconds int, want float64) {
		t.Helper()
		if got := r.perSecond(at(seconds), began); got < want-0.01 || got > want+0.01 {
			t.Errorf("after %d s: %v, want %v", seconds, got, want)
		}
	}
	check(0, 0)
	for s := range 10 {
		r.add(at(s), 100)
	}
	check(10, 100) // not divided by a minute that has not passed
	check(60, 1000.0/60)
	check(66, 500.0/61) // the first step has left
	check(3600, 0)
	r.add(at(7200), 60)
	r.add(at(100), 60) // the clock was set back: it begins anew
	check(100, 1)
}
