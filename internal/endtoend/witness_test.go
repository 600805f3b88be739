package endtoend

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Two servers witness the log of an agent that ships to a directory; one of them
// is away for a while. The log that a policy of both demands verifies.
func TestWitnesses(t *testing.T) {
	type server struct {
		address, store, vkey string
	}
	var servers []server
	s := newSite(t, accessInput, directoryOutput+"[buffer]\nbatch_age = \"100ms\"\n")
	s.run("auditail", "keys", "init", "--config", s.path("auditail.toml"))
	config, err := os.ReadFile(s.path("auditail.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		x := server{address: freeAddress(t), store: s.path(name)}
		if err := os.Mkdir(x.store, 0o750); err != nil {
			t.Fatal(err)
		}
		s.run("auditail-server", "enroll", "--store", x.store, "--key", s.trust(), "--token-file", s.path(name+".token"))
		out := s.run("auditail-server", "witness", "--store", x.store)
		for field := range strings.FieldsSeq(out) {
			if strings.Count(field, "+") >= 2 {
				x.vkey = field
			}
		}
		servers = append(servers, x)
		config = append(config, "[[witness]]\nurl = \"http://"+x.address+"/v1/witness\"\nvkey = \""+x.vkey+"\"\n"...)
	}
	s.write("auditail.toml", strings.Replace(string(config), "[agent]", "[agent]\nwitness_quorum = 2", 1))
	run := func(x server) *process {
		p := s.start("auditail-server", "run", "--store", x.store, "--listen", x.address)
		await(t, "the server", func() bool {
			c, err := net.Dial("tcp", x.address)
			if err == nil {
				c.Close()
			}
			return err == nil
		})
		return p
	}
	run(servers[0])
	p := s.start("auditail", "run", "--config", s.path("auditail.toml"))
	appendTo(t, s.path("logs/access.log"), accessLines(0, 10))
	p.logged("a witness did not cosign")
	run(servers[1])
	seals := s.path("archive/seals/" + agentID + "/0001/")
	quorum := func() bool {
		appendTo(t, s.path("logs/access.log"), []byte("no parser knows this\n"))
		names, err := filepath.Glob(filepath.Join(seals, "*.manifest"))
		if err != nil {
			t.Fatal(err)
		}
		return s.manifest(names[len(names)-1]).WitnessedSize > 0
	}
	await(t, "a manifest that names a cosigned head", quorum)
	p.terminate(10 * time.Second)
	for _, x := range servers {
		name, rest, _ := strings.Cut(x.vkey, "+")
		id, _, _ := strings.Cut(rest, "+")
		_ = name
		if found, err := filepath.Glob(filepath.Join(seals, "cosignature", "*-"+id)); err != nil || len(found) == 0 {
			t.Errorf("no cosignature of %s: %v", x.vkey, err)
		}
	}
	s.write("policy", "witness one "+servers[0].vkey+"\nwitness two "+servers[1].vkey+"\ngroup both all one two\nquorum both\n")
	s.verify(s.path("archive"), "--policy", s.path("policy"))
}
