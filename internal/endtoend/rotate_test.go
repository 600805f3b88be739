package endtoend

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// The signing key is rotated while the agent is stopped and while it runs; an
// auditor who knows the first key alone verifies all of it.
func TestRotateTheSigningKey(t *testing.T) {
	s := newSite(t, accessInput, directoryOutput)
	log := s.path("logs/access.log")
	appendTo(t, log, accessLines(0, 10))
	s.once()
	trust := s.trust()
	show := func() string { return s.run("auditail", "keys", "show", "--config", s.path("auditail.toml")) }
	first := show()

	out := s.run("auditail", "keys", "rotate", "--config", s.path("auditail.toml"))
	if show() != first {
		t.Error("the key changed before it was signed in")
	}
	if again := s.run("auditail", "keys", "rotate", "--config", s.path("auditail.toml")); !strings.Contains(again, "was asked for before") {
		t.Errorf("rotated twice: %s", again)
	}
	appendTo(t, log, accessLines(10, 10))
	s.once()
	second := show()
	if second == first || !strings.Contains(out, strings.TrimSpace(second)) {
		t.Errorf("the key is %s, announced was %s", second, out)
	}

	p := s.start("auditail", "run", "--config", s.path("auditail.toml")).logged("msg=running")
	s.run("auditail", "keys", "rotate", "--config", s.path("auditail.toml"))
	p.logged("a new identity key was signed in")
	appendTo(t, log, accessLines(20, 10))
	p.logged("the identity key that was rotated out is erased")
	p.terminate(10 * time.Second)
	if third := show(); third == second {
		t.Error("the key did not change")
	}
	files, err := os.ReadDir(s.path("data/keys"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.Contains(f.Name(), "next") || strings.Contains(f.Name(), "retired") {
			t.Errorf("%s is still there", f.Name())
		}
	}
	c := s.read(s.path("archive"))
	wantLines(t, c, 30)
	var told []string
	for _, r := range c.records {
		if text(r, "event") == "agent.key" {
			told = append(told, text(r, "change.from")+" "+text(r, "change.to"))
		}
	}
	first, second, third := strings.TrimSpace(first), strings.TrimSpace(second), strings.TrimSpace(show())
	if want := []string{" " + first, first + " " + second, second + " " + third}; !slices.Equal(told, want) {
		t.Errorf("agent.key records tell %q, want %q", told, want)
	}
	verified := s.run("auditail-verify", "archive", s.path("archive"), "--trust", trust)
	if n := strings.Count(verified, "from here on the key"); n != 2 {
		t.Errorf("%d rotations found:\n%s", n, verified)
	}
}
