package haproxy

import "bytes"

// isState accepts the four letters of HTTP: who ended the stream, in which
// phase, and two about persistence cookies.
func isState(state []byte) bool {
	return len(state) == 4 && bytes.IndexByte([]byte("-CSPLRIDUKcs"), state[0]) >= 0 && bytes.IndexByte([]byte("-RQCHDLT"), state[1]) >= 0
}

// outcomeOf says what a termination state means beyond the status; "" where the
// status says it all. See section 8.5 of HAProxy's configuration manual.
//
// A refusal or failure that has a status of its own (from 400) stays what the
// status says, but for a client that left before there was an answer: then
// HAProxy logs a status that nobody received.
func outcomeOf(state []byte, status int) (outcome, reason string) {
	failed := status >= 400
	answering := state[1] == 'D' || state[1] == 'L' // the status was sent
	switch state[0] {
	case 'C':
		if !failed || !answering {
			return "cancelled", "client_closed"
		}
	case 'c':
		if !failed {
			return "cancelled", "client_timeout"
		}
	case 'P':
		if state[1] == 'T' {
			return "denied", "tarpitted"
		}
		if !failed {
			return "failed", "proxy_aborted"
		}
	case 'S':
		if !failed {
			return "failed", "server_closed"
		}
	case 's':
		if !failed {
			return "failed", "server_timeout"
		}
	case 'R', 'I':
		if !failed {
			return "failed", "proxy_error"
		}
	case 'D', 'U', 'K':
		if !failed {
			return "failed", "stream_killed"
		}
	}
	return "", ""
}

// isConnect recognises the line of a frontend without a log format.
func isConnect(line []byte) bool {
	return bytes.Contains(line, []byte("Connect from ")) && bytes.HasSuffix(line, []byte(")"))
}

// isNotice recognises what HAProxy says of its own start, reload and stop. What
// it says of servers that are down is for people to read.
func isNotice(line []byte) bool {
	if bytes.HasPrefix(line, []byte("[NOTICE]")) {
		return true
	}
	if bytes.HasPrefix(line, []byte("[ALERT]")) {
		return false
	}
	for _, mark := range [...]struct{ begin, contain string }{
		{"Proxy ", " started"},
		{"Proxy ", " stopped (cumulated"},
		{"Stopping ", " in "},
		{"Pausing ", " "},
		{"Enabling ", " "},
		{"Loading success", ""},
		{"Exiting Master process", ""},
		{"Reexecuting Master process", ""},
		{"Former worker", "exited with code 0"},
		{"Current worker", "exited with code 0"},
		{"New worker", "forked"},
		{"Server ", " is UP"},
		{"Health check for server ", " succeeded"},
	} {
		if at := bytes.Index(line, []byte(mark.begin)); at >= 0 && (at == 0 || line[at-1] == ' ') && bytes.Contains(line[at:], []byte(mark.contain)) {
			return true
		}
	}
	return false
}
