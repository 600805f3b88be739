package file

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/inputs/inputstest"
)

// heldOpen waits until somebody beside the writer holds the file of a name open:
// the input has taken it.
func heldOpen(t *testing.T, name string) {
	t.Helper()
	awaitHolders(t, name, func(holders int) bool { return holders > 1 })
}

// letGo waits until nobody but the writer holds its file open.
func letGo(t *testing.T, f *os.File) {
	t.Helper()
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	awaitHolders(t, name, func(holders int) bool { return holders == 1 })
}

func awaitHolders(t *testing.T, name string, enough func(holders int) bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(2 * time.Minute)
	defer late.Stop()
	for {
		links, err := filepath.Glob("/proc/self/fd/*")
		if err != nil {
			t.Fatal(err)
		}
		holders := 0
		for _, link := range links {
			if target, err := os.Readlink(link); err == nil && target == name {
				holders++
			}
		}
		if enough(holders) {
			return
		}
		select {
		case <-tick.C:
		case <-late.C:
			t.Fatalf("%s is held open by %d", name, holders)
		}
	}
}

// A file that is gone before the next look is read, because the event of its
// creation opened it: it was deleted, or moved where nobody looks for it.
func TestGoneBeforeTheNextLook(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(s *scene){
		"deleted": func(s *scene) { s.remove(s.log) },
		"moved":   func(s *scene) { s.rename(s.log, filepath.Join(filepath.Dir(s.dir), "away")) },
		"link switched": func(s *scene) {
			s.remove(s.log)
			if err := os.Symlink(s.path("nowhere"), s.log); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, without)
			appendTo(t, s.path("other.log"), "watched\n")
			s.config.Paths = []string{s.path("*.log")}
			s.expect("watched")
			in := newInput(t, s.config)
			// No look for as long as the test runs, once the directory is watched.
			in.limits.poll, in.limits.list = 3*time.Second, 3*time.Second
			s.running = inputstest.Start(t, in, s.to)
			s.to.WaitLines(1)
			target := s.log
			if name == "link switched" {
				target = s.path("pods-0.txt")
				appendTo(t, target, "")
				if err := os.Symlink(target, s.log); err != nil {
					t.Fatal(err)
				}
			}
			s.write(500)
			heldOpen(t, target)
			s.write(500)
			s.closeWriter()
			leave(s)
			s.finish()
			s.noGaps()
		})
	}
}

// Of files that come and go faster than anybody looks, as many are held open
// as there is room for, and all are let go.
func TestEarlyFilesAreBounded(t *testing.T) {
	t.Parallel()
	w := &watcher{}
	for i := range 2 * maxEarly {
		name := filepath.Join(t.TempDir(), fmt.Sprintf("%d.log", i))
		appendTo(t, name, "x\n")
		config := Config{Paths: []string{filepath.Dir(name) + "/*.log"}}
		e, ok := config.openEarly(name)
		if ok != opened {
			t.Fatal("not opened")
		}
		w.keepEarly(e)
	}
	early, _ := w.takeEarly()
	if len(early) != maxEarly || !strings.HasSuffix(early[maxEarly-1].name, fmt.Sprintf("%d.log", 2*maxEarly-1)) {
		t.Errorf("%d are kept", len(early))
	}
	for _, e := range early {
		if _, err := e.file.stat(); err != nil {
			t.Error(err)
		}
		if err := e.file.close(); err != nil {
			t.Error(err)
		}
	}
}

// What comes into a directory is noticed at once beside a log that is written to all
// the time, of which events tell nothing new.
func TestGoneBesideABusyLog(t *testing.T) {
	t.Parallel()
	s := newScene(t, without)
	s.config.Paths = []string{s.path("*.log")}
	appendTo(t, s.path("busy.log"), "busy\n")
	s.expect("busy")
	s.running = inputstest.Start(t, newInput(t, s.config), s.to)
	s.to.WaitLines(1)
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		tick, lines := time.NewTicker(time.Millisecond), 0
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				appendTo(t, s.path("busy.log"), fmt.Sprintf("busy %d\n", lines))
				lines++
			case <-stop:
				stopped <- lines
				return
			}
		}
	}()
	s.to.WaitLines(100)
	for range 5 {
		s.write(100)
		heldOpen(t, s.log)
		s.closeWriter()
		s.remove(s.log)
	}
	close(stop)
	for i := range <-stopped {
		s.expect(fmt.Sprintf("busy %d", i))
	}
	s.finish()
	s.noGaps()
}
