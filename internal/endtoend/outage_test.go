package endtoend

import (
	"bytes"
	"flag"
	"fmt"
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
	nobody, c := freeAddress(t), newCentral(t)
	s := newSite(t, strings.NewReplacer("PARSER", "vllm", "ADDRESS", nobody).Replace(fullConfig), "")
	c.enrol(s, "token")
	server := c.serve().logged("listening")
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
	s.write("auditail.toml", strings.NewReplacer(nobody, c.address, `"vllm"`, `"uvicorn"`).Replace(wrong))
	hangUp(t, agent)
	agent.logged("the configuration was loaded again")
	await(t, "all lines at the server", func() bool { return c.arrived() >= 2*each })
	agent.terminate(patience)
	server.terminate(patience)
	found := s.read(c.store)
	if found.lines.Read != 2*each || found.repeated() != 0 {
		t.Errorf("%+v: %d lines were written; %d records are there twice", found.lines, 2*each, found.repeated())
	}
	s.verify(c.store, "--expect-size", fmt.Sprint(found.batches))
}

// TestLongOutage: the server is away while far more is written than the disk cap
// holds. The agent stops reading when the cap is reached, stays below it, and takes up
// what waits in the source when the server is back: every line once.
func TestLongOutage(t *testing.T) {
	c := newCentral(t)
	s := newSite(t, accessInput, strings.ReplaceAll(outageOutput, "ADDRESS", c.address))
	c.enrol(s, "token")
	const live = 2_000
	server := c.serving()
	agent := s.start("auditail", "run", "--config", s.path("auditail.toml"))
	appendTo(t, s.path("logs/access.log"), accessLines(0, live))
	await(t, "what was written live", func() bool { return c.arrived() == live })
	server.kill()

	lines := live + *outageLines
	appendTo(t, s.path("logs/access.log"), accessLines(live, *outageLines))
	agent.logged("reading stops")
	if size := folderSize(t, s.path("data")); size > 5<<20 {
		t.Errorf("%d bytes lie under a cap of 4 MiB", size)
	}
	server = c.serve().logged("listening")
	began := time.Now()
	await(t, "what was written during the outage", func() bool { return c.arrived() == uint64(lines) }) //nolint:gosec // small
	took := time.Since(began)
	memory, cpu := usage(t, agent.command.Process.Pid)
	t.Logf("%d records caught up in %s, %.0f a second; the agent had %s of memory at most and took %s of CPU in all",
		*outageLines, took.Round(time.Millisecond), float64(*outageLines)/took.Seconds(), memory, cpu)
	agent.terminate(patience)
	server.terminate(patience)
	c.holds(s, lines)
}
