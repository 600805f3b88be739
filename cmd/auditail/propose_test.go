package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestPropose: the preset of each log is the one that auto proposes, however many
// there are.
func TestPropose(t *testing.T) {
	for _, c := range []struct{ log, parser string }{
		{"combined/testdata/nginx.log", "combined"},
		{"nginx/testdata/kv.log", "nginx"},
		{"nginx/testdata/json.log", "nginx"},
		{"haproxy/testdata/httplog.log", "haproxy"},
		{"vllm/testdata/v0.8-v1engine.log", "vllm"},
		{"ollama/testdata/v0.33-serve-debug.log", "ollama"},
		{"llamacpp/testdata/v0.5-default.log", "llamacpp"},
	} {
		t.Run(c.log, func(t *testing.T) {
			data, err := os.ReadFile("../../parsers/" + c.log)
			if err != nil {
				t.Fatal(err)
			}
			list, err := propose(t.Context(), data, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			best := list[0]
			if best.Parser != c.parser || best.Wrapper != "none" || !best.fits() || best.known()+best.Unparsed != best.Lines {
				t.Errorf("proposed %+v, then %+v", best, list[1])
			}
		})
	}
}

// TestProposeWrapped: what is in a wrapper is found inside it.
func TestProposeWrapped(t *testing.T) {
	access, err := os.ReadFile("../../parsers/nginx/testdata/kv.log")
	if err != nil {
		t.Fatal(err)
	}
	var cri, docker, syslog strings.Builder
	for line := range strings.Lines(string(access)) {
		fmt.Fprintf(&cri, "2026-11-21T09:06:34.1Z stdout F %s", line)
		fmt.Fprintf(&docker, "{\"log\":%q,\"stream\":\"stdout\",\"time\":\"2026-11-21T09:06:34.1Z\"}\n", line)
		fmt.Fprintf(&syslog, "<190>Nov 21 09:06:34 gpu-box nginx: %s", line)
	}
	for wrapper, data := range map[string]string{"cri": cri.String(), "docker": docker.String(), "syslog": syslog.String()} {
		list, err := propose(t.Context(), []byte(data), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if best := list[0]; best.Parser != "nginx" || best.Wrapper != wrapper || best.Unparsed > 0 {
			t.Errorf("%s: proposed %+v", wrapper, best)
		}
	}
}

func TestFirstLines(t *testing.T) {
	for _, c := range [][2]string{{"", ""}, {"a", "a\n"}, {"a\nb", "a\nb\n"}, {"a\nb\n", "a\nb\n"}, {"a\nb\nc\n", "a\nb\n"}} {
		if got := string(firstLines([]byte(c[0]), 2)); got != c[1] {
			t.Errorf("%q: %q", c[0], got)
		}
	}
}
