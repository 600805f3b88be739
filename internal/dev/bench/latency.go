package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/auditail/auditail/internal/admin"
	"github.com/auditail/auditail/internal/dev/generate"
)

// Latency writes lines of 250 bytes at a steady rate into a log that a live agent
// follows, and asks the agent (GET /status on its socket) how many lines are in
// durable commits. Between the write of a line and the first answer that counts it
// lies the time from line to durable, the question's own time included: what is
// shown is an upper bound. The disk's own sync is measured beside it, in front of
// the run, because no commit is faster.
const (
	latencyLine  = 250 // bytes
	latencyTick  = 2 * time.Millisecond
	latencyLook  = 5 * time.Millisecond
	latencySyncs = 100
	latencyWait  = time.Minute // for the agent to start, and for the last lines
)

func latency(ctx context.Context, d time.Duration, rate int, bin, dir string) error {
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o750)); err != nil {
		return err
	}
	s, err := newSink()
	if err != nil {
		return err
	}
	log, config := filepath.Join(dir, "input.log"), filepath.Join(dir, "auditail.toml")
	access := generate.Workloads()[1]
	if err := os.WriteFile(config, []byte(access.Config(dir, log, s.url())), 0o600); err != nil {
		return err
	}
	syncs, err := syncTimes(filepath.Join(dir, "sync"))
	if err != nil {
		return err
	}
	file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // our own folder
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, bin, "run", "--config", config) //nolint:gosec // our own program
	var stderr strings.Builder
	command.Stderr = &stderr
	if err := command.Start(); err != nil {
		return errors.Join(err, file.Close())
	}
	times, err := follow(ctx, file, agentStatus(dir), d, rate)
	err = errors.Join(err, command.Process.Signal(os.Interrupt))
	if waitErr := command.Wait(); err == nil && waitErr != nil {
		err = fmt.Errorf("%w\n%s", waitErr, stderr.String())
	}
	if err = errors.Join(err, file.Close(), s.close()); err != nil {
		return err
	}
	cpu := command.ProcessState.UserTime() + command.ProcessState.SystemTime()
	fmt.Printf("line to durable, %d lines/s of %d B for %s: p50 %s, p90 %s, p99 %s, most %s; the disk's own sync of 64 KiB: p50 %s, p99 %s; the agent took %.2f CPU-s\n", //nolint:forbidigo // a program for a terminal
		rate, latencyLine, d, share(times, 50), share(times, 90), share(times, 99), share(times, 100),
		share(syncs, 50), share(syncs, 99), cpu.Seconds())
	return os.RemoveAll(dir)
}

// follow writes lines and returns how long each took.
func follow(ctx context.Context, file *os.File, status func(context.Context) (int, error), d time.Duration, rate int) ([]time.Duration, error) {
	if _, err := file.Write(appendAccess(nil, 0)); err != nil { // from its record on, the agent follows the file
		return nil, err
	}
	for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		n, err := status(ctx)
		if n == 1 {
			break
		} else if time.Since(start) > latencyWait {
			return nil, fmt.Errorf("wait for the first line, %d are durable: %w", n, err)
		}
	}
	var written, times []time.Duration // since start; written has one for each line
	var line []byte
	start := time.Now()
	write := time.NewTicker(latencyTick)
	defer write.Stop()
	look := time.NewTicker(latencyLook)
	defer look.Stop()
	for len(times) < len(written) || time.Since(start) < d {
		select {
		case <-write.C:
			now := time.Since(start)
			if now > d {
				continue
			}
			line = line[:0]
			for due := int(now.Seconds() * float64(rate)); len(written) < due; {
				line = appendAccess(line, len(written))
				written = append(written, now)
			}
			if _, err := file.Write(line); err != nil {
				return nil, err
			}
		case <-look.C:
			n, err := status(ctx)
			if err != nil {
				return nil, fmt.Errorf("ask the agent: %w", err)
			}
			now := time.Since(start)
			for len(times) < min(n-1, len(written)) {
				times = append(times, now-written[len(times)])
			}
			if now > d+latencyWait {
				return nil, fmt.Errorf("%d of %d lines are durable", n-1, len(written))
			}
		}
	}
	return times, nil
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

// agentStatus asks for the lines in durable commits.
func agentStatus(dir string) func(ctx context.Context) (int, error) {
	var sockets []string
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if len(sockets) == 0 {
			sockets, _ = filepath.Glob(filepath.Join(dir, "*", "admin.sock")) // the pattern is good
		}
		if len(sockets) == 0 {
			return nil, os.ErrNotExist
		}
		return new(net.Dialer).DialContext(ctx, "unix", sockets[0])
	}}}
	return func(ctx context.Context) (int, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/status", nil)
		if err != nil {
			return 0, err
		}
		response, err := client.Do(request)
		if err != nil {
			return 0, err
		}
		var s admin.Status
		if err = errors.Join(json.NewDecoder(response.Body).Decode(&s), response.Body.Close()); err != nil {
			return 0, err
		}
		if len(s.Inputs) != 1 {
			return 0, fmt.Errorf("%d inputs", len(s.Inputs))
		}
		return int(s.Inputs[0].Lines.Read), nil
	}
}

// syncTimes measures the disk alone.
func syncTimes(name string) (times []time.Duration, err error) {
	f, err := os.Create(name) //nolint:gosec // our own folder
	if err != nil {
		return nil, err
	}
	block := make([]byte, 64<<10)
	for i := range latencySyncs {
		block[0] = byte(i) //nolint:gosec // below 256
		start := time.Now()
		if _, err = f.Write(block); err == nil {
			err = f.Sync()
		}
		if err != nil {
			break
		}
		times = append(times, time.Since(start))
	}
	return times, errors.Join(err, f.Close())
}

// share returns the percentile p of times, rounded.
func share(times []time.Duration, p int) time.Duration {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[min(len(times)-1, len(times)*p/100)].Round(100 * time.Microsecond)
}
