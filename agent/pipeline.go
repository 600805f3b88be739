package agent

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/auditail/auditail/agent/capture"
	"github.com/auditail/auditail/agent/catalog"
	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/seal"
)

// pipeline takes one input's lines to the buffer: parse, capture, catalog,
// envelope, encode. It implements inputs.Appender.
type pipeline struct {
	spec     *Input
	agent    *Agent
	stream   seal.Stream
	stateful parsers.Stateful // nil for a parser without state
	to       committer
	// watch sees each record, and each line that ended without one, as they
	// pass; nil when nobody looks. record is valid until it returns.
	watch func(d *parsers.Draft, line *parsers.Line, outcome parsers.Outcome, record []byte)

	counters *counters
	made     int64 // records of the entry at hand

	watched    uint64 // records seen by watch
	identified bool   // the last record's actor is from the identity map

	turn     chan struct{} // holds one token while a chunk is on its way: the parser's state follows the commit order
	envelope envelope
	line     parsers.Line // the one in hand; here, because on the stack it would be allocated for each line
	drafts   []parsers.Draft
	drafted  int // bytes of the longest line that was parsed into drafts since they were new
	record   audit.Record
	held     uint64
	observed []byte
	seen     catalog.Seen
	counted  bool // the input's offsets count lines, not bytes
	unparsed unparsedRun
	unknown  *capture.Unparsed  // what is kept of the lines of unparsed
	room     int                // for the records of the next entry: what the last one took
	broken   error              // why an entry was not submitted: the parser's state is ahead of the buffer's for good
	last     <-chan struct{}    // closed when nothing is on its way; nil: nothing ever was
	entries  chan *buffer.Entry // memory of entries that are durable
}

// mostSpare is how many entries are on their way to the disk at once, ordinarily:
// one is written while the next one is parsed.
const mostSpare = 2

// mostDrafted is the longest line behind which what it was parsed into is kept for
// the next ones.
const mostDrafted = 64 << 10

// mostRecords is the room of what is kept for the records of the next entry: of
// an ordinary chunk, not of one long line.
const mostRecords = 8 << 20

// spareRecords is more than the encoder reserves for a record and does not use.
const spareRecords = 16 << 10

// unparsedRun is a number of lines of one generation, in one chunk, that the
// parser does not know: they make one agent.unparsed record. No lines: none yet.
type unparsedRun struct {
	generation, path string
	from, to         int64
	bytes, lines     int64
	cut              bool
}

// committer is what a pipeline needs of the buffer.
type committer interface {
	Admit(ctx context.Context) error
	Submit(ctx context.Context, e *buffer.Entry) (buffer.Commit, error)
}

func streamOf(cfg *Config, spec *Input) seal.Stream {
	return seal.Stream{Environment: cfg.Environment, Service: spec.Service, Class: spec.Retention}
}

func newPipeline(a *Agent, spec *Input) (*pipeline, error) {
	p := &pipeline{
		spec: spec, agent: a, to: a.buffer, envelope: newEnvelope(&a.cfg), unknown: spec.Policy.Unparsed(),
		counters: a.countersOf(spec.Name), stream: streamOf(&a.cfg, spec), turn: make(chan struct{}, 1),
		entries: make(chan *buffer.Entry, mostSpare),
	}
	resume := a.buffer.Resume(spec.Name)
	p.held = resume.Held
	p.counters.held.Store(int64(p.held)) //nolint:gosec // a count
	stateful, ok := spec.Parser.(parsers.Stateful)
	if !ok {
		return p, p.forgetHeld(resume.Held)
	}
	p.stateful = stateful
	if err := stateful.Restore(resume.Parser); err != nil {
		a.log.Error("the state of joined lines can not be read; the lines held in it are counted as unparsed",
			"input", spec.Name, "lines", resume.Held, "error", err)
		return p, p.forgetHeld(resume.Held)
	}
	return p, nil
}

// forgetHeld accounts for lines that a parser held which no longer can: they
// were read, and no record will be made from them.
func (p *pipeline) forgetHeld(lines uint64) error {
	if lines == 0 {
		return nil
	}
	p.held = 0
	p.counters.held.Store(0)
	return p.agent.buffer.Append(context.Background(), p.agent.own.forgotten(p.stream, p.spec.Name, lines))
}

func (p *pipeline) resume() []inputs.Position {
	var list []inputs.Position
	for _, at := range p.agent.buffer.Resume(p.spec.Name).Positions {
		list = append(list, inputs.Position{Generation: at.Generation, Token: at.Token})
	}
	return list
}

func (p *pipeline) run(ctx context.Context) error {
	return p.spec.Input.Run(ctx, p.resume(), p)
}

// scan reads the input once and then releases what the parser holds.
func (p *pipeline) scan(ctx context.Context) error {
	scanner, ok := p.spec.Input.(inputs.Scanner)
	if !ok {
		return nil // has no end: --once does not start it
	}
	if err := scanner.Scan(ctx, p.resume(), p); err != nil {
		return err
	}
	if p.stateful == nil {
		return nil
	}
	return p.flush(ctx, everything)
}

// take waits for the pipeline to be free: on a full disk that can be long.
func (p *pipeline) take(ctx context.Context) error {
	select {
	case p.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pipeline) leave() { <-p.turn }

// settled waits until nothing is on its way to the disk. It is called in the turn.
func (p *pipeline) settled(ctx context.Context) error {
	if p.last == nil {
		return nil
	}
	select {
	case <-p.last:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pipeline) flushRegularly(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := p.flush(ctx, p.agent.deps.Now); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// everything is the time that makes flush commit all.
func everything() time.Time { return time.Time{} }

// flush commits the records that waited too long at now; all for the zero time. The
// clock is asked when it is the pipeline's turn, which a full disk can delay.
func (p *pipeline) flush(ctx context.Context, now func() time.Time) error {
	wait, err := p.release(ctx, now)
	if err != nil || wait == nil {
		return err
	}
	return wait()
}

// release submits what flush commits; nil for nothing.
func (p *pipeline) release(ctx context.Context, now func() time.Time) (wait func() error, err error) {
	if err := p.take(ctx); err != nil {
		return nil, err
	}
	defer p.leave()
	if p.broken != nil {
		return nil, p.broken
	}
	drafts, ignored := p.stateful.Flush(now(), p.drafts[:0])
	p.drafts = drafts
	if len(drafts) == 0 && ignored == 0 {
		return nil, nil
	}
	e := p.newEntry()
	e.Lines.Ignored = uint64(ignored) //nolint:gosec // a count
	p.observe(p.agent.deps.Now())
	for i := range drafts {
		if err := p.encode(e, &drafts[i], nil); err != nil {
			return nil, err
		}
	}
	return p.submit(ctx, e, source{})
}

// Append implements inputs.Appender.
func (p *pipeline) Append(ctx context.Context, c inputs.Chunk) error {
	wait, err := p.Submit(ctx, c)
	if err != nil {
		return err
	}
	return wait()
}

// Submit implements inputs.Submitter: while the chunk is hashed, compressed and
// written, the next one can be parsed.
func (p *pipeline) Submit(ctx context.Context, c inputs.Chunk) (wait func() error, err error) {
	p.counters.waiting.Add(1)
	durable, err := p.submitChunk(ctx, c)
	if err != nil {
		p.counters.waiting.Add(-1)
		return nil, err
	}
	return func() error {
		defer p.counters.waiting.Add(-1)
		return durable()
	}, nil
}

// submitChunk waits for space in front of the turn: a reload takes the turn, and may
// be what brings space.
func (p *pipeline) submitChunk(ctx context.Context, c inputs.Chunk) (wait func() error, err error) {
	if err := p.to.Admit(ctx); err != nil {
		return nil, err
	}
	if err := p.take(ctx); err != nil {
		return nil, err
	}
	defer p.leave()
	if p.broken != nil {
		return nil, p.broken
	}
	e := p.newEntry()
	for _, r := range c.Ranges {
		p.counted = r.Unit == inputs.UnitLines
		e.Ranges = append(e.Ranges, buffer.Range(r))
	}
	for i := range c.Lines {
		if err := p.parse(e, &c.Lines[i]); err != nil {
			return nil, err
		}
	}
	p.encodeUnparsed(e)
	for i, g := range c.Gaps {
		o := origin{source: p.spec.Name, generation: g.Generation, offset: g.From, sub: gapSub - i}
		e.Records = append(appendGap(e.Records, &p.record, &p.envelope, p.stream, o, g, p.counted, p.agent.deps.Now()), '\n')
	}
	p.made += int64(len(c.Gaps))
	e.Loss = len(c.Gaps) > 0
	for _, at := range c.Positions {
		e.Positions = append(e.Positions, buffer.Position(at))
	}
	return p.submit(ctx, e, sourceOf(&c))
}

func (p *pipeline) newEntry() *buffer.Entry {
	p.spec.Catalog.Begin()
	p.made = 0
	var e *buffer.Entry
	select {
	case e = <-p.entries:
		*e = buffer.Entry{Ranges: e.Ranges[:0], Positions: e.Positions[:0]}
	default:
		e = new(buffer.Entry)
	}
	e.Stream, e.Input, e.Records = p.stream, p.spec.Name, p.agent.records.Get(p.room)
	return e
}

// submit checks that every line is accounted for and gives the entry its place
// behind all others. wait has to be called; what follows from the entry being
// durable is done there, in that order too.
func (p *pipeline) submit(ctx context.Context, e *buffer.Entry, from source) (wait func() error, err error) {
	before := p.held
	if p.stateful != nil {
		p.held = uint64(p.stateful.Held()) //nolint:gosec // a count
		e.Parser = p.stateful.Snapshot()
	}
	e.Lines.Held = p.held
	if l := e.Lines; before+l.Read != l.Recorded+l.Unparsed+l.Ignored+l.Held {
		return nil, fmt.Errorf("parser %s lost count of lines: held %d + read %d is not recorded %d + unparsed %d + ignored %d + held %d",
			p.spec.ParserName, before, l.Read, l.Recorded, l.Unparsed, l.Ignored, l.Held)
	}
	p.room = min(len(e.Records)+len(e.Records)/8+spareRecords, mostRecords)
	p.forget(len(e.Records) > mostRecords)
	commit, err := p.to.Submit(ctx, e)
	if err != nil {
		p.broken = err
		return nil, err // the entry stays the buffer's
	}
	made, notes, earlier, ended := p.made, p.spec.Catalog.Take(), p.last, make(chan struct{})
	p.last = ended
	return func() error {
		defer close(ended)
		err := commit.Wait(ctx)
		if earlier != nil {
			<-earlier
		}
		if err == nil {
			p.durable(e, before, made, from, notes)
		}
		return err
	}, nil
}

// durable tells everyone that an entry is, and takes its memory back. held is the
// number of lines that were held in front of it.
func (p *pipeline) durable(e *buffer.Entry, held uint64, records int64, from source, notes catalog.Notes) {
	p.agent.chunks.Add(1)
	p.counters.committed(&e.Lines, held, records, from, p.agent.deps.Now())
	p.agent.show(p.spec.Name, e)
	p.spec.Catalog.Committed(notes, e.FirstSeq)
	p.agent.records.Put(e.Records, mostRecords)
	e.Records = nil // an entry that waits for the next chunk does not hold on to them
	clear(e.Positions)
	select {
	case p.entries <- e:
	default:
	}
}

// forget lets go of the last line, and with all of what it was parsed into.
func (p *pipeline) forget(all bool) {
	p.line = parsers.Line{}
	if all || p.drafted > mostDrafted {
		p.drafts, p.record = nil, audit.Record{}
	}
	p.drafted = 0
}

// parse turns one line into records and counts it.
func (p *pipeline) parse(e *buffer.Entry, in *inputs.Line) error {
	if !in.Seen.Equal(p.seen.At) {
		p.observe(in.Seen)
	}
	p.seen.NotBefore = in.NotBefore
	line := &p.line
	*line = parsers.Line{
		Source: in.Source, Path: in.Path, Generation: in.Generation, Offset: in.Offset, Size: in.Size, Lines: in.Physical,
		Data: in.Data, Seen: in.Seen, Cut: in.Cut != nil || in.Partial,
	}
	p.drafted = max(p.drafted, len(in.Data))
	physical := uint64(max(1, in.Physical)) //nolint:gosec // a count
	drafts, outcome := p.drafts[:0], p.spec.ignored(in.Data)
	if outcome.Verdict != parsers.Ignored {
		var err error
		if drafts, outcome, err = p.spec.Parser.Parse(drafts, *line); err != nil {
			return fmt.Errorf("parse line at %d of %s: %w", in.Offset, in.Path, err)
		}
		p.drafts = drafts
		drafts, outcome = p.withoutOwn(drafts, outcome)
	}
	e.Lines.Read += physical
	e.Lines.Ignored += uint64(outcome.ReleasedIgnored) //nolint:gosec // a count
	switch outcome.Verdict {
	case parsers.Recorded:
		e.Lines.Recorded += physical
	case parsers.Ignored:
		e.Lines.Ignored += physical
	case parsers.Held:
	case parsers.Unparsed:
		e.Lines.Unparsed += physical
		p.addUnparsed(e, in)
	}
	if p.watch != nil && len(drafts) == 0 {
		p.watch(nil, line, outcome, nil)
	}
	for i := range drafts {
		d, own := &drafts[i], line
		if len(d.Held) > 0 && (outcome.Verdict != parsers.Recorded || i < len(drafts)-1) {
			own = nil // made from held lines alone; this line only set it free
		}
		if err := p.encode(e, d, own); err != nil {
			return err
		}
	}
	return nil
}

// withoutOwn takes out the record of a call that the agent itself made to ask a
// model server what it serves: that is no use of a model.
func (p *pipeline) withoutOwn(drafts []parsers.Draft, outcome parsers.Outcome) ([]parsers.Draft, parsers.Outcome) {
	switch {
	case outcome.Verdict == parsers.Ignored && outcome.Rule == parsers.RuleStartBanner:
		p.spec.Catalog.Started(p.seen)
	case outcome.Verdict == parsers.Recorded && len(drafts) == 1 && len(drafts[0].Held) == 0 && p.spec.Catalog.Own(&drafts[0].Record, p.seen):
		outcome.Verdict, outcome.Rule = parsers.Ignored, catalog.RuleOwnProbe
		return drafts[:0], outcome
	}
	return drafts, outcome
}

// ignored tells whether a rule of the configuration knows the line as noise.
func (i *Input) ignored(line []byte) parsers.Outcome {
	for n := range i.Ignore {
		if rule := &i.Ignore[n]; rule.Pattern.Match(line) {
			return parsers.Outcome{Verdict: parsers.Ignored, Rule: rule.Name}
		}
	}
	return parsers.Outcome{}
}

func (p *pipeline) observe(t time.Time) {
	p.seen = catalog.Seen{At: t}
	p.observed = t.UTC().AppendFormat(p.observed[:0], time.RFC3339Nano)
}

// encode completes a draft and appends its record to the entry. line is nil for
// a record that was made from held lines alone.
func (p *pipeline) encode(e *buffer.Entry, d *parsers.Draft, line *parsers.Line) error {
	r := &d.Record
	var first parsers.Ref
	switch {
	case len(d.Held) > 0:
		first = d.Held[0]
	case line != nil:
		first = line.Ref()
	default:
		return fmt.Errorf("parser %s made a record that names no line", p.spec.ParserName)
	}
	for i := range d.Held {
		e.Lines.Recorded += uint64(d.Held[i].Lines) //nolint:gosec // a count
	}
	r.SetString(audit.SourcePath, first.Path)
	p.spec.Policy.Scrub(d)
	p.identified = p.spec.Identity.Apply(r)
	p.spec.Catalog.Resolve(r, p.seen)
	if line != nil && line.Cut {
		r.Flag(audit.Truncated)
	}
	r.SetInt(audit.SourceLength, first.Size)
	r.SetString(audit.SourceParser, p.spec.ParserName)
	p.spec.Policy.Apply(d)
	p.envelope.fill(r, p.stream, origin{source: p.spec.Name, generation: first.Generation, offset: first.Offset, sub: d.Sub}, p.observed)
	start := len(e.Records)
	e.Records = append(r.AppendOpen(e.Records), '\n')
	p.made++
	if p.watch != nil {
		p.watched++
		p.watch(d, line, parsers.Outcome{Verdict: parsers.Recorded}, audit.AppendSeq(bytes.Clone(e.Records[start:len(e.Records)-1]), p.watched))
	}
	return nil
}

// addUnparsed notes a line for its generation's agent.unparsed record.
func (p *pipeline) addUnparsed(e *buffer.Entry, in *inputs.Line) {
	run := &p.unparsed
	if run.lines > 0 && (run.generation != in.Generation || !p.unknown.HasRoom(in.Data)) {
		p.encodeUnparsed(e)
	}
	if run.lines == 0 {
		*run = unparsedRun{generation: in.Generation, path: in.Path, from: in.Offset}
		p.unknown.Begin()
	}
	end := in.Offset + in.Size
	if p.counted {
		end = in.Offset + 1
	}
	run.to = max(run.to, end) // joined lines of two streams may interleave
	run.bytes += in.Size
	run.lines += int64(max(1, in.Physical))
	run.cut = run.cut || in.Cut != nil || in.Partial
	p.unknown.Add(in.Data)
}

// encodeUnparsed appends the agent.unparsed record of the lines noted so far.
func (p *pipeline) encodeUnparsed(e *buffer.Entry) {
	run := &p.unparsed
	if run.lines == 0 {
		return
	}
	r := &p.record
	r.Reset()
	r.SetString(audit.Event, "agent.unparsed")
	r.SetString(audit.Outcome, "success")
	r.SetString(audit.ActorType, "system")
	r.SetString(audit.SourcePath, run.path)
	r.SetString(audit.SourceParser, p.spec.ParserName)
	r.SetString(audit.LossGeneration, run.generation)
	r.SetInt(audit.LossFrom, run.from)
	r.SetInt(audit.LossTo, run.to)
	r.SetInt(audit.LossBytes, run.bytes)
	r.SetInt(audit.LossLines, run.lines)
	r.SetString(audit.LossCause, "unparsed")
	if run.cut {
		r.Flag(audit.Truncated)
	}
	p.unknown.End(r)
	p.envelope.fill(r, p.stream, origin{source: p.spec.Name, generation: run.generation, offset: run.from}, p.observed)
	e.Records = append(r.AppendOpen(e.Records), '\n')
	p.made++
	p.spec.Catalog.Passed()
	run.lines = 0
}
