// Package agent joins inputs, parsers, buffer and outputs: read, parse, enrich,
// append; seal, ship, acknowledge.
//
// Its promise is the order of things. A line's record and its read position go
// to the buffer in one commit; inputs stop before the buffer is sealed; the
// buffer is sealed before outputs are closed; and what the outputs have not
// acknowledged by then waits on the disk for the next start.
package agent

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/auditail/auditail/agent/capture"
	"github.com/auditail/auditail/agent/catalog"
	"github.com/auditail/auditail/agent/identity"
	"github.com/auditail/auditail/agent/witness"
	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/internal/admin"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/memory"
	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/seal"
)

// Config comes from the user, resolved: kinds are made by the caller.
type Config struct {
	Log         seal.Log
	Environment string
	Host        Host
	Run         seal.Run
	Buffer      buffer.Config  // without Log and Outputs, which New fills
	Catalog     *catalog.Store // whose catalogs the inputs have; nil: they know what is declared
	Inputs      []Input
	Outputs     []Output
	// Witnesses cosign the heads of the log; WitnessQuorum of them, at least one,
	// make a head that manifests name.
	Witnesses     []*witness.Client
	WitnessQuorum int
	WitnessDigest string // of what makes Witnesses what they are
}

// Input is an input with what becomes of its lines.
type Input struct {
	Name       string
	Kind       string // for people
	Service    string
	Retention  string // class
	Input      inputs.Input
	Parser     parsers.Parser
	ParserName string // with version, as in source.parser
	Ignore     []IgnoreRule
	Policy     *capture.Policy
	Catalog    *catalog.Catalog
	Identity   *identity.Map // nil: nobody is declared
	// Digest is of everything in the configuration that makes the input what it
	// is: a reload that brings the same leaves the input alone.
	Digest string
}

// IgnoreRule names lines that the operator knows to be noise: they are counted
// as ignored and do not reach the parser.
type IgnoreRule struct {
	Name    string
	Pattern *regexp.Regexp // found anywhere in the line
}

// Output is a destination.
type Output struct {
	Name   string
	Kind   string // for people
	Output outputs.Output
	Digest string // as that of an Input
	// CountsOnDisk: what it stores lies under data_dir and counts against max_disk.
	CountsOnDisk bool
	Stored       int64 // bytes it holds at the start, of CountsOnDisk
	// BestEffort: a copy that nothing waits for. It skips what it is too slow
	// for, and neither witnesses nor the end of `--once` ask for it.
	BestEffort bool
}

// Deps come from code.
type Deps struct {
	FS       durable.FS
	Log      *slog.Logger
	Now      func() time.Time
	Identity crypto.Signer
	Keys     Keys        // in place of Identity, when not nil
	Taps     *admin.Taps // shows records as they pass; nil: to nobody
}

// Keys keep the identity key, and the one that is to follow it.
type Keys interface {
	// Load returns both; successor is nil when no rotation was asked for.
	Load() (identity, successor crypto.Signer, err error)
	// Waiting tells whether there is a successor now.
	Waiting() bool
	// Adopt puts the successor, which was signed in, in the place of the identity
	// for good, and returns what the operator is told of that. What it does not end,
	// it ends when it is called again.
	Adopt() (told string, err error)
}

const (
	// flushEvery is how often parsers are asked for records that waited too long.
	flushEvery = 5 * time.Second
	// ownService is the service of the agent's own records.
	ownService = "auditail"
)

// Agent runs once.
type Agent struct {
	cfg      Config
	deps     Deps
	log      *slog.Logger
	own      *ownRecords
	stored   storedBytes
	outputs  []*shipper
	failures recentFailures      // of buffers
	records  memory.Slices[byte] // for the entries of all pipelines
	chunks   atomic.Int64        // that became durable
	rested   int64               // chunks at the last rest; of the goroutine that the buffer calls from
	started  bool                // the record of the start is durable
	changes  chan change         // reloads that wait for their turn
	ended    chan struct{}       // closed when Run or RunOnce returns
	// witnessSaid is the last failure of each witness, of the goroutine that asks them.
	witnessSaid map[string]string

	startedAt time.Time
	mu        sync.Mutex // guards what Status reads
	counters  map[string]*counters
	live      *buffer.Buffer // that of the session
	ready     bool           // the inputs run
	config    admin.Config   // what Status is to say of the file
	reopened  int            // buffers that failed

	// Of the session at hand, used by Run and New alone:
	buffer    *buffer.Buffer
	pipelines []*pipeline
	shipping  *shippers
	adopted   bool            // the successor is the identity for good
	late      context.Context //nolint:containedctx // of Run: shippers of a later configuration end with it too
	catalog   func()          // stops the model catalog; nil: it does not run
	// unrecorded are the records of reloads that are not durable yet.
	unrecorded []*buffer.Entry
}

// New opens the buffer and prepares everything; nothing is read yet. It waits
// while the disk is full, until ctx ends.
func New(ctx context.Context, cfg Config, deps Deps) (*Agent, error) {
	a := &Agent{
		cfg: cfg, deps: deps, log: deps.Log, startedAt: deps.Now(), counters: make(map[string]*counters), witnessSaid: make(map[string]string),
		changes: make(chan change), ended: make(chan struct{}),
	}
	a.own = newOwnRecords(&cfg, deps.Now)
	for _, o := range cfg.Outputs {
		if o.CountsOnDisk {
			a.stored.add(o.Stored)
		}
		a.outputs = append(a.outputs, &shipper{agent: a, output: o, log: a.log.With("output", o.Name)})
	}
	b, err := a.openBuffer(ctx, bufferConfig(&cfg), buffer.Deps{
		FS: deps.FS, Log: deps.Log, Now: deps.Now, Identity: deps.Identity, Keys: a.loadKeys(), Run: cfg.Run,
		Boot: Boot, Coverage: a.own.coverage, Gap: a.own.hole, Reread: a.reread, Damaged: a.own.damaged, Alarm: a.own.forked, KeyRotated: a.own.keyRotated, DiskUsed: a.stored.bytes,
		Rested: a.rest,
	})
	if err != nil {
		return nil, err
	}
	a.useBuffer(b)
	if err := a.makePipelines(); err != nil {
		return nil, errors.Join(err, a.buffer.Shut(ctx, false))
	}
	return a, nil
}

// Run works until ctx ends, then stops cleanly: inputs, records on their way,
// seal with close, what the outputs take in time. It returns nil for a clean
// stop, and otherwise what made it stop.
func (a *Agent) Run(ctx context.Context) error {
	defer close(a.ended)
	late, last, cancel := linger(ctx, stopTime)
	defer cancel()
	a.late = late
	cause := a.persist(ctx, late, a.withCatalog(a.follow))
	last()
	sealing, cancelSealing := context.WithTimeout(late, sealTime)
	defer cancelSealing()
	err := a.seal(sealing)
	switch {
	case buffer.Unsigned(err):
		a.log.ErrorContext(ctx, "ALARM: the signing key did not sign the end of the log: it ends without close; the next start signs what waits", "error", err)
		err = nil
	case err != nil && sealing.Err() != nil && a.buffer.Err() == nil:
		a.log.WarnContext(ctx, "there was no time to seal everything; the rest is sealed at the next start", "error", err)
		err = nil
	}
	a.shipping.finish()
	a.adoptKey(ctx)
	return errors.Join(cause, err, a.closeOutputs())
}

// RunOnce reads what the inputs hold now, seals, ships and stops. It returns an
// error when an output did not take everything before ctx ended; the data stays.
func (a *Agent) RunOnce(ctx context.Context) error {
	defer close(a.ended)
	cause := a.once(ctx)
	for cause == nil && ctx.Err() == nil && planned(a.buffer.Err()) {
		if cause = a.reopen(ctx, a.buffer.Err()); cause == nil {
			cause = a.once(ctx)
		}
	}
	for _, o := range a.cfg.Outputs {
		if n := a.buffer.Pending(o.Name); n > 0 && cause == nil && !o.BestEffort {
			cause = fmt.Errorf("output %s did not take everything: %d batches wait in %s and ship at the next start", o.Name, n, a.cfg.Buffer.Dir)
			if r, ok := o.Output.(outputs.Reporter); ok && r.Trouble().Err != nil {
				cause = fmt.Errorf("%w; the last attempt: %w", cause, r.Trouble().Err)
			}
		}
	}
	return errors.Join(cause, a.closeOutputs())
}

// once scans, seals and ships over one buffer.
func (a *Agent) once(ctx context.Context) error {
	cause := a.persist(ctx, ctx, a.withCatalog(a.scan))
	sealing, _, cancel := linger(ctx, sealTime)
	defer cancel()
	if cause = errors.Join(cause, a.seal(sealing)); cause != nil {
		a.shipping.cancel()
	}
	a.shipping.finish()
	a.adoptKey(ctx)
	return cause
}

// start writes the record of the start, once. A stop that comes meanwhile waits for
// it: what a log begins with is not written later.
func (a *Agent) start(ctx context.Context) error {
	if a.started {
		return nil
	}
	ctx, _, cancel := linger(ctx, sealTime)
	defer cancel()
	e := a.own.started()
	if err := a.buffer.Append(ctx, e); err != nil {
		return err
	}
	a.started = true
	if a.buffer.Epoch() > 1 || e.FirstSeq > 0 {
		return nil
	}
	// The first record of all: with which key the log begins belongs to it.
	return a.buffer.Append(ctx, a.own.keyMade(a.buffer.Identity()))
}

// follow runs the inputs until ctx ends or one of them, or the buffer, fails.
func (a *Agent) follow(ctx context.Context) error {
	if err := a.start(ctx); err != nil {
		return err
	}
	a.recordChange(ctx)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	running := &following{ctx: ctx, fail: cancel, now: make(map[*pipeline]*followed)}
	for _, p := range a.pipelines {
		running.start(p)
	}
	var watching sync.WaitGroup
	if a.deps.Keys != nil {
		watching.Go(func() { a.watchKeys(ctx) })
	}
	a.setReady(true)
	defer a.setReady(false)
	a.log.InfoContext(ctx, "running", "inputs", len(a.pipelines), "outputs", len(a.outputs))
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-a.buffer.Failed():
			cancel(a.buffer.Err())
		case c := <-a.changes:
			c.done <- a.reconfigure(ctx, running, &c)
		}
	}
	running.wait()
	watching.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// scan reads all inputs to their present end and releases what their parsers hold.
func (a *Agent) scan(ctx context.Context) error {
	if err := a.start(ctx); err != nil {
		return err
	}
	failures := make([]error, len(a.pipelines))
	var running sync.WaitGroup
	for i, p := range a.pipelines {
		running.Go(func() {
			if err := p.scan(ctx); err != nil {
				failures[i] = fmt.Errorf("input %s: %w", p.spec.Name, err)
			}
		})
	}
	running.Wait()
	return errors.Join(failures...)
}

func (a *Agent) closeOutputs() error { return closeAll(a.cfg.Outputs) }
