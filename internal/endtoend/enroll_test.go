package endtoend

import (
	"strings"
	"testing"
	"time"
)

// TestAgentEnrolsItself with a one-time token, ships, and the server's archive
// verifies.
func TestAgentEnrolsItself(t *testing.T) {
	c := newCentral(t)
	s := newSite(t, accessInput, strings.ReplaceAll(httpOutput, "ADDRESS", c.address))
	server := c.serving()
	once := strings.TrimSpace(c.command("enroll", "--one-time"))
	enroll := []string{"enroll", "--config", s.path("auditail.toml"), "--server", "http://" + c.address, "--token", once, "--token-file", s.path("token")}
	if out := s.run("auditail", enroll...); !strings.Contains(out, "localhost/witness+") {
		t.Errorf("enroll says %q", out)
	}
	s.run("auditail", enroll...) // the answer was lost
	appendTo(t, s.path("logs/access.log"), accessLines(0, 500))
	s.once()
	server.terminate(10 * time.Second)
	c.holds(s, 500)
}
