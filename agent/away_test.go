package agent_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestOneOutputAwayDoesNotSlowAnother: while one output hangs, and while it comes
// back to a backlog, the other gets what it would get alone, when it would.
func TestOneOutputAwayDoesNotSlowAnother(t *testing.T) {
	shipped := func(t *testing.T, away bool) (batches []time.Time) {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t, "record", "record")
			if away {
				h.outputs["b"] = &place{files: make(map[string][]byte), blocked: true}
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- h.agent().Run(ctx) }()
			<-time.After(2 * time.Hour)
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			manifests, _ := h.shipped("a")
			for _, m := range manifests {
				batches = append(batches, m.Sealed)
			}
		})
		return batches
	}
	alone, beside := shipped(t, false), shipped(t, true)
	if len(alone) < 60 || len(alone) != len(beside) {
		t.Errorf("alone the output got %d batches, beside one that hangs %d", len(alone), len(beside))
	}
}
