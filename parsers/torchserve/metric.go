package torchserve

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/state"
)

// Bounds of what is held.
const (
	settle     = 3 * time.Second // in which the metrics of a request follow each other
	maxWaiting = 256
	maxServers = 256
	maxDump    = 512 // lines of a printed configuration
	maxHeld    = 4   // lines of one request
	maxName    = 512
)

// server is what is remembered of the log at one path.
type server struct {
	path    string
	version string
	dump    int // lines that a printed configuration may still have
}

// request is what the metrics say of one request, or of several in a batch.
type request struct {
	path  string // of its log
	id    string
	model string
	when  time.Time // of its first line
	seen  time.Time // when its last line was read
	held  []parsers.Ref
}

func (p *Parser) find(path string) *server {
	if p.last != nil && p.last.path == path {
		return p.last
	}
	for _, s := range p.servers {
		if s.path == path {
			p.last = s
			return s
		}
	}
	return nil
}

// serverOf returns the server of a path; the oldest is forgotten when there are too many.
func (p *Parser) serverOf(path string) *server {
	if s := p.find(path); s != nil {
		return s
	}
	if len(p.servers) == maxServers {
		p.servers = slices.Delete(p.servers, 0, 1)
	}
	s := &server{path: path}
	p.servers, p.last = append(p.servers, s), s
	return s
}

// isMetric recognises "HandlerTime.ms:0.9|#ModelName:…".
func isMetric(b []byte) bool {
	at := bytes.IndexByte(b, '|')
	return at > 0 && bytes.HasPrefix(b[at:], []byte("|#")) && bytes.IndexByte(b[:at], ' ') < 0 && bytes.IndexByte(b[:at], ':') > 0
}

// metric reads a metric of a model:
//
//	PredictionTime.ms:0.98|#ModelName:xgb_iris,Level:Model|#hostname:node-a,requestID:a758f15c-…,timestamp:1713216971
//
// A batch names its requests with commas between them. Figures that name no request
// are no news.
func (p *Parser) metric(dst []parsers.Draft, line *parsers.Line, when time.Time, b []byte) ([]parsers.Draft, parsers.Outcome) {
	_, rest, ok := bytes.Cut(b, []byte(",requestID:"))
	at := bytes.LastIndex(rest, []byte(",timestamp:"))
	if !ok || at <= 0 {
		return dst, ignored(ruleMetrics)
	}
	id := rest[:at]
	name, _, _ := bytes.Cut(b, []byte(":"))
	_, model, _ := bytes.Cut(b, []byte("|#ModelName:"))
	if at := bytes.IndexAny(model, ",|"); at >= 0 {
		model = model[:at]
	}
	if len(id) > maxName || len(model) == 0 || len(model) > maxName {
		return dst, ignored(ruleMetrics)
	}
	found := slices.IndexFunc(p.waiting, func(r *request) bool { return r.path == line.Path && r.id == string(id) && r.model == string(model) })
	last := bytes.HasPrefix(name, []byte("PredictionTime."))
	if !last {
		if found < 0 {
			if len(p.waiting) == maxWaiting {
				dst = p.record(dst, 0)
			}
			p.waiting = append(p.waiting, &request{path: line.Path, id: string(id), model: string(model), when: when})
			found = len(p.waiting) - 1
		}
		r := p.waiting[found]
		if len(r.held) == maxHeld {
			return dst, ignored(ruleMetrics)
		}
		r.held, r.seen = append(r.held, line.Ref()), line.Seen
		return dst, held()
	}
	if found < 0 {
		dst = p.draft(dst, line.Path, id, model, when, nil)
	} else {
		dst = p.record(dst, found)
	}
	if ms, ok := parsers.Milliseconds(b[len(name)+1:]); ok {
		dst[len(dst)-1].Record.SetInt(audit.UsageDurationMs, ms)
	}
	return dst, recorded()
}

// record turns a waiting request into a record and forgets it.
func (p *Parser) record(dst []parsers.Draft, i int) []parsers.Draft {
	r := p.waiting[i]
	p.waiting = slices.Delete(p.waiting, i, i+1)
	return p.draft(dst, r.path, []byte(r.id), []byte(r.model), r.when, r.held)
}

// draft appends the record of a request. Metrics do not say how it ended.
func (p *Parser) draft(dst []parsers.Draft, path string, id, model []byte, when time.Time, refs []parsers.Ref) []parsers.Draft {
	dst, d := parsers.Next(dst)
	r := &d.Record
	d.Held = append(d.Held, refs...)
	d.SetTime(when, false)
	r.SetString(audit.Event, "model.inference")
	r.SetString(audit.APIOperation, "predict")
	r.SetString(audit.Outcome, "unknown")
	r.SetString(audit.Reason, parsers.ReasonOutcomeNotLogged)
	d.SetActor(nil)
	r.SetText(audit.SessionRequestID, id)
	r.SetText(audit.ModelName, model)
	p.describe(d, path)
	return dst
}

// Flush implements [parsers.Stateful].
func (p *Parser) Flush(now time.Time, dst []parsers.Draft) (out []parsers.Draft, released int) {
	for i := 0; i < len(p.waiting); {
		if now.IsZero() || now.Sub(p.waiting[i].seen).Abs() >= settle {
			dst = p.record(dst, i)
		} else {
			i++
		}
	}
	return dst, 0
}

// Held implements [parsers.Stateful].
func (p *Parser) Held() (lines int) {
	for _, r := range p.waiting {
		for i := range r.held {
			lines += r.held[i].Lines
		}
	}
	return lines
}

// A snapshot is, in the encoding of package state: version 1; servers with path,
// version, lines of a dump; waiting requests with path, id, model, times, lines.
const snapshotVersion = 1

// errSnapshot is returned for bytes that no Snapshot of this version wrote.
var errSnapshot = errors.New("not a snapshot of this parser")

// Snapshot implements [parsers.Stateful].
func (p *Parser) Snapshot() []byte {
	if len(p.servers) == 0 && len(p.waiting) == 0 {
		return nil
	}
	e := state.Encoder{Bytes: []byte{snapshotVersion}}
	e.Number(int64(len(p.servers)))
	for _, s := range p.servers {
		e.Text(s.path)
		e.Text(s.version)
		e.Number(int64(s.dump))
	}
	e.Number(int64(len(p.waiting)))
	for _, r := range p.waiting {
		e.Text(r.path)
		e.Text(r.id)
		e.Text(r.model)
		e.Time(r.when)
		e.Time(r.seen)
		e.Refs(r.held)
	}
	return e.Bytes
}

// Restore implements [parsers.Stateful]. After an error the state is as before.
func (p *Parser) Restore(snapshot []byte) error {
	var servers []*server
	var waiting []*request
	if len(snapshot) > 0 {
		if snapshot[0] != snapshotVersion {
			return fmt.Errorf("restore torchserve state: %w: version %d", errSnapshot, snapshot[0])
		}
		d := state.NewDecoder(snapshot[1:])
		for range d.Count(maxServers) {
			s := &server{path: d.Text(), version: d.Text(), dump: d.Count(maxDump)}
			if s.version != "" && !isVersion([]byte(s.version)) {
				d.Fail()
			}
			servers = append(servers, s)
		}
		for range d.Count(maxWaiting) {
			r := &request{path: d.Text(), id: d.Text(), model: d.Text(), when: d.Time().In(p.zone), seen: d.Time(), held: d.Refs(maxHeld)}
			if r.id == "" || r.model == "" || len(r.held) == 0 {
				d.Fail()
			}
			waiting = append(waiting, r)
		}
		if !d.Done() {
			return fmt.Errorf("restore torchserve state: %w", errSnapshot)
		}
	}
	p.servers, p.last, p.waiting = servers, nil, waiting
	return nil
}
