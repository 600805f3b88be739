package endtoend

import (
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
