// Command bench measures the whole path on generated logs: the agent reads a
// backlog, makes records, commits, seals and ships them over HTTP to a sink
// that counts distinct records. All guarantees are on.
//
// The figures are of the agent's process alone (getrusage). Lines are
// deterministic and carry ids, so the sink can tell lost and repeated ones.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/auditail/auditail/internal/dev/generate"
)

func main() {
	lines := flag.Int("lines", 300_000, "lines a log")
	only := flag.String("only", "", "one workload: gateway, access or vllm")
	runs := flag.Int("runs", 3, "runs of each workload; the median by CPU time is shown")
	bin := flag.String("bin", "bin/auditail", "the agent")
	keep := flag.String("dir", ".bench", "working folder; cleared first")
	live := flag.Duration("latency", 10*time.Second, "how long a live agent is followed for the time from line to durable; 0 leaves it out")
	rate := flag.Int("rate", 10_000, "lines a second of a live agent's log")
	flag.Parse()
	err := run(context.Background(), *lines, *only, *runs, *bin, *keep)
	if err == nil && *live > 0 {
		err = runLatency(context.Background(), *live, *rate, *bin, *keep)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, lines int, only string, runs int, bin, dir string) error {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return err
	}
	fmt.Printf("%-8s %9s %9s %11s %8s %8s %8s %9s %6s %9s\n", "log", "lines", "MB", "MB/CPU-s", "µs/line", "CPU s", "wall s", "peak MiB", "ratio", "lost/rep") //nolint:forbidigo // a program for a terminal
	for _, w := range generate.Workloads() {
		if only != "" && only != w.Name {
			continue
		}
		var all []result
		for range runs {
			r, err := measure(ctx, w, lines, bin, dir)
			if err != nil {
				return fmt.Errorf("%s: %w", w.Name, err)
			}
			all = append(all, r)
		}
		median(all).print(w.Name)
	}
	return os.RemoveAll(dir)
}

func runLatency(ctx context.Context, d time.Duration, rate int, bin, dir string) error {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := latency(ctx, d, rate, bin, dir); err != nil {
		return fmt.Errorf("latency: %w", err)
	}
	return nil
}

// result is one run.
type result struct {
	lines          int
	bytes, shipped int64
	cpu, wall      time.Duration
	peak           int64 // bytes
	lost, repeated int
}

func median(all []result) result {
	for i := 1; i < len(all); i++ {
		for j := i; j > 0 && all[j].cpu < all[j-1].cpu; j-- {
			all[j], all[j-1] = all[j-1], all[j]
		}
	}
	return all[len(all)/2]
}

func (r result) print(name string) {
	mb := float64(r.bytes) / 1e6
	fmt.Printf("%-8s %9d %9.1f %11.1f %8.2f %8.2f %8.2f %9.1f %6.1f %5d/%d\n", //nolint:forbidigo // a program for a terminal
		name, r.lines, mb, mb/r.cpu.Seconds(), float64(r.cpu.Microseconds())/float64(r.lines),
		r.cpu.Seconds(), r.wall.Seconds(), float64(r.peak)/(1<<20), float64(r.bytes)/float64(max(r.shipped, 1)), r.lost, r.repeated)
}

// measure runs the agent once over a fresh log.
func measure(ctx context.Context, w generate.Workload, lines int, bin, dir string) (result, error) {
	if err := os.RemoveAll(dir); err != nil {
		return result{}, err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return result{}, err
	}
	log := filepath.Join(dir, "input.log")
	size, err := w.File(log, lines)
	if err != nil {
		return result{}, err
	}
	s, err := newSink()
	if err != nil {
		return result{}, err
	}
	config := filepath.Join(dir, "auditail.toml")
	if err := os.WriteFile(config, []byte(w.Config(dir, log, s.url())), 0o600); err != nil {
		return result{}, err
	}
	command := exec.CommandContext(ctx, bin, "run", "--once", "--config", config) //nolint:gosec // our own program
	var stderr strings.Builder
	command.Stderr = &stderr
	start := time.Now()
	if err := command.Start(); err != nil {
		return result{}, err
	}
	peak := watchPeak(command.Process.Pid)
	if err := command.Wait(); err != nil {
		return result{}, fmt.Errorf("%w\n%s", err, stderr.String())
	}
	r := result{lines: lines, bytes: size, wall: time.Since(start), peak: peak()}
	r.cpu = command.ProcessState.UserTime() + command.ProcessState.SystemTime()
	seen, repeated, err := s.count(w.IDKey)
	r.lost, r.repeated, r.shipped = lines-seen, repeated, s.bytes()
	return r, errors.Join(err, s.close())
}

// watchPeak reads the peak resident size of a process until it ends. (The
// kernel's ru_maxrss of a child counts this program's own size at the fork.)
func watchPeak(pid int) (peak func() int64) {
	result := make(chan int64, 1)
	go func() {
		var peak int64
		for {
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			_, rest, found := strings.Cut(string(status), "VmHWM:")
			if err != nil || !found {
				result <- peak
				return
			}
			if fields := strings.Fields(rest); len(fields) > 0 {
				if kib, err := strconv.ParseInt(fields[0], 10, 64); err == nil {
					peak = max(peak, kib<<10)
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return func() int64 { return <-result }
}
