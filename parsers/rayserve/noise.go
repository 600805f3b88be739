package rayserve

import "bytes"

// noise is what Ray Serve is known to write about itself. Each entry is the
// beginning of one message of its sources.
var noise = [...]string{
	"Application '",
	"Deployed app '",
	"Started Serve in namespace ",
	"Connecting to existing Serve app ",
	"Adding ",
	"Removing ",
	"Replica(",
	"Replica ",
	"Starting replica ",
	"Started replica ",
	"Finished initializing replica",
	"Stopping 1 replica",
	"Proxy starting on node ",
	"Proxy ready on node ",
	"Got updated endpoints: ",
	"Controller starting ",
	"Registering autoscaling state for deployment ",
	"Deregistering autoscaling state for deployment ",
	"Upscaling Deployment(",
	"Downscaling Deployment(",
	"Started <ray.serve.",
	"Received new config for application '",
	"Imported and built app '",
	"Importing and building app '",
	"Declaratively ",
	"Building application '",
	"Starting HTTP server on ",
	"Starting gRPC server on ",
	"Connected to Ray cluster.",
	"Connecting to existing Ray cluster at ",
	"Started a local Ray instance.",
	"Running import path: ",
	"Draining ",
	"No longer draining ",
	"Graceful shutdown complete; replica exiting.",
	"Waiting for an additional ",
	"Shutting down because Serve ",
}

// noiseOf returns the rule for a message that Ray Serve writes about itself. Those
// that report a failure are none.
func noiseOf(message []byte) (rule string, ok bool) {
	for _, prefix := range noise {
		if bytes.HasPrefix(message, []byte(prefix)) {
			failed := bytes.Contains(message, []byte("fail")) || bytes.Contains(message, []byte("unhealthy")) || bytes.Contains(message, []byte("rror"))
			return ruleServer, !failed
		}
	}
	return "", false
}

// deployed recognises the lines in which the controller begins to change what is
// deployed, and returns what: "Deployment(name='LLM', app='default')", "app 'llm'".
func deployed(message []byte) (what []byte, ok bool) {
	for _, prefix := range [...]string{"Deploying new version of ", "Deleting app '", "Deleting application '", "Deleting deployment "} {
		if bytes.HasPrefix(message, []byte(prefix)) {
			_, rest, _ := bytes.Cut(message, []byte(" "))
			rest = bytes.TrimPrefix(rest, []byte("new version of "))
			if at := bytes.Index(rest, []byte(" (initial target replicas")); at >= 0 {
				rest = rest[:at]
			}
			rest = bytes.TrimRight(rest, ". ")
			return rest, len(rest) > 0 && len(rest) <= 512
		}
	}
	return nil, false
}
