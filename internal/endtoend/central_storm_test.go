package endtoend

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	centralKills = flag.Int("central.kills", 10, "how often TestCentralStorm kills the server")
	centralSeed  = flag.Uint64("central.seed", 1, "seed of TestCentralStorm")
)

// fleet is several agents that ship to one server and are witnessed by it. Their
// lines are numbered through.
type fleet struct {
	t      *testing.T
	sites  []*site
	agents []*process
	lines  int
}

func (c *central) fleet(n int) *fleet {
	c.t.Helper()
	f := &fleet{t: c.t}
	witness := "[[witness]]\nurl = \"http://" + c.address + "/v1/witness\"\nvkey = \"" + c.witness().String() + "\"\n"
	for i := range n {
		s := newSite(c.t, accessInput, strings.ReplaceAll(httpOutput, "ADDRESS", c.address)+witness)
		s.write("auditail.toml", strings.Replace(string(s.file("auditail.toml")), `"`+agentID+`"`, fmt.Sprintf(`"gpu-%02d"`, i), 1))
		c.enrol(s, "token")
		f.sites = append(f.sites, s)
	}
	return f
}

func (f *fleet) run() {
	f.t.Helper()
	for _, s := range f.sites {
		f.agents = append(f.agents, s.start("auditail", "run", "--config", s.path("auditail.toml")))
	}
}

// write appends n lines to each agent's log.
func (f *fleet) write(n int) {
	f.t.Helper()
	for _, s := range f.sites {
		appendTo(f.t, s.path("logs/access.log"), accessLines(f.lines, n))
		f.lines += n
	}
}

// settled stops the agents when all has arrived, and wants the store to hold each line
// once, to verify, and to be known as whole.
func (f *fleet) settled(c *central) {
	f.t.Helper()
	for _, p := range f.agents {
		p.terminate(patience)
	}
	trust := ""
	for _, s := range f.sites {
		s.once()
		trust += string(s.file(filepath.Base(s.trust())))
	}
	c.write("trust.all", trust)
	wantLines(f.t, c.read(c.store), f.lines)
	c.run("auditail-verify", "archive", c.store, "--trust", c.path("trust.all"))
	if out := c.command("agents"); strings.Contains(out, "FORKED") || strings.Contains(out, "owed") || strings.Contains(out, "unclosed") {
		f.t.Errorf("the server took a fault for more than that:\n%s", out)
	}
}

// ownLogVerifies verifies the server's own signed log.
func (c *central) ownLogVerifies() {
	c.t.Helper()
	for _, id := range []string{"auditail-server", "auditail-server.operator"} {
		out := c.command("log", "--id", id)
		place, key, _ := strings.Cut(strings.TrimPrefix(out, "# "), "\n")
		c.write("trust.own", key)
		c.run("auditail-verify", "archive", place, "--trust", c.path("trust.own"))
	}
}

// TestCentralStorm kills the server again and again while several agents upload to it
// and have their heads cosigned: what was acknowledged is there once, nothing else is,
// the agents go on by themselves, and the server's own log verifies.
func TestCentralStorm(t *testing.T) {
	c := newCentral(t)
	f := c.fleet(4)
	f.run()
	random := rand.New(rand.NewPCG(*centralSeed, 3)) //nolint:gosec // repeatable, guards nothing
	inUpload := 0
	for range *centralKills {
		f.write(50 + random.IntN(500))
		server := c.serving()
		time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond) // it lives for so long
		server.kill()
		if left, err := os.ReadDir(c.store + ".state/incoming/auditail-server"); err != nil {
			t.Fatal(err)
		} else if len(left) > 0 {
			inUpload++
		}
	}
	server := c.serving()
	t.Logf("%d lines of %d agents, %d kills, %d of them in the middle of an upload", f.lines, len(f.sites), *centralKills, inUpload)
	f.settled(c)
	server.terminate(patience)
	c.ownLogVerifies()
	if cosigned, err := filepath.Glob(filepath.Join(c.store, "seals", "gpu-*", "0001", "cosignature", "*")); err != nil || len(cosigned) < len(f.sites) {
		t.Errorf("%d heads were cosigned, %v", len(cosigned), err)
	}
}

// TestCentralFullDisk: the store is full under a running server, at its kill and at its
// start, and then read-only. It says so, refuses nobody for good, and goes on when there
// is space: every line once.
func TestCentralFullDisk(t *testing.T) {
	s := &site{t: t, dir: t.TempDir()}
	s.mount("disk", 96<<20)
	c := newCentralAt(t, s.path("disk"))
	f := c.fleet(2)
	f.run()
	arrived := func() bool { return c.arrived() == uint64(f.lines) } //nolint:gosec // positive
	f.write(500)
	server := c.serving()
	await(t, "the first lines", arrived)

	free := fill(t, s.path("disk"))
	f.write(5000)
	server.logged("no space left on device")
	f.agents[0].logged("507")
	server.kill()
	if out, code := c.try("auditail-server", "run", "--store", c.store, "--listen", c.address); code != 1 || !strings.Contains(out, "no space left on device") || strings.Count(strings.TrimSpace(out), "\n") > 3 {
		t.Errorf("a start on the full disk: exit %d\n%s", code, out)
	}
	free()
	server = c.serving()
	await(t, "the lines of the full disk", arrived)

	server.kill()
	s.mounts("mount", "-o", "remount,ro", s.path("disk"))
	f.write(500)
	if out, code := c.try("auditail-server", "run", "--store", c.store, "--listen", c.address); code != 1 || !strings.Contains(out, "read-only file system") {
		t.Errorf("a start on a read-only disk: exit %d\n%s", code, out)
	}
	s.mounts("mount", "-o", "remount,rw", s.path("disk"))
	server = c.serving()
	f.settled(c)
	server.terminate(patience)
	c.ownLogVerifies()
}
