package mlflow

import (
	"bytes"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// reroute replaces what the HTTP server's parser says of a request by what the
// route means to MLflow. A rule says that the request is noise.
func reroute(d *parsers.Draft) (rule string) {
	r := &d.Record
	method, path := r.Text(audit.APIMethod), r.Text(audit.APIPath)
	resource, rest, ok := cutAPI(path)
	if !ok {
		return other(r, method, path)
	}
	if r.Has(audit.APIOperation) {
		return ""
	}
	event, what := meaning(method, resource, rest)
	r.SetString(audit.Event, event)
	r.SetText(audit.ChangeWhat, what)
	if event != "model.list" {
		r.Clear(audit.ModelProvider)
		r.Clear(audit.ModelName) // "registered-models/get" names no model
		r.Clear(audit.ModelVersion)
	}
	return ""
}

// cutAPI splits "/api/2.0/mlflow/runs/create" into "runs" and "create". The web
// interface calls the same routes under "/ajax-api"; --static-prefix puts something
// before both.
func cutAPI(path []byte) (resource, rest []byte, ok bool) {
	at := bytes.Index(path, []byte("api/"))
	if at < 1 {
		return nil, nil, false
	}
	version, tail, _ := bytes.Cut(path[at+len("api/"):], []byte("/"))
	if len(version) != len("2.0") || version[1] != '.' {
		return nil, nil, false
	}
	area, tail, _ := bytes.Cut(tail, []byte("/"))
	switch string(area) {
	case "mlflow":
		resource, rest, _ = bytes.Cut(tail, []byte("/"))
		return resource, rest, len(resource) > 0
	case "mlflow-artifacts":
		return area, tail, true
	default:
		return nil, nil, false
	}
}

// meaning returns the event of a route, and what a change of the configuration or
// of users is about.
func meaning(method, resource, rest []byte) (event string, what []byte) {
	action := rest[bytes.LastIndexByte(rest, '/')+1:]
	reads := isRead(method, action)
	deletes := string(method) == "DELETE" || bytes.HasPrefix(action, []byte("delete"))
	if bytes.HasPrefix(rest, []byte("permissions/")) {
		switch {
		case reads:
			return "data.access", nil
		case deletes:
			return "auth.revoke", nil
		default:
			return "auth.elevate", nil
		}
	}
	switch string(resource) {
	case "registered-models", "model-versions", "logged-models":
		if reads {
			return "model.list", nil
		}
		return "admin.config", resource
	case "users":
		if reads {
			return "data.access", nil
		}
		return "admin.user", resource
	case "webhooks", "gateway", "gateway-proxy", "secrets", "endpoints", "scorers", "workspaces":
		if reads {
			return "data.access", nil
		}
		return "admin.config", resource
	case "mlflow-artifacts":
		if string(method) == "PUT" || string(method) == "POST" {
			return "data.upload", nil
		}
	}
	switch {
	case reads:
		return "data.access", nil
	case deletes:
		return "data.delete", nil
	default:
		return "data.modify", nil
	}
}

// isRead tells whether a route only reads. Searches are POST, because their
// conditions do not fit into a query.
func isRead(method, action []byte) bool {
	switch string(method) {
	case "GET", "HEAD", "OPTIONS":
		return true
	case "POST":
		return bytes.HasPrefix(action, []byte("search")) || bytes.HasPrefix(action, []byte("get")) || bytes.HasPrefix(action, []byte("list"))
	default:
		return false
	}
}

// other judges a request that is not for the API: the pages of the web interface,
// and traces that clients send (OTLP).
func other(r *audit.Record, method, path []byte) (rule string) {
	succeeded := string(r.Text(audit.Outcome)) == "success"
	switch {
	case succeeded && string(method) == "GET" && (string(path) == "/" || bytes.Contains(path, []byte("/static-files/"))):
		return ruleUI
	case string(method) == "POST" && bytes.HasSuffix(path, []byte("/v1/traces")):
		r.SetString(audit.Event, "data.upload")
	}
	return ""
}
