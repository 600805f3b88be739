package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

func (j *journal) count(event, reason string) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.events {
		if e.Event == event && e.Reason == reason {
			n++
		}
	}
	return n
}

// TestSilenceIsTold once when it begins and once when it ends, also over restarts.
func TestSilenceIsTold(t *testing.T) {
	f := newFixture(t)
	j := new(journal)
	now := f.epoch.Now
	f.deps.Journal, f.deps.Now = j, func() time.Time { return now }
	f.start()
	var seen map[string]AgentStatus
	look := func(raised, closed int) {
		t.Helper()
		for range 2 {
			var err error
			if seen, err = f.server.look(t.Context(), seen); err != nil {
				t.Fatal(err)
			}
		}
		if r, c := j.count("alert.raise", conditionSilence), j.count("alert.close", conditionSilence); r != raised || c != closed {
			t.Fatalf("raised %d, want %d; closed %d, want %d", r, raised, c, closed)
		}
	}
	look(0, 0)
	f.ship(f.epoch.Open())
	look(0, 0)
	now = now.Add(time.Hour)
	look(1, 0)
	f.start()
	seen = nil
	look(1, 0)
	f.epoch.Now = now
	f.ship(f.epoch.Heartbeat())
	look(1, 1)
	now = now.Add(time.Hour)
	look(2, 1)

	w := httptest.NewRecorder()
	f.server.Metrics().ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		`auditail_server_agent_late{log="audit.example.com/acme/gpu-07"} 1`,
		`auditail_server_agent_next_batch{log="audit.example.com/acme/gpu-07"} 2`,
		`auditail_server_requests_total{method="PUT",status="success"}`,
	} {
		if !strings.Contains(w.Body.String(), line) {
			t.Errorf("metrics lack %s", line)
		}
	}
	get := func(token string) int {
		r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "http://central/metrics", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		return f.serve(r).status
	}
	if got := get(f.token); got != http.StatusForbidden {
		t.Errorf("an agent reads the metrics: %d", got)
	}
	if got := get(f.account("root", Admin, time.Time{})); got != http.StatusOK {
		t.Errorf("an admin does not read the metrics: %d", got)
	}
}

// TestSilenceIsNotTheAgentsWordAlone: a manifest that promises the next one for
// another two days does not let its agent be silent so long.
func TestSilenceIsNotTheAgentsWordAlone(t *testing.T) {
	f := newFixture(t)
	f.epoch.Now = time.Now().UTC().Truncate(time.Second)
	f.ship(f.epoch.Open(sealtest.WithManifest(func(m *seal.Manifest) { m.NextBy = m.Sealed.Add(47 * time.Hour) })))
	received := time.Now() // by the clock of the store
	for after, late := range map[time.Duration]bool{30 * time.Minute: false, 2 * time.Hour: true} {
		f.deps.Now = func() time.Time { return received.Add(after) }
		all, err := Agents(t.Context(), f.config, f.deps)
		if err != nil || all[0].Late != late || strings.Contains(all[0].State, "LATE") != late {
			t.Errorf("after %s: %+v, %v", after, all, err)
		}
	}
	f.config.MaxSilence = "0s"
	if all, err := Agents(t.Context(), f.config, f.deps); err != nil || all[0].Late {
		t.Errorf("with the agent's word alone: %+v, %v", all, err)
	}
	f.config.MaxSilence = "soon"
	if _, err := New(t.Context(), f.config, f.deps); err == nil || !strings.Contains(err.Error(), "max_silence") {
		t.Errorf("error %v", err)
	}
}

// TestRetention: only what has expired and is not held goes, and nothing goes
// that is not recorded first.
func TestRetention(t *testing.T) {
	f := newFixture(t)
	j := new(journal)
	f.deps.Journal = j
	e := f.epoch
	f.ship(e.Open())
	first := e.Data(sealtest.Chat(), e.Records(2))
	f.ship(first, e.Heartbeat())
	until := first.Manifest.KeepUntil
	apply := func(at time.Time, dry bool) Purge {
		t.Helper()
		f.deps.Now = func() time.Time { return at }
		done, err := ApplyRetention(t.Context(), f.config, f.deps, dry)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	if got := apply(until.Add(-time.Second), false); got.Kept != 1 || got.Removed != 0 {
		t.Fatalf("%+v", got)
	}
	if got := apply(until, true); got.Removed != 1 || got.Bytes == 0 {
		t.Fatalf("dry run: %+v", got)
	}
	hold := Hold{Name: "case-17", Service: "chat", Reason: "a letter"}
	if err := SetHold(t.Context(), f.config, f.deps, hold); err != nil {
		t.Fatal(err)
	}
	if err := SetHold(t.Context(), f.config, f.deps, hold); err == nil {
		t.Error("one name, two holds")
	}
	if got := apply(until, false); got.Held != 1 || got.Removed != 0 {
		t.Fatalf("held: %+v", got)
	}
	if err := LiftHold(t.Context(), f.config, f.deps, "case-17"); err != nil {
		t.Fatal(err)
	}
	file := f.server.store.(*directory).name(first.Manifest.PayloadPath)
	j.err = os.ErrInvalid
	if _, err := ApplyRetention(t.Context(), f.config, f.deps, false); err == nil {
		t.Error("purged without a record")
	}
	if _, err := os.Stat(file); err != nil {
		t.Fatal(err)
	}
	j.err = nil
	if got := apply(until, false); got.Removed != 1 {
		t.Fatalf("%+v", got)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the payload is there: %v", err)
	}
	if n := j.count("store.purge", "expired"); n != 1 {
		t.Errorf("%d records", n)
	}
	if got := apply(until, false); got.Removed+got.Kept+got.Held != 0 {
		t.Errorf("again: %+v", got)
	}
	// The log goes on, and its seals are all there.
	f.ship(e.Heartbeat())
}
