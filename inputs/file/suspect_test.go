package file

import (
	"os"
	"testing"

	"github.com/fsnotify/fsnotify"
)

// watching returns a follower that looked at the scene's directory twice. No
// goroutine takes its events: the test makes them up.
func (s *scene) watching() *follower {
	s.t.Helper()
	in := newInput(s.t, s.config)
	f, err := in.follower(nil, s.to)
	if err != nil {
		s.t.Fatal(err)
	}
	f.watch = newWatcher(s.t.Context(), f.log, fsnotify.NewWatcher, func(string) (earlyFile, arrived) { return earlyFile{}, unwanted })
	s.t.Cleanup(func() { f.watch.close(); f.release() })
	f.look(s.t.Context())
	f.gather(s.t.Context())
	f.look(s.t.Context())
	return f
}

// waits makes sure that a file is held for a copy, and not followed as one of its own.
func (s *scene) waits(f *follower, name string) {
	s.t.Helper()
	st, err := statPath(name)
	if err != nil {
		s.t.Fatal(err)
	}
	if g := f.byIdent[st.id]; g != nil {
		s.t.Errorf("%s is followed as a file of its own", g.path)
	}
	if _, ok := f.suspects[st.id]; !ok {
		s.t.Error("it is no suspect")
	}
}

// A copy begins to be made of what was truncated and written anew since
// anybody looked: it is compared with what is in the log now.
func TestCopyOfWhatNobodySawYet(t *testing.T) {
	t.Parallel()
	s := newScene(t, without)
	s.config.Paths = []string{s.log + "*"}
	s.write(14)
	f := s.watching()
	s.truncate()
	s.write(50)
	appendTo(t, s.log+".1", "")
	f.look(t.Context())
	s.waits(f, s.log+".1")
}

// A copy begins to be made of a log that an editor wrote anew since anybody
// looked: the copy may be listed before the log is known again.
func TestCopyOfWhatWasEdited(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"x.log.1", "x-20251121.log"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, without)
			s.config.Paths = []string{s.path("x*")}
			s.write(50)
			f := s.watching()
			s.copyTo(s.path("edited"))
			s.rename(s.path("edited"), s.log)
			appendTo(t, s.path(name), "")
			f.look(t.Context())
			s.waits(f, s.path(name))
		})
	}
}

// An empty copy stays one, however long nothing comes: whoever makes it is slow.
func TestSlowCopy(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		s.config.Paths = []string{s.log + "*"}
		s.write(5)
		s.start()
		s.caughtUp()
		appendTo(t, s.log+".1", "")
		s.settle() // longer than the grace period
		s.restart(func() {})
		s.settle()
		s.copyTo(s.log + ".1")
		s.truncate()
		s.write(3)
		s.finish()
	})
}

func TestArrivals(t *testing.T) {
	t.Parallel()
	first, second := fileID{device: 1, inode: 7, born: 1}, fileID{device: 1, inode: 7, born: 2}
	for name, test := range map[string]struct {
		happens func(a arrivals) bool
		want    bool
	}{
		"opened, written, deleted": {func(a arrivals) bool {
			return a.came("x", first) || a.wrote2("x") || a.went("x") || a.came("x", second)
		}, false},
		"gone when it was heard of": {func(a arrivals) bool {
			return a.came("x", fileID{}) || a.wrote2("x") || a.went("x")
		}, true},
		"gone, and never written to": {func(a arrivals) bool {
			return a.came("x", fileID{}) || a.went("x") || a.came("x", first)
		}, false},
		"the next one was opened in its place": {func(a arrivals) bool {
			return a.came("x", second) || a.wrote2("x") || a.went("x") || a.came("x", second)
		}, true},
		"overwritten by a rename": {func(a arrivals) bool {
			return a.came("x", second) || a.wrote2("x") || a.came("x", second)
		}, true},
		"renamed": {func(a arrivals) bool {
			if a.came("x", fileID{}) || a.wrote2("x") {
				return true
			}
			a.left("x")
			return a.went("x") || a.came("x", first)
		}, false},
		"nobody heard of its creation": {func(a arrivals) bool { return a.wrote2("x") || a.went("x") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := test.happens(arrivals{}); got != test.want {
				t.Errorf("vanished: %v", got)
			}
		})
	}
}

// wrote2 is wrote in an expression.
func (a arrivals) wrote2(name string) bool { a.wrote(name); return false }

// What was created, written to and deleted before anybody could open it can not
// be read; that it was there is written down.
func TestVanishedUnopened(t *testing.T) {
	t.Parallel()
	s := newScene(t, without)
	s.config.Paths = []string{s.path("*.log")}
	appendTo(t, s.path("other.log"), "watched\n")
	f := s.watching()
	f.watch.open = f.config.openEarly
	for _, op := range []fsnotify.Op{fsnotify.Create, fsnotify.Write, fsnotify.Remove} {
		f.watch.note(fsnotify.Event{Name: s.log, Op: op})
	}
	f.look(t.Context())
	if gaps := f.chunk.Gaps; len(gaps) != 1 || gaps[0].Path != s.log || gaps[0].From != gaps[0].To {
		t.Errorf("gaps %+v", gaps)
	}
}

// Where events tell all, idle files are listed rarely; what moves ends that.
func TestRest(t *testing.T) {
	t.Parallel()
	s := newScene(t, without)
	s.config.Paths = []string{s.path("*.log")}
	s.write(10)
	f := s.watching()
	if want := tellsAll(s.dir); f.resting != want {
		t.Fatalf("resting: %v, events tell all: %v", f.resting, want)
	}
	f.glance(f.now())
	if f.lookDue {
		t.Error("a glance at what did not change makes a look due")
	}
	f.resting = true
	f.stir(s.path("unrelated.txt"))
	if !f.resting {
		t.Error("a file that no glob leads to ends the rest")
	}
	f.stir(s.path("new.log"))
	if f.resting {
		t.Error("a file that is not followed was written to, and the rest goes on")
	}
	if err := os.Rename(s.dir, s.dir+"-moved"); err != nil {
		t.Fatal(err)
	}
	f.glance(f.now())
	if !f.lookDue {
		t.Error("the directory is gone, and no look is due")
	}
}
