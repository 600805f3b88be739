package audit_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/auditail/auditail/audit"
)

func example(r *audit.Record) {
	r.Reset()
	r.SetInt(audit.SchemaVersion, 1)
	r.SetTime(audit.Time, time.Date(2026, 11, 21, 9, 6, 34, 5e6, time.FixedZone("", 3600)))
	r.SetString(audit.ActorID, "okta|00u8x1 \"q\" \x01 \xff é")
	r.SetStrings(audit.ActorRoles, "legal", "", "x")
	r.SetBool(audit.ActorVerified, true)
	r.SetString(audit.AgentID, "gpu-07")
	r.Flag(audit.TZAssumed | audit.InferredJoin)
}

func TestX(t *testing.T) {
	var r audit.Record
	example(&r)
	line := r.Append(nil, 7)
	var v map[string]any
	if err := json.Unmarshal(line, &v); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	t.Logf("%s", line)
}
