package endtoend

import (
	"fmt"
	"net"
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

// enrolled makes a site whose agent may write to a server at address.
func enrolled(t *testing.T, address, store string) *site {
	t.Helper()
	s := newSite(t, accessInput, strings.ReplaceAll(httpOutput, "ADDRESS", address))
	s.run("auditail", "keys", "init", "--config", s.path("auditail.toml"))
	s.run("auditail-server", "enroll", "--store", store, "--key", s.trust(), "--token-file", s.path("token"))
	return s
}

// Promises 3 and 4: a server that is killed again and again ends up with every
// batch once, and with an archive that verifies.
func TestServerOutages(t *testing.T) {
	const lines, outages = 20_000, 5
	store := t.TempDir() + "/archive"
	if err := os.Mkdir(store, 0o750); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	s := enrolled(t, address, store)
	appendTo(t, s.path("logs/access.log"), accessLines(0, lines/2))
	agent := s.start("auditail", "run", "--config", s.path("auditail.toml"))
	listening := func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	var server *process
	for i := range outages {
		server = s.start("auditail-server", "run", "--store", store, "--listen", address)
		await(t, "the server", listening)
		appendTo(t, s.path("logs/access.log"), accessLines(lines/2+i*lines/2/outages, lines/2/outages))
		if i < outages-1 {
			server.kill()
		}
	}
	central := &site{t: t, dir: strings.TrimSuffix(store, "/archive")}
	await(t, "everything at the server", func() bool { return central.arrived() == lines })
	agent.terminate(10 * time.Second)
	s.once()
	server.terminate(10 * time.Second)
	c := s.read(store)
	wantLines(t, c, lines)
	s.verify(store, "--expect-size", fmt.Sprint(c.batches))
}

// A second agent can not write into the first one's log.
func TestSecondAgentAtTheServer(t *testing.T) {
	store := t.TempDir() + "/archive"
	if err := os.Mkdir(store, 0o750); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	first := enrolled(t, address, store)
	server := first.start("auditail-server", "run", "--store", store, "--listen", address)
	appendTo(t, first.path("logs/access.log"), accessLines(0, 100))
	first.once()

	// The same name with another key: not enrolled, and with a stolen token not believed.
	second := newSite(t, accessInput, strings.ReplaceAll(httpOutput, "ADDRESS", address))
	second.run("auditail", "keys", "init", "--config", second.path("auditail.toml"))
	out, code := second.try("auditail-server", "enroll", "--store", store, "--key", second.trust(), "--token-file", second.path("token"))
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
	c := first.read(store)
	wantLines(t, c, 100)
	first.verify(store, "--expect-size", fmt.Sprint(c.batches))
}

// An auditor with a token verifies and proves over the server what lies in its
// store; what is deleted there shows, and without a token nothing does.
func TestAuditorReadsOverTheServer(t *testing.T) {
	store := t.TempDir() + "/archive"
	if err := os.Mkdir(store, 0o750); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	s := enrolled(t, address, store)
	server := s.start("auditail-server", "run", "--store", store, "--listen", address)
	appendTo(t, s.path("logs/access.log"), accessLines(0, 100))
	s.once()
	s.run("auditail-server", "accounts", "add", "jane", "--store", store, "--token-file", s.path("jane"))
	c := s.read(store)
	url := "http://" + address
	s.run("auditail-verify", "archive", url, "--trust", s.trust(), "--token-file", s.path("jane"), "--expect-size", fmt.Sprintf("%s/0001=%d", logName, c.batches))
	s.run("auditail-verify", "prove", text(c.records[5], "id"), url, "--trust", s.trust(), "--token-file", s.path("jane"), "-o", s.path("proof"))
	s.run("auditail-verify", "proof", s.path("proof"), "--trust", s.trust())

	s.write("nobody", "at_wrong")
	for _, arguments := range [][]string{{}, {"--token-file", s.path("nobody")}, {"--token-file", s.path("token")}} {
		out, code := s.try("auditail-verify", append([]string{"archive", url, "--trust", s.trust()}, arguments...)...)
		if code != 2 || !strings.Contains(out, "token") && !strings.Contains(out, "agents list") {
			t.Errorf("with %q: exit %d\n%s", arguments, code, out)
		}
	}
	remove(t, filepath.Join(store, "seals", agentID, "0001", "000000000001.manifest"))
	out, code := s.try("auditail-verify", "archive", url, "--trust", s.trust(), "--token-file", s.path("jane"))
	if code != 1 || !strings.Contains(out, "000000000001.manifest: the manifest is not there") {
		t.Errorf("exit %d\n%s", code, out)
	}
	server.terminate(10 * time.Second)
}
