package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/auditail/auditail/agent/capture"
	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/parsers"
)

// Tried is what became of sample lines: a record, or one line without one.
type Tried struct {
	Lines   []int // counted from 1
	Record  []byte
	Verdict parsers.Verdict // of a line without a record
	Rule    string
}

// maxTryLine bounds a sample line.
const maxTryLine = 64 << 20

// Try takes sample lines through the parser of an input as Run would, and hands
// over each record with the lines it was made from. Nothing is stored.
func Try(cfg Config, spec Input, samples io.Reader, emit func(Tried) error) error {
	t := &trial{emit: emit, lineAt: make(map[int64]int)}
	a := &Agent{cfg: cfg, log: slog.New(slog.DiscardHandler), deps: Deps{Now: time.Now}}
	a.own = newOwnRecords(&cfg, time.Now)
	p := &pipeline{
		spec: &spec, agent: a, envelope: newEnvelope(&cfg), to: discard{},
		stream: streamOf(&cfg, &spec), watch: t.watch, hasher: capture.NewHasher(cfg.CaptureKey),
	}
	p.stateful, _ = spec.Parser.(parsers.Stateful)
	data, err := io.ReadAll(io.LimitReader(samples, maxTryLine+1))
	if err != nil {
		return fmt.Errorf("read sample: %w", err)
	}
	if len(data) > maxTryLine {
		return fmt.Errorf("the sample is larger than %d bytes: cut it with head", maxTryLine)
	}
	if err := t.feed(p, spec.Name, data); err != nil {
		return err
	}
	if p.stateful != nil {
		if err := p.flush(context.Background(), time.Time{}); err != nil {
			return err
		}
	}
	return t.err
}

type trial struct {
	emit   func(Tried) error
	lineAt map[int64]int // offset → line number
	err    error
}

const tryGeneration = "try"

func (t *trial) feed(p *pipeline, source string, data []byte) error {
	now := time.Now()
	offset := int64(0)
	for number := 1; len(data) > 0; number++ {
		line, rest, _ := bytes.Cut(data, []byte{'\n'})
		size := int64(len(data) - len(rest))
		t.lineAt[offset] = number
		e := p.newEntry()
		if !now.Equal(p.seen) {
			p.observe(now)
		}
		err := p.parse(e, &inputs.Line{
			Source: source, Path: tryGeneration, Generation: tryGeneration,
			Offset: offset, Size: size, Data: bytes.TrimSuffix(line, []byte{'\r'}), Seen: now,
		})
		if err = errors.Join(err, p.commit(context.Background(), e), t.err); err != nil {
			return err
		}
		data, offset = rest, offset+size
	}
	return nil
}

// watch is called for each record, and for each line that ended without one.
func (t *trial) watch(d *parsers.Draft, line *parsers.Line, outcome parsers.Outcome, record []byte) {
	tried := Tried{Record: record, Verdict: outcome.Verdict, Rule: outcome.Rule}
	if d != nil {
		for _, ref := range d.Held {
			tried.Lines = append(tried.Lines, t.lineAt[ref.Offset])
		}
	}
	if line != nil {
		tried.Lines = append(tried.Lines, t.lineAt[line.Offset])
	}
	if t.err == nil {
		t.err = t.emit(tried)
	}
}

// discard is a buffer that keeps nothing.
type discard struct{}

func (discard) Append(context.Context, *buffer.Entry) error { return nil }
