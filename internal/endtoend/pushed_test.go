package endtoend

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

const pushedInputs = `
[[inputs.http]]
name = "push"
listen = "ADDRESS"
path = "/lines"
parser = "combined"
service = "chat"

[[inputs.pipe]]
name = "pipe"
path = "DIR/logs/pipe"
parser = "combined"
service = "piped"

[[inputs.otlp]]
name = "otlp"
listen = "OTLP"
service = "collector"
[inputs.otlp.parser]
type = "json"
[inputs.otlp.parser.fields]
"actor.id" = "attributes.user"
"model.name" = "attributes.model"
`

// Inputs that are pushed to: an answered request survives kill -9 at once.
func TestPushedInputs(t *testing.T) {
	address, collector := freeAddress(t), freeAddress(t)
	s := newSite(t, strings.NewReplacer("ADDRESS", address, "OTLP", collector).Replace(pushedInputs), directoryOutput)
	if err := syscall.Mkfifo(s.path("logs/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	const rounds, perRound = 5, 100
	for i := range rounds {
		p := s.start("auditail", "run", "--config", s.path("auditail.toml"))
		await(t, "the http input", func() bool { return post(address, "/lines", "text/plain", nil) != 0 })
		await(t, "the otlp input", func() bool { return post(collector, "/v1/logs", "application/json", nil) != 0 })
		if status := post(address, "/lines", "text/plain", accessLines(i*perRound, perRound)); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		record := fmt.Sprintf(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1795251994303000000","body":{"stringValue":"call"},"attributes":[{"key":"user","value":{"stringValue":"o%d"}},{"key":"model","value":{"stringValue":"llama-3-8b"}}]}]}]}]}`, i)
		if status := post(collector, "/v1/logs", "application/json", []byte(record)); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		p.kill()
	}
	p := s.start("auditail", "run", "--config", s.path("auditail.toml")).logged("msg=running")
	f, err := os.OpenFile(s.path("logs/pipe"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(accessLines(rounds*perRound, perRound)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "the piped lines", func() bool { // they are in the buffer: nothing else tells
		data, err := os.ReadFile(s.path("data/buffer/segments/" + newestSegment(t, s)))
		return err == nil && bytes.Contains(data, []byte(`"input":"pipe"`)) && bytes.Contains(data, []byte(`"n":100}`))
	})
	p.terminate(10 * time.Second)
	c := s.read(s.path("archive"))
	seen := make(map[string]int)
	for _, r := range c.records {
		seen[text(r, "actor.id")]++
	}
	for i := range (rounds + 1) * perRound {
		if n := seen[fmt.Sprintf("u%07d", i)]; n != 1 {
			t.Errorf("line %d is there %d times", i, n)
		}
	}
	for i := range rounds {
		if n := seen[fmt.Sprintf("o%d", i)]; n != 1 {
			t.Errorf("OTLP record %d is there %d times", i, n)
		}
	}
	c.validate(t)
	s.verify(s.path("archive"))
}

func newestSegment(t *testing.T, s *site) string {
	t.Helper()
	entries, err := os.ReadDir(s.path("data/buffer/segments"))
	if err != nil || len(entries) == 0 {
		t.Fatal(entries, err)
	}
	return entries[len(entries)-1].Name()
}

// post returns the status, or 0 when there was no answer.
func post(address, path, kind string, body []byte) int {
	r, err := http.Post("http://"+address+path, kind, bytes.NewReader(body))
	if err != nil {
		return 0
	}
	defer r.Body.Close()
	_, _ = io.Copy(io.Discard, r.Body)
	return r.StatusCode
}
