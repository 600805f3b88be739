package uvicorn

import "github.com/auditail/auditail/parsers/internal/uvicorn"

// gunicornBeginnings are those of messages that gunicorn writes about itself, as
// its arbiter and workers have them. Warnings and errors are not here.
var gunicornBeginnings = [...]string{
	"Starting gunicorn ",
	"Listening at: ",
	"Using worker: ",
	"Using threads: ",
	"Booting worker with pid: ",
	"Worker exiting (pid: ",
	"Handling signal: ",
	"Hang up: ",
	"Shutting down: ",
	"Server is ready. Spawning workers",
	"Control socket listening at ",
	"Autorestarting worker after current request.",
	"Master has been promoted.",
	"Arbiter booted",
	"graceful stop of workers",
	"Closing connection.",
	"Ignored premature client disconnection.",
	"Ignoring EPIPE",
	"Ignoring connection reset",
}

// noise returns the rule for a message that a server writes about itself.
func noise(message []byte) (rule string, ok bool) {
	if rule, ok = uvicorn.Noise(message); ok {
		return rule, true
	}
	for _, b := range gunicornBeginnings {
		if len(message) >= len(b) && string(message[:len(b)]) == b {
			return uvicorn.RuleServer, true
		}
	}
	return "", false
}
