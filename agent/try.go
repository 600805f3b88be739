package agent

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/parsers"
)

// Tried is what became of sample lines: a record, or one line without one.
type Tried struct {
	Lines  []int // counted from 1
	Record []byte
	// Identified: the record's actor is from the identity map.
	Identified bool
	Verdict    parsers.Verdict // of a line without a record
	Rule       string
	Text       []byte // of a line without a record, as the parser saw it; valid until emit returns
}

// Try takes a sample through the parser of an input as Run would, and hands over
// each record with the lines it was made from. Nothing is stored. The sample is
// what spec.Input scans; sample holds the same bytes, for counting lines, and
// name stands for it in the records.
func Try(ctx context.Context, cfg Config, spec Input, name string, sample []byte, emit func(Tried) error) error {
	scanner, ok := spec.Input.(inputs.Scanner)
	if !ok {
		return errors.New("the input has no end to scan to")
	}
	t := &trial{emit: emit, name: name, starts: lineStarts(sample)}
	a := &Agent{cfg: cfg, log: slog.New(slog.DiscardHandler), deps: Deps{Now: time.Now}}
	a.own = newOwnRecords(&cfg, time.Now)
	t.pipeline = &pipeline{
		spec: &spec, agent: a, envelope: newEnvelope(&cfg), to: discard{}, unknown: spec.Policy.Unparsed(),
		counters: new(counters), stream: streamOf(&cfg, &spec), turn: make(chan struct{}, 1), watch: t.watch,
	}
	t.pipeline.stateful, _ = spec.Parser.(parsers.Stateful)
	if err := scanner.Scan(ctx, nil, t); err != nil {
		return err
	}
	if t.pipeline.stateful != nil {
		if err := t.pipeline.flush(ctx, everything); err != nil {
			return err
		}
	}
	return t.err
}

// trial is the appender between the input and the pipeline.
type trial struct {
	pipeline *pipeline
	emit     func(Tried) error
	name     string
	starts   []int64 // offsets at which lines begin
	err      error   // of emit
}

const tryGeneration = "try"

// Append names the sample as the user did.
func (t *trial) Append(ctx context.Context, c inputs.Chunk) error {
	for i := range c.Lines {
		c.Lines[i].Path, c.Lines[i].Generation = t.name, tryGeneration
	}
	return errors.Join(t.pipeline.Append(ctx, c), t.err)
}

// watch is called for each record, and for each line that ended without one.
func (t *trial) watch(d *parsers.Draft, line *parsers.Line, outcome parsers.Outcome, record []byte) {
	tried := Tried{Record: record, Verdict: outcome.Verdict, Rule: outcome.Rule}
	tried.Identified = record != nil && t.pipeline.identified
	if d != nil {
		for _, ref := range d.Held {
			tried.Lines = t.number(tried.Lines, ref)
		}
	}
	if line != nil {
		tried.Lines = t.number(tried.Lines, line.Ref())
		tried.Text = line.Data
	}
	if t.err == nil {
		t.err = t.emit(tried)
	}
}

// number appends the numbers, from 1, of the physical lines of a ref.
func (t *trial) number(lines []int, ref parsers.Ref) []int {
	first, found := slices.BinarySearch(t.starts, ref.Offset)
	if found {
		first++
	}
	for i := range ref.Lines {
		lines = append(lines, first+i)
	}
	return lines
}

func lineStarts(sample []byte) []int64 {
	starts := []int64{0}
	for i, c := range sample {
		if c == '\n' {
			starts = append(starts, int64(i)+1)
		}
	}
	return starts
}

// discard is a buffer that keeps nothing.
type discard struct{}

func (discard) Admit(context.Context) error { return nil }

func (discard) Submit(context.Context, *buffer.Entry) (buffer.Commit, error) {
	return buffer.Commit{}, nil
}
