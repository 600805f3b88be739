package file

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/inputstest"
	"github.com/auditail/auditail/internal/clocktest"
)

// expect notes lines that were written by other means than write.
func (s *scene) expect(lines ...string) { s.want = append(s.want, lines...) }

// settle waits until the input had time for several listings.
func (s *scene) settle() {
	s.t.Helper()
	s.to.Wait(200*time.Millisecond, func() bool { return false })
}

func TestTruncateAndRegrow(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		s.write(100)
		s.start()
		s.caughtUp()
		s.restart(func() {
			s.truncate()
			s.write(400) // far beyond the old position
		})
		s.finish()
		for _, gap := range s.to.Gaps() {
			if gap.From != gap.To {
				t.Errorf("gap %+v, want none but an empty one", gap)
			}
		}
	})
}

func TestTruncatedUnread(t *testing.T) {
	t.Parallel()
	s := newScene(t, without)
	release, entered := make(chan struct{}), make(chan struct{}, 1)
	first := true
	s.write(20_000) // more than one chunk
	s.to.Before(inputBlock(&first, entered, release))
	s.start()
	<-entered
	s.truncate()
	s.settle()
	close(release)
	s.file.WriteString("after\n")
	if !s.to.Wait(10*time.Second, func() bool { return len(s.to.Gaps()) > 0 && slices.Contains(s.to.Data(), "after") }) {
		t.Fatalf("gaps %+v", s.to.Gaps())
	}
	s.running.Stop()
	size := int64(len(strings.Join(s.want, "\n")) + 1)
	gap := s.to.Gaps()[0]
	if gap.To != size || gap.From <= 0 || gap.From >= size || gap.Cause != inputs.CauseTruncated {
		t.Errorf("gap %+v, want one up to %d", gap, size)
	}
}

func TestInodeReuse(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		s.write(50)
		s.start()
		for range 5 {
			s.caughtUp()
			s.restart(func() {
				s.closeWriter()
				s.remove(s.log)
				s.write(60)
			})
		}
		s.finish()
		s.noGaps()
	})
}

func TestIdenticalHeads(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		s.config.Paths = []string{s.path("*.log")}
		banner := strings.Repeat("server starting, all the same\n", 100)
		for _, name := range []string{"a.log", "b.log", "c-1.log"} {
			appendTo(t, s.path(name), banner)
		}
		appendTo(t, s.path("a.log"), "a goes on\n")
		s.start()
		s.to.WaitLines(301)
		s.restart(func() {
			appendTo(t, s.path("b.log"), "b goes on\n")
			appendTo(t, s.path("d.log"), banner)
		})
		appendTo(t, s.path("c-1.log"), "c goes on\n")
		for range 400 {
			s.expect("server starting, all the same")
		}
		s.expect("a goes on", "b goes on", "c goes on")
		s.finish()
		s.noGaps()
	})
}

func TestShortAndEmptyFiles(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		appendTo(t, s.log, "")
		s.start()
		s.settle()
		for i := range 30 {
			line := fmt.Sprintf("%d", i)
			appendTo(t, s.log, line+"\n")
			s.expect(line)
			if i%10 == 5 {
				s.restart(func() { appendTo(t, s.log, "while away\n"); s.expect("while away") })
			}
			if i%10 == 9 {
				s.caughtUp()
				s.restart(func() { s.rename(s.log, fmt.Sprintf("%s.%d", s.log, 9-i/10)) })
			}
		}
		s.finish()
		s.noGaps()
	})
}

func TestPartialLastLine(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		s.openWriter()
		s.file.WriteString("one\ntwo is not fin")
		s.start()
		s.to.WaitLines(1)
		s.restart(func() {})
		s.settle()
		if got := s.to.Data(); len(got) != 1 {
			t.Fatalf("lines %q before the second is finished", got)
		}
		s.file.WriteString("ished\nthree is finished after rota")
		s.to.WaitLines(2)
		s.restart(func() { s.rename(s.log, s.log+".1") })
		s.file.WriteString("tion\nfour never is")
		s.to.WaitLines(3)
		s.openWriter()
		s.file.WriteString("five\r\n")
		s.expect("one", "two is not finished", "three is finished after rotation", "four never is", "five")
		s.finish()
		s.noGaps()
	})
}

func TestLongLines(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		s.config.MaxLine = 4 << 20
		s.start()
		var whole [][]byte
		for i, size := range []int{1 << 20, 16 << 20, 100 << 20, 4 << 20, 4<<20 + 1} {
			line := bytes.Repeat([]byte{byte('a' + i)}, size)
			whole = append(whole, line)
			s.openWriter()
			s.file.Write(line[:size/2])
			if i == 1 {
				s.settle()
				s.restart(func() {})
			}
			s.file.Write(line[size/2:])
			s.file.WriteString("\r\n")
			s.file.WriteString("between\n")
		}
		s.to.WaitLines(10)
		s.running.Stop()
		got := s.to.Lines()
		slices.SortFunc(got, func(a, b inputstest.Line) int { return int(a.Offset - b.Offset) })
		for i, line := range whole {
			l, kept := got[2*i], min(len(line), 4<<20)
			if l.Data != string(line[:kept]) || l.Size != int64(len(line))+2 {
				t.Errorf("line %d: %d bytes kept of %d", i, len(l.Data), l.Size)
			}
			if (l.Cut != nil) != (len(line) > kept) || l.Cut != nil && *l.Cut != inputstest.Whole(line) {
				t.Errorf("line %d: cut %+v", i, l.Cut)
			}
			if got[2*i+1].Data != "between" {
				t.Errorf("after line %d comes %.20q", i, got[2*i+1].Data)
			}
		}
	})
}

func TestFileReplacedByEditor(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		s.write(100)
		s.start()
		s.caughtUp()
		s.restart(func() {
			s.closeWriter()
			s.copyTo(s.path("x.log.swp"))
			appendTo(t, s.path("x.log.swp"), "edited\n")
			s.rename(s.path("x.log.swp"), s.log)
			s.expect("edited")
		})
		s.write(10)
		s.finish()
		s.noGaps()
	})
}

// A version that an editor wrote and soon wrote over is seen for a moment only: what
// it holds is in the next one, and is read once. The log is shorter than a sample.
func TestShortFileEditedTwice(t *testing.T) {
	t.Parallel()
	for range 20 {
		s := newScene(t, without)
		s.write(6)
		if size := len(strings.Join(s.want, "\n")); size < leastEdited || size >= sampleSize {
			t.Fatalf("the log has %d bytes", size)
		}
		s.start()
		s.caughtUp()
		s.closeWriter()
		for range 2 {
			s.copyTo(s.path("edited"))
			s.rename(s.path("edited"), s.log)
		}
		s.write(10)
		s.finish()
		s.noGaps()
	}
}

func TestHardLinksAndTwoGlobs(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		s.config.Paths = []string{s.path("*.log"), s.path("x.*"), s.path("**/x.log")}
		s.write(100)
		if err := os.Link(s.log, s.path("other.log")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(s.log, s.path("third.log")); err != nil {
			t.Fatal(err)
		}
		s.start()
		s.caughtUp()
		s.restart(func() { s.write(100) })
		s.remove(s.log)
		s.write(100)
		s.finish()
		s.noGaps()
	})
}

func TestDirectoryComesAndGoes(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		dir := s.path("later/deep")
		s.log = filepath.Join(dir, "x.log")
		s.config.Paths = []string{filepath.Join(s.dir, "later", "*", "*.log")}
		s.start()
		s.settle()
		for i := range 3 {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			s.write(50)
			s.caughtUp()
			s.closeWriter()
			s.restart(func() {
				// Moved away and back: as unmounted and mounted again.
				s.rename(s.path("later"), s.path("away"))
				s.settle()
				s.rename(s.path("away"), s.path("later"))
			})
			s.write(50)
			s.caughtUp()
			s.closeWriter()
			if i < 2 {
				if err := os.RemoveAll(s.path("later")); err != nil {
					t.Fatal(err)
				}
			}
		}
		s.finish()
		s.noGaps()
	})
}

func TestRecursiveGlobsAndExcludes(t *testing.T) {
	t.Parallel()
	s := newScene(t, without)
	s.config.Paths = []string{s.path("top/**/*.log")}
	s.config.Exclude = []string{"debug*.log", s.path("top/**/secret/*")}
	for _, dir := range []string{"top/a/b/c", "top/secret", "top/a/secret", "other"} {
		if err := os.MkdirAll(s.path(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(s.path("top"), s.path("top/a/loop")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"top/x.log", "top/a/x.log", "top/a/b/c/x.log"} {
		appendTo(t, s.path(name), name+"\n")
		s.expect(name)
	}
	for _, name := range []string{"top/debug1.log", "top/secret/x.log", "top/a/secret/y.log", "other/x.log", "top/x.txt"} {
		appendTo(t, s.path(name), name+"\n")
	}
	s.start()
	s.caughtUp()
	if err := os.MkdirAll(s.path("top/new/er"), 0o700); err != nil {
		t.Fatal(err)
	}
	appendTo(t, s.path("top/new/er/x.log"), "new\n")
	s.expect("new")
	s.finish()
}

func TestManyFiles(t *testing.T) {
	t.Parallel()
	s := newScene(t, without)
	s.config.Paths = []string{s.path("*.log")}
	const files = 2000
	for i := range files {
		line := fmt.Sprintf("file %d line 0", i)
		appendTo(t, s.path(fmt.Sprintf("%d.log", i)), line+"\n")
		s.expect(line)
	}
	s.start()
	s.caughtUp()
	for round := range 3 {
		for i := 0; i < files; i += 2 {
			line := fmt.Sprintf("file %d line %d", i, round+1)
			appendTo(t, s.path(fmt.Sprintf("%d.log", i)), line+"\n")
			s.expect(line)
		}
	}
	s.caughtUp()
	if open := descriptorsIn(s.dir); open > 1000 {
		t.Errorf("%d descriptors are open", open)
	}
	s.finish()
	s.noGaps()
}

// descriptorsIn counts the open files of a directory, where the system tells.
func descriptorsIn(dir string) int {
	links, _ := filepath.Glob("/proc/self/fd/*") // the pattern is well formed
	return len(slices.DeleteFunc(links, func(link string) bool {
		target, err := os.Readlink(link)
		return err != nil || filepath.Dir(target) != dir
	}))
}

// The clock of the host jumps by decades: that of the agent, while it runs and
// between runs, and what the file system notes of the files with it.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		s.write(100)
		s.start()
		s.caughtUp()
		for i, years := range []int{10, -10, 20, -20} {
			jump := time.Duration(years) * clocktest.Year
			s.restart(func() {
				s.write(20)
				s.rotate()
				s.clock.Set(jump)
				if when := time.Now().Add(jump); os.Chtimes(s.log+".1", when, when) != nil {
					t.Fatal("the time of the file can not be set")
				}
				s.write(i + 1)
				if i == 2 {
					s.rotate()
				}
			})
			s.caughtUp()
			s.clock.Set(-jump)
			s.write(20)
			s.caughtUp()
		}
		s.finish()
		s.noGaps()
	})
}

// What waits for more of a line waits as long as it should, whatever the clock
// on the wall does meanwhile.
func TestClockJumpsWhileJoining(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		s.config.Multiline = Multiline{Start: `^\d`, Timeout: 2 * time.Second}
		s.start()
		for i, years := range []int{10, -10} {
			appendTo(t, s.log, fmt.Sprintf("%d begins\n", 2*i))
			s.restart(func() { s.clock.Set(time.Duration(years) * clocktest.Year) })
			appendTo(t, s.log, " and goes on\n")
			s.expect(fmt.Sprintf("%d begins\n and goes on", 2*i))
			s.caughtUp() // by its timeout
			appendTo(t, s.log, fmt.Sprintf("%d begins\n", 2*i+1))
			s.clock.Set(-time.Duration(years) * clocktest.Year)
			s.expect(fmt.Sprintf("%d begins", 2*i+1))
			s.caughtUp()
		}
		s.finish()
		s.noGaps()
	})
}

func TestStartEnd(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		s.config.Start = StartEnd
		appendTo(t, s.log, "old 1\nold 2\nhalf a li")
		s.start()
		if !s.to.Wait(10*time.Second, func() bool { return len(s.to.Gaps()) == 1 }) {
			t.Fatal("no gap for what was skipped")
		}
		if gap := s.to.Gaps()[0]; gap.From != 0 || gap.To != 12 || gap.Cause != inputs.CauseStartEnd {
			t.Errorf("gap %+v", gap)
		}
		appendTo(t, s.log, "ne\nnew\n")
		s.restart(func() { appendTo(t, s.path("x.log"), "newer\n") })
		s.expect("half a line", "new", "newer")
		s.finish()
	})
}

func TestEventOverflow(t *testing.T) {
	t.Parallel()
	in := newInput(t, Config{Paths: []string{"/x"}})
	w := newWatcher(t.Context(), in.deps.Logger, fsnotify.NewWatcher, in.config.openEarly)
	defer w.close()
	w.noteError(fsnotify.ErrEventOverflow)
	<-w.C
	if look, all := w.take(func(string) {}); !look || !all {
		t.Errorf("after an overflow: look %v, all %v, want both", look, all)
	}
}

func TestCompressedBeforeTheRestWasRead(t *testing.T) {
	t.Parallel()
	for suffix, pack := range map[string]func(io.Writer) io.WriteCloser{
		".gz": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		".zst": func(w io.Writer) io.WriteCloser {
			encoder, err := zstd.NewWriter(w)
			if err != nil {
				t.Fatal(err)
			}
			return encoder
		},
		".bz2": func(w io.Writer) io.WriteCloser { return &bzip2Writer{t: t, to: w} },
	} {
		t.Run(suffix, func(t *testing.T) {
			inEveryMode(t, func(t *testing.T, s *scene) {
				s.config.Paths = []string{s.path("x.log*")}
				s.write(500)
				s.start()
				s.caughtUp()
				s.restart(func() {
					for range 3 {
						s.write(30_000) // more than the window of the unpacker
						s.rotate()
						s.packRotated(suffix, pack)
					}
					s.write(100)
				})
				s.settle()
				s.restart(func() { s.write(10) })
				s.finish()
				s.noGaps()
			})
		})
	}
}

// A glob leads to rotated files but not to compressed ones, which came after
// one that it leads to.
func TestCompressedAfterOneThatAGlobMatches(t *testing.T) {
	t.Parallel()
	inEveryMode(t, func(t *testing.T, s *scene) {
		s.config.Paths = []string{s.path("x.log*")}
		s.write(500)
		s.start()
		s.caughtUp()
		s.restart(func() {
			s.write(500)
			s.rotate()
			s.write(500)
			s.rotate()
			s.packRotated(".gz", func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
			s.write(100)
		})
		s.finish()
		s.noGaps()
	})
}

// bzip2Writer compresses with the program: Go has the other direction only.
type bzip2Writer struct {
	bytes.Buffer
	t  *testing.T
	to io.Writer
}

func (w *bzip2Writer) Close() error {
	c := exec.CommandContext(w.t.Context(), "bzip2", "--compress")
	c.Stdin, c.Stdout = &w.Buffer, w.to
	return c.Run()
}

// packRotated does what logrotate does with "compress": pack x.log.1 and move
// the packed ones on.
func (s *scene) packRotated(suffix string, pack func(io.Writer) io.WriteCloser) {
	s.t.Helper()
	for i := 8; i >= 1; i-- {
		from := fmt.Sprintf("%s.%d%s", s.log, i, suffix)
		if _, err := os.Stat(from); err == nil {
			s.rename(from, fmt.Sprintf("%s.%d%s", s.log, i+1, suffix))
		}
	}
	plain, err := os.ReadFile(s.log + ".1")
	if err != nil {
		s.t.Fatal(err)
	}
	var packed bytes.Buffer
	w := pack(&packed)
	w.Write(plain)
	if err := w.Close(); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.log+".1"+suffix, packed.Bytes(), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.remove(s.log + ".1")
}

func TestDamagedCompressedFile(t *testing.T) {
	t.Parallel()
	s := newScene(t, clean)
	s.write(5000)
	s.start()
	s.caughtUp()
	s.running.Stop()
	s.write(5000)
	kept := s.want[:5000]
	s.rotate()
	s.packRotated(".gz", func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	packed, err := os.ReadFile(s.log + ".1.gz")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.log+".1.gz", packed[:len(packed)*9/10], 0o600); err != nil {
		t.Fatal(err)
	}
	s.want = append([]string(nil), kept...)
	s.write(10)
	s.start()
	if !s.to.Wait(10*time.Second, func() bool { return len(s.to.Gaps()) == 1 }) {
		t.Error("no gap for what a damaged file took along")
	}
	s.finish()
}
