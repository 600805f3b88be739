package endtoend

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

var (
	stormKills = flag.Int("storm.kills", 100, "kill -9 cycles of TestStorm")
	stormRate  = flag.Int("storm.rate", 5_000, "lines a second that TestStorm writes")
)

// Promise 1, all at once: a writer that never waits, a rotation every moment,
// kill -9 every other, on files that are rotated again while the agent is dead.
// `make torture` runs it with a thousand kills, and at 50,000 lines a second.
func TestStorm(t *testing.T) {
	s := newSite(t, accessInput, directoryOutput+"[buffer]\nbatch_age = \"200ms\"\nbatch_size = \"256KiB\"\n")
	random := rand.New(rand.NewPCG(1, 99))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	w := startWriter(ctx, t, s.path("logs/access.log"), *stormRate)
	await(t, "the first lines", func() bool {
		p := s.start("auditail", "run", "--config", s.path("auditail.toml"))
		<-time.After(500 * time.Millisecond)
		p.kill()
		return s.arrived() > 0
	})
	for i := range *stormKills {
		p := s.start("auditail", "run", "--config", s.path("auditail.toml"))
		<-time.After(time.Duration(50+random.IntN(600)) * time.Millisecond)
		p.kill()
		if i%3 == 0 {
			<-time.After(time.Duration(random.IntN(300)) * time.Millisecond)
		}
	}
	stop()
	lines := <-w.done
	s.once()
	c := s.read(s.path("archive"))
	t.Logf("%d lines, %d rotations, %d kills, %d batches", lines, w.rotations.Load(), *stormKills, c.batches)
	wantLines(t, c, lines)
	for _, r := range c.records {
		if text(r, "event") == "agent.gap" {
			t.Errorf("a gap where nothing was destroyed: %v", r)
		}
	}
	s.verify(s.path("archive"))
}

// lineWriter writes numbered lines and rotates its file by rename.
type lineWriter struct {
	rotations atomic.Int64
	done      chan int // lines written, once the context has ended
}

// keep is how many rotated files are left in place, as logrotate does.
const keep = 200

func startWriter(ctx context.Context, t *testing.T, name string, rate int) *lineWriter {
	w := &lineWriter{done: make(chan int, 1)}
	go func() {
		lines := 0
		defer func() { w.done <- lines }()
		const tick = 10 * time.Millisecond
		pace := time.NewTicker(tick)
		defer pace.Stop()
		for round := 1; ctx.Err() == nil; round++ {
			f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
			if err != nil {
				t.Error(err)
				return
			}
			out := bufio.NewWriter(f)
			for range 30 { // ticks a file
				if _, err := out.Write(accessLines(lines, rate/100)); err != nil {
					t.Error(err)
				}
				lines += rate / 100
				if err := out.Flush(); err != nil {
					t.Error(err)
				}
				<-pace.C
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			if ctx.Err() == nil {
				w.rotate(t, name)
			}
		}
	}()
	return w
}

func (w *lineWriter) rotate(t *testing.T, name string) {
	for n := keep; n > 0; n-- {
		from := fmt.Sprintf("%s.%d", name, n-1)
		if n == 1 {
			from = name
		}
		if err := os.Rename(from, fmt.Sprintf("%s.%d", name, n)); err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
	}
	w.rotations.Add(1)
}
