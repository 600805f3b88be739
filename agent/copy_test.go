package agent_test

import (
	"strings"
	"testing"

	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/seal"
)

// TestCopyIsNotWaitedFor: a copy that hangs keeps nobody: `--once` succeeds when
// the evidence is there. The same output as evidence is waited for.
func TestCopyIsNotWaitedFor(t *testing.T) {
	for _, bestEffort := range []bool{true, false} {
		h := newHost(t, "record 1", "record 2")
		h.outputs["b"] = &place{files: make(map[string][]byte), blocked: true}
		if bestEffort {
			h.copy = "b"
		}
		err := h.once()
		if (err == nil) != bestEffort {
			t.Errorf("best effort %t: %v", bestEffort, err)
		}
		if _, records := h.shipped("a"); len(records["model.inference"]) != 2 {
			t.Errorf("best effort %t: the evidence has %d records", bestEffort, len(records["model.inference"]))
		}
		if bestEffort {
			h.outputs["b"].blocked = false
			if err := h.once(); err != nil {
				t.Fatal(err)
			}
			if _, records := h.shipped("b"); len(records["model.inference"]) != 2 {
				t.Errorf("what was kept did not reach the copy later: %d records", len(records["model.inference"]))
			}
		}
	}
}

// TestRefusalsOfCopies: a copy's refusal is counted, and is no quarantine.
func TestRefusalsOfCopies(t *testing.T) {
	h := newHost(t, "record 1")
	h.copy = "b"
	h.outputs["b"] = &place{files: make(map[string][]byte), refuse: func(o seal.Object) error {
		if o.Kind == seal.PayloadObject {
			return outputs.ErrPermanent
		}
		return nil
	}}
	a := h.agent()
	if err := a.RunOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, o := range a.Status().Outputs {
		want := int64(0)
		if o.Name == "b" {
			want = 1
		}
		if o.BestEffort != (o.Name == "b") || o.Skipped < want || o.Skipped > 3*want || o.Quarantined != 0 {
			t.Errorf("output %s: best effort %t, skipped %d, quarantined %d", o.Name, o.BestEffort, o.Skipped, o.Quarantined)
		}
	}
	if log := h.log.String(); !strings.Contains(log, "records are not copied") || strings.Contains(log, "ALARM") {
		t.Errorf("log:\n%s", log)
	}
}
