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
	"time"

	"github.com/auditail/auditail/agent/capture"
	"github.com/auditail/auditail/agent/catalog"
	"github.com/auditail/auditail/agent/identity"
	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/internal/durable"
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
}

// Input is an input with what becomes of its lines.
type Input struct {
	Name       string
	Service    string
	Retention  string // class
	Input      inputs.Input
	Parser     parsers.Parser
	ParserName string // with version, as in source.parser
	Ignore     []IgnoreRule
	Policy     *capture.Policy
	Catalog    *catalog.Catalog
	Identity   *identity.Map // nil: nobody is declared
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
	Output outputs.Output
	// CountsOnDisk: what it stores lies under data_dir and counts against max_disk.
	CountsOnDisk bool
	Stored       int64 // bytes it holds at the start, of CountsOnDisk
}

// Deps come from code.
type Deps struct {
	FS       durable.FS
	Log      *slog.Logger
	Now      func() time.Time
	Identity crypto.Signer
}

const (
	// drainTime is what a stop leaves the outputs to take what was sealed; with
	// the rest of the shutdown it stays under systemd's and our own 10 s.
	drainTime = 6 * time.Second
	// flushEvery is how often parsers are asked for records that waited too long.
	flushEvery = 5 * time.Second
	// ownService is the service of the agent's own records.
	ownService = "auditail"
)

// Agent runs once.
type Agent struct {
	cfg       Config
	deps      Deps
	log       *slog.Logger
	buffer    *buffer.Buffer
	own       *ownRecords
	stored    storedBytes
	pipelines []*pipeline
}

// New opens the buffer and prepares everything; nothing is read yet.
func New(cfg Config, deps Deps) (*Agent, error) {
	a := &Agent{cfg: cfg, deps: deps, log: deps.Log}
	a.own = newOwnRecords(&cfg, deps.Now)
	bufferConfig := cfg.Buffer
	bufferConfig.Log = cfg.Log
	for _, o := range cfg.Outputs {
		bufferConfig.Outputs = append(bufferConfig.Outputs, o.Name)
		if o.CountsOnDisk {
			a.stored.add(o.Stored)
		}
	}
	var err error
	a.buffer, err = buffer.Open(bufferConfig, buffer.Deps{
		FS: deps.FS, Log: deps.Log, Now: deps.Now, Identity: deps.Identity, Run: cfg.Run,
		Boot: Boot, Coverage: a.own.coverage, Gap: a.own.hole, DiskUsed: a.stored.bytes,
	})
	if err != nil {
		return nil, err
	}
	a.restoreCatalog()
	for i := range cfg.Inputs {
		p, err := newPipeline(a, &cfg.Inputs[i])
		if err != nil {
			return nil, errors.Join(err, a.buffer.Shut(context.Background(), false))
		}
		a.pipelines = append(a.pipelines, p)
	}
	return a, nil
}

// Run works until ctx ends, then stops cleanly: inputs, records on their way,
// seal with close, what the outputs take in time. It returns nil for a clean
// stop, and otherwise what made it stop.
func (a *Agent) Run(ctx context.Context) error {
	shipping, stopShipping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopShipping()
	var shippers sync.WaitGroup
	a.startShippers(shipping, &shippers)
	cause := a.start(ctx)
	if cause == nil {
		cause = a.withCatalog(ctx, a.follow)
	}
	cause = errors.Join(cause, a.stop(context.WithoutCancel(ctx)))
	drain := time.AfterFunc(drainTime, stopShipping)
	shippers.Wait()
	drain.Stop()
	return errors.Join(cause, a.closeOutputs())
}

// RunOnce reads what the inputs hold now, seals, ships and stops. It returns an
// error when an output did not take everything before ctx ended; the data stays.
func (a *Agent) RunOnce(ctx context.Context) error {
	shipping, stopShipping := context.WithCancel(ctx)
	defer stopShipping()
	var shippers sync.WaitGroup
	a.startShippers(shipping, &shippers)
	cause := a.start(ctx)
	if cause == nil {
		cause = a.withCatalog(ctx, a.scan)
	}
	cause = errors.Join(cause, a.stop(context.WithoutCancel(ctx)))
	if cause != nil {
		stopShipping()
	}
	shippers.Wait()
	for _, o := range a.cfg.Outputs {
		if n := a.buffer.Pending(o.Name); n > 0 && cause == nil {
			cause = fmt.Errorf("output %s did not take everything: %d batches wait in %s and ship at the next start", o.Name, n, a.cfg.Buffer.Dir)
		}
	}
	return errors.Join(cause, a.closeOutputs())
}

// start writes the record of the start.
func (a *Agent) start(ctx context.Context) error {
	return a.buffer.Append(ctx, a.own.started())
}

// follow runs the inputs until ctx ends or one of them, or the buffer, fails.
func (a *Agent) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	for _, p := range a.pipelines {
		running.Go(func() {
			if err := p.run(ctx); err != nil {
				cancel(fmt.Errorf("input %s: %w", p.spec.Name, err))
			}
		})
		if p.stateful != nil {
			running.Go(func() {
				if err := p.flushRegularly(ctx); err != nil {
					cancel(fmt.Errorf("input %s: %w", p.spec.Name, err))
				}
			})
		}
	}
	a.log.InfoContext(ctx, "running", "inputs", len(a.pipelines), "outputs", len(a.cfg.Outputs))
	select {
	case <-ctx.Done():
	case <-a.buffer.Failed():
		cancel(a.buffer.Err())
	}
	running.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// scan reads each input to its present end and releases what its parser holds.
func (a *Agent) scan(ctx context.Context) error {
	for _, p := range a.pipelines {
		if err := p.scan(ctx); err != nil {
			return fmt.Errorf("input %s: %w", p.spec.Name, err)
		}
	}
	return nil
}

// stop seals what is open. The log is closed unless the buffer failed: a log
// that ends without close is a finding, and an agent that lost its buffer is one.
func (a *Agent) stop(ctx context.Context) error {
	clean := a.buffer.Err() == nil
	var err error
	if clean {
		err = a.buffer.Append(ctx, a.own.stopped())
	}
	return errors.Join(err, a.buffer.Shut(ctx, clean && err == nil))
}

func (a *Agent) startShippers(ctx context.Context, running *sync.WaitGroup) {
	for _, o := range a.cfg.Outputs {
		s := &shipper{agent: a, output: o, log: a.log.With("output", o.Name)}
		running.Go(func() { s.run(ctx) })
	}
}

func (a *Agent) closeOutputs() error {
	var all []error
	for _, o := range a.cfg.Outputs {
		if err := o.Output.Close(); err != nil {
			all = append(all, fmt.Errorf("close output %s: %w", o.Name, err))
		}
	}
	return errors.Join(all...)
}
