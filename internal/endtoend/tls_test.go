package endtoend

import (
	"strings"
	"testing"

	"github.com/auditail/auditail/internal/certtest"
)

// TestCentralOverTLS: agent and auditor reach a server whose certificate is of an
// authority of its own, and are told what is missing when they were not given that.
func TestCentralOverTLS(t *testing.T) {
	t.Setenv("SSL_CERT_FILE", "") // would be asked in the place of the system's roots
	c := newCentral(t)
	authority := certtest.New(t, "acme audit CA")
	ca := authority.Write(t, c.dir, "ca")
	cert, key := authority.Issue(t, "tls").Write(t, c.dir, "tls")
	url := "https://" + c.address
	server := c.start("auditail-server", "run", "--store", c.store, "--listen", c.address, "--tls-cert", cert, "--tls-key", key).logged("listening")
	output := strings.NewReplacer("http://ADDRESS", url, `"DIR/token" }`, `"DIR/token" }`+"\nca_file = \""+ca+"\"").Replace(httpOutput)
	once := strings.TrimSpace(c.command("enroll", "--one-time"))
	enroll := func(s *site) (string, int) {
		return s.try("auditail", "enroll", "--config", s.path("auditail.toml"), "--server", url, "--token", once, "--token-file", s.path("token"))
	}
	stranger := newSite(t, accessInput, directoryOutput)
	if out, code := enroll(stranger); code != 1 || !strings.Contains(out, "give the certificate of your own authority with --ca-file") {
		t.Errorf("without the authority: exit %d\n%s", code, out)
	}
	s := newSite(t, accessInput, output) // whose output names it
	if out, code := enroll(s); code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	appendTo(t, s.path("logs/access.log"), accessLines(0, 100))
	s.once()
	c.holds(s, 100)

	c.command("accounts", "add", "jane", "--token-file", s.path("jane"))
	verify := []string{"archive", url, "--trust", s.trust(), "--token-file", s.path("jane")}
	if out, code := s.try("auditail-verify", verify...); code != 2 || !strings.Contains(out, "--ca-file") {
		t.Errorf("without the authority: exit %d\n%s", code, out)
	}
	s.run("auditail-verify", append(verify, "--ca-file", ca)...)
	server.terminate(patience)
}
