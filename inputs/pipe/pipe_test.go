//go:build unix

package pipe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

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

func (l *logged) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

// setup is a pipe and an input that reads it.
type setup struct {
	t    testing.TB
	path string
	log  *logged
	to   *inputstest.Recorder
}

func newSetup(t testing.TB) *setup {
	s := &setup{t: t, path: filepath.Join(t.TempDir(), "pipe"), log: &logged{t: t}, to: inputstest.NewRecorder(t)}
	makePipe(t, s.path)
	return s
}

func makePipe(t testing.TB, path string) {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *setup) input(config Config) *Input {
	s.t.Helper()
	config.Name, config.Path = "test", s.path
	in, err := New(config, Deps{Logger: slog.New(slog.NewTextHandler(s.log, nil))})
	if err != nil {
		s.t.Fatal(err)
	}
	in.limits.linger, in.limits.retry, in.limits.look = 200*time.Millisecond, 10*time.Millisecond, 20*time.Millisecond
	in.limits.idle = 20 * time.Millisecond
	return in
}

func (s *setup) start() *inputstest.Running { return inputstest.Start(s.t, s.input(Config{}), s.to) }

// writer opens the writing end; it waits until the input has the reading end.
func (s *setup) writer() *os.File {
	s.t.Helper()
	w, err := os.OpenFile(s.path, os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { w.Close() })
	return w
}

func (s *setup) write(w *os.File, data string) {
	s.t.Helper()
	if _, err := w.WriteString(data); err != nil {
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
		w, err := os.OpenFile(s.path, os.O_RDWR, 0) // a writer that outlives the agent
		if err != nil {
			t.Fatal(err)
		}
		queue := make(chan string, 100_000)
		written := make(chan struct{})
		go func() {
			defer close(written)
			for line := range queue {
				if _, err := w.WriteString(line + "\n"); err != nil {
					return // closed: the test is over
				}
			}
		}()
		t.Cleanup(func() {
			w.Close()
			close(queue)
			<-written
		})
		return inputstest.Subject{
			New: func(testing.TB) inputs.Input { return s.input(Config{}) },
			Feed: func(_ testing.TB, lines []string) {
				for _, line := range lines {
					queue <- line
				}
			},
			Memory: inputstest.Forgets,
		}
	})
}

func TestWritersComeAndGo(t *testing.T) {
	s := newSetup(t)
	running := s.start()
	var want []string
	for i := range 20 {
		w := s.writer()
		line := fmt.Sprint("of writer ", i)
		s.write(w, line+"\n")
		w.Close()
		want = append(want, line)
	}
	s.to.WaitLines(len(want))
	running.Stop()
	if got := s.to.Data(); !slices.Equal(got, want) {
		t.Errorf("durable is %q, want %q", got, want)
	}
}

func TestALineIsOverWhenItsWriterIsGone(t *testing.T) {
	s := newSetup(t)
	running := s.start()
	w := s.writer()
	s.write(w, "whole\nunterminated")
	s.to.WaitLines(1)
	w.Close()
	s.to.WaitLines(2)
	s.write(s.writer(), "next\n")
	s.to.WaitLines(3)
	running.Stop()
	if want := []string{"whole", "unterminated", "next"}; !slices.Equal(s.to.Data(), want) {
		t.Errorf("durable is %q, want %q", s.to.Data(), want)
	}
}

func TestACleanStopTakesWhatIsInThePipe(t *testing.T) {
	s := newSetup(t)
	entered, release := make(chan struct{}), make(chan struct{})
	s.to.Before(func(n int, _ inputs.Chunk) error {
		if n == 1 {
			close(entered)
			<-release
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	in := s.input(Config{})
	in.limits.linger = time.Minute
	go func() { result <- in.Run(ctx, nil, s.to) }()
	w := s.writer()
	s.write(w, "first\n")
	<-entered
	var want []string
	for i := range 1000 {
		want = append(want, fmt.Sprint("line ", i))
	}
	s.write(w, strings.Join(want, "\n")+"\nunterminated")
	cancel()
	close(release)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	s.to.Same(append(want, "first", "unterminated"))
}

func TestAStopWithAFullBufferSaysWhatIsLost(t *testing.T) {
	s := newSetup(t)
	entered := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- s.input(Config{}).Run(ctx, nil, full{entered}) }()
	s.write(s.writer(), "a\nb\nc\n")
	<-entered
	cancel()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if s.log.count("lines taken from the pipe are lost") != 1 || s.log.count("lines=3") != 1 {
		t.Error("the log does not say that 3 lines are lost")
	}
}

// full is an appender whose buffer never gets room.
type full struct{ entered chan struct{} }

func (f full) Append(ctx context.Context, _ inputs.Chunk) error {
	close(f.entered)
	<-ctx.Done()
	return ctx.Err()
}

func TestBackPressureReachesTheWriter(t *testing.T) {
	s := newSetup(t)
	entered, release := make(chan struct{}), make(chan struct{})
	s.to.Before(func(n int, _ inputs.Chunk) error {
		if n == 1 {
			close(entered)
			<-release
		}
		return nil
	})
	running := s.start()
	w := s.writer()
	s.write(w, "first\n")
	<-entered
	if err := w.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("x", 1023) + "\n"
	taken := 0
	for {
		n, err := w.WriteString(line)
		taken += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if taken > 4<<20 {
			t.Fatal("the pipe takes more than 4 MiB while nothing is durable")
		}
	}
	close(release)
	s.to.WaitLines(1 + taken/len(line))
	running.Stop()
}

func TestLongLines(t *testing.T) {
	s := newSetup(t)
	running := inputstest.Start(t, s.input(Config{MaxLine: 1 << 20}), s.to)
	w := s.writer()
	exact, long := strings.Repeat("e", 1<<20), strings.Repeat("0123456789abcde\r", 4<<20/16)
	s.write(w, exact+"\r\n"+long+"\r\nafter\n")
	s.to.WaitLines(3)
	running.Stop()
	lines := s.to.Lines()
	if lines[0].Data != exact || lines[0].Cut != nil {
		t.Errorf("a line of max_line bytes became %d bytes, cut %v", len(lines[0].Data), lines[0].Cut)
	}
	if lines[1].Data != long[:1<<20] || lines[1].Cut == nil || *lines[1].Cut != inputstest.Whole([]byte(long)) {
		t.Errorf("a line of 4 MiB became %d bytes, cut %+v", len(lines[1].Data), lines[1].Cut)
	}
	if lines[2].Data != "after" {
		t.Errorf("then comes %.20q", lines[2].Data)
	}
}

// A line of 256 MiB and a writer that never ends one: memory stays bounded.
func TestMemoryOfAnEndlessLine(t *testing.T) {
	s := newSetup(t)
	running := inputstest.Start(t, s.input(Config{MaxLine: 1 << 20}), s.to)
	w := s.writer()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	block := strings.Repeat("x", 1<<20)
	for range 256 {
		s.write(w, block)
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.TotalAlloc - before.TotalAlloc); grown > 16<<20 {
		t.Errorf("%d bytes were allocated for one line", grown)
	}
	s.write(w, "\n")
	s.to.WaitLines(1)
	running.Stop()
	if cut := s.to.Lines()[0].Cut; cut == nil || cut.Length != 256<<20 {
		t.Errorf("the line has cut %+v", cut)
	}
}

func TestAPipeThatIsReplaced(t *testing.T) {
	s := newSetup(t)
	running := s.start()
	old := s.writer()
	s.write(old, "old\n")
	s.to.WaitLines(1)
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	makePipe(t, s.path)
	within(t, "a warning", func() bool { return s.log.count("another pipe has taken the place") == 1 })
	s.write(old, "rest of the old\n")
	old.Close()
	s.write(s.writer(), "new\n")
	s.to.WaitLines(3)
	running.Stop()
	if want := []string{"old", "rest of the old", "new"}; !slices.Equal(s.to.Data(), want) {
		t.Errorf("durable is %q, want %q", s.to.Data(), want)
	}
}

func TestWhatIsNoPipeYet(t *testing.T) {
	s := newSetup(t)
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	running := s.start()
	within(t, "a word that it is missing", func() bool { return s.log.count("no such file") == 1 })
	if err := os.WriteFile(s.path, []byte("a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	within(t, "a word that it is a file", func() bool { return s.log.count("not a named pipe") == 1 })
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	within(t, "another word that it is missing", func() bool { return s.log.count("no such file") == 2 })
	makePipe(t, s.path)
	s.write(s.writer(), "line\n")
	s.to.WaitLines(1)
	running.Stop()
	s.to.Same([]string{"line"})
}

func TestAStopNeedsNoWriter(t *testing.T) {
	s := newSetup(t)
	before := runtime.NumGoroutine()
	for range 5 {
		s.start().Stop()
	}
	within(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

func TestConfig(t *testing.T) {
	for want, config := range map[string]Config{
		"name is missing":  {Path: "/p"},
		"path is missing":  {Name: "n"},
		"must be absolute": {Name: "n", Path: "p"},
		"max_line is 10":   {Name: "n", Path: "/p", MaxLine: 10},
	} {
		if _, err := New(config, Deps{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%+v) returned %v, want %q", config, err, want)
		}
	}
}
