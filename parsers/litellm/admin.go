package litellm

import (
	"bytes"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/uvicorn"
)

// adminCall tells what a call to the proxy's management API does: its event, and
// for changes of the configuration what is changed. No event: it is none, or
// only reads.
func adminCall(method, path []byte, status int) (event string, what []byte) {
	area, action, nested := bytes.Cut(bytes.TrimPrefix(path, []byte("/")), []byte("/"))
	if string(method) == "GET" || string(method) == "HEAD" || string(method) == "OPTIONS" || len(method) == 0 {
		return "", nil
	}
	switch string(area) {
	case "login", "v2":
		if string(area) == "v2" && string(action) != "login" || string(method) != "POST" {
			return "", nil
		}
		if outcome, _ := parsers.OutcomeOf(status); outcome == "success" {
			return "auth.success", nil
		}
		return "auth.failure", nil
	case "key":
		if nested {
			return "auth.key", nil
		}
	case "user", "team", "organization", "project", "customer", "end_user", "invitation":
		return "admin.user", area
	case "model":
		if isModelChange(action) {
			return "admin.config", area
		}
	case "config", "credentials", "guardrails", "budget", "cache", "tag", "policies", "callbacks", "settings", "update",
		"vector_store", "router", "access_group", "model_access_group":
		return "admin.config", area
	}
	return "", nil
}

// isModelChange accepts "new", "update", "delete" and "ID/update"; what else
// begins with /model/ calls one.
func isModelChange(action []byte) bool {
	switch string(action[bytes.LastIndexByte(action, '/')+1:]) {
	case "new", "update", "delete":
		return true
	default:
		return false
	}
}

// noise returns the rule for routes that only LiteLLM has, then for the others.
func noise(a *uvicorn.Access, route *parsers.Route) (rule string, ok bool) {
	if string(a.Method) == "GET" && a.Status >= 100 && a.Status < 400 {
		switch path := string(route.Path); {
		case path == "/health/liveliness":
			return parsers.RuleHealthCheck, true
		case path == "/get_image" || path == "/get_favicon" || path == "/.well-known/litellm-ui-config" ||
			hasPrefix(route.Path, "/ui/") || hasPrefix(route.Path, "/litellm-asset-prefix/") || hasPrefix(route.Path, "/_next/"):
			return ruleUI, true
		}
	}
	return a.Noise(route)
}
