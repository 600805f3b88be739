package kserve

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
	"github.com/auditail/auditail/parsers/internal/state"
)

// texts are the fields of a request's record that are held as text.
var texts = [...]audit.Field{
	audit.SessionRequestID, audit.Workspace, audit.ActorID, audit.ActorBasis, audit.ClientIP, audit.ClientUserAgent, audit.ClientApp,
	audit.ModelName, audit.ModelVersion, audit.ModelProvider, audit.APIOperation, audit.ParamsTemperature, audit.ParamsTopP, audit.Extra,
}

// numbers are those that are held as numbers.
var numbers = [...]audit.Field{audit.ParamsMaxTokens, audit.ParamsSeed, audit.ParamsStream}

// flags are the quality of a request that its record keeps.
const flags = audit.TZAssumed | audit.Truncated | audit.ActorUnverified | audit.FieldsDropped | audit.DuplicateKeys | audit.InvalidUTF8

// request waits for its response.
type request struct {
	key       string
	held      parsers.Ref
	seen      time.Time
	at        string // its time; empty: the line has none
	zoned     bool
	texts     [len(texts)]string
	has       [len(numbers)]bool
	numbers   [len(numbers)]int64
	quality   audit.Quality
	parts     int
	truncated bool
	applied   []byte // of the content, what the capture policy keeps
}

// newRequest holds what a request's record says.
func (p *Parser) newRequest(d *parsers.Draft, line *parsers.Line) *request {
	r := &d.Record
	q := &request{
		key: string(p.key), held: line.Ref(), seen: line.Seen, at: string(r.Text(audit.Time)),
		zoned: string(r.Text(audit.TimeBasis)) == "source", quality: r.Flags() & flags,
		parts: d.Input.Parts, truncated: d.Input.Truncated,
	}
	for i, f := range texts {
		q.texts[i] = string(r.Text(f))
	}
	for i, f := range numbers {
		q.has[i], q.numbers[i] = r.Has(f), r.Int(f)
	}
	d.Input.Model = string(r.Text(audit.ModelName))
	if p.config.Capture != nil && d.Input.Parts > 0 {
		q.applied = p.config.Capture(nil, &d.Input, parsers.Entered)
	}
	return q
}

// size estimates the memory of a request.
func (q *request) size() int {
	n := 512 + len(q.key) + len(q.applied)
	for _, text := range q.texts {
		n += len(text)
	}
	return n
}

// join adds the request to the record of its response.
func (q *request) join(d *parsers.Draft) {
	r := &d.Record
	begun, err1 := time.Parse(time.RFC3339Nano, q.at)
	ended, err2 := time.Parse(time.RFC3339Nano, string(r.Text(audit.Time)))
	q.fill(d)
	if err1 == nil && err2 == nil && !ended.Before(begun) {
		r.SetInt(audit.UsageDurationMs, int64(math.Round(float64(ended.Sub(begun))/1e6)))
	}
}

// fill sets what the request says.
func (q *request) fill(d *parsers.Draft) {
	r := &d.Record
	d.Held = append(d.Held, q.held)
	for i, f := range texts {
		if q.texts[i] != "" {
			r.SetString(f, q.texts[i])
		}
	}
	for i, f := range numbers {
		switch {
		case !q.has[i]:
		case f == audit.ParamsStream:
			r.SetBool(f, q.numbers[i] != 0)
		default:
			r.SetInt(f, q.numbers[i])
		}
	}
	if q.at != "" {
		r.SetString(audit.Time, q.at)
		d.SetTimeBasis(q.zoned)
	}
	r.Flag(q.quality)
	d.Input.Parts, d.Input.Truncated = q.parts, q.truncated
	d.Input.Applied = append(d.Input.Applied[:0], q.applied...)
}

// release appends the record of a request whose response never came.
func (p *Parser) release(dst []parsers.Draft, at int, reason string) []parsers.Draft {
	dst, d := parsers.Next(dst)
	r := &d.Record
	r.SetString(audit.Event, "model.inference")
	r.SetString(audit.Outcome, "unknown")
	r.SetString(audit.Reason, reason)
	d.SetActor(nil)
	p.open[at].fill(d)
	p.remove(at)
	return dst
}

func (p *Parser) remove(at int) {
	p.bytes -= p.open[at].size()
	p.open = append(p.open[:at], p.open[at+1:]...)
}

// find returns the place of the request that waits under a key, or -1.
func (p *Parser) find(key []byte) int {
	if len(key) == 0 {
		return -1
	}
	for i, q := range p.open {
		if q.key == string(key) {
			return i
		}
	}
	return -1
}

// Flush implements [parsers.Stateful].
func (p *Parser) Flush(now time.Time, dst []parsers.Draft) (drafts []parsers.Draft, released int) {
	for at := 0; at < len(p.open); {
		if !now.IsZero() && now.Sub(p.open[at].seen).Abs() < window {
			at++
			continue
		}
		dst = p.release(dst, at, parsers.ReasonOutcomeNotLogged)
	}
	return dst, 0
}

// Held implements [parsers.Stateful].
func (p *Parser) Held() int {
	n := 0
	for _, q := range p.open {
		n += q.held.Lines
	}
	return n
}

const snapshotVersion = 1

// errSnapshot is returned for bytes that no Snapshot of this version wrote.
var errSnapshot = errors.New("not a snapshot of this parser")

// Snapshot implements [parsers.Stateful].
func (p *Parser) Snapshot() []byte {
	if len(p.open) == 0 {
		return nil
	}
	e := state.Encoder{Bytes: []byte{snapshotVersion}}
	e.Number(int64(len(p.open)))
	for _, q := range p.open {
		e.Text(q.key)
		e.Refs([]parsers.Ref{q.held})
		e.Time(q.seen)
		e.Text(q.at)
		for _, text := range q.texts {
			e.Text(text)
		}
		for i := range q.numbers {
			e.Flags(q.has[i])
			e.Number(q.numbers[i])
		}
		e.Number(int64(q.quality))
		e.Number(int64(q.parts))
		e.Flags(q.zoned, q.truncated)
		e.Data(q.applied)
	}
	return e.Bytes
}

// Restore implements [parsers.Stateful]. After an error the state is as before.
func (p *Parser) Restore(snapshot []byte) error {
	var open []*request
	bytes := 0
	if len(snapshot) > 0 {
		if snapshot[0] != snapshotVersion {
			return fmt.Errorf("restore kserve state: %w: version %d", errSnapshot, snapshot[0])
		}
		d := state.NewDecoder(snapshot[1:])
		keys := map[string]bool{}
		for range d.Count(maxOpen) {
			q := decodeRequest(d)
			if d.Failed() {
				break
			}
			if keys[q.key] {
				d.Fail()
			}
			keys[q.key] = true
			open = append(open, q)
			bytes += q.size()
		}
		if !d.Done() {
			return fmt.Errorf("restore kserve state: %w", errSnapshot)
		}
	}
	p.open, p.bytes = open, bytes
	return nil
}

func decodeRequest(d *state.Decoder) *request {
	q := &request{key: d.Text()}
	if refs := d.Refs(1); len(refs) == 1 {
		q.held = refs[0]
	} else {
		d.Fail()
	}
	q.seen, q.at = d.Time(), d.Text()
	for i := range q.texts {
		q.texts[i] = d.Text()
	}
	for i := range q.numbers {
		d.Flags(&q.has[i])
		q.numbers[i] = d.Number()
	}
	q.quality = audit.Quality(d.Count(math.MaxUint16))
	q.parts = d.Count(math.MaxInt32)
	d.Flags(&q.zoned, &q.truncated)
	if q.applied = d.Data(); len(q.applied) == 0 {
		q.applied = nil
	}
	if !q.valid() {
		d.Fail()
	}
	return q
}

// valid tells whether a record can be made of the request.
func (q *request) valid() bool {
	if _, err := time.Parse(time.RFC3339Nano, q.at); q.at != "" && err != nil || q.key == "" || q.quality&^flags != 0 {
		return false
	}
	var actor, basis string
	for i, f := range texts {
		text := q.texts[i]
		switch {
		case f == audit.ActorID:
			actor = text
		case f == audit.ActorBasis:
			basis = text
		case text == "":
			if f == audit.APIOperation {
				return false
			}
		case f == audit.ParamsTemperature || f == audit.ParamsTopP:
			if _, err := strconv.ParseFloat(text, 64); err != nil || !fieldmap.Valid([]byte(text)) {
				return false
			}
		case f == audit.Extra:
			if text[0] != '{' || !fieldmap.Valid([]byte(text)) || bytes.ContainsAny([]byte(text), "\n\r") {
				return false
			}
		}
	}
	return actor == "" && basis == "none" || actor != "" && basis == "header"
}
