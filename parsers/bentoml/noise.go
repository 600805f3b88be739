package bentoml

import (
	"bytes"

	"github.com/auditail/auditail/parsers/internal/traceback"
)

// noise is what BentoML is known to write about itself. Each entry is the
// beginning of one message of its sources.
var noise = [...]string{
	"Starting production ",
	"Starting development ",
	"Prometheus metrics for ",
	"Environ for worker ",
	"Running startup hook: ",
	"Completed startup hook: ",
	"Completed async startup hook: ",
	"Running cleanup hook: ",
	"Completed cleanup hook: ",
	"Completed async cleanup hook: ",
	"Service instance cleanup finalized",
	"Waiting for runners to be ready...",
	"All runners ready.",
	"Running service with command: ",
	"Process exited with code 0",
	"Watching directories: ",
	"BentoML is installed via development mode, ",
	"Initializing gradio app at: ",
	"To use gRPC UI, run the following command: ",
	"Detected running Bento inside an OCI container.",
	"'reflection' is disabled by default.",
	"Waiting for Triton server to be ready...",
	"Patching safetensors.torch.safe_open to preheat model loading",
	"Reading bytes ",
}

// noiseOf returns the rule for a line that BentoML writes about itself, or that
// only announces a traceback: the access line of the call tells how it ended.
func noiseOf(h *header) (rule string, ok bool) {
	switch string(h.level) {
	case "INFO":
		if _, _, ended := splitTask(h.message); string(ended) == "is submitted" || string(ended) == "is completed" {
			return ruleTask, true
		}
		for _, prefix := range noise {
			if bytes.HasPrefix(h.message, []byte(prefix)) {
				return ruleServer, true
			}
		}
		if bytes.HasPrefix(h.message, []byte("Service ")) && bytes.HasSuffix(h.message, []byte(" initialized")) {
			return ruleServer, true
		}
	case "ERROR":
		if bytes.HasPrefix(h.message, []byte("Exception on /")) && h.message[len(h.message)-1] == ']' {
			return traceback.Rule, true
		}
	}
	return "", false
}
