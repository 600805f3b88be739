package buffer_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/durable/faulty"
	"github.com/auditail/auditail/seal"
)

var ownStream = seal.Stream{Environment: "test", Service: "auditail", Class: "standard"}

const folder = "/var/lib/auditail/buffer"

// workload is what the tests of this file do with a buffer: three inputs over
// two streams, two outputs of different speed.
type workload struct {
	sources []source
	config  buffer.Config
	decoder *zstd.Decoder
	log     *slog.Logger
	reread  func(input string, moved []buffer.Moved) ([]buffer.Position, error)
}

func newWorkload(t *testing.T) *workload {
	t.Helper()
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(decoder.Close)
	other := seal.Stream{Environment: "test", Service: "chat", Class: "legal"}
	c := config(folder)
	c.MaxDisk, c.BatchSize, c.BatchAge, c.Heartbeat = 96<<10, 3<<10, 30*time.Second, time.Minute
	c.Retention = map[string]time.Duration{"standard": 24 * time.Hour, "legal": 48 * time.Hour}
	return &workload{
		sources: []source{{"a", stream, 61}, {"b", other, 34}, {"c", stream, 23}},
		config:  c, decoder: decoder, log: slog.New(slog.DiscardHandler),
	}
}

// moment is the disk at one point of a session and what was known then.
type moment struct {
	op    faulty.Operation
	image *faulty.Image
	known *archive
}

// session opens the buffer, goes on with the inputs where it resumes, does some
// random steps, brings everything to its end and checks what the outputs hold.
// It records the moments behind every operation when it is to.
type session struct {
	*workload
	disk    *faulty.FS
	known   *archive
	random  *rand.Rand
	steps   int
	record  bool
	moments []moment

	failures int  // of the buffer
	ending   bool // the last Shut was called: what fails now ends the process
	buffer   *buffer.Buffer
	resume   map[string]buffer.Resume
}

// run is a session in a bubble of time. It returns what went wrong.
func (s *session) run(t *testing.T) (err error) {
	t.Helper()
	synctest.Test(t, func(*testing.T) { err = s.inBubble() })
	return err
}

func (s *session) inBubble() error {
	if s.record {
		s.disk.Observe(func(op faulty.Operation, image *faulty.Image) {
			s.moments = append(s.moments, moment{op: op, image: image, known: s.known.clone()})
		})
	}
	d := deps(s.disk)
	d.Log, d.Coverage, d.Reread = s.log, coverage, s.reread
	s.known.sessions++ // a bubble's clock starts anew; the host's went on meanwhile
	down := time.Duration(s.known.sessions) * 24 * time.Hour
	d.Now = func() time.Time { return time.Now().Add(down) }
	c := s.config
	if s.steps == 0 {
		c.BatchSize *= 16
	}
	b, err := s.patiently(func() (*buffer.Buffer, error) { return buffer.Open(c, d) })
	if err != nil {
		return err
	}
	for err = s.over(b); b.Err() != nil; err = s.over(b) {
		if s.tired(err) {
			return err
		}
		if b, err = s.patiently(b.Reopen); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	s.disk.Heal()
	return errors.Join(s.known.complete(s.sources, s.config.Outputs), s.checkHead(), s.checkDisk())
}

// patiently opens a buffer as the agent does: again while the disk is full, and
// a few times after another failure.
func (s *session) patiently(open func() (*buffer.Buffer, error)) (b *buffer.Buffer, err error) {
	for range 100 {
		if b, err = open(); err == nil {
			return b, nil
		}
		if s.tired(err) {
			break
		}
		time.Sleep(time.Second)
	}
	return nil, fmt.Errorf("open: %w", err)
}

// tired counts what went wrong but a full disk.
func (s *session) tired(err error) bool {
	if !buffer.NoSpace(err) {
		s.failures++
	}
	return s.failures > 3
}

// over works on one opened buffer up to its end, or to its failure.
func (s *session) over(b *buffer.Buffer) error {
	s.buffer = b
	s.resume = make(map[string]buffer.Resume)
	for _, x := range s.sources {
		r := b.Resume(x.name)
		s.resume[x.name] = r
		if at := x.at(r); at < s.known.acked[x.name] {
			s.known.problem("source %s resumes at line %d, but %d were acknowledged", x.name, at, s.known.acked[x.name])
		}
		if (r.Held == 1) != (len(r.Parser) > 0) {
			s.known.problem("source %s resumes with %d held lines and the parser's state %q", x.name, r.Held, r.Parser)
		}
	}
	for _, h := range b.Holes() {
		s.known.problem("hole %+v", h)
	}
	err := s.work()
	s.ending = err == nil
	if shutErr := b.Shut(context.Background(), err == nil); err == nil && shutErr != nil {
		err = fmt.Errorf("shut: %w", shutErr)
	}
	if err != nil {
		return err
	}
	for _, output := range s.config.Outputs {
		if err := s.known.ship(context.Background(), b, output, s.decoder, true); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) work() error {
	for range s.steps {
		if err := s.step(); err != nil {
			return err
		}
	}
	return s.finish()
}

// step does one random thing.
func (s *session) step() error {
	ctx := context.Background()
	switch s.random.IntN(10) {
	case 0, 1, 2:
		return s.append(s.random.IntN(len(s.sources)))
	case 3, 4: // one write and sync for several entries
		var commits []func() error
		for range 1 + s.random.IntN(5) {
			wait, err := s.submit(s.random.IntN(len(s.sources)), 1+s.random.IntN(6))
			if err != nil {
				return err
			}
			commits = append(commits, wait)
		}
		for _, wait := range commits {
			if err := wait(); err != nil {
				return err
			}
		}
	case 5:
		return s.appendOwn()
	case 6:
		return s.buffer.Flush(ctx)
	case 7:
		return s.known.ship(ctx, s.buffer, "a", s.decoder, false)
	case 8:
		return errors.Join(s.known.ship(ctx, s.buffer, "a", s.decoder, false), s.known.ship(ctx, s.buffer, "b", s.decoder, false))
	default: // batch age or heartbeat
		time.Sleep(time.Duration(s.random.IntN(90)) * time.Second)
	}
	return nil
}

func (s *session) append(i int) error {
	lines := 1 + s.random.IntN(12)
	if s.steps == 0 {
		lines = s.sources[i].total // the recovery was the point: soon to the end
	}
	wait, err := s.submit(i, lines)
	if err != nil {
		return err
	}
	return wait()
}

func (s *session) submit(i, lines int) (wait func() error, err error) {
	x := s.sources[i]
	r := s.resume[x.name]
	to := min(x.at(r)+lines, x.total)
	if to == x.at(r) {
		return func() error { return nil }, nil
	}
	e := x.read(r, to)
	c, err := s.buffer.Submit(context.Background(), e)
	if err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	s.resume[x.name] = after(e)
	return func() error {
		if err := c.Wait(context.Background()); err != nil {
			return fmt.Errorf("append: %w", err)
		}
		s.known.acknowledged(x.name, to)
		return nil
	}, nil
}

func (s *session) appendOwn() error {
	id := strconv.FormatUint(s.random.Uint64(), 36)
	s.known.ownRecord(id, false)
	if err := s.buffer.Append(context.Background(), ownEntry(id)); err != nil {
		return fmt.Errorf("append own: %w", err)
	}
	s.known.ownRecord(id, true)
	return nil
}

// finish reads the sources to their end while both outputs ship.
func (s *session) finish() error {
	ctx, cancel := context.WithCancel(context.Background())
	var shippers sync.WaitGroup
	failures := make([]error, len(s.config.Outputs))
	for i, output := range s.config.Outputs {
		shippers.Go(func() {
			if err := s.known.ship(ctx, s.buffer, output, s.decoder, true); !errors.Is(err, context.Canceled) {
				failures[i] = err
			}
		})
	}
	err := func() error {
		for i, x := range s.sources {
			for x.at(s.resume[x.name]) < x.total {
				if err := s.append(i); err != nil {
					return err
				}
			}
		}
		return s.buffer.Flush(context.Background())
	}()
	cancel()
	shippers.Wait()
	return errors.Join(append(failures, err)...)
}

// checkHead compares the buffer's tree head with the manifests.
func (s *session) checkHead() error {
	s.known.mu.Lock()
	defer s.known.mu.Unlock()
	head, tree := s.buffer.Checkpoint(), s.known.chain.Tree()
	if head.Size != tree.Size() || head.Root != tree.Root() {
		return fmt.Errorf("the checkpoint is of size %d, %d manifests were shipped", head.Size, tree.Size())
	}
	return nil
}

// checkDisk looks for what must be gone: keys that were used, batches that all
// outputs hold, half-written files.
func (s *session) checkDisk() error {
	next := len(s.known.manifests)
	for sub, allowed := range map[string]func(name string) error{
		"ratchet": func(name string) error { return s.checkKey(name, next) },
		"spool":   func(name string) error { return fmt.Errorf("spool still holds %s", name) },
		"cursors": func(string) error { return nil },
	} {
		entries, err := s.disk.ReadDir(filepath.Join(folder, sub))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := allowed(e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *session) checkKey(name string, next int) error {
	digits, ok := strings.CutSuffix(name, ".key")
	number, err := strconv.Atoi(digits)
	if !ok || err != nil {
		return fmt.Errorf("unexpected file %s beside the ratchet keys", name)
	}
	if number == next {
		return nil
	}
	data, err := durable.ReadFile(s.disk, filepath.Join(folder, "ratchet", name), 1024)
	if err != nil {
		return err
	}
	if strings.Trim(string(data), "\x00") != "" {
		return fmt.Errorf("the ratchet key of batch %d is still there, %d is next", number, next)
	}
	return nil
}

// explorer counts states and reports the first few failures.
type explorer struct {
	*workload
	t        *testing.T
	states   int
	failures int
}

// crash is a way to lose what was not synced.
type crash string

const (
	kill     crash = "kill"
	cutAll   crash = "power cut, all lost"
	cutLate  crash = "power cut, newest lost"
	cutSome  crash = "power cut, some lost"
	cutOther crash = "power cut, others lost" // other dice
)

func (c crash) of(image *faulty.Image, random *rand.Rand) *faulty.FS {
	switch c {
	case kill:
		return image.Kill()
	case cutAll:
		return image.PowerCut(random, faulty.All)
	case cutLate:
		return image.PowerCut(random, faulty.Late)
	default:
		return image.PowerCut(random, faulty.Some)
	}
}

// after explores what crashes at the moment can leave. Each recovery is itself
// cut off again in as many moments as nested says, early ones preferred.
func (x *explorer) after(m moment, seed uint64, nested int, crashes ...crash) {
	for i, c := range crashes {
		random := rand.New(rand.NewPCG(seed, uint64(m.op.Number*100+i))) //nolint:gosec // small numbers
		x.states++
		s := &session{workload: x.workload, disk: c.of(m.image, random), known: m.known.clone(), random: random, record: nested > 0}
		if nested > 0 {
			s.steps = random.IntN(4)
		}
		if err := s.run(x.t); err != nil {
			x.fail(fmt.Errorf("%s behind operation %d (kind %b) on %s, seed %d: %w", c, m.op.Number, m.op.Kind, m.op.Name, seed, err))
			return
		}
		for range nested {
			among := len(s.moments)
			if random.IntN(3) > 0 {
				among = min(among, 60)
			}
			x.after(s.moments[random.IntN(among)], seed, 0, cutAll, cutSome)
		}
	}
}

func (x *explorer) fail(err error) {
	x.t.Helper()
	x.t.Error(err)
	if x.failures++; x.failures >= 5 {
		x.t.FailNow()
	}
}

// TestMain lets the collector run seldom: each state makes its own encoders.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	os.Exit(m.Run())
}

// TestCrashAfterEveryOperation cuts the power behind every operation of random
// workloads, recovers, and checks that the archive in the end holds everything
// once, in order and unchanged. What was killed, and some of what was cut, is cut
// again while it recovers. A workload gives about 5,000 states;
// AUDITAIL_TORTURE is the number of workloads.
func TestCrashAfterEveryOperation(t *testing.T) {
	workloads, crashes := 1, []crash{kill, cutAll, cutSome, cutOther, cutLate}
	if testing.Short() {
		workloads, crashes = 1, []crash{kill, cutSome}
	}
	if n, err := strconv.Atoi(os.Getenv("AUDITAIL_TORTURE")); err == nil {
		workloads = n
	}
	for seed := range uint64(workloads) { //nolint:gosec // a small number
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			x := &explorer{workload: newWorkload(t), t: t}
			s := &session{
				workload: x.workload, disk: faulty.New(), known: newArchive(),
				random: rand.New(rand.NewPCG(seed, 0)), steps: 14, record: true, //nolint:gosec // a test's dice
			}
			if err := s.run(t); err != nil {
				t.Fatal(err)
			}
			for i, m := range s.moments {
				switch {
				case i%4 == int(seed%4): //nolint:gosec // below 4
					x.after(m, seed, 2, crashes...)
				default:
					x.after(m, seed, 1, crashes[0])
					x.after(m, seed, 0, crashes[1:]...)
				}
			}
			t.Logf("%d states", x.states)
		})
	}
}
