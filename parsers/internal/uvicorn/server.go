package uvicorn

import (
	"bytes"

	"github.com/auditail/auditail/parsers/internal/traceback"
)

// Rules under which lines are ignored.
const (
	RuleServer = "server_process" // the server starts, waits, stops
	RuleTrace  = "trace"          // connections and ASGI messages, with --log-level trace
)

// beginnings are those of messages that uvicorn writes about itself, up to what
// differs from one to the next.
var beginnings = [...]string{
	"Started server process [",
	"Finished server process [",
	"Started parent process [",
	"Stopping parent process [",
	"Started reloader process [",
	"Stopping reloader process [",
	"Waiting for child process [",
	"Terminated child process [",
	"Uvicorn running on ",
	"Will watch for changes in these directories: ",
	"Watching for file changes with ",
	"Loading environment from '",
}

// messages are whole ones.
var messages = [...]string{
	"Waiting for application startup.",
	"Application startup complete.",
	"ASGI 'lifespan' protocol appears unsupported.",
	"Shutting down",
	"Waiting for connections to close. (CTRL+C to force quit)",
	"Waiting for background tasks to complete. (CTRL+C to force quit)",
	"Waiting for application shutdown.",
	"Application shutdown complete.",
	"Received SIGINT, exiting.",
	"Received SIGTERM, exiting.",
	"Received SIGBREAK, exiting.",
	"Received SIGHUP, restarting processes.",
	"Received SIGTTIN, increasing the number of processes.",
	"Received SIGTTOU, decreasing number of processes.",
	"connection open",
	"connection closed",
	"connection rejected (403 Forbidden)", // of a WebSocket whose access line says so too
}

// Noise returns the rule for a message that uvicorn writes about itself. Errors
// and warnings are none, but for the line that only announces a traceback.
func Noise(message []byte) (rule string, ignored bool) {
	for _, m := range messages {
		if string(message) == m {
			return RuleServer, true
		}
	}
	for _, b := range beginnings {
		if len(message) > len(b) && string(message[:len(b)]) == b {
			return RuleServer, true
		}
	}
	if string(message) == "Exception in ASGI application" {
		return traceback.Rule, true
	}
	if isTrace(message) {
		return RuleTrace, true
	}
	return "", false
}

// isTrace recognises what uvicorn writes at level trace: "10.0.0.7:52114 - HTTP
// connection made" and "10.0.0.7:52114 - ASGI [3] Send {…}". The latter repeats
// headers, which hold credentials.
func isTrace(message []byte) bool {
	if client, rest, ok := bytes.Cut(message, []byte(" - ")); ok && bytes.IndexByte(client, ' ') < 0 {
		message = rest
	}
	switch string(message) {
	case "HTTP connection made", "HTTP connection lost", "Upgrading to WebSocket",
		"WebSocket connection made", "WebSocket connection lost":
		return true
	}
	number, ok := bytes.CutPrefix(message, []byte("ASGI ["))
	at := bytes.IndexByte(number, ']')
	return ok && at > 0 && IsNumber(number[:at])
}
