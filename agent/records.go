package agent

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/seal"
)

// envelope fills what every record of this agent has. It is not safe for
// concurrent use.
type envelope struct {
	hostID  string
	same    audit.Record // what all records of the agent have in common
	random  [512]byte    // read in one piece: a system call for each record costs more than hashing it
	left    int
	scratch []byte
}

func newEnvelope(cfg *Config) envelope {
	e := envelope{hostID: cfg.Host.ID}
	e.same.SetInt(audit.SchemaVersion, audit.Version)
	e.same.SetString(audit.Environment, cfg.Environment)
	e.same.SetString(audit.HostID, cfg.Host.ID)
	e.same.SetString(audit.HostName, cfg.Host.Name)
	e.same.SetString(audit.AgentID, cfg.Log.Agent)
	return e
}

// origin names the bytes, or the counter, that a record was made from.
type origin struct {
	source, generation string
	offset             int64
	sub                int
}

func (e *envelope) fill(r *audit.Record, stream seal.Stream, o origin, observed []byte) {
	r.Add(&e.same)
	e.scratch = audit.AppendID(e.scratch[:0], e.hostID, o.source, o.generation, o.offset, o.sub)
	r.SetText(audit.ID, e.scratch)
	r.SetText(audit.ObservedTime, observed)
	if !r.Has(audit.Time) {
		r.SetText(audit.Time, observed)
		r.SetString(audit.TimeBasis, "observed")
	}
	e.classify(r)
	r.SetString(audit.Retention, stream.Class)
	r.SetString(audit.Service, stream.Service)
	r.SetString(audit.SourceID, o.source)
	r.SetString(audit.SourceGeneration, o.generation)
	r.SetInt(audit.SourceOffset, o.offset)
	e.scratch = audit.AppendSalt(e.scratch[:0], e.salt())
	r.SetText(audit.Salt, e.scratch)
}

// classify fills what follows from event and outcome.
func (e *envelope) classify(r *audit.Record) {
	if !r.Has(audit.Action) {
		action, _ := audit.EventAction(string(r.Text(audit.Event)))
		r.SetString(audit.Action, action)
	}
	if !r.Has(audit.Outcome) {
		r.SetString(audit.Outcome, "unknown")
	}
	outcome := string(r.Text(audit.Outcome))
	if outcome != "success" && !r.Has(audit.Reason) {
		r.SetString(audit.Reason, "reason_not_logged")
	}
	if !r.Has(audit.Severity) {
		severity := int64(1)
		if outcome == "denied" || outcome == "blocked" || outcome == "failed" {
			severity = 2
		}
		r.SetInt(audit.Severity, severity)
	}
	if !r.Has(audit.ActorType) {
		r.SetString(audit.ActorType, "unknown")
	}
	if !r.Has(audit.ActorBasis) {
		r.SetString(audit.ActorBasis, "none")
	}
	if !r.Has(audit.ActorVerified) {
		r.SetBool(audit.ActorVerified, false)
	}
}

func (e *envelope) salt() (salt [8]byte) {
	if e.left < len(salt) {
		_, _ = rand.Read(e.random[:]) // never fails (crypto/rand)
		e.left = len(e.random)
	}
	e.left -= copy(salt[:], e.random[e.left-len(salt):e.left])
	return salt
}

// ownRecords makes the records that the agent writes about itself. Their source
// is "agent", with the run's id and a counter in place of file and offset.
type ownRecords struct {
	cfg     *Config
	now     func() time.Time
	run     string
	counter atomic.Int64

	mu       sync.Mutex // guards what follows
	envelope envelope
	record   audit.Record
	list     []byte
}

const (
	ownSource       = "agent"
	catalogueSource = "catalogue"
)

func newOwnRecords(cfg *Config, now func() time.Time) *ownRecords {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	return &ownRecords{cfg: cfg, now: now, run: hex.EncodeToString(id[:]), envelope: newEnvelope(cfg)}
}

func (o *ownRecords) ownStream() seal.Stream {
	return seal.Stream{Environment: o.cfg.Environment, Service: ownService, Class: "standard"}
}

// append appends a record of the given event to dst, open before agent.seq.
// o.mu is held.
func (o *ownRecords) append(dst []byte, stream seal.Stream, event string, fill func(r *audit.Record)) []byte {
	r := &o.record
	r.Reset()
	r.SetString(audit.Event, event)
	r.SetString(audit.Outcome, "success")
	r.SetString(audit.ActorType, "system")
	fill(r)
	return o.complete(dst, stream, ownSource)
}

// complete appends o.record, open before agent.seq. o.mu is held.
func (o *ownRecords) complete(dst []byte, stream seal.Stream, source string) []byte {
	r := &o.record
	observed := o.now().UTC().AppendFormat(nil, time.RFC3339Nano)
	o.envelope.fill(r, stream, origin{source: source, generation: o.run, offset: o.counter.Add(1)}, observed)
	return r.AppendOpen(dst)
}

func (o *ownRecords) entry(event string, fill func(r *audit.Record)) *buffer.Entry {
	o.mu.Lock()
	defer o.mu.Unlock()
	stream := o.ownStream()
	return &buffer.Entry{Stream: stream, Records: append(o.append(nil, stream, event, fill), '\n')}
}

func (o *ownRecords) started() *buffer.Entry {
	return o.entry("agent.start", func(r *audit.Record) {
		r.SetJSON(audit.Extra, o.runJSON())
	})
}

func (o *ownRecords) stopped() *buffer.Entry {
	return o.entry("agent.stop", func(*audit.Record) {})
}

func (o *ownRecords) runJSON() []byte {
	run := &o.cfg.Run
	b := append([]byte(nil), `{"version":`...)
	b = audit.AppendString(b, run.Version)
	b = audit.AppendString(append(b, `,"binary":`...), "sha256:"+run.Binary.String())
	b = audit.AppendString(append(b, `,"config":`...), "sha256:"+run.Config.String())
	b = audit.AppendString(append(b, `,"schema":`...), "sha256:"+run.SchemaDigest.String())
	return append(b, '}')
}

// coverage is buffer.Deps.Coverage.
func (o *ownRecords) coverage(dst []byte, c buffer.Coverage) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list[:0], '[')
	for i, item := range c.Items {
		if i > 0 {
			o.list = append(o.list, ',')
		}
		o.list = audit.AppendString(append(o.list, `{"source":`...), item.Input)
		o.list = audit.AppendString(append(o.list, `,"generation":`...), item.Generation)
		o.list = audit.AppendString(append(o.list, `,"unit":`...), item.Unit)
		o.list = strconv.AppendInt(append(o.list, `,"from":`...), item.From, 10)
		o.list = strconv.AppendInt(append(o.list, `,"to":`...), item.To, 10)
		o.list = strconv.AppendInt(append(o.list, `,"lines":`...), item.Lines, 10)
		o.list = append(o.list, '}')
	}
	o.list = append(o.list, ']')
	return o.append(dst, c.Stream, "agent.coverage", func(r *audit.Record) { r.SetJSON(audit.Coverage, o.list) })
}

// hole is buffer.Deps.Gap: the record of a range whose frames are damaged.
func (o *ownRecords) hole(dst []byte, h buffer.Hole) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	g := inputs.Gap{Generation: h.Generation, From: h.From, To: h.To, Cause: causeDamaged}
	at := origin{source: h.Input, generation: h.Generation, offset: h.From, sub: gapSub}
	return appendGap(dst, &o.record, &o.envelope, h.Stream, at, g, false, o.now())
}

// damaged is buffer.Deps.Damaged: the record that a part of the buffer was damaged
// on the disk. What became of the lines in it is told by their records, or by gaps.
func (o *ownRecords) damaged(d buffer.Damage) *buffer.Entry {
	return o.entry("alert.raise", func(r *audit.Record) {
		r.SetInt(audit.Severity, 4)
		r.SetString(audit.AlertRule, "auditail.buffer-damaged")
		r.SetString(audit.AlertRuleVersion, "1")
		r.SetString(audit.AlertTitle, "A part of the buffer was damaged on the disk: what it held is read again where the source still has it, or is a gap")
		r.SetString(audit.AlertState, "open")
		b := strconv.AppendUint([]byte(`{"segment":`), d.Segment, 10)
		b = strconv.AppendInt(append(b, `,"from":`...), d.From, 10)
		b = strconv.AppendInt(append(b, `,"to":`...), d.To, 10)
		b = append(audit.AppendString(append(b, `,"found":`...), d.Cause), `,"read_again":[`...)
		for i, input := range d.ReadBack {
			if i > 0 {
				b = append(b, ',')
			}
			b = audit.AppendString(b, input)
		}
		r.SetJSON(audit.AlertGroup, append(b, "]}"...))
	})
}

// forked is buffer.Deps.Alarm: the record that the log goes on in a new epoch.
func (o *ownRecords) forked(f buffer.Fork) *buffer.Entry {
	title := "The destination has other batches under the names of this log: it was forked, or its state runs twice"
	if f.Cause == seal.SuccessionRollback {
		title = "The state of the agent and what the destination holds do not fit: one of them was set back to an older copy"
	}
	return o.entry("alert.raise", func(r *audit.Record) {
		r.SetInt(audit.Severity, 5)
		r.SetString(audit.AlertRule, "auditail.log-"+f.Cause)
		r.SetString(audit.AlertRuleVersion, "1")
		r.SetString(audit.AlertTitle, title)
		r.SetString(audit.AlertState, "open")
		b := audit.AppendString([]byte(`{"found":`), f.Found)
		b = audit.AppendString(append(b, `,"epoch_left":`...), strconv.Itoa(f.Left))
		b = audit.AppendString(append(b, `,"epoch_found":`...), strconv.Itoa(f.Previous))
		b = audit.AppendString(append(b, `,"size_found":`...), strconv.FormatUint(f.Size, 10))
		b = audit.AppendString(append(b, `,"root_found":`...), f.Root.String())
		b = audit.AppendString(append(b, `,"sealed_again":`...), strconv.FormatUint(f.Again, 10))
		r.SetJSON(audit.AlertGroup, append(b, '}'))
	})
}

// keyMade is the record of the key that a log begins with.
func (o *ownRecords) keyMade(key ed25519.PublicKey) *buffer.Entry {
	return o.entry("agent.key", func(r *audit.Record) {
		r.SetString(audit.ChangeWhat, "identity key")
		r.SetString(audit.ChangeTo, seal.VKey(o.cfg.Log.String(), key))
	})
}

// keyRotated is buffer.Deps.KeyRotated.
func (o *ownRecords) keyRotated(from, to ed25519.PublicKey) *buffer.Entry {
	return o.entry("agent.key", func(r *audit.Record) {
		r.SetString(audit.ChangeWhat, "identity key")
		r.SetString(audit.ChangeFrom, seal.VKey(o.cfg.Log.String(), from))
		r.SetString(audit.ChangeTo, seal.VKey(o.cfg.Log.String(), to))
	})
}

// forgotten is the record of lines that a parser held and can no longer join.
func (o *ownRecords) forgotten(stream seal.Stream, source string, lines uint64) *buffer.Entry {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := &o.record
	r.Reset()
	r.SetString(audit.Event, "agent.unparsed")
	r.SetString(audit.Outcome, "success")
	r.SetString(audit.ActorType, "system")
	r.SetInt(audit.LossLines, int64(lines)) //nolint:gosec // a count
	r.SetString(audit.LossCause, causeParserState)
	o.envelope.fill(r, stream, origin{source: source, generation: o.run, offset: o.counter.Add(1)},
		o.now().UTC().AppendFormat(nil, time.RFC3339Nano))
	return &buffer.Entry{
		Stream: stream, Input: source, Records: append(r.AppendOpen(nil), '\n'), Lines: seal.Lines{Unparsed: lines},
	}
}

// causeParserState: the lines were held for a joined record, and the state that
// held them can not be read by this version.
const causeParserState = "parser_state"

// causeDamaged: the buffer lost what it had committed.
const causeDamaged = "buffer_damaged"

// gapSub, and what is below it, keeps the ids of gaps apart from that of a
// record at the same offset.
const gapSub = -1

// appendGap appends an agent.gap record, open before agent.seq. A gap of no
// bytes is where bytes may be missing that nobody saw, such as between the copy
// and the truncation of a copytruncate: that the source shrank or vanished is
// all that is known, and all that the record (agent.source) says. counted tells
// that From and To count lines.
func appendGap(dst []byte, r *audit.Record, e *envelope, stream seal.Stream, o origin, g inputs.Gap, counted bool, now time.Time) []byte {
	r.Reset()
	r.SetString(audit.ActorType, "system")
	r.SetString(audit.SourcePath, g.Path)
	if g.From == g.To {
		fillSource(r, g)
	} else {
		fillGap(r, g, counted)
	}
	e.fill(r, stream, o, now.UTC().AppendFormat(nil, time.RFC3339Nano))
	return r.AppendOpen(dst)
}

func fillGap(r *audit.Record, g inputs.Gap, counted bool) {
	r.SetString(audit.Event, "agent.gap")
	if g.Cause == inputs.CauseStartEnd {
		r.SetString(audit.Outcome, "success")
	} else {
		r.SetString(audit.Outcome, "failed")
		r.SetString(audit.Reason, g.Cause)
		r.SetInt(audit.Severity, 4)
	}
	r.SetString(audit.LossGeneration, g.Generation)
	r.SetInt(audit.LossFrom, g.From)
	r.SetInt(audit.LossTo, g.To)
	if counted {
		r.SetInt(audit.LossLines, g.To-g.From)
	} else {
		r.SetInt(audit.LossBytes, g.To-g.From)
	}
	r.SetString(audit.LossCause, g.Cause)
}

func fillSource(r *audit.Record, g inputs.Gap) {
	r.SetString(audit.Event, "agent.source")
	if g.Cause == inputs.CauseStartEnd {
		r.SetString(audit.Outcome, "success")
		return
	}
	r.SetString(audit.Outcome, "unknown")
	r.SetInt(audit.Severity, 3)
	switch g.Cause {
	case inputs.CauseTruncated:
		r.SetString(audit.Reason, "shrank")
	case inputs.CauseRemoved:
		r.SetString(audit.Reason, "vanished")
	default:
		r.SetString(audit.Reason, g.Cause)
	}
}
