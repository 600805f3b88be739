package endtoend

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// copyTree puts a copy of a folder in the place of another.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(from, func(name string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), info.Mode())
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, info.Mode())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// wantViolations verifies the archive, which is to have violations that
// say these things alone, and returns what the verifier prints.
func (s *site) wantViolations(texts ...string) string {
	s.t.Helper()
	out, code := s.try("auditail-verify", "archive", s.path("archive"), "--trust", s.trust())
	if len(texts) > 0 && code != 1 {
		s.t.Errorf("exit %d:\n%s", code, out)
	}
	for line := range strings.Lines(out) {
		known := !strings.HasPrefix(line, "violation")
		for _, c := range texts {
			known = known || strings.Contains(line, c)
		}
		if !known {
			s.t.Errorf("unexpected: %s", line)
		}
	}
	for _, c := range texts {
		if !strings.Contains(out, c) {
			s.t.Errorf("no %s:\n%s", c, out)
		}
	}
	return out
}

// wantAlarm checks that the archive has every line and one alarm of a rule.
func (s *site) wantAlarm(rule string, alarms, lines int) {
	s.t.Helper()
	found, users := 0, make(map[string]bool)
	for _, r := range s.read(s.path("archive")).records {
		if text(r, "event") == "alert.raise" && text(r, "alert.rule") == rule {
			found++
		}
		if user := text(r, "actor.id"); strings.HasPrefix(user, "u0") {
			users[user] = true
		}
	}
	if found != alarms || len(users) != lines {
		s.t.Errorf("%d alarms %s and %d lines, want %d and %d", found, rule, len(users), alarms, lines)
	}
}

// afterClose is what the verifier says of an epoch behind one that was closed.
const afterClose = "epoch 0002 follows, but an agent goes on in the epoch that it closed"

// The state of the agent is an older copy: what the archive has meanwhile is read
// and recorded again, in an epoch of its own, and the verifier says so.
func TestStateRolledBack(t *testing.T) {
	s := newSite(t, accessInput, directoryOutput)
	log := s.path("logs/access.log")
	appendTo(t, log, accessLines(0, 100))
	s.once()
	copyTree(t, s.path("data"), s.path("copy"))
	appendTo(t, log, accessLines(100, 100))
	s.once()
	copyTree(t, s.path("copy"), s.path("data"))
	appendTo(t, log, accessLines(200, 100))
	s.once()
	if m := s.manifest(s.path("archive/seals/" + agentID + "/0002/000000000000.manifest")); !strings.HasPrefix(m.Reason, "rollback "+logName+"/0001 ") {
		t.Errorf("reason %q", m.Reason)
	}
	s.wantViolations("was accounted for before", afterClose)
	s.wantAlarm("auditail.log-rollback", 1, 300)
	s.once()
	s.wantViolations("was accounted for before", afterClose) // and no more of them
}

// One state runs twice: the second agent is stopped and opens an epoch of its own.
func TestStateRunsTwice(t *testing.T) {
	s := newSite(t, accessInput, directoryOutput)
	log := s.path("logs/access.log")
	appendTo(t, log, accessLines(0, 100))
	s.once()
	copyTree(t, s.path("data"), s.path("copy"))
	first := s.start("auditail", "run", "--config", s.path("auditail.toml")).logged("msg=running").logged("msg=acknowledged") // else the second may be first
	config, err := os.ReadFile(s.path("auditail.toml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("second.toml", strings.Replace(string(config), s.path("data"), s.path("copy"), 1))
	second := s.start("auditail", "run", "--config", s.path("second.toml")).logged("msg=running")
	appendTo(t, log, accessLines(100, 100))
	second.logged("ALARM: the log may not go on in this epoch")
	first.terminate(10 * time.Second)
	second.terminate(10 * time.Second)
	m := s.manifest(s.path("archive/seals/" + agentID + "/0002/000000000000.manifest"))
	if !strings.Contains(m.Reason, logName+"/0001 ") {
		t.Errorf("reason %q", m.Reason)
	}
	s.wantViolations("was accounted for before", afterClose)
}

// The archive is an older copy: what it lost and the agent has no more is a hole
// for the verifier; the log goes on in a new epoch.
func TestArchiveRolledBack(t *testing.T) {
	s := newSite(t, accessInput, directoryOutput)
	log := s.path("logs/access.log")
	appendTo(t, log, accessLines(0, 100))
	s.once()
	copyTree(t, s.path("archive"), s.path("copy"))
	appendTo(t, log, accessLines(100, 100))
	s.once()
	copyTree(t, s.path("copy"), s.path("archive"))
	appendTo(t, log, accessLines(200, 100))
	s.once()
	if m := s.manifest(s.path("archive/seals/" + agentID + "/0002/000000000000.manifest")); !strings.HasPrefix(m.Reason, "rollback "+logName+"/0001 ") {
		t.Errorf("reason %q", m.Reason)
	}
	s.wantViolations("nothing accounts for", afterClose)
	s.wantAlarm("auditail.log-rollback", 1, 200)
}

// The state is an older copy, and the destination a server that also holds the newer
// batches, behind a rotation of the key: it refuses other bytes and takes the new epoch.
func TestStateRolledBackAtTheServer(t *testing.T) {
	c := newCentral(t)
	s := c.enrolled(t)
	trust := s.trust()
	server := c.serve()
	log := s.path("logs/access.log")
	appendTo(t, log, accessLines(0, 100))
	s.once()
	s.run("auditail", "keys", "rotate", "--config", s.path("auditail.toml"))
	appendTo(t, log, accessLines(100, 100))
	s.once()
	copyTree(t, s.path("data"), s.path("copy"))
	appendTo(t, log, accessLines(200, 100))
	s.once()
	copyTree(t, s.path("copy"), s.path("data"))
	appendTo(t, log, accessLines(300, 100))
	s.once()
	server.terminate(10 * time.Second)
	m := s.manifest(filepath.Join(c.store, "seals", agentID, "0002/000000000000.manifest"))
	if !strings.HasPrefix(m.Reason, "rollback "+logName+"/0001 ") {
		t.Errorf("reason %q", m.Reason)
	}
	out, _ := s.try("auditail-verify", "archive", c.store, "--trust", trust)
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "violation") && !strings.Contains(line, afterClose) && !strings.Contains(line, "was accounted for before") {
			t.Errorf("unexpected: %s", line)
		}
	}
	if !strings.Contains(out, afterClose) || strings.Count(out, "from here on the key") != 1 {
		t.Errorf("no second epoch, or no rotation:\n%s", out)
	}
}

// The state is an older copy and the server away when the agent starts: that holds
// the start up in nothing, and when the server is back the agent learns of it before
// it ships, by the server's word and by no refusal.
func TestStateRolledBackWhileTheServerIsAway(t *testing.T) {
	c := newCentral(t)
	s := c.enrolled(t)
	trust := s.trust()
	server := c.serve()
	log := s.path("logs/access.log")
	appendTo(t, log, accessLines(0, 100))
	s.once()
	copyTree(t, s.path("data"), s.path("copy"))
	appendTo(t, log, accessLines(100, 100))
	s.once()
	server.terminate(10 * time.Second)
	copyTree(t, s.path("copy"), s.path("data"))
	appendTo(t, log, accessLines(200, 100))
	agent := s.start("auditail", "run", "--config", s.path("auditail.toml")).logged("msg=running").logged("delivery delayed, trying again")
	server = c.serve()
	agent.logged("ALARM: the log may not go on in this epoch")
	opened := filepath.Join(c.store, "seals", agentID, "0002/000000000000.manifest")
	await(t, "a new epoch", func() bool {
		_, err := os.Stat(opened)
		return err == nil
	})
	agent.terminate(10 * time.Second)
	server.terminate(10 * time.Second)
	if m := s.manifest(opened); !strings.HasPrefix(m.Reason, "rollback "+logName+"/0001 ") {
		t.Errorf("reason %q", m.Reason)
	}
	out, _ := s.try("auditail-verify", "archive", c.store, "--trust", trust)
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "violation") && !strings.Contains(line, afterClose) && !strings.Contains(line, "was accounted for before") {
			t.Errorf("unexpected: %s", line)
		}
	}
}

// State and archive are older copies alike, so that they agree; a witness remembers.
func TestWitnessRemembers(t *testing.T) {
	s := newSite(t, accessInput, directoryOutput)
	e := &evidence{site: s, folder: s.path("archive")}
	e.witnessedBy(false)
	log := s.path("logs/access.log")
	appendTo(t, log, accessLines(0, 100))
	s.once()
	copyTree(t, s.path("data"), s.path("copy"))
	copyTree(t, s.path("archive"), s.path("copied"))
	appendTo(t, log, accessLines(100, 100))
	s.once()
	copyTree(t, s.path("copy"), s.path("data"))
	copyTree(t, s.path("copied"), s.path("archive"))
	p := s.start("auditail", "run", "--config", s.path("auditail.toml"))
	p.logged("ALARM: a witness has seen another log than this one")
	opened := s.path("archive/seals/" + agentID + "/0002/000000000000.manifest")
	await(t, "a new epoch", func() bool {
		_, err := os.Stat(opened)
		return err == nil
	})
	p.terminate(10 * time.Second)
	if m := s.manifest(opened); !strings.HasPrefix(m.Reason, "rollback "+logName+"/0001 ") {
		t.Errorf("reason %q", m.Reason)
	}
	s.wantViolations("epoch 0002 follows")
	s.wantAlarm("auditail.log-rollback", 1, 200)
}
