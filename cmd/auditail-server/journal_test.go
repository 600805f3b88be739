package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/internal/server"
	"github.com/auditail/auditail/parsers"
)

// TestEventsAreRecords: whatever an event says becomes a record of the format.
func TestEventsAreRecords(t *testing.T) {
	const log = "audit.example.com/acme/gpu-07"
	for name, e := range map[string]server.Event{
		"enrolled": {Event: "auth.key", Actor: log, Log: log, Client: "192.0.2.7:4711", Detail: "enrolled with a one-time token"},
		"read":     {Event: "store.access", Actor: "jane", Client: "[2001:db8::7]:4711", Path: "seals/\"x\"\n", Detail: "GET"},
		"refused":  {Event: "auth.failure", Outcome: "denied", Reason: "unknown_token", Client: "192.0.2.7:4711", Path: "/v1/objects/", Status: 401},
		"tampered": {Event: "store.verify", Outcome: "failed", Reason: "refused", Actor: log, Log: log, Path: "seals/gpu-07/0001/000000000001.manifest", Status: 422, Detail: "it does not verify"},
		"fork":     {Event: "alert.raise", Outcome: "failed", Reason: "fork", Log: log, Path: "seals/gpu-07/0001/000000000001.manifest", Detail: "two \"things\""},
		"silence":  {Event: "alert.raise", Outcome: "failed", Reason: "silence", Log: log, Detail: "nothing was received"},
		"over":     {Event: "alert.close", Reason: "silence", Log: log, Detail: "over"},
		"hold":     {Event: "store.purge", Outcome: "blocked", Reason: "hold_set", Detail: "hold case-17, class legal: a letter"},
		"purge":    {Event: "store.purge", Reason: "expired", Log: log, Path: "records/x"},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			drafts, outcome, err := eventParser{}.Parse(nil, parsers.Line{Data: data})
			if err != nil || outcome.Verdict != parsers.Recorded || len(drafts) != 1 {
				t.Fatalf("%d records, outcome %+v, %v", len(drafts), outcome, err)
			}
			r := &drafts[0].Record
			r.SetInt(audit.SchemaVersion, 1)
			r.SetBool(audit.ActorVerified, r.Has(audit.ActorID))
			if !r.Has(audit.Severity) {
				r.SetInt(audit.Severity, 1)
			}
			r.SetString(audit.ID, "eq6t75lj5mxblftwprcxugvggt")
			now := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
			r.SetTime(audit.Time, now)
			r.SetString(audit.TimeBasis, "observed")
			r.SetTime(audit.ObservedTime, now)
			action, _ := audit.EventAction(e.Event)
			for f, text := range map[audit.Field]string{
				audit.Action: action, audit.Retention: "standard", audit.Service: "auditail-server", audit.Environment: "prod",
				audit.HostID: "h-1", audit.HostName: "central", audit.SourceID: "events", audit.SourceGeneration: "1", audit.SourceParser: "auditail-server/1",
				audit.AgentID: "auditail-server", audit.ActorType: "unknown", audit.ActorBasis: "none", audit.Salt: "HQ8Lqcx53PY",
			} {
				if !r.Has(f) {
					r.SetString(f, text)
				}
			}
			line := r.Append(nil, 1)
			if err := audit.Validate(line); err != nil {
				t.Errorf("%v\n%s", err, line)
			}
		})
	}
}
