package endtoend

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/seal"
)

// Promise 7: an agent that was held up for longer than it had promised says so by its
// own manifests, and one that never comes back by the auditor's expected end.
func TestHeartbeatGap(t *testing.T) {
	s := newSite(t, accessInput, directoryOutput+"[buffer]\nheartbeat = \"1s\"\n")
	e := &evidence{site: s, folder: s.path("archive")}
	appendTo(t, s.path("logs/access.log"), accessLines(0, 10))
	p := s.start("auditail", "run", "--config", s.path("auditail.toml"))
	newest := func() *seal.Manifest {
		return s.manifest(filepath.Join(e.folder, e.origin().ManifestPath(e.size()-1)))
	}
	await(t, "a heartbeat", func() bool { return e.size() > 3 && newest().Kind == seal.Heartbeat })
	e.trust = s.trust()
	p.kill()
	last := newest()
	await(t, "the promised time to pass", func() bool { return time.Now().After(last.NextBy) })
	end := time.Now().UTC().Format(time.RFC3339Nano)

	// It does not come back.
	violations, _ := e.findings(t, e.folder, "--until", end)
	if len(violations) != 1 || violations["silent-end"] != 1 {
		t.Errorf("of a log that stopped: %v", violations)
	}
	// It does: the chain goes on, and the silence stays visible.
	s.once()
	violations, notices := e.findings(t, e.folder, "--until", end)
	if len(violations) != 0 || notices["silence"] == 0 {
		t.Errorf("of a log that went on: %v, notices %v", violations, notices)
	}
	if out, code := s.try("auditail-verify", "archive", e.folder, "--trust", e.trust, "--strict"); code != 1 ||
		!strings.Contains(out, e.origin().ManifestPath(last.Batch+1)+": silence: sealed ") {
		t.Errorf("exit %d, and no silence behind batch %d\n%s", code, last.Batch, out)
	}
}
