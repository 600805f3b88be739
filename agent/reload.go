package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/internal/admin"
	"github.com/auditail/auditail/seal"
)

// A reload changes the parts that differ and touches no other: an input whose
// Digest is the same is read on without a pause in its source, an output whose
// Digest is the same keeps its connections. It happens in the goroutine that
// follows the inputs, so it meets no other change of the session, and every
// step behind the first that could fail is one that a failed buffer ends: the
// next session then begins with whichever configuration the agent has.

// ErrEnded is returned by Reload when the agent ended first.
var ErrEnded = errors.New("the agent ended before it could take the configuration over")

// change is a reload on its way.
type change struct {
	next   Config
	ticket string
	done   chan error
}

// Reload has the running agent go on with another configuration, of the same log
// and host. It returns nil when that one is in force and the record of it
// (agent.config, with the ticket) is on its way to the disk, and otherwise an
// error, with the old one in force. It is for one caller at a time.
func (a *Agent) Reload(ctx context.Context, next Config, ticket string) error {
	c := change{next: next, ticket: ticket, done: make(chan error, 1)}
	select {
	case a.changes <- c:
	case <-a.ended:
		return ErrEnded
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-c.done:
		return err
	case <-a.ended:
		return ErrEnded
	}
}

// NoteConfig tells Status about the configuration's file and its reloads.
func (a *Agent) NoteConfig(c admin.Config) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.config = c
}

// following runs the inputs of a session.
type following struct {
	ctx  context.Context //nolint:containedctx // of the session: inputs of a later configuration end with it too
	fail context.CancelCauseFunc
	now  map[*pipeline]*followed
}

// followed is one input that runs.
type followed struct {
	stop  context.CancelFunc
	ended sync.WaitGroup
}

func (f *following) start(p *pipeline) {
	ctx, stop := context.WithCancel(f.ctx)
	one, name := &followed{stop: stop}, p.spec.Name
	run := func(work func(ctx context.Context) error) {
		one.ended.Go(func() {
			if err := work(ctx); err != nil {
				f.fail(fmt.Errorf("input %s: %w", name, err))
			}
		})
	}
	run(p.run)
	if p.stateful != nil {
		run(p.flushRegularly)
	}
	f.now[p] = one
}

// stop ends some of the inputs and waits for them.
func (f *following) stop(list []*pipeline) {
	for _, p := range list {
		f.now[p].stop()
	}
	for _, p := range list {
		f.now[p].ended.Wait()
		delete(f.now, p)
	}
}

func (f *following) wait() {
	for _, one := range f.now {
		one.ended.Wait()
		one.stop()
	}
}

// plan is what a change does to the inputs and outputs.
type plan struct {
	kept    map[string]*pipeline // by name
	leaving []*pipeline
	closing []*shipper
	ships   bool     // shippers begin anew
	what    []string // for people and for the record
}

func (a *Agent) planChange(next *Config) plan {
	p := plan{kept: make(map[string]*pipeline)}
	note := func(part, name, what string) { p.what = append(p.what, part+"."+name+" "+what) }
	for _, old := range a.pipelines {
		i := slices.IndexFunc(next.Inputs, func(in Input) bool { return in.Name == old.spec.Name })
		switch {
		case i >= 0 && next.Inputs[i].Digest == old.spec.Digest:
			p.kept[old.spec.Name] = old
			continue
		case i >= 0:
			note("inputs", old.spec.Name, "changed")
		default:
			note("inputs", old.spec.Name, "removed")
		}
		p.leaving = append(p.leaving, old)
	}
	for i := range next.Inputs {
		if !slices.ContainsFunc(a.cfg.Inputs, func(in Input) bool { return in.Name == next.Inputs[i].Name }) {
			note("inputs", next.Inputs[i].Name, "added")
		}
	}
	for _, old := range a.outputs {
		i := slices.IndexFunc(next.Outputs, func(o Output) bool { return o.Name == old.output.Name })
		switch {
		case i >= 0 && next.Outputs[i].Digest == old.output.Digest:
			continue
		case i >= 0:
			note("outputs", old.output.Name, "changed")
		default:
			note("outputs", old.output.Name, "removed")
		}
		p.closing = append(p.closing, old)
	}
	for i := range next.Outputs {
		if !slices.ContainsFunc(a.outputs, func(s *shipper) bool { return s.output.Name == next.Outputs[i].Name }) {
			note("outputs", next.Outputs[i].Name, "added")
			p.ships = true
		}
	}
	p.ships = p.ships || len(p.closing) > 0 || next.WitnessDigest != a.cfg.WitnessDigest
	if len(p.what) == 0 {
		p.what = []string{"settings changed"}
	}
	return p
}

// reconfigure carries a change out.
func (a *Agent) reconfigure(ctx context.Context, running *following, c *change) error {
	next := c.next
	p := a.planChange(&next)
	running.stop(p.leaving)
	release, err := a.quiesce(ctx, p.kept)
	defer release()
	if err == nil {
		err = a.settle(ctx, p.leaving, &next)
	}
	if p.ships {
		a.shipping.stop()
	}
	a.stopCatalog()
	if err == nil {
		a.inheritCatalog(&next)
		err = a.buffer.Reconfigure(ctx, bufferConfig(&next), next.Run)
	}
	if err == nil {
		a.takeOver(&next, &p, c.ticket)
	} else {
		// The old configuration goes on; when the buffer failed, in the next session.
		err = errors.Join(err, closeAll(next.Outputs))
	}
	a.startCatalog(running.ctx)
	if p.ships {
		a.shipping = a.startShippers(a.late)
	}
	if err != nil {
		for _, old := range p.leaving {
			running.start(old)
		}
		return err
	}
	// The change is in force; what fails from here on ends the session.
	if err := a.begin(running, &p); err != nil {
		running.fail(err)
	}
	a.recordChange(ctx)
	a.log.InfoContext(ctx, "the configuration was loaded again", "changed", strings.Join(p.what, ", "), "config", "sha256:"+a.cfg.Run.Config.String())
	return nil
}

// quiesce waits until no chunk of the inputs that stay is on its way, and holds
// them there until release.
func (a *Agent) quiesce(ctx context.Context, kept map[string]*pipeline) (release func(), err error) {
	var held []*pipeline
	release = func() {
		for _, p := range held {
			p.leave()
		}
	}
	for _, p := range kept {
		if err := p.take(ctx); err != nil {
			return release, err
		}
		held = append(held, p)
		if err := p.settled(ctx); err != nil {
			return release, err
		}
	}
	return release, nil
}

// settle has the parsers that do not come back release what they hold: nobody
// would join it any more.
func (a *Agent) settle(ctx context.Context, leaving []*pipeline, next *Config) error {
	for _, p := range leaving {
		again := slices.ContainsFunc(next.Inputs, func(in Input) bool {
			return in.Name == p.spec.Name && in.ParserName == p.spec.ParserName && streamOf(next, &in) == p.stream
		})
		if p.stateful == nil || again {
			continue
		}
		if err := p.flush(ctx, everything); err != nil {
			return err
		}
	}
	return nil
}

// takeOver makes the next configuration the agent's own. No shipper runs when
// outputs change.
func (a *Agent) takeOver(next *Config, p *plan, ticket string) {
	for i := range next.Inputs {
		if old := p.kept[next.Inputs[i].Name]; old != nil {
			kept := *old.spec
			kept.Catalog = next.Inputs[i].Catalog
			next.Inputs[i] = kept
			old.spec = &next.Inputs[i]
		}
	}
	shippers := a.takeOutputs(next, p)
	before := a.cfg.Run.Config
	a.mu.Lock()
	a.cfg.Run, a.cfg.Inputs, a.cfg.Outputs, a.cfg.Catalog = next.Run, next.Inputs, next.Outputs, next.Catalog
	if p.ships {
		a.cfg.Witnesses, a.cfg.WitnessQuorum, a.cfg.WitnessDigest = next.Witnesses, next.WitnessQuorum, next.WitnessDigest
	}
	a.outputs = shippers
	maps.DeleteFunc(a.counters, func(name string, _ *counters) bool {
		return !slices.ContainsFunc(next.Inputs, func(in Input) bool { return in.Name == name })
	})
	a.mu.Unlock()
	a.own.useRun(next.Run)
	a.unrecorded = append(a.unrecorded, a.own.configured(before, next.Run.Config, strings.Join(p.what, ", "), ticket))
}

// takeOutputs returns the shippers of the next configuration, those that stay
// among them, and closes the outputs that are not needed.
func (a *Agent) takeOutputs(next *Config, p *plan) (list []*shipper) {
	for i, o := range next.Outputs {
		same := slices.IndexFunc(a.outputs, func(s *shipper) bool { return s.output.Name == o.Name && s.output.Digest == o.Digest })
		if same >= 0 {
			a.closeOutput(o)
			next.Outputs[i] = a.outputs[same].output
			list = append(list, a.outputs[same])
			continue
		}
		if o.CountsOnDisk {
			a.stored.add(o.Stored)
		}
		list = append(list, &shipper{agent: a, output: o, log: a.log.With("output", o.Name)})
	}
	for _, s := range p.closing {
		a.closeOutput(s.output)
	}
	return list
}

func (a *Agent) closeOutput(o Output) {
	if err := o.Output.Close(); err != nil {
		a.log.Warn("an output that is not needed any more did not close well", "output", o.Name, "error", err)
	}
}

// begin prepares and starts the inputs that are new or different.
func (a *Agent) begin(running *following, p *plan) error {
	var list []*pipeline
	for i := range a.cfg.Inputs {
		if old := p.kept[a.cfg.Inputs[i].Name]; old != nil {
			list = append(list, old)
			continue
		}
		fresh, err := newPipeline(a, &a.cfg.Inputs[i])
		if err != nil {
			return err
		}
		running.start(fresh)
		list = append(list, fresh)
	}
	a.pipelines = list
	return nil
}

// recordChange appends the records of changes that are in force, once each. A
// buffer that fails meanwhile leaves them for the next session.
func (a *Agent) recordChange(ctx context.Context) {
	for len(a.unrecorded) > 0 && a.buffer.Append(ctx, a.unrecorded[0]) == nil {
		a.unrecorded = a.unrecorded[1:]
	}
}

func closeAll(list []Output) error {
	var all []error
	for _, o := range list {
		if err := o.Output.Close(); err != nil {
			all = append(all, fmt.Errorf("close output %s: %w", o.Name, err))
		}
	}
	return errors.Join(all...)
}

// bufferConfig is what the buffer is to know of a configuration.
func bufferConfig(cfg *Config) buffer.Config {
	b := cfg.Buffer
	b.Log, b.Outputs, b.Copies = cfg.Log, nil, nil
	for _, o := range cfg.Outputs {
		if o.BestEffort {
			b.Copies = append(b.Copies, o.Name)
		} else {
			b.Outputs = append(b.Outputs, o.Name)
		}
	}
	return b
}

func (o *ownRecords) useRun(run seal.Run) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cfg.Run = run
}

// configured is the record of a change of the effective configuration.
func (o *ownRecords) configured(from, to seal.Digest, what, ticket string) *buffer.Entry {
	return o.entry("agent.config", func(r *audit.Record) {
		r.SetString(audit.ChangeWhat, what)
		r.SetString(audit.ChangeFrom, "sha256:"+from.String())
		r.SetString(audit.ChangeTo, "sha256:"+to.String())
		r.SetString(audit.ChangeTicket, ticket)
		r.SetJSON(audit.Extra, o.runJSON())
	})
}
