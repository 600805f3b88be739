package endtoend

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const httpOutput = `
[buffer]
batch_age = "100ms"
batch_size = "64KiB"
[[outputs.http]]
name = "central"
url = "http://ADDRESS"
token = { file = "DIR/token" }
`

// Promises 3 and 4: a server that is killed again and again ends up with every
// batch once, and with an archive that verifies.
func TestServerOutages(t *testing.T) {
	const lines, outages = 20_000, 5
	c := newCentral(t)
	s := c.enrolled(t)
	appendTo(t, s.path("logs/access.log"), accessLines(0, lines/2))
	agent := s.start("auditail", "run", "--config", s.path("auditail.toml"))
	var server *process
	for i := range outages {
		server = c.serving()
		appendTo(t, s.path("logs/access.log"), accessLines(lines/2+i*lines/2/outages, lines/2/outages))
		if i < outages-1 {
			server.kill()
		}
	}
	await(t, "everything at the server", func() bool { return c.arrived() == lines })
	agent.terminate(10 * time.Second)
	s.once()
	server.terminate(10 * time.Second)
	c.holds(s, lines)
}

// A second agent can not write into the first one's log.
func TestSecondAgentAtTheServer(t *testing.T) {
	c := newCentral(t)
	first := c.enrolled(t)
	server := c.serve()
	appendTo(t, first.path("logs/access.log"), accessLines(0, 100))
	first.once()

	// The same name with another key: not enrolled, and with a stolen token not believed.
	second := newSite(t, accessInput, strings.ReplaceAll(httpOutput, "ADDRESS", c.address))
	second.run("auditail", "keys", "init", "--config", second.path("auditail.toml"))
	out, code := second.try("auditail-server", "enroll", "--store", c.store, "--key", second.trust(), "--token-file", second.path("token"))
	if code != 1 || !strings.Contains(out, agentID) {
		t.Errorf("enrolled twice: exit %d\n%s", code, out)
	}
	token, err := os.ReadFile(first.path("token"))
	if err != nil {
		t.Fatal(err)
	}
	second.write("token", string(token))
	appendTo(t, second.path("logs/access.log"), accessLines(100, 100))
	if out, code := second.try("auditail", "run", "--once", "--timeout", "2s", "--config", second.path("auditail.toml")); code != 1 {
		t.Errorf("exit %d\n%s", code, out)
	}
	server.terminate(10 * time.Second)
	c.holds(first, 100)
}

// An auditor with a token verifies and proves over the server what lies in its
// store; what is deleted there shows, and without a token nothing does.
func TestAuditorReadsOverTheServer(t *testing.T) {
	c := newCentral(t)
	s := c.enrolled(t)
	server := c.serve()
	appendTo(t, s.path("logs/access.log"), accessLines(0, 100))
	s.once()
	c.command("accounts", "add", "jane", "--token-file", s.path("jane"))
	found := s.read(c.store)
	url := "http://" + c.address
	s.run("auditail-verify", "archive", url, "--trust", s.trust(), "--token-file", s.path("jane"), "--expect-size", fmt.Sprintf("%s/0001=%d", logName, found.batches))
	s.run("auditail-verify", "prove", text(found.records[5], "id"), url, "--trust", s.trust(), "--token-file", s.path("jane"), "-o", s.path("proof"))
	s.run("auditail-verify", "proof", s.path("proof"), "--trust", s.trust())

	s.write("nobody", "at_wrong")
	for _, arguments := range [][]string{{}, {"--token-file", s.path("nobody")}, {"--token-file", s.path("token")}} {
		out, code := s.try("auditail-verify", append([]string{"archive", url, "--trust", s.trust()}, arguments...)...)
		if code != 2 || !strings.Contains(out, "token") && !strings.Contains(out, "agents list") {
			t.Errorf("with %q: exit %d\n%s", arguments, code, out)
		}
	}
	remove(t, filepath.Join(c.store, "seals", agentID, "0001", "000000000001.manifest"))
	out, code := s.try("auditail-verify", "archive", url, "--trust", s.trust(), "--token-file", s.path("jane"))
	if code != 1 || !strings.Contains(out, "000000000001.manifest: the manifest is not there") {
		t.Errorf("exit %d\n%s", code, out)
	}
	server.terminate(10 * time.Second)
}
