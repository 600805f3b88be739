package nginx

import (
	"bytes"

	"github.com/auditail/auditail/parsers"
)

// isErrorLine recognises the head of an error log line: "2026/11/21 09:22:47 [".
func isErrorLine(line []byte) bool {
	const head = "0000/00/00 00:00:00 ["
	if len(line) < len(head) {
		return false
	}
	for i, c := range []byte(head) {
		digit := line[i] >= '0' && line[i] <= '9'
		if c == '0' && !digit || c != '0' && line[i] != c {
			return false
		}
	}
	return true
}

// readError decides over a line of the error log. What tells of a request is
// told by the access log too. Levels below warn tell of the server itself, or of
// connections on which nothing was asked. The rest is for people to read.
func readError(line []byte) parsers.Outcome {
	level, message, ok := bytes.Cut(line[len("0000/00/00 00:00:00 ["):], []byte("] "))
	if !ok {
		return parsers.Outcome{Rule: "no level in the error line"}
	}
	if bytes.Contains(message, []byte(`, request: "`)) {
		return parsers.Outcome{Verdict: parsers.Ignored, Rule: RuleInAccessLog}
	}
	switch string(level) {
	case "debug", "info", "notice":
		return parsers.Outcome{Verdict: parsers.Ignored, Rule: RuleServerNotice}
	}
	return parsers.Outcome{Rule: "an error that is about no request"}
}
