// Command bench measures the agent on generated logs, with all guarantees on.
//
// Its main part is a backlog: the agent reads a log, makes records, commits, seals
// and ships them over HTTP to a sink that counts distinct records. The other parts
// (-part) follow a log live, many files at rest and several at once, stall the
// output, start with a full buffer, verify an archive, and run other log shippers
// over the same log where they are installed. BENCHMARKS.md has method and figures.
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
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/auditail/auditail/internal/dev/generate"
)

func main() {
	b := bench{}
	flag.IntVar(&b.lines, "lines", 300_000, "lines a log")
	flag.StringVar(&b.only, "only", "", "one workload of the backlog: gateway, access or vllm")
	flag.IntVar(&b.runs, "runs", 3, "runs of each workload; the median by CPU time is shown")
	bins := flag.String("bin", "bin/auditail", "the agent; several, with commas between, run in turn over the backlog, and the first in all other parts")
	flag.BoolVar(&b.benchstat, "benchstat", false, "print each run of the backlog as a line for benchstat, and do nothing else")
	flag.StringVar(&b.dir, "dir", ".bench", "working folder; cleared first")
	flag.DurationVar(&b.live, "live", 20*time.Second, "how long a live agent is measured, and one at rest")
	flag.IntVar(&b.rate, "rate", 10_000, "lines a second of a live agent's log")
	names := flag.String("part", "", "of "+strings.Join(partNames(), ", ")+", with commas between; all when empty")
	flag.Parse()
	b.agents = strings.Split(*bins, ",")
	if b.benchstat {
		*names = "backlog"
	}
	if err := b.runParts(context.Background(), *names); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// part is something that is measured.
type part struct {
	name string
	run  func(b *bench, ctx context.Context) error
}

func parts() []part {
	return []part{
		{"backlog", (*bench).backlog},
		{"peers", (*bench).peers},
		{"parallel", (*bench).parallel},
		{"live", (*bench).follow},
		{"idle", (*bench).idle},
		{"stalled", (*bench).stalled},
		{"start", (*bench).start},
		{"verify", (*bench).verify},
	}
}

func partNames() (names []string) {
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

// runParts runs the parts that are named, or all.
func (b *bench) runParts(ctx context.Context, names string) (err error) {
	for i, agent := range b.agents {
		if b.agents[i], err = filepath.Abs(agent); err != nil {
			return err
		}
	}
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return err
	}
	known := partNames()
	for name := range strings.SplitSeq(names, ",") {
		if name != "" && !slices.Contains(known, name) {
			return fmt.Errorf("there is no part %q; there are %s", name, strings.Join(known, ", "))
		}
	}
	for _, p := range parts() {
		if names != "" && !slices.Contains(strings.Split(names, ","), p.name) {
			continue
		}
		if err := b.clear(); err != nil {
			return err
		}
		if err := p.run(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return os.RemoveAll(b.dir)
}

// clear makes the working folder anew.
func (b *bench) clear() error {
	return errors.Join(os.RemoveAll(b.dir), os.MkdirAll(b.dir, 0o750))
}

func say(format string, a ...any) {
	fmt.Printf(format+"\n", a...) //nolint:forbidigo // a program for a terminal
}

// bench is what was asked for.
type bench struct {
	lines, runs int
	only        string
	agents      []string
	dir         string
	benchstat   bool
	live        time.Duration
	rate        int
}

func (b *bench) backlog(ctx context.Context) error {
	if !b.benchstat {
		say("%-8s %9s %9s %11s %8s %8s %8s %9s %9s %6s %9s",
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
	return nil
}

// compare runs the agents over a workload in turn.
func (b *bench) compare(ctx context.Context, w generate.Workload) error {
	results := make([][]result, len(b.agents))
	for range b.runs {
		for i, agent := range b.agents {
			r, err := b.measure(ctx, w, agent)
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
	say("%-8s %9d %9.1f %11.1f %8.2f %8.2f %8.2f %9.1f %9.1f %6.1f %5d/%d %s",
		name, r.lines, r.megabytes(), r.megabytes()/r.cpu.Seconds(), float64(r.cpu.Microseconds())/float64(r.lines),
		r.cpu.Seconds(), r.wall.Seconds(), mebibytes(r.peak.resident), mebibytes(r.peak.anonymous),
		float64(r.bytes)/float64(max(r.shipped, 1)), r.lost, r.repeated, agent)
}

// printForBenchstat prints the run in the format of Go's benchmarks: one
// iteration is one line of the log.
func (r result) printForBenchstat(name, agent string) {
	say("BenchmarkBacklog/log=%s/agent=%s %d %.1f CPU-ns/line %.2f MB/CPU-s %.2f MB/s %d resident-B %d anonymous-B %d shipped-B %d lost %d repeated",
		name, filepath.Base(agent), r.lines, float64(r.cpu.Nanoseconds())/float64(r.lines), r.megabytes()/r.cpu.Seconds(),
		r.megabytes()/r.wall.Seconds(), r.peak.resident, r.peak.anonymous, r.shipped, r.lost, r.repeated)
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

// measure runs an agent once over a fresh log.
func (b *bench) measure(ctx context.Context, w generate.Workload, agent string) (result, error) {
	if err := b.clear(); err != nil {
		return result{}, err
	}
	log := filepath.Join(b.dir, "input.log")
	size, err := w.File(log, b.lines)
	if err != nil {
		return result{}, err
	}
	s, err := newSink()
	if err != nil {
		return result{}, err
	}
	p, err := startAgent(ctx, agent, b.dir, w.Config(b.dir, log, s.url()), "--once")
	if err != nil {
		return result{}, err
	}
	r := result{lines: b.lines, bytes: size}
	if r.cpu, r.wall, r.peak, err = p.ended(); err != nil {
		return result{}, err
	}
	seen, repeated, err := s.count(w.IDKey)
	r.lost, r.repeated, r.shipped = b.lines-seen, repeated, s.bytes()
	return r, errors.Join(err, s.close())
}
