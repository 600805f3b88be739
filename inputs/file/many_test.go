package file

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A recursive glob over 10,000 files and a loop of symbolic links.
func TestTenThousandFiles(t *testing.T) {
	t.Parallel()
	s := newScene(t, killed)
	s.config.Paths = []string{s.path("**/*.log")}
	const dirs, files = 20, 500
	for d := range dirs {
		dir := s.path(fmt.Sprint(d))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(s.dir, filepath.Join(dir, "loop")); err != nil {
			t.Fatal(err)
		}
		for i := range files {
			line := fmt.Sprintf("file %d of %d", i, d)
			appendTo(t, filepath.Join(dir, fmt.Sprintf("%d.log", i)), line+"\n")
			s.expect(line)
		}
	}
	s.start()
	s.to.WaitLines(dirs * files / 2)
	s.restart(func() {
		for d := range dirs {
			appendTo(t, s.path(fmt.Sprintf("%d/7.log", d)), fmt.Sprintf("more of %d\n", d))
			s.expect(fmt.Sprintf("more of %d", d))
		}
	})
	s.finish()
	s.noGaps()
}

// A thousand files that are written to all the time, 50,000 lines a second
// together, some of them rotated, and a kill in the middle.
func TestThousandActiveFiles(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		s.config.Paths = []string{s.path("*.log")}
		const files, rounds = 1000, 30
		writers := make([]*os.File, files)
		open := func(i int) {
			f, err := os.OpenFile(s.path(fmt.Sprintf("%d.log", i)), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			writers[i] = f
		}
		s.start()
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for round := range rounds {
			for i := range files {
				switch {
				case round == 0:
					open(i)
				case round%10 == 9 && i%50 == 0:
					writers[i].Close()
					s.rename(s.path(fmt.Sprintf("%d.log", i)), s.path(fmt.Sprintf("%d.log.%d", i, rounds-round)))
					open(i)
				}
				line := fmt.Sprintf("line %d of file %d, as long as lines of access logs are: about one hundred bytes or so", round, i)
				if _, err := writers[i].WriteString(line + "\n"); err != nil {
					t.Fatal(err)
				}
				s.expect(line)
				if i%50 == 49 {
					<-ticker.C
				}
			}
			if round == 0 {
				s.to.WaitLines(files) // what nobody saw yet is not followed under another name
			}
			if round == rounds/2 {
				s.restart(func() {})
			}
		}
		s.finish()
		s.noGaps()
	})
}

// ignore_older leaves an old file alone until it is written to; what was ever
// followed is not too old.
func TestIgnoreOlder(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		s.config.Paths = []string{s.path("*.log")}
		s.config.IgnoreOlder = time.Hour
		age := func(name string) {
			t.Helper()
			old := time.Now().Add(-24 * time.Hour)
			if err := os.Chtimes(s.path(name), old, old); err != nil {
				t.Fatal(err)
			}
		}
		appendTo(t, s.path("old.log"), "from the days of old\n")
		age("old.log")
		s.write(10)
		s.start()
		s.caughtUp()
		s.settle()
		s.to.Same(s.want)
		s.restart(func() {
			s.write(10)
			age("x.log")
		})
		s.caughtUp()
		appendTo(t, s.path("old.log"), "and goes on\n")
		s.expect("from the days of old", "and goes on")
		s.finish()
		s.noGaps()
	})
}
