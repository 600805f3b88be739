package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/auditail/auditail/internal/admin"
	"github.com/auditail/auditail/internal/dev/generate"
)

// A live log gets lines of 250 bytes at a steady rate. First the agent is left alone
// with it, for its CPU time and memory. Then it is asked every few milliseconds (GET
// /status on its socket) how many lines are in durable commits: between the write of
// a line and the first answer that counts it lies the time from line to durable, the
// question's own time included, so that is an upper bound. The sink notes when it
// took the batch that a line is in. Because no commit is faster than the disk, small
// syncs of this program's own are timed meanwhile, into another file.
const (
	latencyLine = 250 // bytes
	latencyTick = 2 * time.Millisecond
	latencyLook = 5 * time.Millisecond
	latencySync = 100 * time.Millisecond
)

func (b *bench) follow(ctx context.Context) (err error) {
	s, err := newSink()
	if err != nil {
		return err
	}
	log := filepath.Join(b.dir, "input.log")
	access := generate.Workloads()[1]
	file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // our own folder
	if err != nil {
		return err
	}
	// batch_age as in the goal for the time until a batch is acknowledged.
	config := strings.Replace(access.Config(b.dir, log, s.url()), "[buffer]\n", "[buffer]\nbatch_age = \"1s\"\n", 1)
	p, err := startAgent(ctx, b.agents[0], b.dir, config)
	if err != nil {
		return errors.Join(err, file.Close())
	}
	w := &writer{file: file, rate: b.rate, disk: filepath.Join(b.dir, "sync")}
	cores, live, durable, err := w.measure(ctx, p, b.live)
	_, peak, stopErr := p.stop()
	if err = errors.Join(err, stopErr, file.Close()); err != nil {
		return err
	}
	acknowledged, err := s.acknowledged(func(offset int64) (time.Time, bool) {
		i := int(offset / latencyLine)
		return w.times[min(i, len(w.times)-1)], i > 0 && i < len(w.times)
	})
	if err != nil {
		return err
	}
	say("live: %d lines/s of %d B for %s: %.3f of a core, %.1f MiB (anonymous %.1f; peak of the run %.1f)",
		b.rate, latencyLine, b.live, cores, mebibytes(live.resident), mebibytes(live.anonymous), mebibytes(peak.resident))
	say("line to durable: %s", percentiles(durable))
	say("the disk's own sync of 64 KiB meanwhile: %s", percentiles(w.syncs))
	say("line to acknowledged, batch_age 1s: %s", percentiles(acknowledged))
	return s.close()
}

// writer writes lines at a steady rate and knows when it wrote which.
type writer struct {
	file  *os.File
	rate  int
	disk  string // file of the syncs
	times []time.Time
	syncs []time.Duration
	line  []byte
}

// measure writes for d without asking the agent anything, then for d while asking.
func (w *writer) measure(ctx context.Context, p *process, d time.Duration) (cores float64, live memory, durable []time.Duration, err error) {
	if err := w.write(1); err != nil { // from its record on, the agent follows the file
		return 0, live, nil, err
	}
	if err := p.untilRead(ctx, 1); err != nil {
		return 0, live, nil, err
	}
	const settle = 2 * time.Second
	if err := w.steady(settle, nil); err != nil {
		return 0, live, nil, err
	}
	before, err := p.cpu()
	if err != nil {
		return 0, live, nil, err
	}
	if err := w.steady(d, nil); err != nil {
		return 0, live, nil, err
	}
	after, err := p.cpu()
	if err != nil {
		return 0, live, nil, err
	}
	cores, live = (after-before).Seconds()/d.Seconds(), p.memory()
	if err := p.untilRead(ctx, int64(len(w.times))); err != nil {
		return 0, live, nil, err
	}
	first := len(w.times)
	look := func() error {
		s, err := p.status(ctx)
		if err != nil {
			return fmt.Errorf("ask the agent: %w", err)
		}
		now := time.Now()
		for n := int(s.Inputs[0].Lines.Read); first+len(durable) < min(n, len(w.times)); {
			durable = append(durable, now.Sub(w.times[first+len(durable)]))
		}
		return nil
	}
	stop, ended := context.WithCancel(ctx)
	failed := make(chan error, 1)
	go func() {
		var err error
		w.syncs, err = syncTimes(stop, w.disk)
		failed <- err
	}()
	err = w.steady(d, look)
	ended()
	if err = errors.Join(err, <-failed); err != nil {
		return 0, live, nil, err
	}
	err = p.until(ctx, func(*admin.Status) bool { return look() == nil && first+len(durable) == len(w.times) })
	return cores, live, durable, err
}

// steady writes at the rate for d, and looks in between.
func (w *writer) steady(d time.Duration, look func() error) error {
	begun, had, looked := time.Now(), len(w.times), time.Now()
	tick := time.NewTicker(latencyTick)
	defer tick.Stop()
	for range tick.C {
		now := time.Since(begun)
		if now > d {
			return nil
		}
		if err := w.write(int(now.Seconds()*float64(w.rate)) - (len(w.times) - had)); err != nil {
			return err
		}
		if look != nil && time.Since(looked) >= latencyLook {
			if err := look(); err != nil {
				return err
			}
			looked = time.Now()
		}
	}
	return nil
}

// write writes n lines in one piece.
func (w *writer) write(n int) error {
	w.line = w.line[:0]
	now := time.Now()
	for range n {
		w.line = appendAccess(w.line, len(w.times))
		w.times = append(w.times, now)
	}
	_, err := w.file.Write(w.line)
	return err
}

// appendAccess appends a line of latencyLine bytes, its LF included.
func appendAccess(b []byte, i int) []byte {
	start := len(b)
	b = fmt.Appendf(b, "10.0.%d.%d - u%07d [21/Nov/2026:09:06:34 +0000] \"POST /v1/chat/completions HTTP/1.1\" 200 %d \"-\" \"openai-python/1.99.2 ", i>>8&255, i&255, i, i)
	for len(b)-start < latencyLine-2 {
		b = append(b, 'a'+byte(len(b)%26))
	}
	return append(b, "\"\n"...)
}

// syncTimes times a small write and its sync now and then, until ctx ends.
func syncTimes(ctx context.Context, name string) (times []time.Duration, err error) {
	f, err := os.Create(name) //nolint:gosec // our own folder
	if err != nil {
		return nil, err
	}
	block := make([]byte, 64<<10)
	tick := time.NewTicker(latencySync)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return times, f.Close()
		case <-tick.C:
		}
		start := time.Now()
		if _, err = f.Write(block); err == nil {
			err = f.Sync()
		}
		if err != nil {
			return times, errors.Join(err, f.Close())
		}
		times = append(times, time.Since(start))
	}
}

// share returns the percentile p of times, rounded.
func share(times []time.Duration, p int) time.Duration {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[min(len(times)-1, len(times)*p/100)].Round(100 * time.Microsecond)
}

func percentiles(times []time.Duration) string {
	return fmt.Sprintf("p50 %s, p90 %s, p99 %s, most %s", share(times, 50), share(times, 90), share(times, 99), share(times, 100))
}
