package endtoend

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// TestAgentEnrolsItself with a one-time token, ships, and the server's archive
// verifies.
func TestAgentEnrolsItself(t *testing.T) {
	store := t.TempDir() + "/archive"
	if err := os.Mkdir(store, 0o750); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	s := newSite(t, accessInput, strings.ReplaceAll(httpOutput, "ADDRESS", address))
	server := s.start("auditail-server", "run", "--store", store, "--listen", address)
	await(t, "the server", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	once := strings.TrimSpace(s.run("auditail-server", "enroll", "--store", store, "--one-time"))
	enroll := []string{"enroll", "--config", s.path("auditail.toml"), "--server", "http://" + address, "--token", once, "--token-file", s.path("token")}
	if out := s.run("auditail", enroll...); !strings.Contains(out, "localhost/witness+") {
		t.Errorf("enroll says %q", out)
	}
	s.run("auditail", enroll...) // the answer was lost
	appendTo(t, s.path("logs/access.log"), accessLines(0, 500))
	s.once()
	server.terminate(10 * time.Second)
	c := s.read(store)
	wantLines(t, c, 500)
	s.verify(store, "--expect-size", fmt.Sprint(c.batches))
}
