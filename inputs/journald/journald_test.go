package journald

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/inputstest"
)

// logged collects what an input logs.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
	t    testing.TB
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t.Output().Write(p)
	return l.text.Write(p)
}

func (l *logged) holds(what string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), what)
}

// setup is a journal and an input that reads it.
type setup struct {
	t       testing.TB
	dir     string
	program string
	log     *logged
	to      *inputstest.Recorder
	entries int
}

func newSetup(t testing.TB) *setup {
	return &setup{t: t, dir: t.TempDir(), program: newFake(t), log: &logged{t: t}, to: inputstest.NewRecorder(t)}
}

func (s *setup) input(config Config) *Input {
	s.t.Helper()
	config.Name, config.Directory = "test", s.dir
	in, err := New(config, Deps{Logger: slog.New(slog.NewTextHandler(s.log, nil)), Journalctl: s.program})
	if err != nil {
		s.t.Fatal(err)
	}
	in.limits.retry, in.limits.maxRetry = 5*time.Millisecond, 20*time.Millisecond
	return in
}

func (s *setup) start(config Config) *inputstest.Running {
	return inputstest.Start(s.t, s.input(config), s.to)
}

// add appends an entry with fields to the journal of the fake.
func (s *setup) add(file, fields string) {
	s.t.Helper()
	s.entries++
	s.append(file, fmt.Sprintf(`{"__CURSOR":"s=fake;i=%x;t=%x",%s}`+"\n", s.entries, 1795251741000000+s.entries, fields))
}

func (s *setup) append(file, text string) {
	s.t.Helper()
	f, err := os.OpenFile(filepath.Join(s.dir, file), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// message is a MESSAGE field as journalctl writes it.
func message(text string) string {
	if utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return r < ' ' }) < 0 {
		quoted, _ := json.Marshal(text)
		return `"MESSAGE":` + string(quoted)
	}
	var numbers []string
	for _, b := range []byte(text) {
		numbers = append(numbers, strconv.Itoa(int(b)))
	}
	return `"MESSAGE":[` + strings.Join(numbers, ",") + `]`
}

func (s *setup) put(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *setup) remove(name string) {
	s.t.Helper()
	if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
		s.t.Fatal(err)
	}
}

// within polls until the condition holds.
func within(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func TestConformance(t *testing.T) {
	inputstest.Test(t, func(t testing.TB) inputstest.Subject {
		s := newSetup(t)
		return inputstest.Subject{
			New: func(testing.TB) inputs.Input { return s.input(Config{}) },
			Feed: func(_ testing.TB, lines []string) {
				for _, line := range lines {
					s.add("x.json", message(line))
				}
			},
			Memory: inputstest.Keeps,
		}
	})
}

// contents of testdata/a and testdata/b: journals made by systemd-journal-remote.
func contents() (a, b []string) {
	a = []string{
		"plain", "", "two", "lines", "\x1b[31mred\x00\xff", "umlaut ä", strings.Repeat("x", 100_000), "\u202e reversed",
		"first", "second", "of another unit",
	}
	return a, []string{"later 0", "later 1", "later 2", "later 3", "later 4"}
}

// The same steps with the fake and, where it is installed, with journalctl and
// journal files: so the fake is known to behave like the real one.
func TestJournalFiles(t *testing.T) {
	run := func(name, program string, install func(s *setup, journal string) string) {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t)
			s.program = program
			t.Run("read, go on in another file, restart", func(t *testing.T) { testJournalFiles(t, s, install) })
			for step, test := range map[string]func(*testing.T, *setup){
				"the entry at the position is gone": testRotated,
				"start at the end":                  testStartEnd,
				"since":                             testSince,
				"one unit":                          testUnit,
			} {
				t.Run(step, func(t *testing.T) {
					s := newSetup(t)
					s.program = program
					install(s, "a")
					install(s, "b")
					test(t, s)
				})
			}
		})
	}
	run("fake", newFake(t), func(s *setup, journal string) string {
		data, err := os.ReadFile(filepath.Join("testdata", journal+".json"))
		if err != nil {
			s.t.Fatal(err)
		}
		return s.install(journal+".json", data)
	})
	if program, err := exec.LookPath("journalctl"); err == nil {
		run("journalctl", program, func(s *setup, journal string) string {
			packed, err := os.ReadFile(filepath.Join("testdata", journal+".journal.zst"))
			if err != nil {
				s.t.Fatal(err)
			}
			decoder, err := zstd.NewReader(nil)
			if err != nil {
				s.t.Fatal(err)
			}
			defer decoder.Close()
			data, err := decoder.DecodeAll(packed, nil)
			if err != nil {
				s.t.Fatal(err)
			}
			return s.install(journal+".journal", data)
		})
	}
}

// install makes a file appear in the journal's directory at once.
func (s *setup) install(name string, data []byte) string {
	s.t.Helper()
	beside := filepath.Join(s.t.TempDir(), name)
	if err := os.WriteFile(beside, data, 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(beside, filepath.Join(s.dir, name)); err != nil {
		s.t.Fatal(err)
	}
	return name
}

func (s *setup) wantData(t *testing.T, want []string) {
	t.Helper()
	if got := s.to.Data(); !slices.Equal(got, want) {
		t.Errorf("durable is %.300q, want %.300q", got, want)
	}
}

func testJournalFiles(t *testing.T, s *setup, install func(*setup, string) string) {
	a, b := contents()
	install(s, "a")
	running := s.start(Config{})
	s.to.WaitLines(len(a))
	running.Stop()
	s.wantData(t, a)
	if lines := s.to.Lines(); lines[0].Path != "journal:vllm.service" || lines[10].Path != "journal:cron.service" {
		t.Errorf("paths are %q and %q", lines[0].Path, lines[10].Path)
	}
	running = s.start(Config{})
	install(s, "b")
	s.to.WaitLines(len(a) + len(b))
	running.Stop()
	s.wantData(t, append(a, b...))
	if gaps := s.to.Gaps(); len(gaps) > 0 {
		t.Errorf("gaps: %+v", gaps)
	}
}

func testRotated(t *testing.T, s *setup) {
	a, b := contents()
	running := s.start(Config{Units: []string{"cron.service"}}) // the last entry of a
	s.to.WaitLines(1)
	running.Stop()
	for _, name := range []string{"a.json", "a.journal"} {
		os.Remove(filepath.Join(s.dir, name)) // one of them is there
	}
	running = s.start(Config{})
	s.to.WaitLines(1 + len(b))
	running.Stop()
	s.wantData(t, append(a[10:11:11], b...))
	gaps := s.to.Gaps()
	if len(gaps) != 1 || gaps[0].Cause != CauseRotated || gaps[0].From != 1 || gaps[0].To != 1 {
		t.Errorf("gaps are %+v, want one before line 1", gaps)
	}
}

func testStartEnd(t *testing.T, s *setup) {
	running := s.start(Config{Start: StartEnd})
	if !s.to.Wait(time.Minute, func() bool { return len(s.to.Gaps()) == 1 }) {
		t.Fatal("no gap of what is skipped within a minute")
	}
	running.Stop()
	s.wantData(t, []string{})
	if gap := s.to.Gaps()[0]; gap.Cause != inputs.CauseStartEnd || gap.Path != journalPath {
		t.Errorf("gap is %+v", gap)
	}
}

// The entries are a millisecond apart.
func testSince(t *testing.T, s *setup) {
	in := s.input(Config{Since: time.Hour})
	in.deps.Now = func() time.Time { return time.UnixMicro(1795251741000000 + 5000).Add(time.Hour) }
	running := inputstest.Start(t, in, s.to)
	a, b := contents()
	want := append(a[6:], b...) // the third of the entries before is two lines
	s.to.WaitLines(len(want))
	running.Stop()
	s.wantData(t, want)
}

// A cursor of an entry that no longer matches is still a cursor.
func testUnit(t *testing.T, s *setup) {
	a, b := contents()
	running := s.start(Config{Units: []string{"cron.service"}})
	s.to.WaitLines(1)
	running.Stop()
	running = s.start(Config{Units: []string{"vllm.service"}})
	s.to.WaitLines(1 + len(b))
	running.Stop()
	s.wantData(t, append(a[10:11:11], b...))
	if gaps := s.to.Gaps(); len(gaps) > 0 {
		t.Errorf("gaps: %+v", gaps)
	}
}

func TestSample(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "sample.json"))
	if err != nil {
		t.Fatal(err)
	}
	s := newSetup(t)
	s.install("sample.json", data)
	var want []string
	for line := range strings.Lines(string(data)) {
		var e struct{ Message any }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		text, ok := e.Message.(string)
		if list, isList := e.Message.([]any); isList {
			for _, number := range list {
				text += string([]byte{byte(number.(float64))})
			}
		} else if !ok {
			t.Fatalf("message is %v", e.Message)
		}
		want = append(want, strings.Split(strings.TrimSuffix(text, "\n"), "\n")...)
	}
	running := s.start(Config{})
	s.to.WaitLines(len(want))
	running.Stop()
	s.wantData(t, want)
}

func TestTheChildDies(t *testing.T) {
	s := newSetup(t)
	s.put("die-after", "7")
	var want []string
	for i := range 50 {
		want = append(want, fmt.Sprint("line ", i))
		s.add("x.json", message(want[i]))
	}
	running := s.start(Config{})
	s.to.WaitLines(len(want))
	running.Stop()
	s.wantData(t, want)
	if !s.log.holds("Failed to iterate through journal") {
		t.Error("the log does not say why journalctl ended")
	}
}

func TestTheChildRefuses(t *testing.T) {
	s := newSetup(t)
	s.put("refuse", "No journal files were opened due to insufficient permissions.\n"+strings.Repeat("long ", 1000))
	s.add("x.json", message("line"))
	running := s.start(Config{})
	within(t, "the reason in the log", func() bool { return s.log.holds("insufficient permissions") })
	s.remove("refuse")
	s.to.WaitLines(1)
	running.Stop()
	if s.log.holds(strings.Repeat("long ", 100)) {
		t.Error("the log holds all that journalctl says")
	}
}

func TestJournalctlIsMissing(t *testing.T) {
	s := newSetup(t)
	s.program = filepath.Join(s.dir, "none")
	err := s.start(Config{}).Result()
	if err == nil || !strings.Contains(err.Error(), "install systemd or remove the input") {
		t.Errorf("Run returned %v", err)
	}
}

func TestEntriesThatCanNotBeRead(t *testing.T) {
	s := newSetup(t)
	s.add("x.json", message("before"))
	s.append("x.json", "{\"__CURSOR\":\n")
	s.append("x.json", `{"MESSAGE":"no cursor"}`+"\n")
	s.add("x.json", message("between"))
	s.add("x.json", message(strings.Repeat("x", 70<<10)))
	s.add("x.json", `"_PID":"1"`)
	s.add("x.json", `"MESSAGE":null`)
	s.add("x.json", message("after"))
	running := s.start(Config{MaxLine: 256})
	s.to.WaitLines(3)
	running.Stop()
	s.wantData(t, []string{"before", "between", "after"})
	gaps := s.to.Gaps()
	if len(gaps) != 2 || gaps[0].From != 1 || gaps[1].From != 2 || gaps[0].Cause != CauseUnreadable {
		t.Errorf("gaps are %+v, want one before line 1 and one before line 2", gaps)
	}
	// Nothing of it again.
	running = s.start(Config{MaxLine: 256})
	s.add("x.json", message("last"))
	s.to.WaitLines(4)
	running.Stop()
	if n := len(s.to.Gaps()); n != 2 {
		t.Errorf("%d gaps after a restart", n)
	}
}

func TestLongMessages(t *testing.T) {
	s := newSetup(t)
	long := strings.Repeat("0123456789", 100)
	s.add("x.json", message(long))
	s.add("x.json", message("\x01"+long))
	running := s.start(Config{MaxLine: 256})
	s.to.WaitLines(2)
	running.Stop()
	for i, whole := range []string{long, "\x01" + long} {
		if l := s.to.Lines()[i]; l.Data != whole[:256] || l.Cut == nil || *l.Cut != inputstest.Whole([]byte(whole)) {
			t.Errorf("line %d is %d bytes, cut %+v", i, len(l.Data), l.Cut)
		}
	}
}

// An empty journal ends at its beginning: what comes then is read.
func TestStartAtTheEndOfAnEmptyJournal(t *testing.T) {
	s := newSetup(t)
	running := s.start(Config{Start: StartEnd})
	within(t, "the input follows", func() bool {
		_, err := os.Stat(filepath.Join(s.dir, "following"))
		return err == nil
	})
	s.add("x.json", message("first"))
	s.to.WaitLines(1)
	running.Stop()
	if gaps := s.to.Gaps(); len(gaps) > 0 {
		t.Errorf("gaps: %+v", gaps)
	}
}

func TestNothingIsLeftRunning(t *testing.T) {
	s := newSetup(t)
	s.add("x.json", message("line"))
	before := runtime.NumGoroutine()
	for range 5 {
		running := s.start(Config{})
		s.to.WaitLines(1)
		running.Stop()
	}
	within(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

func TestConfig(t *testing.T) {
	for want, config := range map[string]Config{
		"name is missing":  {},
		"units":            {Name: "n", Units: []string{"a b"}},
		"units: \"\"":      {Name: "n", Units: []string{""}},
		"identifiers":      {Name: "n", Identifiers: []string{"a\nb"}},
		"start =":          {Name: "n", Start: "middle"},
		"since is":         {Name: "n", Since: -1},
		"give one of them": {Name: "n", Since: 1, Start: StartEnd},
		"must be absolute": {Name: "n", Directory: "x"},
		"max_line is 10":   {Name: "n", MaxLine: 10},
	} {
		if _, err := New(config, Deps{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%+v) returned %v, want %q", config, err, want)
		}
	}
	c := Config{Name: "n", Units: []string{"vllm@*.service", `dev-disk\x2d1.device`}, Identifiers: []string{"--help", "vllm"}}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if got := c.selection(); got[2] != "--identifier=--help" {
		t.Errorf("the selection is %q", got)
	}
}
