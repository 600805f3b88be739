package process_test

import (
	"testing"

	"github.com/auditail/auditail/parsers/internal/process"
)

func TestPeel(t *testing.T) {
	for line, want := range map[string]string{
		"(APIServer pid=1) INFO: x":                              "INFO: x",
		"(ServeReplica:app:LLM pid=7, ip=10.0.0.2) INFO x":       "INFO x",
		"(ServeReplica:a:L pid=7) (EngineCore_DP0 pid=9) INFO x": "INFO x",
		"(a pid=1) (b pid=2) (c pid=3) (d pid=4) x":              "(d pid=4) x",
		"(not a process) x":                                      "(not a process) x",
		"(pid=1)x":                                               "(pid=1)x",
		"(pid=1":                                                 "(pid=1",
		"(a; pid=1) x":                                           "(a; pid=1) x",
		"":                                                       "",
	} {
		if got := string(process.Peel([]byte(line))); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
