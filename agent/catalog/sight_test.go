package catalog_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditail/auditail/agent/catalog"
	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/internal/probe"
)

// What the log says of a start, a load or an unload makes the server be asked
// before its next turn; the start is where the window of doubt ends.
func TestAskedBeforeItsTurn(t *testing.T) {
	for _, sign := range []string{"banner", "model.load", "model.unload"} {
		t.Run(sign, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				w := newWorld(t, catalog.Entry{Input: "vllm", Probe: asksVLLM})
				w.start()
				time.Sleep(30 * time.Second) // the next turn is at 60 s
				w.serves(rev2, probe.Process{})
				want(t, w.now("llama"), "model.revision="+rev1)
				seen := catalog.Seen{At: time.Now(), NotBefore: time.Now().Add(-time.Second)}
				if sign == "banner" {
					w.catalog.Started(seen)
				} else {
					w.catalog.Begin()
					w.catalog.Resolve(record("event="+sign, "model.name=llama"), seen)
				}
				synctest.Wait()
				r := w.now("llama")
				want(t, r, "model.revision="+rev2)
				if w.asked != 2 {
					t.Errorf("asked %d times in %s", w.asked, time.Since(began))
				}
				w.end()
				update := w.of("model.update")
				if len(update) != 1 {
					t.Fatalf("%d model.update: %v", len(update), update)
				}
				wantFields(t, update[0], "change.after="+stamp(began), "change.before="+stamp(began.Add(30*time.Second)),
					"change.to="+string(r.Text(audit.ModelRef)))
			})
		})
	}
}

// A banner that was read late, as of a backlog, says nothing of when today's
// server was started: the change is as late as it was seen.
func TestLateBanner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := newWorld(t, catalog.Entry{Input: "vllm", Probe: asksVLLM})
		w.start()
		time.Sleep(30 * time.Second)
		w.catalog.Started(catalog.Seen{At: time.Now(), NotBefore: time.Now().Add(-time.Hour)})
		synctest.Wait() // asked all the same: nothing new
		w.serves(rev2, probe.Process{})
		time.Sleep(time.Minute)
		w.end()
		update := w.of("model.update")
		if len(update) != 1 {
			t.Fatalf("%d model.update: %v", len(update), update)
		}
		wantFields(t, update[0], "change.after="+stamp(began.Add(30*time.Second)), "change.before="+stamp(began.Add(time.Minute)))
	})
}
