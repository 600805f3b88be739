package file

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/inputstest"
	"github.com/auditail/auditail/internal/clocktest"
)

// scene is a directory with a log that a writer fills and a rotation shuffles
// while an input follows it.
type scene struct {
	t       *testing.T
	dir     string
	log     string // path of the log
	config  Config
	to      *inputstest.Recorder
	running *inputstest.Running
	file    *os.File // what the writer holds open
	want    []string // every line that was written
	opened  int      // lines that were written when the file was opened
	mode    restart
	clock   clocktest.Clock // the agent's
	events  func() (*fsnotify.Watcher, error)
}

// restart is what happens to the agent in the middle of a case.
type restart string

const (
	without restart = "running through"
	clean   restart = "clean restart"
	killed  restart = "kill -9"
)

func newScene(t *testing.T, mode restart) *scene {
	dir := t.TempDir()
	s := &scene{t: t, dir: dir, log: filepath.Join(dir, "x.log"), to: inputstest.NewRecorder(t), mode: mode}
	s.config = Config{Paths: []string{s.log}}
	t.Cleanup(s.closeWriter)
	return s
}

// inEveryMode runs a case with and without a restart in its middle.
func inEveryMode(t *testing.T, run func(t *testing.T, s *scene)) {
	for _, mode := range []restart{without, clean, killed} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			run(t, newScene(t, mode))
		})
	}
}

func (s *scene) path(name string) string { return filepath.Join(s.dir, name) }

func (s *scene) start() {
	in := newInput(s.t, s.config)
	in.deps.Now = s.clock.Now
	if s.events != nil {
		in.events = s.events
	}
	s.running = inputstest.Start(s.t, in, s.to)
}

// down stops the agent as the mode says; it returns false when it goes on.
func (s *scene) down() bool {
	switch s.mode {
	case clean:
		s.running.Stop()
	case killed:
		s.running.Kill(s.to)
	default:
		return false
	}
	return true
}

// restart is a stop, what happens meanwhile, and a start.
func (s *scene) restart(meanwhile func()) {
	stopped := s.down()
	meanwhile()
	if stopped {
		s.start()
	}
}

func (s *scene) openWriter() {
	s.t.Helper()
	s.closeWriter()
	f, err := os.OpenFile(s.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	s.file, s.opened = f, len(s.want)
}

// seen waits until the input has read from the writer's file: what leaves the
// glob before anybody could look is in nobody's glob.
func (s *scene) seen() {
	s.t.Helper()
	if len(s.want) > s.opened {
		s.to.WaitLines(s.opened + 1)
	}
}

func (s *scene) closeWriter() {
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
}

// write writes n further lines.
func (s *scene) write(n int) {
	s.t.Helper()
	if s.file == nil {
		s.openWriter()
	}
	var batch strings.Builder
	for range n {
		line := fmt.Sprintf("%08d the quick brown fox jumps over the lazy dog and back again %s", len(s.want), strings.Repeat("·", len(s.want)%40))
		s.want = append(s.want, line)
		batch.WriteString(line)
		batch.WriteByte('\n')
	}
	if _, err := s.file.WriteString(batch.String()); err != nil {
		s.t.Fatal(err)
	}
}

// stream writes n lines at 50,000 a second, calling between in each of the
// given number of pauses.
func (s *scene) stream(n, pauses int, between func(i int)) {
	s.t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	batches := n / 50
	for i := range batches {
		<-ticker.C
		s.write(50)
		if pauses > 0 && (i+1)%(batches/(pauses+1)) == 0 && (i+1)/(batches/(pauses+1)) <= pauses {
			between((i + 1) / (batches / (pauses + 1)))
		}
	}
}

func (s *scene) caughtUp() { s.t.Helper(); s.to.WaitLines(len(s.want)) }

// finish waits for all lines, and for some more that must not come.
func (s *scene) finish() {
	s.t.Helper()
	s.to.Wait(2*time.Minute, func() bool { return s.to.Count() >= len(s.want) })
	s.to.Wait(350*time.Millisecond, func() bool { return s.to.Count() > len(s.want) })
	s.running.Stop()
	s.to.Same(s.want)
}

func (s *scene) noGaps() {
	s.t.Helper()
	for _, gap := range s.to.Gaps() {
		// An empty gap says that bytes may be gone that nobody saw: a file
		// that disappeared while the agent was down.
		if gap.From != gap.To || s.mode == without {
			s.t.Errorf("gap where nothing was lost: %+v", gap)
		}
	}
}

func (s *scene) rename(from, to string) {
	s.t.Helper()
	if err := os.Rename(from, to); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) remove(name string) {
	s.t.Helper()
	if err := os.Remove(name); err != nil {
		s.t.Fatal(err)
	}
}

// rotate is what logrotate does with "create": x.log.2 becomes x.log.3 and so
// on, x.log becomes x.log.1, and the writer opens a new x.log.
func (s *scene) rotate() {
	s.t.Helper()
	for i := 40; i >= 1; i-- {
		from := fmt.Sprintf("%s.%d", s.log, i)
		if _, err := os.Stat(from); err == nil {
			s.rename(from, fmt.Sprintf("%s.%d", s.log, i+1))
		}
	}
	s.rename(s.log, s.log+".1")
	s.openWriter()
}

func (s *scene) copyTo(name string) {
	s.t.Helper()
	from, err := os.Open(s.log)
	if err != nil {
		s.t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		s.t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) truncate() {
	s.t.Helper()
	if err := os.Truncate(s.log, 0); err != nil {
		s.t.Fatal(err)
	}
}

func TestRenameAndCreate(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		s.start()
		s.stream(30_000, 5, func(i int) {
			if i == 3 {
				s.restart(s.rotate)
				return
			}
			s.rotate()
		})
		s.finish()
		s.noGaps()
	})
}

// TestKillStorm rotates and kills again and again while lines come in.
func TestKillStorm(t *testing.T) {
	t.Parallel()
	s := newScene(t, killed)
	s.start()
	s.write(10)
	s.caughtUp()
	s.stream(100_000, 36, func(i int) {
		switch i % 4 {
		case 0:
			s.rotate()
		case 1:
			s.restart(func() {})
		case 2:
			s.restart(func() { s.write(200); s.rotate(); s.write(200) })
		case 3:
			s.restart(s.rotate)
			s.rotate()
		}
	})
	s.finish()
	s.noGaps()
}

func TestRenameWithLateWriter(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		s.start()
		s.stream(10_000, 3, func(int) {
			old := s.file
			s.file = nil
			s.rename(s.log, s.log+".1")
			s.openWriter()
			current := s.file
			s.file = old // it has not noticed the rotation yet
			s.restart(func() { s.write(500) })
			s.stream(1000, 0, nil)
			s.file = current
			old.Close()
			if s.mode != without {
				s.caughtUp() // an agent that starts must see the file before it is gone
			}
			s.remove(s.log + ".1")
			s.write(50)
		})
		s.finish()
		s.noGaps()
	})
}

func TestSeveralRotationsWhileStopped(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		for i := range 3 { // never seen: older than the first start
			s.write(100)
			s.closeWriter()
			s.rename(s.log, fmt.Sprintf("%s.%d", s.log, 3-i))
		}
		s.want = nil
		s.write(200)
		s.start()
		s.caughtUp()
		s.restart(func() {
			for range 4 {
				s.write(300)
				s.rotate()
			}
			s.write(300)
		})
		s.finish()
		s.noGaps()
	})
}

func TestSeveralRotationsWhileBehind(t *testing.T) {
	t.Parallel()
	for _, keep := range []int{8, 1} {
		t.Run(fmt.Sprintf("keeping %d", keep), func(t *testing.T) {
			s := newScene(t, without)
			release, entered := make(chan struct{}), make(chan struct{}, 1)
			first := true
			s.to.Before(inputBlock(&first, entered, release))
			s.write(100)
			in := newInput(t, s.config)
			s.running = inputstest.Start(t, in, s.to)
			<-entered
			for i := range 5 {
				s.stream(2000, 0, nil)
				s.rotate()
				if keep == 1 {
					// What nobody had time to open before it was removed is
					// gone for everybody; what was opened is read.
					followed(t, in, i+1)
					os.Remove(s.log + ".2")
				}
			}
			close(release)
			s.finish()
			s.noGaps()
		})
	}
}

// followed waits until the input follows that many files.
func followed(t *testing.T, in inputs.Lagger, files int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for in.Lag().Sources < files {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("%d of %d files are followed", in.Lag().Sources, files)
		}
	}
}

func TestDeleteAndCreate(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		s.start()
		s.stream(20_000, 4, func(i int) {
			if i == 2 && s.mode != without {
				s.caughtUp()
				s.down()
				s.start()
				s.to.Wait(time.Second, func() bool { return false })
			}
			s.remove(s.log)
			s.openWriter()
		})
		s.finish()
		s.noGaps()
	})
}

// inputBlock returns a hook that makes the first Append wait for release.
func inputBlock(first *bool, entered chan<- struct{}, release <-chan struct{}) func(int, inputs.Chunk) error {
	return func(int, inputs.Chunk) error {
		if *first {
			*first = false
			entered <- struct{}{}
			<-release
		}
		return nil
	}
}

func TestDeleteWithUnreadRest(t *testing.T) {
	t.Parallel()
	t.Run("descriptor held", func(t *testing.T) {
		s := newScene(t, without)
		release, entered := make(chan struct{}), make(chan struct{}, 1)
		first := true
		s.to.Before(inputBlock(&first, entered, release))
		s.write(100)
		s.start()
		<-entered
		s.write(50_000)
		s.closeWriter()
		s.remove(s.log)
		close(release)
		s.finish()
		s.noGaps()
	})
	t.Run("stopped", func(t *testing.T) {
		s := newScene(t, clean)
		s.write(100)
		s.start()
		s.caughtUp()
		s.restart(func() {
			s.write(50)
			s.want = s.want[:100]
			s.closeWriter()
			s.remove(s.log)
			s.write(70) // the new file
		})
		s.caughtUp()
		if !s.to.Wait(10*time.Second, func() bool { return len(s.to.Gaps()) > 0 }) {
			t.Fatal("no gap for a file that was removed unread")
		}
		s.finish()
		if gap := s.to.Gaps()[0]; gap.Path != s.log || gap.From == 0 {
			t.Errorf("gap %+v", gap)
		}
	})
}

func TestSymlinkSwitch(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		if err := os.Mkdir(s.path("pods"), 0o700); err != nil {
			t.Fatal(err)
		}
		link := func(i int) {
			s.closeWriter()
			s.log = s.path(fmt.Sprintf("pods/%d.txt", i))
			s.openWriter()
			if err := os.Symlink(s.log, s.path("new")); err != nil {
				t.Fatal(err)
			}
			s.rename(s.path("new"), s.path("x.log"))
		}
		link(0)
		s.start()
		s.stream(10_000, 4, func(i int) {
			s.seen()
			if i == 2 {
				s.restart(func() { s.write(20); link(i) })
				return
			}
			link(i)
		})
		s.finish()
		s.noGaps()
	})
}

func TestLogrotateSchemes(t *testing.T) {
	t.Parallel()
	for name, rotated := range map[string]func(s *scene, i int) string{
		"dateext":           func(s *scene, i int) string { return fmt.Sprintf("%s-202511%02d", s.log, i) },
		"dateext extension": func(s *scene, i int) string { return s.path(fmt.Sprintf("x-202511%02d.log", i)) },
		"olddir":            func(s *scene, i int) string { return s.path(fmt.Sprintf("old/x.log.%d", 9-i)) },
	} {
		t.Run(name, func(t *testing.T) {
			inEveryMode(t, func(t *testing.T, s *scene) {
				if err := os.Mkdir(s.path("old"), 0o700); err != nil {
					t.Fatal(err)
				}
				s.start()
				s.stream(6000, 4, func(i int) {
					s.seen()
					turn := func() { s.write(10); s.rename(s.log, rotated(s, i)); s.openWriter() }
					if i == 2 {
						s.restart(func() { turn(); i = 3; turn() })
						return
					}
					if i != 3 {
						turn()
					}
				})
				s.finish()
				s.noGaps()
			})
		})
	}
}

func TestCopyTruncate(t *testing.T) {
	t.Parallel()
	for _, glob := range []string{"x.log", "x.log*"} {
		t.Run(glob, func(t *testing.T) {
			inEveryMode(t, func(t *testing.T, s *scene) {
				s.config.Paths = []string{s.path(glob)}
				s.start()
				// A writer that pauses while the file is copied and truncated:
				// then nothing may be lost.
				s.stream(20_000, 5, func(i int) {
					turn := func() {
						for j := 8; j >= 1; j-- {
							from := fmt.Sprintf("%s.%d", s.log, j)
							if _, err := os.Stat(from); err == nil {
								s.rename(from, fmt.Sprintf("%s.%d", s.log, j+1))
							}
						}
						s.copyTo(s.log + ".1")
						s.truncate()
					}
					if i == 3 {
						s.restart(func() { s.write(100); turn() })
						return
					}
					s.seen()
					turn()
				})
				s.finish()
				s.mode = clean // a truncation leaves doubt even when nobody writes
				s.noGaps()
			})
		})
	}
}

func TestCopyTruncateWhileWriting(t *testing.T) {
	t.Parallel()
	s := newScene(t, without)
	s.config.Paths = []string{s.path("x.log*")}
	s.start()
	s.write(1000)
	turns := make(chan struct{})
	go func() {
		defer close(turns)
		for i := range 5 {
			s.to.Wait(300*time.Millisecond, func() bool { return false })
			s.copyTo(fmt.Sprintf("%s.%d", s.log, 9-i))
			s.truncate()
		}
	}()
	s.stream(100_000, 0, nil)
	<-turns
	s.to.Wait(3*time.Second, func() bool { return s.to.Count() >= len(s.want) })
	s.running.Stop()
	seen := map[string]int{}
	for _, line := range s.to.Data() {
		seen[line]++
	}
	lost := 0
	for _, line := range s.want {
		if seen[line] == 0 {
			lost++
		}
		if seen[line] > 1 {
			t.Fatalf("%.20q comes %d times", line, seen[line])
		}
	}
	t.Logf("%d of %d lines lost in the window of copytruncate, gaps %+v", lost, len(s.want), s.to.Gaps())
	if lost > 0 && len(s.to.Gaps()) == 0 {
		t.Error("lines were lost and no gap says so")
	}
}
