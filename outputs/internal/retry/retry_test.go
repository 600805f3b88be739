package retry_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditail/auditail/outputs/internal/retry"
)

// TestBackoff: the whole range below the limit is used, and the limit doubles.
func TestBackoff(t *testing.T) {
	limits := []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, time.Minute, time.Minute}
	for failed, limit := range append(limits, time.Minute) {
		least, most := time.Hour, time.Duration(0)
		for range 2000 {
			wait := retry.Backoff(failed)
			least, most = min(least, wait), max(most, wait)
		}
		if least <= 0 || most > limit || least > limit/10 || most < limit-limit/10 {
			t.Errorf("after %d failures: waits from %s to %s, want the range up to %s", failed, least, most, limit)
		}
	}
	if wait := retry.Backoff(1 << 40); wait > time.Minute {
		t.Errorf("after very many failures: %s", wait)
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := retry.Wait(t.Context(), time.Hour); err != nil || time.Since(began) != time.Hour {
			t.Errorf("returned %v after %s", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began = time.Now()
		if err := retry.Wait(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("returned %v after %s", err, time.Since(began))
		}
	})
}

// TestFaults: the first of a kind at once, then one a minute; the end only
// where a beginning was logged.
func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		faults := retry.NewFaults(slog.New(slog.NewTextHandler(&log, nil)))
		lines := func() int {
			n := strings.Count(log.String(), "\n")
			log.Reset()
			return n
		}
		expect := func(what string, want int) {
			t.Helper()
			if got := lines(); got != want {
				t.Errorf("%s: %d lines, want %d", what, got, want)
			}
		}
		one, two := retry.Fault{Kind: "one", Err: errors.New("one")}, retry.Fault{Kind: "two", Err: errors.New("two"), Alarm: true}
		d := faults.Delay("a")
		d.Failed(t.Context(), one, time.Second)
		expect("first of a kind", 1)
		d.Failed(t.Context(), one, time.Second)
		expect("again", 0)
		d.Failed(t.Context(), two, time.Second)
		if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "failed=3") {
			t.Errorf("alarm: %s", log.String())
		}
		expect("another kind", 1)
		other := faults.Delay("b")
		other.Failed(t.Context(), one, time.Second)
		other.Done(t.Context())
		expect("another object, silent all the way", 0)
		<-time.After(time.Minute)
		d.Failed(t.Context(), one, time.Second)
		expect("a minute later", 1)
		if d.Attempts() != 4 {
			t.Errorf("%d attempts", d.Attempts())
		}
		d.Done(t.Context())
		expect("the end", 1)
		faults.Delay("c").Done(t.Context())
		expect("nothing failed", 0)
	})
}
