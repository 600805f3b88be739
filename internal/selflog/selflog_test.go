package selflog_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/auditail/auditail/internal/selflog"
)

func TestFaultDoesNotFlood(t *testing.T) {
	now := time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	log := slog.New(selflog.New(func() time.Time { return now }).Handler(slog.NewTextHandler(&out, nil)))
	count := func(what string) int { return strings.Count(out.String(), what) }

	for range 1000 {
		log.Error("ship failed", "error", errors.New("refused"))
		log.With("output", "worm").Error("ship failed")
	}
	log.Info("another message")
	if got := count("ship failed"); got != 2*selflog.Burst {
		t.Errorf("%d lines of the fault, want %d for each output", got, selflog.Burst)
	}
	if count("another message") != 1 {
		t.Error("a message is silenced by another one")
	}
	now = now.Add(selflog.Period)
	log.Error("ship failed")
	log.Error("ship failed")
	if got := count("left_out=990"); got != 1 {
		t.Errorf("what was left out is said %d times, want once:\n%s", got, out.String())
	}
}

func TestNewestLinesAreKept(t *testing.T) {
	now := time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)
	l := selflog.New(func() time.Time { now = now.Add(selflog.Period); return now })
	log := slog.New(l.Handler(slog.DiscardHandler))
	log.Info("not enabled, not kept")
	if len(l.Newest()) != 0 {
		t.Errorf("kept: %s", l.Newest())
	}
	log = slog.New(l.Handler(slog.NewTextHandler(new(bytes.Buffer), nil)))
	for i := range 10_000 {
		log.Info("a line", "number", i, "filler", strings.Repeat("x", 100))
	}
	kept := l.Newest()
	if len(kept) > 256<<10 || len(kept) < 200<<10 {
		t.Errorf("%d bytes kept", len(kept))
	}
	if !bytes.Contains(kept, []byte(`"number":9999`)) || bytes.Contains(kept, []byte(`"number":0,`)) {
		t.Error("not the newest lines")
	}
}

// What passes has to pass unchanged.
func TestHandler(t *testing.T) {
	var out bytes.Buffer
	err := slogtest.TestHandler(selflog.New(time.Now).Handler(slog.NewJSONHandler(&out, nil)), func() (list []map[string]any) {
		for line := range bytes.Lines(out.Bytes()) {
			var m map[string]any
			if err := json.Unmarshal(line, &m); err != nil {
				t.Fatal(err)
			}
			list = append(list, m)
		}
		return list
	})
	if err != nil {
		t.Error(err)
	}
}
