package endtoend

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/seal"
)

var (
	stormKills = flag.Int("storm.kills", 6, "kill -9 cycles of each rotation of TestStorm")
	stormRate  = flag.Int("storm.rate", 5_000, "lines a second that TestStorm writes")
	stormSeed  = flag.Uint64("storm.seed", 1, "seed of TestStorm")
	stormLog   = flag.String("storm.log", "", "where TestStorm leaves the log of an agent that failed")
	stormBusy  = flag.Int("storm.busy", 0, "processes that TestStorm lets burn the processor beside")
)

// storm is one way to rotate.
type storm struct {
	turn     func(w *lineWriter)
	glob     string // default access.log
	linked   bool   // the log is a symbolic link to a file of its own name
	pod      bool   // the log is a symbolic link to a file that is rotated
	destroys bool   // what a dead agent has not read is gone
}

// Promise 1, all at once: a writer that never waits, a rotation every moment,
// kill -9 every other, on files that are rotated again while the agent is dead.
// `make torture` runs it with many more kills, and at 50,000 lines a second.
func TestStorm(t *testing.T) {
	for name, rotation := range storms {
		t.Run(name, func(t *testing.T) { rotation.run(t) })
	}
}

func (r storm) run(t *testing.T) {
	input := accessInput
	if r.glob != "" {
		input = strings.Replace(input, "access.log", r.glob, 1)
	}
	s := newSite(t, input, directoryOutput+"[buffer]\nbatch_age = \"200ms\"\nbatch_size = \"256KiB\"\n")
	random := rand.New(rand.NewPCG(*stormSeed, 99))
	burn(t, *stormBusy)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	w := r.startWriter(ctx, t, s.path("logs"))
	p := s.start("auditail", "run", "--config", s.path("auditail.toml"))
	await(t, "the first lines", func() bool { return s.arrived() > 0 })
	p.kill()
	w.seen.Store(true)
	var log strings.Builder
	for i := range *stormKills {
		p := s.start("auditail", "run", "--config", s.path("auditail.toml"))
		if i%4 > 0 { // else it may not even have begun
			p.logged("msg=running")
		}
		<-time.After(time.Duration(random.IntN(600)) * time.Millisecond)
		p.kill()
		fmt.Fprintf(&log, "start %d\n%s", i, p.log.String())
		if i%3 == 0 {
			<-time.After(time.Duration(random.IntN(300)) * time.Millisecond)
		}
	}
	stop()
	<-w.done
	last := s.run("auditail", "run", "--once", "--config", s.path("auditail.toml"))
	w.judge(s, r.destroys)
	s.verify(s.path("archive"))
	if t.Failed() && *stormLog != "" {
		fmt.Fprintf(&log, "start once\n%s", last)
		w.check(os.WriteFile(*stormLog, []byte(log.String()), 0o600))
	}
}

// burn keeps processors busy until the test ends.
func burn(t *testing.T, processes int) {
	for range processes {
		c := exec.CommandContext(t.Context(), "sh", "-c", "while :; do :; done")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	}
}

// judge checks that the archive holds each line once. Lines that were
// destroyed may be missing, where a record of the agent says so.
func (w *lineWriter) judge(s *site, destroys bool) {
	seen := make([]uint8, w.lines)
	generations := map[string]span{} // lines of each
	ids, repeated := map[string]bool{}, 0
	var gaps []record
	said := map[string]bool{} // generations of which a record says that something is missing
	read, _ := s.eachRecord(s.path("archive"), func(r *record) {
		if ids[r.ID] {
			repeated++
		}
		ids[r.ID] = true
		if r.Event == "agent.gap" || r.Event == "agent.source" {
			gaps = append(gaps, *r)
			said[r.Source.Generation] = true
		}
		var i int
		if _, err := fmt.Sscanf(r.Actor.ID, "u%d", &i); err != nil {
			return
		}
		if seen[i]++; seen[i] > 1 {
			if repeated++; repeated < 5 {
				w.t.Logf("line %d again from %+v", i, r.Source)
			}
		}
		g, known := generations[r.Source.Generation]
		if !known {
			g = span{i, i + 1}
		}
		generations[r.Source.Generation] = span{min(g.from, i), max(g.to, i+1)}
	})
	lost, undestroyed := 0, 0
	var holes []span
	for i, times := range seen {
		if times > 0 {
			continue
		}
		if lost++; len(holes) > 0 && holes[len(holes)-1].to == i {
			holes[len(holes)-1].to++
		} else {
			holes = append(holes, span{i, i + 1})
		}
		if !slices.ContainsFunc(w.removed, func(s span) bool { return s.from <= i && i < s.to }) {
			undestroyed++
		}
	}
	w.t.Logf("%d lines, %d rotations, lost %d in %d holes, %d gaps", w.lines, w.turns, lost, len(holes), len(gaps))
	if undestroyed != 0 || repeated != 0 {
		w.t.Errorf("lost %d that were not destroyed, repeated %d; holes %v", undestroyed, repeated, holes)
	}
	if read != uint64(w.lines-lost) {
		w.t.Errorf("manifests count %d lines, want %d", read, w.lines-lost)
	}
	for _, g := range gaps {
		if !destroys && g.Event == "agent.gap" {
			w.t.Errorf("a gap where nothing was destroyed: %+v", g)
		}
	}
	for _, hole := range holes {
		for id, g := range generations {
			if g.to == hole.from && !said[id] && !slices.ContainsFunc(w.removed, func(s span) bool { return s.from == hole.from }) {
				w.t.Errorf("generation %s ends before the hole %v and nothing says so", id, hole)
			}
		}
	}
}

// record is what a storm looks at in one.
type record struct {
	ID, Event, Reason string
	Actor             struct{ ID string }
	Source            struct {
		Path, Generation string
		Offset           int64
	}
	Loss struct {
		Cause    string
		From, To int64
	}
}

// eachRecord hands over the records of an archive and counts the lines of its
// manifests.
func (s *site) eachRecord(archive string, visit func(*record)) (read uint64, batches int) {
	s.t.Helper()
	manifests, err := filepath.Glob(filepath.Join(archive, "seals", agentID, "*", "*"+seal.ManifestSuffix))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range manifests {
		m := s.manifest(name)
		read += m.Lines.Read
		if m.Kind != seal.Data {
			continue
		}
		f, err := os.Open(filepath.Join(archive, filepath.FromSlash(m.PayloadPath)))
		if err != nil {
			s.t.Fatal(err)
		}
		z, err := zstd.NewReader(f)
		if err != nil {
			s.t.Fatal(err)
		}
		records := json.NewDecoder(z)
		for {
			var r record
			if err := records.Decode(&r); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				s.t.Fatal(err)
			}
			visit(&r)
		}
		z.Close()
		if err := f.Close(); err != nil {
			s.t.Fatal(err)
		}
	}
	return read, len(manifests)
}
