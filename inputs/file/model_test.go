package file

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/inputstest"
)

// model is the reference: what stands in which file, and which lines were
// destroyed before a scan could have read them.
type model struct {
	t     *rapid.T
	dir   string
	to    *inputstest.Recorder
	next  int
	dated bool // rotated files are named by date, not by number
	day   int
	files map[string][]string // content by name; x.log is the live one
	fate  map[string]bool     // line → must be durable; false: may be
	read  map[string]bool     // lines that stood in a file at a finished scan
	// A pattern that joins nothing: the same lines, by way of the framer.
	multiline Multiline
	story     *story // for the report of a failure
}

// story is what happened to the files and what the input said and handed over,
// in one order.
type story struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write takes what the input logs.
func (s *story) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(line)
}

func (s *story) tell(format string, args ...any) {
	fmt.Fprintf(s, time.Now().Format("05.000")+" "+format+"\n", args...)
}

func (s *story) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (s *story) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

const live = "x.log"

func (m *model) path(name string) string { return filepath.Join(m.dir, name) }

func (m *model) check(err error) {
	if err != nil {
		m.t.Fatal(err)
	}
}

// destroyed notes that the lines of a file are gone.
func (m *model) destroyed(name string) {
	for _, line := range m.files[name] {
		if !m.read[line] {
			m.fate[line] = false
		}
	}
	delete(m.files, name)
}

func (m *model) append(t *rapid.T) {
	f, err := os.OpenFile(m.path(live), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	m.check(err)
	for range rapid.IntRange(0, 60).Draw(t, "lines") {
		line := fmt.Sprintf("%06d %s", m.next, strings.Repeat("y", m.next%37))
		m.next++
		m.fate[line] = true
		m.files[live] = append(m.files[live], line)
		_, err := f.WriteString(line + "\n")
		m.check(err)
	}
	m.check(f.Close())
}

// free returns the name that the next rotated file gets, moving others on
// where the scheme says so.
func (m *model) free() string {
	if m.dated {
		m.day++
		return fmt.Sprintf("%s-2025%04d", live, m.day)
	}
	for i := 12; i >= 1; i-- {
		for _, suffix := range []string{"", ".gz"} {
			from, to := fmt.Sprintf("%s.%d%s", live, i, suffix), fmt.Sprintf("%s.%d%s", live, i+1, suffix)
			if _, ok := m.files[from]; ok {
				m.check(os.Rename(m.path(from), m.path(to)))
				m.files[to] = m.files[from]
				delete(m.files, from)
			}
		}
	}
	return live + ".1"
}

func (m *model) rename(*rapid.T) {
	if len(m.files[live]) == 0 {
		return
	}
	name := m.free()
	m.check(os.Rename(m.path(live), m.path(name)))
	m.files[name] = m.files[live]
	delete(m.files, live)
}

func (m *model) copyTruncate(*rapid.T) {
	if len(m.files[live]) == 0 {
		return
	}
	name := m.free()
	data, err := os.ReadFile(m.path(live))
	m.check(err)
	m.check(os.WriteFile(m.path(name), data, 0o600))
	m.check(os.Truncate(m.path(live), 0))
	m.files[name] = m.files[live]
	m.files[live] = nil
}

// edit writes the log anew and moves it over the old one, as editors do. One
// of which little was read is taken for the first lines of another file.
func (m *model) edit(*rapid.T) {
	known := 0
	for _, line := range m.files[live] {
		if !m.read[line] {
			break
		}
		known += len(line) + 1
	}
	if known < leastEdited {
		return
	}
	data, err := os.ReadFile(m.path(live))
	m.check(err)
	m.check(os.WriteFile(m.path("edited"), data, 0o600))
	m.check(os.Rename(m.path("edited"), m.path(live)))
}

func (m *model) rotated() []string {
	var names []string
	for name := range m.files {
		if name != live {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (m *model) pack(t *rapid.T) {
	// What nobody has seen before it was compressed nobody can know of.
	names := slices.DeleteFunc(m.rotated(), func(name string) bool {
		return strings.HasSuffix(name, ".gz") || len(m.files[name]) == 0 || !m.read[m.files[name][0]]
	})
	if len(names) == 0 {
		return
	}
	name := rapid.SampledFrom(names).Draw(t, "name")
	info, err := os.Stat(m.path(name))
	m.check(err)
	in, err := os.Open(m.path(name))
	m.check(err)
	out, err := os.Create(m.path(name + ".gz"))
	m.check(err)
	w := gzip.NewWriter(out)
	_, err = io.Copy(w, in)
	m.check(err)
	m.check(w.Close())
	m.check(out.Close())
	m.check(in.Close())
	m.check(os.Chtimes(m.path(name+".gz"), info.ModTime(), info.ModTime()))
	m.check(os.Remove(m.path(name)))
	m.files[name+".gz"] = m.files[name]
	delete(m.files, name)
}

func (m *model) removeRotated(t *rapid.T) {
	names := m.rotated()
	if len(names) == 0 {
		return
	}
	name := rapid.SampledFrom(names).Draw(t, "name")
	m.check(os.Remove(m.path(name)))
	m.destroyed(name)
}

func (m *model) removeLive(*rapid.T) {
	if _, ok := m.files[live]; ok {
		m.check(os.Remove(m.path(live)))
		m.destroyed(live)
	}
}

func (m *model) truncate(*rapid.T) {
	if _, ok := m.files[live]; ok {
		m.check(os.Truncate(m.path(live), 0))
		m.destroyed(live)
		m.files[live] = nil
	}
}

func (m *model) input() *Input {
	in, err := New(Config{Name: "model", Paths: []string{m.path(live + "*")}, Multiline: m.multiline}, Deps{Logger: m.story.logger()})
	m.check(err)
	in.limits.maxLines = 25 // several chunks a scan
	return in
}

func (m *model) scan(*rapid.T) {
	m.check(m.input().Scan(context.Background(), m.to.Resume(), m.to))
	for _, lines := range m.files {
		for _, line := range lines {
			m.read[line] = true
		}
	}
}

// killedScan is a scan that ends in the middle, before or after a chunk was stored.
func (m *model) killedScan(t *rapid.T) {
	left := rapid.IntRange(0, 3).Draw(t, "appends")
	m.to.Before(func(int, inputs.Chunk) error {
		if left--; left < 0 {
			return inputstest.ErrKilled
		}
		return nil
	})
	err := m.input().Scan(context.Background(), m.to.Resume(), m.to)
	if err == nil && left < 0 {
		t.Fatal("a scan went on after a failed append")
	}
	m.to.Revive()
}

func (m *model) invariant(t *rapid.T) {
	count := map[string]int{}
	for _, line := range m.to.Data() {
		if count[line]++; count[line] > 1 {
			t.Fatalf("%q is durable twice, after\n%s", line, m.story)
		}
		if _, ok := m.fate[line]; !ok {
			t.Fatalf("%q was never written", line)
		}
	}
	for line := range m.read {
		if count[line] == 0 {
			t.Fatalf("%q stood in a file during a scan and is not durable, after\n%s", line, m.story)
		}
	}
}

// TestModel compares scans with a restart before each of them to the
// reference, over random sequences of what is done to a log.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{
			t: rt, dir: t.TempDir(), to: inputstest.NewRecorder(t),
			dated:     rapid.Bool().Draw(rt, "dated"),
			multiline: rapid.SampledFrom([]Multiline{{}, {Continue: "^never"}}).Draw(rt, "multiline"),
			files:     map[string][]string{}, fate: map[string]bool{}, read: map[string]bool{}, story: &story{},
		}
		m.append(rt)
		m.scan(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"append": m.append, "rename": m.rename, "copytruncate": m.copyTruncate, "pack": m.pack,
			"remove a rotated file": m.removeRotated, "remove the log": m.removeLive, "truncate": m.truncate,
			"edit": m.edit, "scan": m.scan, "killed scan": m.killedScan, "": m.invariant,
		})
		m.scan(rt)
		m.invariant(rt)
		for line, must := range m.fate {
			if must && !m.read[line] {
				rt.Fatalf("%q was neither destroyed nor read", line)
			}
		}
	})
}
