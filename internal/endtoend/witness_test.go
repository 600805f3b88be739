package endtoend

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Two servers witness the log of an agent that ships to a directory; one of them
// is away for a while. The log that a policy of both demands verifies.
func TestWitnesses(t *testing.T) {
	s := newSite(t, accessInput, directoryOutput+"[buffer]\nbatch_age = \"100ms\"\n")
	one, two := newCentral(t), newCentral(t)
	one.enrol(s, "one.token")
	two.command("enroll", "--key", s.trust(), "--token-file", s.path("two.token"))
	config := string(s.file("auditail.toml"))
	for _, c := range []*central{one, two} {
		config += "[[witness]]\nurl = \"http://" + c.address + "/v1/witness\"\nvkey = \"" + c.witness().String() + "\"\n"
	}
	s.write("auditail.toml", strings.Replace(config, "[agent]", "[agent]\nwitness_quorum = 2", 1))
	one.serving()
	p := s.start("auditail", "run", "--config", s.path("auditail.toml"))
	appendTo(t, s.path("logs/access.log"), accessLines(0, 10))
	p.logged("a witness did not cosign")
	two.serving()
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
	for _, c := range []*central{one, two} {
		if found, err := filepath.Glob(filepath.Join(seals, "cosignature", "*-"+c.witness().ID())); err != nil || len(found) == 0 {
			t.Errorf("no cosignature of %s: %v", c.witness(), err)
		}
	}
	s.write("policy", "witness one "+one.witness().String()+"\nwitness two "+two.witness().String()+"\ngroup both all one two\nquorum both\n")
	s.verify(s.path("archive"), "--policy", s.path("policy"))
}
