package outputstest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// CopyKind is what the suite has to know of outputs that copy records elsewhere.
type CopyKind struct {
	// Start returns an output whose connections are made by dial.
	Start func(t *testing.T, dial Dial) outputs.Output
	// Serve speaks the receiver's side of one connection, as r behaves, until it ends.
	Serve func(t *testing.T, c net.Conn, r *Receiver)
	// Distrusted returns an output that does not know the authority of the receiver
	// that it is configured for.
	Distrusted func(t *testing.T) outputs.Output
	// Refuses tells of a protocol in which a receiver can say no for good.
	Refuses bool
}

// Dial makes a connection to the receiver.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// RunCopies is Run for outputs that copy. A receiver of copies has no names, so
// what is repeated after a lost answer comes twice; what the suite asks for is that
// nothing is missing, that what comes is what was sealed, in its order, and that
// nothing comes twice without a cause.
func RunCopies(t *testing.T, kind CopyKind) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, *copies){
		"copies each record once, in order":                 copiesInOrder,
		"repeating sends the same":                          copiesAgain,
		"survives cuts, taken or not":                       copiesThroughCuts,
		"waits for a receiver that is away":                 copiesAfterOutage,
		"returns when its context has ended":                copiesUntilCancelled,
		"waits for a slow receiver":                         copiesSlowly,
		"gives up on a receiver that hangs, and comes back": copiesAfterHang,
		"takes no notice of endless answers":                copiesDespiteTalk,
		"never copies damaged payloads":                     copiesNoDamage,
		"tells what is refused, and goes on":                copiesTheRest,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newCopies(t, kind)) })
		})
	}
	t.Run("sends nothing to a receiver with a wrong certificate", func(t *testing.T) { copiesToNobody(t, kind) })
}

// ErrCut asks Serve to end the connection at once, without an answer.
var ErrCut = errors.New("the connection breaks")

// Receiver is how the receiver of copies behaves. Serve asks it.
type Receiver struct {
	mu      sync.Mutex
	taken   []string
	cuts    []int // records until the connection breaks, one after the other
	away    bool
	slow    time.Duration
	hang    time.Duration
	refuse  int
	talk    int64
	greeted int
}

// Take takes records as they were sealed, or fails with ErrCut.
func (r *Receiver) Take(lines ...string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if hang := r.hang; hang > 0 {
		r.hang = 0
		r.mu.Unlock()
		time.Sleep(hang) // of the bubble
		r.mu.Lock()
		return ErrCut
	}
	if len(r.cuts) > 0 && r.cuts[0] == 0 {
		r.cuts = r.cuts[1:]
		return ErrCut
	}
	r.taken = append(r.taken, lines...)
	if len(r.cuts) == 0 {
		return nil
	}
	if r.cuts[0] -= len(lines); r.cuts[0] > 0 {
		return nil
	}
	r.cuts = r.cuts[1:]
	return ErrCut
}

// Refused tells whether the receiver says no for good to what came.
func (r *Receiver) Refused() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse--
	return r.refuse >= 0
}

// Answer waits as long as the receiver takes to answer, or to end its side, and
// returns how many bytes it says beyond what it should.
func (r *Receiver) Answer() (talk int64) {
	r.mu.Lock()
	slow, talk := r.slow, r.talk
	r.mu.Unlock()
	time.Sleep(slow) // of the bubble
	return talk
}

// Talk writes n bytes that nobody asked for.
func Talk(to io.Writer, n int64) error {
	noise := make([]byte, 32<<10)
	for ; n > 0; n -= int64(len(noise)) {
		if _, err := to.Write(noise[:min(n, int64(len(noise)))]); err != nil {
			return err
		}
	}
	return nil
}

func (r *Receiver) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *Receiver) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.taken)
}

// copies is one test: an output, its receiver, and a batch of records.
type copies struct {
	Receiver

	kind   CopyKind
	output outputs.Output
	epoch  *sealtest.Epoch
	batch  seal.Batch
	want   []string
	served sync.WaitGroup // connections
}

// copied is how many records the batch has: more than a request or a message holds.
const copied = 2500

func newCopies(t *testing.T, kind CopyKind) *copies {
	t.Helper()
	c := &copies{kind: kind, epoch: sealtest.New(t, sealtest.Config{})}
	c.epoch.Open()
	c.batch = c.epoch.Data(sealtest.Chat(), c.epoch.Records(copied))
	c.want = lines(t, c.epoch, c.batch)
	c.output = kind.Start(t, func(context.Context, string, string) (net.Conn, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.away {
			return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
		}
		c.greeted++
		ours, theirs := net.Pipe()
		c.served.Go(func() {
			defer theirs.Close()
			kind.Serve(t, theirs, &c.Receiver)
		})
		return ours, nil
	})
	t.Cleanup(func() {
		if err := c.output.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		c.served.Wait()
	})
	return c
}

// lines are the records of a batch's payload.
func lines(t *testing.T, e *sealtest.Epoch, b seal.Batch) []string {
	t.Helper()
	return strings.Split(strings.TrimSuffix(string(sealtest.Plain(t, e.Files[b.Manifest.PayloadPath])), "\n"), "\n")
}

func (c *copies) ship(t *testing.T) {
	t.Helper()
	receipt, err := c.output.Ship(t.Context(), c.batch)
	if err != nil || receipt.Stored != 1 || receipt.Batch != c.batch.Manifest.Batch || receipt.Origin != c.batch.Manifest.Origin {
		t.Fatalf("ship: %+v, %v", receipt, err)
	}
}

func (c *copies) wantTaken(t *testing.T, want []string) {
	t.Helper()
	if got := c.all(); !slices.Equal(got, want) {
		t.Errorf("%d records came, want %d, in their order", len(got), len(want))
	}
}

func (c *copies) trouble(t *testing.T) outputs.Trouble {
	t.Helper()
	reporter, ok := c.output.(outputs.Reporter)
	if !ok {
		t.Fatal("the output does not say why it is in trouble")
	}
	return reporter.Trouble()
}

func copiesInOrder(t *testing.T, c *copies) {
	for _, b := range []seal.Batch{c.epoch.Batches[0], c.epoch.Heartbeat(), c.epoch.Close()} {
		if receipt, err := c.output.Ship(t.Context(), b); err != nil || receipt.Stored != 0 || receipt.Batch != b.Manifest.Batch {
			t.Errorf("ship batch %d, which has no records: %+v, %v", b.Manifest.Batch, receipt, err)
		}
	}
	if c.greeted != 0 {
		t.Errorf("%d connections for batches without records", c.greeted)
	}
	c.ship(t)
	c.wantTaken(t, c.want)
	if trouble := c.trouble(t); trouble.Err != nil || trouble.Failures != 0 || trouble.Rejected != 0 {
		t.Errorf("trouble: %+v", trouble)
	}
}

func copiesAgain(t *testing.T, c *copies) {
	c.ship(t)
	c.ship(t)
	c.wantTaken(t, append(slices.Clone(c.want), c.want...))
}

// copiesThroughCuts breaks connections before anything was taken, in the middle, and
// when all was taken and only the answer is missing.
func copiesThroughCuts(t *testing.T, c *copies) {
	all := len(c.want)
	for _, cuts := range [][]int{{0}, {0, 0, 0}, {1}, {499, 500, 501}, {1000}, {1001}, {all - 1}, {all}, {all, 0, 1}} {
		c.change(func() { c.taken, c.cuts = nil, slices.Clone(cuts) })
		before := c.trouble(t).Failures
		c.ship(t)
		got := c.all()
		if slices.Max(cuts) == 0 && len(got) != all { // nothing was taken before: nothing comes twice
			t.Errorf("cut before anything was taken: %d records came, want %d", len(got), all)
		}
		seen := make(map[string]bool)
		var first []string
		for _, line := range got {
			if !seen[line] {
				first = append(first, line)
			}
			seen[line] = true
		}
		if !slices.Equal(first, c.want) {
			t.Errorf("cut after %v records: %d different ones came, want %d, in their order", cuts, len(first), len(c.want))
		}
		if trouble := c.trouble(t); len(c.cuts) != 0 || trouble.Err != nil || trouble.Failures == before {
			t.Errorf("cut after %v records: %d cuts are left, trouble: %+v", cuts, len(c.cuts), trouble)
		}
	}
}

func copiesAfterOutage(t *testing.T, c *copies) {
	c.change(func() { c.away = true })
	time.AfterFunc(8*time.Hour, func() { c.change(func() { c.away = false }) })
	began := time.Now()
	time.AfterFunc(time.Hour, func() {
		if trouble := c.trouble(t); trouble.Err == nil || trouble.Since.After(began.Add(time.Minute)) {
			t.Errorf("trouble after an hour: %+v", trouble)
		}
	})
	c.ship(t)
	c.wantTaken(t, c.want)
	if took := time.Since(began); took < 8*time.Hour || took > 9*time.Hour {
		t.Errorf("copied %s after the outage began", took)
	}
}

func copiesUntilCancelled(t *testing.T, c *copies) {
	c.change(func() { c.away = true })
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if _, err := c.output.Ship(ctx, c.batch); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, outputs.ErrPermanent) {
		t.Errorf("ship: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.output.Ship(ended, c.batch); !errors.Is(err, context.Canceled) {
		t.Errorf("ship with an ended context: %v", err)
	}
}

func copiesSlowly(t *testing.T, c *copies) {
	c.change(func() { c.slow = 4 * time.Second })
	c.ship(t)
	c.wantTaken(t, c.want)
	if trouble := c.trouble(t); trouble.Failures != 0 {
		t.Errorf("trouble: %+v", trouble)
	}
}

func copiesAfterHang(t *testing.T, c *copies) {
	c.change(func() { c.hang = 3 * time.Hour })
	began := time.Now()
	c.ship(t)
	c.wantTaken(t, c.want)
	if took := time.Since(began); took > time.Hour || c.trouble(t).Failures == 0 {
		t.Errorf("copied after %s, trouble: %+v", took, c.trouble(t))
	}
}

// copiesDespiteTalk: what a receiver says without being asked costs no memory.
func copiesDespiteTalk(t *testing.T, c *copies) {
	const said, most = 64 << 20, 16 << 20
	took := func(talk int64) (allocated int64) {
		c.change(func() { c.taken, c.talk = nil, talk })
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c.ship(t)
		runtime.ReadMemStats(&after)
		c.wantTaken(t, c.want)
		return int64(after.TotalAlloc - before.TotalAlloc) //nolint:gosec // far below 63 bits
	}
	took(0) // what the first time takes
	silent := took(0)
	if talked := took(said); talked-silent > most {
		t.Errorf("an answer of %d bytes took %d bytes of memory, none took %d", said, talked, silent)
	}
}

func copiesNoDamage(t *testing.T, c *copies) {
	sealed := c.epoch.Files[c.batch.Manifest.PayloadPath]
	for name, open := range map[string]func() (io.ReadSeekCloser, error){
		"last bit": func() (io.ReadSeekCloser, error) {
			changed := slices.Clone(sealed)
			changed[len(changed)-1] ^= 1
			return content(changed), nil
		},
		"torn":  func() (io.ReadSeekCloser, error) { return content(sealed[:len(sealed)-1]), nil },
		"empty": func() (io.ReadSeekCloser, error) { return content(nil), nil },
		"gone":  func() (io.ReadSeekCloser, error) { return nil, fs.ErrNotExist },
	} {
		damaged := c.batch.Objects[0]
		damaged.Open = open
		_, err := c.output.Ship(t.Context(), part(c.batch, damaged))
		wantObjectError(t, err, damaged, outputs.ErrPermanent)
		if got := c.all(); len(got) != 0 {
			t.Fatalf("%s: %d records came", name, len(got))
		}
	}
	once := c.batch.Objects[0]
	var fails sync.Once
	once.Open = func() (_ io.ReadSeekCloser, err error) {
		if fails.Do(func() { err = errors.New("this read fails once") }); err != nil {
			return nil, err
		}
		return c.batch.Objects[0].Open()
	}
	if _, err := c.output.Ship(t.Context(), part(c.batch, once)); err != nil {
		t.Fatal(err)
	}
	c.wantTaken(t, c.want)
}

func copiesTheRest(t *testing.T, c *copies) {
	if !c.kind.Refuses {
		return
	}
	c.change(func() { c.refuse = 1 })
	_, err := c.output.Ship(t.Context(), c.batch)
	wantObjectError(t, err, c.batch.Objects[0], outputs.ErrPermanent)
	rejected := c.trouble(t).Rejected
	if rejected <= 0 || rejected >= copied {
		t.Fatalf("%d records were rejected", rejected)
	}
	c.wantTaken(t, c.want[rejected:])
}

// copiesToNobody uses real connections: nothing is sent before the certificate of
// the receiver is known to be good, and the mending is said.
func copiesToNobody(t *testing.T, kind CopyKind) {
	output := kind.Distrusted(t)
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := &copies{output: output}
	go func() {
		defer cancel()
		for ctx.Err() == nil && c.trouble(t).Err == nil {
			time.Sleep(time.Millisecond)
		}
	}()
	if _, err := output.Ship(ctx, e.Data(sealtest.Chat(), e.Records(3))); err == nil || errors.Is(err, outputs.ErrPermanent) {
		t.Errorf("ship: %v", err)
	}
	if err := c.trouble(t).Err; err == nil || !strings.Contains(err.Error(), "ca_file") {
		t.Errorf("trouble: %v", err)
	}
	if prober, ok := output.(outputs.Prober); ok {
		if err := prober.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "ca_file") {
			t.Errorf("probe: %v", err)
		}
	}
	if err := output.Close(); err != nil {
		t.Error(err)
	}
}
