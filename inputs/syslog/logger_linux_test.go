package syslog

import (
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/auditail/auditail/inputs/inputstest"
	"github.com/auditail/auditail/inputs/internal/web/webtest"
)

// TestLogger takes what logger(1) of util-linux sends, which is on every Debian.
func TestLogger(t *testing.T) {
	for name, kind := range map[string]struct {
		listen string
		args   func(a net.Addr) []string
	}{
		"RFC 5424, octet counting": {"tcp:127.0.0.1:0", func(a net.Addr) []string {
			return []string{"--tcp", "--octet-count", "--rfc5424", "--server", "127.0.0.1", "--port", port(a)}
		}},
		"RFC 5424, lines": {"tcp:127.0.0.1:0", func(a net.Addr) []string {
			return []string{"--tcp", "--rfc5424", "--server", "127.0.0.1", "--port", port(a)}
		}},
		"RFC 3164, UDP": {"udp:127.0.0.1:0", func(a net.Addr) []string {
			return []string{"--udp", "--rfc3164", "--server", "127.0.0.1", "--port", port(a)}
		}},
		"local": {"unixgram:SOCKET", func(a net.Addr) []string { return []string{"--socket", a.String()} }},
	} {
		t.Run(name, func(t *testing.T) {
			to := inputstest.NewRecorder(t)
			a, running := start(t, Config{Listen: strings.Replace(kind.listen, "SOCKET", webtest.Socket(t), 1)}, Deps{}, nil, to)
			want := []string{`{"user":"alice","model":"llama-3-8b"}`, "a second: line [with] <134>1 odd parts"}
			cmd := exec.CommandContext(t.Context(), "logger", append(kind.args(a), "--tag", "gateway", "--id=4711", "--priority", "local0.info")...)
			cmd.Stdin = strings.NewReader(strings.Join(want, "\n") + "\n")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("logger: %v: %s", err, out)
			}
			to.WaitLines(len(want))
			running.Stop()
			to.Same(want)
		})
	}
}

func port(a net.Addr) string {
	_, port, _ := net.SplitHostPort(a.String())
	return port
}
