package server

import (
	"net/http"
	"testing"
	"time"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// TestRefusalsAreKept: who was refused what stands in the server's own log, each kind
// by itself, so that one that is tried again and again does not hide another.
func TestRefusalsAreKept(t *testing.T) {
	f := newFixture(t)
	j := new(journal)
	f.deps.Journal = j
	now := f.deps.Now()
	f.deps.Now = func() time.Time { now = now.Add(time.Millisecond); return now }
	f.start()
	log := f.epoch.Origin.Log.String()
	f.ship(f.epoch.Open())
	other := sealtest.New(t, sealtest.Config{Agent: "gpu-08"})
	f.enrol(other)
	auditor := f.account("jane", Auditor, time.Time{})
	data := f.epoch.Data(sealtest.Chat(), f.epoch.Records(1))
	manifest := f.object(f.epoch.Batches[0], seal.ManifestObject)
	j.events = nil

	refused := func(event, outcome, reason, actor string, status int) {
		t.Helper()
		j.mu.Lock()
		defer j.mu.Unlock()
		if len(j.events) != 1 {
			t.Fatalf("%d events, want one: %+v", len(j.events), j.events)
		}
		got := j.events[0]
		j.events = nil
		if got.Event != event || got.Outcome != outcome || got.Reason != reason || got.Actor != actor || got.Status != status || got.Detail == "" || got.Path == "" || got.Client == "" {
			t.Errorf("%+v", got)
		}
	}
	unknown := manifest
	unknown.token = "auditail.gpu-07.wrong"
	for range 3 {
		f.want(http.StatusUnauthorized, unknown)
	}
	refused("auth.failure", "denied", "unknown_token", "", http.StatusUnauthorized)

	foreign := f.upload(other.Origin.ManifestPath(0), []byte("x"), nil)
	f.want(http.StatusForbidden, foreign)
	refused("auth.failure", "denied", "foreign_log", log, http.StatusForbidden)

	writes := manifest
	writes.token = auditor
	f.want(http.StatusForbidden, writes)
	refused("auth.failure", "denied", "role", "jane", http.StatusForbidden)

	f.server.config.MaxPayload = 1
	f.want(http.StatusRequestEntityTooLarge, f.object(data, seal.PayloadObject))
	refused("store.verify", "failed", "refused", log, http.StatusRequestEntityTooLarge)

	if err := Revoke(t.Context(), f.config, f.deps, "gpu-07"); err != nil {
		t.Fatal(err)
	}
	j.events = nil
	f.want(http.StatusForbidden, manifest)
	refused("auth.failure", "denied", "revoked", log, http.StatusForbidden)
	f.want(http.StatusForbidden, manifest)
	if len(j.events) != 0 {
		t.Errorf("a repeat within a moment is kept: %+v", j.events)
	}
	now = now.Add(refusalEvery)
	f.want(http.StatusForbidden, manifest)
	refused("auth.failure", "denied", "revoked", log, http.StatusForbidden)

	once := "auditail-enroll.0123456789abcdef.wrong"
	w := &deedWorld{fixture: f, once: once}
	if got := f.enroll(w.request(sealtest.New(t, sealtest.Config{Agent: "gpu-09"}))); got.status != http.StatusUnauthorized {
		t.Errorf("status %d", got.status)
	}
	refused("auth.failure", "denied", "enrolment", "", http.StatusUnauthorized)
}
