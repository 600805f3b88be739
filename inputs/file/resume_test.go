package file

import (
	"cmp"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/auditail/auditail/inputs"
)

// positions changes what was committed, between a stop and a start.
func (s *scene) positions(change func(t token) []token) {
	s.t.Helper()
	committed := s.to.Resume()
	slices.SortFunc(committed, func(a, b inputs.Position) int { return cmp.Compare(a.Generation, b.Generation) })
	var changed inputs.Chunk
	for _, p := range committed {
		t, err := decodeToken(p.Token)
		if err != nil {
			s.t.Fatal(err)
		}
		for i, t := range change(t) {
			generation := p.Generation
			if i > 0 {
				generation = newGenerationID()
				gap := inputs.Gap{Generation: generation, Path: t.Path, To: t.Offset, Cause: inputs.CauseStartEnd}
				changed.Gaps = append(changed.Gaps, gap)
			}
			data, err := t.encode()
			if err != nil {
				s.t.Fatal(err)
			}
			changed.Positions = append(changed.Positions, inputs.Position{Generation: generation, Token: data})
		}
	}
	if err := s.to.Append(s.t.Context(), changed); err != nil {
		s.t.Fatal(err)
	}
}

// over waits until n rotated files are known as read to their end.
func (s *scene) over(n int) {
	s.t.Helper()
	for {
		over := 0
		for _, p := range s.to.Resume() {
			if t, err := decodeToken(p.Token); err != nil {
				s.t.Fatal(err)
			} else if t.Over {
				over++
			}
		}
		if over >= n {
			return
		}
		appends := s.to.Appends()
		s.to.Wait(time.Minute, func() bool { return s.to.Appends() > appends })
	}
}

// After a reboot a file system may have another device number: every file is
// known all the same.
func TestDeviceNumberChanged(t *testing.T) {
	t.Parallel()
	for _, glob := range []string{"x.log", "x.log*"} {
		t.Run(glob, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, clean)
			s.config.Paths = []string{s.path(glob)}
			s.write(50)
			s.start()
			s.caughtUp()
			for range 3 {
				s.rotate()
				s.write(50)
				s.caughtUp()
			}
			s.over(3)
			s.restart(func() {
				s.positions(func(t token) []token {
					t.Device++
					return []token{t}
				})
			})
			s.write(50)
			s.finish()
			s.noGaps()
		})
	}
}

// The file of an empty log was deleted, and what a rotated one was compressed to
// has its inode now.
func TestInodeOfAnEmptyLogReused(t *testing.T) {
	t.Parallel()
	s := newScene(t, clean)
	s.config.Paths = []string{s.path("x.log*")}
	s.write(50)
	s.start()
	s.caughtUp()
	s.rotate()
	s.over(1)
	s.closeWriter()
	s.restart(func() {
		s.remove(s.log)
		if out, err := exec.Command("gzip", s.log+".1").CombinedOutput(); err != nil {
			t.Fatalf("gzip: %v\n%s", err, out)
		}
		st, err := statPath(s.log + ".1.gz")
		if err != nil {
			t.Fatal(err)
		}
		empty := 0
		s.positions(func(t token) []token {
			if t.Head.length == 0 {
				t.Inode = st.id.inode
				empty++
			}
			return []token{t}
		})
		if empty != 1 {
			t.Fatalf("%d positions of empty files", empty)
		}
	})
	s.write(50)
	s.finish()
}

// The position of a content that was truncated away names the inode of a file
// that holds another content, of which there is a position too.
func TestTwoPositionsOfOneInode(t *testing.T) {
	t.Parallel()
	for range 10 { // the order of positions is nobody's promise
		s := newScene(t, clean)
		s.config.Paths = []string{s.path("x.log*")}
		s.write(50)
		s.start()
		s.caughtUp()
		s.rotate()
		s.write(50)
		s.caughtUp()
		s.over(1)
		s.restart(func() {
			s.positions(func(t token) []token {
				earlier := t
				earlier.Head, earlier.Anchor = sampleOf([]byte("something else")), sampleOf([]byte("else"))
				earlier.Offset, earlier.Size, earlier.Over = 14, 14, false
				return []token{t, earlier}
			})
		})
		s.write(50)
		s.finish()
	}
}
