// Command bench measures the whole path on generated logs: the agent reads a
// backlog, makes records, commits, seals and ships them over HTTP to a sink
// that counts distinct records. All guarantees are on.
//
// The figures are of the agent's process alone (getrusage). Lines are
// deterministic and carry ids, so the sink can tell lost and repeated ones.
//
// Several agents, as in -bin old,new, run in turn, so that both meet the same
// load of a shared machine. With -benchstat each run is a line for benchstat, in
// which they are told apart by their file names.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/auditail/auditail/internal/dev/generate"
)

func main() {
	lines := flag.Int("lines", 300_000, "lines a log")
	only := flag.String("only", "", "one workload: gateway, access or vllm")
	runs := flag.Int("runs", 3, "runs of each workload; the median by CPU time is shown")
	bins := flag.String("bin", "bin/auditail", "the agent; several, with commas between, run in turn")
	stat := flag.Bool("benchstat", false, "print each run as a line for benchstat")
	keep := flag.String("dir", ".bench", "working folder; cleared first")
	live := flag.Duration("latency", 10*time.Second, "how long a live agent is followed for the time from line to durable; 0 leaves it out")
	rate := flag.Int("rate", 10_000, "lines a second of a live agent's log")
	flag.Parse()
	b := bench{lines: *lines, only: *only, runs: *runs, agents: strings.Split(*bins, ","), dir: *keep, benchstat: *stat}
	err := b.run(context.Background())
	if err == nil && *live > 0 && !*stat {
		err = runLatency(context.Background(), *live, *rate, b.agents[0], *keep)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// bench is what was asked for.
type bench struct {
	lines, runs int
	only        string
	agents      []string
	dir         string
	benchstat   bool
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return err
	}
	if !b.benchstat {
		fmt.Printf("%-8s %9s %9s %11s %8s %8s %8s %9s %9s %6s %9s\n", //nolint:forbidigo // a program for a terminal
			"log", "lines", "MB", "MB/CPU-s", "µs/line", "CPU s", "wall s", "peak MiB", "anon MiB", "ratio", "lost/rep")
	}
	for _, w := range generate.Workloads() {
		if b.only != "" && b.only != w.Name {
			continue
		}
		if err := b.compare(ctx, w); err != nil {
			return fmt.Errorf("%s: %w", w.Name, err)
		}
	}
	return os.RemoveAll(b.dir)
}

// compare runs the agents over a workload in turn.
func (b *bench) compare(ctx context.Context, w generate.Workload) error {
	results := make([][]result, len(b.agents))
	for range b.runs {
		for i, agent := range b.agents {
			bin, err := filepath.Abs(agent)
			if err != nil {
				return err
			}
			r, err := measure(ctx, w, b.lines, bin, b.dir)
			if err != nil {
				return fmt.Errorf("%s: %w", agent, err)
			}
			results[i] = append(results[i], r)
			if b.benchstat {
				r.printForBenchstat(w.Name, agent)
			}
		}
	}
	for i, agent := range b.agents {
		switch {
		case b.benchstat:
		case len(b.agents) > 1:
			median(results[i]).print(w.Name, agent)
		default:
			median(results[i]).print(w.Name, "")
		}
	}
	return nil
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
	peak           memory
	lost, repeated int
}

func median(all []result) result {
	slices.SortFunc(all, func(a, b result) int { return cmp.Compare(a.cpu, b.cpu) })
	return all[len(all)/2]
}

func (r *result) megabytes() float64 { return float64(r.bytes) / 1e6 }

func (r result) print(name, agent string) {
	fmt.Printf("%-8s %9d %9.1f %11.1f %8.2f %8.2f %8.2f %9.1f %9.1f %6.1f %5d/%d %s\n", //nolint:forbidigo // a program for a terminal
		name, r.lines, r.megabytes(), r.megabytes()/r.cpu.Seconds(), float64(r.cpu.Microseconds())/float64(r.lines),
		r.cpu.Seconds(), r.wall.Seconds(), mebibytes(r.peak.resident), mebibytes(r.peak.anonymous),
		float64(r.bytes)/float64(max(r.shipped, 1)), r.lost, r.repeated, agent)
}

// printForBenchstat prints the run in the format of Go's benchmarks: one
// iteration is one line of the log.
func (r result) printForBenchstat(name, agent string) {
	fmt.Printf("BenchmarkBacklog/log=%s/agent=%s %d %.1f CPU-ns/line %.2f MB/CPU-s %.2f MB/s %d resident-B %d anonymous-B %d shipped-B %d lost %d repeated\n", //nolint:forbidigo // a program for a terminal
		name, filepath.Base(agent), r.lines, float64(r.cpu.Nanoseconds())/float64(r.lines), r.megabytes()/r.cpu.Seconds(),
		r.megabytes()/r.wall.Seconds(), r.peak.resident, r.peak.anonymous, r.shipped, r.lost, r.repeated)
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

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

// memory is what a process has in memory, in bytes: all of it, and what is in no
// file and can not be read again.
type memory struct{ resident, anonymous int64 }

// watchPeak reads the peak resident size of a process until it ends, and samples
// its anonymous size. (The kernel's ru_maxrss of a child counts this program's own
// size at the fork.)
func watchPeak(pid int) (peak func() memory) {
	result := make(chan memory, 1)
	go func() {
		var peak memory
		for {
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			resident, found := kibibytes(string(status), "VmHWM:")
			if err != nil || !found {
				result <- peak
				return
			}
			anonymous, _ := kibibytes(string(status), "RssAnon:")
			peak = memory{max(peak.resident, resident), max(peak.anonymous, anonymous)}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return func() memory { return <-result }
}

// kibibytes returns the bytes of a line such as "VmHWM:  1234 kB".
func kibibytes(status, name string) (int64, bool) {
	_, rest, found := strings.Cut(status, name)
	fields := strings.Fields(rest)
	if !found || len(fields) == 0 {
		return 0, false
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	return n << 10, err == nil
}
