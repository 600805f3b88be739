package audit

import (
	"maps"
	"slices"
)

// events maps every event of version 1 to its action.
var events = map[string]string{
	"model.inference":  "execute",
	"model.list":       "list",
	"model.deploy":     "deploy",
	"model.update":     "modify",
	"model.load":       "load",
	"model.unload":     "unload",
	"model.resolve":    "observe",
	"model.conflict":   "observe",
	"model.export":     "export",
	"model.finetune":   "execute",
	"tool.call":        "execute",
	"ai_agent.run":     "execute",
	"data.access":      "read",
	"data.upload":      "write",
	"data.modify":      "modify",
	"data.transform":   "transform",
	"data.delete":      "delete",
	"data.export":      "export",
	"data.share":       "grant",
	"auth.success":     "authenticate",
	"auth.failure":     "authenticate",
	"auth.logout":      "authenticate",
	"auth.elevate":     "grant",
	"auth.revoke":      "revoke",
	"auth.key":         "modify",
	"policy.allow":     "allow",
	"policy.block":     "block",
	"policy.redact":    "redact",
	"policy.flag":      "flag",
	"policy.change":    "configure",
	"approval.request": "observe",
	"approval.grant":   "approve",
	"approval.deny":    "deny",
	"approval.expire":  "revoke",
	"review.decision":  "approve",
	"admin.config":     "configure",
	"admin.user":       "modify",
	"agent.start":      "observe",
	"agent.stop":       "observe",
	"agent.config":     "configure",
	"agent.heartbeat":  "observe",
	"agent.coverage":   "observe",
	"agent.gap":        "observe",
	"agent.source":     "observe",
	"agent.unparsed":   "observe",
	"agent.clock":      "observe",
	"agent.key":        "configure",
	"store.access":     "read",
	"store.verify":     "observe",
	"store.purge":      "delete",
	"alert.raise":      "detect",
	"alert.update":     "modify",
	"alert.close":      "modify",
	"contain.request":  "configure",
	"contain.done":     "configure",
}

// Events returns every event of the format, sorted. The caller owns the slice.
func Events() []string { return slices.Sorted(maps.Keys(events)) }

// EventAction returns the action that belongs to an event, and whether the
// event is one of version 1.
func EventAction(event string) (string, bool) {
	action, known := events[event]
	return action, known
}
