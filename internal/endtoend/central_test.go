package endtoend

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditail/auditail/seal"
)

// central is a place for auditail-server over a directory. The server may be killed
// and started again: address and store stay.
type central struct {
	*site   // whose archive is the store
	store   string
	address string
}

func newCentral(t *testing.T) *central {
	t.Helper()
	return newCentralAt(t, t.TempDir())
}

// newCentralAt keeps the store in a folder that is there.
func newCentralAt(t *testing.T, dir string) *central {
	t.Helper()
	c := &central{site: &site{t: t, dir: dir}, store: filepath.Join(dir, "archive"), address: freeAddress(t)}
	if err := os.Mkdir(c.store, 0o750); err != nil {
		t.Fatal(err)
	}
	return c
}

// serve starts the server, which does not yet listen when serve returns.
func (c *central) serve() *process {
	c.t.Helper()
	return c.start("auditail-server", "run", "--store", c.store, "--listen", c.address)
}

// serving starts the server and waits until it takes connections.
func (c *central) serving() *process {
	c.t.Helper()
	p := c.serve()
	await(c.t, "the server", func() bool {
		connection, err := net.Dial("tcp", c.address)
		if err == nil {
			connection.Close()
		}
		return err == nil
	})
	return p
}

// command runs a subcommand over the store.
func (c *central) command(args ...string) string {
	c.t.Helper()
	return c.run("auditail-server", append(args, "--store", c.store)...)
}

// enrol makes the key of a site's agent and enrols it; the token lies in a file of
// the site.
func (c *central) enrol(s *site, token string) {
	c.t.Helper()
	s.run("auditail", "keys", "init", "--config", s.path("auditail.toml"))
	c.command("enroll", "--key", s.trust(), "--token-file", s.path(token))
}

// witness returns the key with which the server cosigns.
func (c *central) witness() seal.WitnessKey {
	c.t.Helper()
	for field := range strings.FieldsSeq(c.command("witness")) {
		if strings.Count(field, "+") >= 2 {
			key, err := seal.ParseWitnessKey(field)
			if err != nil {
				c.t.Fatal(err)
			}
			return key
		}
	}
	c.t.Fatal("no verifier key")
	return seal.WitnessKey{}
}

// holds wants the store to have each line of a site's access log once, and to verify.
func (c *central) holds(s *site, lines int) {
	c.t.Helper()
	found := s.read(c.store)
	wantLines(c.t, found, lines)
	s.verify(c.store, "--expect-size", fmt.Sprint(found.batches))
}

// enrolled makes a site whose agent may write to the server.
func (c *central) enrolled(t *testing.T) *site {
	t.Helper()
	s := newSite(t, accessInput, strings.ReplaceAll(httpOutput, "ADDRESS", c.address))
	c.enrol(s, "token")
	return s
}
