package journald

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary stand in for journalctl, see fakeJournalctl.
func TestMain(m *testing.M) {
	if os.Getenv("FAKE_JOURNALCTL") != "" {
		if err := fakeJournalctl(os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	m.Run()
}

// newFake returns a program that does what journalctl does with the arguments
// that the input gives, over a directory of files with an entry's JSON a line.
func newFake(t testing.TB) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "journalctl")
	// Through a script, because the input gives its child no environment.
	text := fmt.Sprintf("#!/bin/sh\nGORACE=atexit_sleep_ms=0 FAKE_JOURNALCTL=1 exec '%s' \"$@\"\n", self)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return script
}

// fakeRun is one run of the fake.
type fakeRun struct {
	dir        string
	out        *bufio.Writer
	cursor     string
	since      int64 // microseconds
	units      []string
	lines      int
	follow     bool
	shown      int
	dieAfter   int
	read       map[string]int64
	cursorTime int64
}

func fakeJournalctl(args []string, out io.Writer) error {
	f := &fakeRun{out: bufio.NewWriter(out), lines: -1, dieAfter: -1, read: map[string]int64{}}
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		switch name {
		case "--directory":
			f.dir = value
		case "--cursor":
			f.cursor = value
		case "--since":
			seconds, micros, _ := strings.Cut(strings.TrimPrefix(value, "@"), ".")
			f.since, _ = strconv.ParseInt(seconds+micros, 10, 64)
		case "--unit":
			f.units = append(f.units, value)
		case "--lines":
			f.lines, _ = strconv.Atoi(value)
		case "--follow":
			f.follow = true
		case "--output", "--output-fields", "--all", "--no-pager", "--no-tail", "--quiet":
		default:
			return fmt.Errorf("journalctl: unrecognized option '%s'", arg)
		}
	}
	if _, err := os.Stat(f.dir); err != nil {
		return fmt.Errorf("Failed to open %s: %w", f.dir, err)
	}
	if text, err := os.ReadFile(filepath.Join(f.dir, "refuse")); err == nil {
		return fmt.Errorf("%s", text)
	}
	if text, err := os.ReadFile(filepath.Join(f.dir, "die-after")); err == nil && f.follow {
		f.dieAfter, _ = strconv.Atoi(string(text))
	}
	if f.cursor != "" {
		f.cursorTime = timeOf(f.cursor)
	}
	if f.follow {
		// For tests that have to know when the input follows.
		if err := os.WriteFile(filepath.Join(f.dir, "following"), nil, 0o600); err != nil {
			return err
		}
	}
	return f.run()
}

func timeOf(cursor string) int64 {
	_, rest, _ := strings.Cut(cursor, ";t=")
	hex, _, _ := strings.Cut(rest, ";")
	n, _ := strconv.ParseInt(hex, 16, 64)
	return n
}

func (f *fakeRun) run() error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		var last string
		names, _ := filepath.Glob(filepath.Join(f.dir, "*.json"))
		for _, name := range names {
			file, err := os.Open(name)
			if err != nil {
				continue // removed meanwhile
			}
			file.Seek(f.read[name], io.SeekStart)
			lines := bufio.NewReader(file)
			for {
				line, err := lines.ReadString('\n')
				if err != nil {
					break
				}
				f.read[name] += int64(len(line))
				if !f.wanted(line) {
					continue
				}
				if f.lines == 1 && f.cursor == "" {
					last = line
					continue
				}
				if f.shown == f.dieAfter {
					f.out.WriteString(line[:len(line)/2])
					f.out.Flush()
					return fmt.Errorf("Failed to iterate through journal: Bad message")
				}
				f.out.WriteString(line)
				if f.shown++; f.shown == f.lines {
					file.Close()
					return f.out.Flush()
				}
			}
			file.Close()
		}
		f.out.WriteString(last)
		if err := f.out.Flush(); err != nil || !f.follow || os.Getppid() == 1 {
			return err
		}
		<-tick.C
	}
}

func (f *fakeRun) wanted(line string) bool {
	var e struct {
		Cursor string `json:"__CURSOR"`
		Unit   string `json:"_SYSTEMD_UNIT"`
	}
	if json.Unmarshal([]byte(line), &e) != nil || e.Cursor == "" {
		return f.lines != 1 // damage is for the input to see
	}
	at := timeOf(e.Cursor)
	if f.cursor != "" && at < f.cursorTime || at < f.since {
		return false
	}
	return len(f.units) == 0 || slices.Contains(f.units, e.Unit)
}
