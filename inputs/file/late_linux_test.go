package file

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// Writers hold files open long after they were rotated, again and again, and
// write to them now and then: after close_after has closed them, in two steps,
// while the agent is down, and where no event tells of it.
func TestWriterHoldsRotatedFile(t *testing.T) {
	t.Parallel()
	for name, events := range map[string]func() (*fsnotify.Watcher, error){
		"events":  fsnotify.NewWatcher,
		"polling": func() (*fsnotify.Watcher, error) { return nil, unix.EMFILE },
	} {
		t.Run(name, func(t *testing.T) {
			for _, glob := range []string{"x.log", "x.log*"} {
				t.Run(glob, func(t *testing.T) {
					inEveryMode(t, func(t *testing.T, s *scene) {
						s.config.Paths, s.events = []string{s.path(glob)}, events
						s.testLateWriters(glob == "x.log")
					})
				})
			}
		})
	}
}

// testLateWriters has writers hold rotated files. A file that a glob matches
// under its rotated name stays open; let says that theirs do not.
func (s *scene) testLateWriters(let bool) {
	s.config.CloseAfter = 200 * time.Millisecond
	s.write(100)
	s.start()
	s.caughtUp()
	var held []*os.File
	closed := func() {
		s.t.Helper()
		for _, f := range held {
			if let {
				letGo(s.t, f)
			}
		}
	}
	late := func(text string, lines ...string) {
		s.t.Helper()
		for i, f := range held {
			if _, err := fmt.Fprintf(f, text, i); err != nil {
				s.t.Fatal(err)
			}
			for _, line := range lines {
				s.expect(fmt.Sprintf(line, i))
			}
		}
	}
	for range 3 {
		for i := len(held); i > 0; i-- {
			s.rename(fmt.Sprintf("%s.%d", s.log, i), fmt.Sprintf("%s.%d", s.log, i+1))
		}
		s.rename(s.log, s.log+".1")
		held, s.file = append(held, s.file), nil
		s.write(10)
		s.caughtUp()
		closed()
		late("late in %d\n", "late in %d")
		s.caughtUp()
		closed()
		s.restart(func() { late("while it was down, in %d\n", "while it was down, in %d") })
		s.caughtUp()
		closed()
		late("and more in %d\n", "and more in %d")
		s.write(10)
		s.caughtUp()
	}
	for _, f := range held {
		f.Close()
	}
	s.finish()
	s.noGaps()
}
