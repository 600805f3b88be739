// Package process removes what vLLM and Ray put before each line of a process whose
// output they collect: "(APIServer pid=1) ", "(ServeReplica:app:LLM pid=7,
// ip=10.0.0.2) ".
package process

import (
	"bytes"

	"github.com/auditail/auditail/parsers/internal/pyrepr"
)

// maxNested bounds the prefixes of processes within each other.
const maxNested = 3

// Peel returns the line without the prefixes.
func Peel(line []byte) []byte {
	for range maxNested {
		if len(line) == 0 || line[0] != '(' {
			return line
		}
		at := bytes.IndexByte(line, ')')
		if at < 0 || at > 160 || at+1 >= len(line) || line[at+1] != ' ' || !isName(line[1:at]) {
			return line
		}
		line = line[at+2:]
	}
	return line
}

// isName accepts "APIServer pid=1" and "VllmWorker rank=0 pid=12".
func isName(b []byte) bool {
	for _, c := range b {
		if !pyrepr.IsNameByte(c) && bytes.IndexByte([]byte(" =-:.,#"), c) < 0 {
			return false
		}
	}
	return bytes.Contains(b, []byte("pid="))
}
