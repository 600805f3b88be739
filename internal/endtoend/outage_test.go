package endtoend

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

var outageLines = flag.Int("outage.lines", 200_000, "lines that TestLongOutage writes while the server is away")

const outageOutput = `
[buffer]
max_disk = "4MiB"
batch_age = "1s"
batch_size = "512KiB"
[[outputs.http]]
name = "central"
url = "http://ADDRESS"
token = { file = "DIR/token" }
`

const fullConfig = `
[[inputs.file]]
name = "stays"
paths = ["DIR/logs/stays.log"]
parser = "combined"
service = "stays"
[[inputs.file]]
name = "joins"
paths = ["DIR/logs/joins.log"]
parser = "PARSER"
service = "joins"
[[outputs.http]]
name = "central"
url = "http://ADDRESS"
token = { file = "DIR/token" }
[buffer]
max_disk = "4MiB"
batch_age = "1s"
batch_size = "512KiB"
`

// TestReloadWhileFull: the disk cap is reached because of what the configuration says
// of an output. Loading it again with that mended, and another parser for an input that
// waits for the disk, is what an operator does then: every line is there once.
func TestReloadWhileFull(t *testing.T) {
	store := t.TempDir() + "/archive"
	if err := os.Mkdir(store, 0o750); err != nil {
		t.Fatal(err)
	}
	nobody, address := freeAddress(t), freeAddress(t)
	s := newSite(t, strings.NewReplacer("PARSER", "vllm", "ADDRESS", nobody).Replace(fullConfig), "")
	s.run("auditail", "keys", "init", "--config", s.path("auditail.toml"))
	s.run("auditail-server", "enroll", "--store", store, "--key", s.trust(), "--token-file", s.path("token"))
	server := s.start("auditail-server", "run", "--store", store, "--listen", address).logged("listening")
	agent := s.start("auditail", "run", "--config", s.path("auditail.toml")).logged("msg=running")
	const each, held = 60_000, 50
	var joins bytes.Buffer
	for i := range held {
		fmt.Fprintf(&joins, "INFO 11-07 04:31:02 [logger.py:43] Received request chatcmpl-%032x: prompt: 'hello', params: SamplingParams(n=1, max_tokens=16), prompt_token_ids: None, prompt_embeds shape: None, lora_request: None.\n", i)
	}
	for i := range each - held {
		fmt.Fprintf(&joins, "INFO:     10.0.%d.%d:40000 - \"POST /v1/embeddings HTTP/1.1\" 200 OK\n", i>>8, i&255)
	}
	appendTo(t, s.path("logs/joins.log"), joins.Bytes())
	appendTo(t, s.path("logs/stays.log"), accessLines(0, each))
	agent.logged("reading stops")

	wrong := string(s.file("auditail.toml"))
	s.write("auditail.toml", strings.NewReplacer(nobody, address, `"vllm"`, `"uvicorn"`).Replace(wrong))
	hangUp(t, agent)
	agent.logged("the configuration was loaded again")
	central := &site{t: t, dir: strings.TrimSuffix(store, "/archive")}
	await(t, "all lines at the server", func() bool { return central.arrived() >= 2*each })
	agent.terminate(patience)
	server.terminate(patience)
	c := s.read(store)
	if c.lines.Read != 2*each || c.repeated() != 0 {
		t.Errorf("%+v: %d lines were written; %d records are there twice", c.lines, 2*each, c.repeated())
	}
	s.verify(store, "--expect-size", fmt.Sprint(c.batches))
}

// TestLongOutage: the server is away while far more is written than the disk cap
// holds. The agent stops reading when the cap is reached, stays below it, and takes up
// what waits in the source when the server is back: every line once.
func TestLongOutage(t *testing.T) {
	store := t.TempDir() + "/archive"
	if err := os.Mkdir(store, 0o750); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	s := newSite(t, accessInput, strings.ReplaceAll(outageOutput, "ADDRESS", address))
	s.run("auditail", "keys", "init", "--config", s.path("auditail.toml"))
	s.run("auditail-server", "enroll", "--store", store, "--key", s.trust(), "--token-file", s.path("token"))
	const live = 2_000
	server := s.start("auditail-server", "run", "--store", store, "--listen", address)
	await(t, "the server", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	agent := s.start("auditail", "run", "--config", s.path("auditail.toml"))
	central := &site{t: t, dir: strings.TrimSuffix(store, "/archive")}
	appendTo(t, s.path("logs/access.log"), accessLines(0, live))
	await(t, "what was written live", func() bool { return central.arrived() == live })
	server.kill()

	lines := live + *outageLines
	appendTo(t, s.path("logs/access.log"), accessLines(live, *outageLines))
	agent.logged("reading stops")
	if size := folderSize(t, s.path("data")); size > 5<<20 {
		t.Errorf("%d bytes lie under a cap of 4 MiB", size)
	}
	server = s.start("auditail-server", "run", "--store", store, "--listen", address)
	server.logged("listening")
	began := time.Now()
	await(t, "what was written during the outage", func() bool { return central.arrived() == uint64(lines) }) //nolint:gosec // small
	took := time.Since(began)
	memory, cpu := usage(t, agent.command.Process.Pid)
	t.Logf("%d records caught up in %s, %.0f a second; the agent had %s of memory at most and took %s of CPU in all",
		*outageLines, took.Round(time.Millisecond), float64(*outageLines)/took.Seconds(), memory, cpu)
	agent.terminate(patience)
	server.terminate(patience)
	c := s.read(store)
	wantLines(t, c, lines)
	s.verify(store, "--expect-size", fmt.Sprint(c.batches))
}
