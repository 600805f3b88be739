package ollama

import (
	"bytes"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// Bounds of what is held.
const (
	window     = 10 * time.Minute // after which a load whose end was not logged is recorded
	settle     = 5 * time.Second  // in which the name follows the end of a load
	maxServers = 256
)

// Reasons of loads.
const (
	reasonFailed    = "load_failed"
	reasonRestarted = "server_restart" // the server started again while it loaded
)

// server is what is remembered of the log at one path.
type server struct {
	path    string
	version string
	load    *load // under way; nil: none
	example int   // lines that a printed chat template may still have
}

// load is a model on its way into memory.
type load struct {
	held   []parsers.Ref // its lines, oldest first
	seen   time.Time     // when the last of them was read
	at     string        // time of the last of them, RFC 3339
	digest string
	ready  bool // the runner is up
	ms     int64
}

// find returns the server of a path, or nil.
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

// serverOf returns the server of a path. The oldest is forgotten when there are
// too many; what it held is recorded.
func (p *Parser) serverOf(dst []parsers.Draft, path string) ([]parsers.Draft, *server) {
	if s := p.find(path); s != nil {
		return dst, s
	}
	if len(p.servers) == maxServers {
		dst = p.giveUp(dst, p.servers[0], parsers.ReasonOutcomeNotLogged)
		p.servers = append(p.servers[:0], p.servers[1:]...)
	}
	s := &server{path: path}
	p.servers = append(p.servers, s)
	p.last = s
	return dst, s
}

// describe fills what is known of the server behind a record.
func (p *Parser) describe(d *parsers.Draft, s *server) {
	d.Record.SetString(audit.APIServer, "ollama")
	if s != nil {
		d.Record.SetString(audit.APIServerVersion, s.version)
	}
	d.SetProvider(p.provider)
}

// starts notes that the server at a path was started. What the old one loaded will
// not be reported any more.
func (p *Parser) starts(dst []parsers.Draft, line *parsers.Line, version []byte) []parsers.Draft {
	dst, s := p.serverOf(dst, line.Path)
	dst = p.giveUp(dst, s, reasonRestarted)
	s.version, s.example = string(version), 0
	return dst
}

// loadStarts holds the line that starts a runner for a model. Runners without one
// look for GPUs. A server loads one model after the other, so what is under way when
// the next is started was given up or goes on unseen.
func (p *Parser) loadStarts(dst []parsers.Draft, line *parsers.Line, e *entry) ([]parsers.Draft, parsers.Outcome) {
	command := p.attribute(e, "cmd")
	_, model, ok := bytes.Cut(command, []byte(" --model "))
	if !ok {
		return dst, ignored(ruleLoad)
	}
	dst, s := p.serverOf(dst, line.Path)
	dst = p.giveUp(dst, s, parsers.ReasonOutcomeNotLogged)
	model, _, _ = bytes.Cut(model, []byte(" --"))
	s.load = &load{held: []parsers.Ref{line.Ref()}, seen: line.Seen, at: string(e.time), digest: digestOf(model)}
	return dst, held()
}

// loadStarted reads "llama-server started in 0.72 seconds". The newer servers, which
// say llama-server, wait for the runner and name the model next; the older ones, which
// say llama runner, have nothing more to tell.
func (p *Parser) loadStarted(dst []parsers.Draft, line *parsers.Line, e *entry, ms int64) ([]parsers.Draft, parsers.Outcome) {
	s := p.find(line.Path)
	if s == nil || s.load == nil || s.load.ready {
		return dst, ignored(ruleLoad) // said again, or the start of it is not known
	}
	l := s.load
	l.ready, l.ms, l.seen, l.at = true, ms, line.Seen, string(e.time)
	if bytes.HasPrefix(e.message, []byte("llama-server ")) {
		l.held = append(l.held, line.Ref())
		return dst, held()
	}
	return p.loaded(dst, s, nil), recorded()
}

// loadNamed reads the name of the model that was just loaded.
func (p *Parser) loadNamed(dst []parsers.Draft, line *parsers.Line, e *entry) ([]parsers.Draft, parsers.Outcome) {
	s := p.find(line.Path)
	if s == nil || s.load == nil || !s.load.ready {
		return dst, ignored(ruleLoad)
	}
	return p.loaded(dst, s, p.attribute(e, "model")), recorded()
}

// loadDone ends the wait for a name.
func (p *Parser) loadDone(dst []parsers.Draft, line *parsers.Line, _ *entry) ([]parsers.Draft, parsers.Outcome) {
	s := p.find(line.Path)
	if s == nil || s.load == nil || !s.load.ready {
		return dst, ignored(ruleLoad)
	}
	return p.loaded(dst, s, nil), recorded()
}

// loadFailed records a load that came to nothing.
func (p *Parser) loadFailed(dst []parsers.Draft, line *parsers.Line, e *entry) ([]parsers.Draft, parsers.Outcome) {
	model := p.attribute(e, "model")
	digest := digestOf(model)
	s := p.find(line.Path)
	l := &load{}
	if s != nil && s.load != nil && (digest == "" || digest == s.load.digest) {
		l, s.load = s.load, nil
	}
	if digest != "" {
		l.digest = digest
	}
	l.at = string(e.time)
	dst = p.draft(dst, s, l)
	r := &dst[len(dst)-1].Record
	if digest == "" && bytes.IndexByte(model, '/') < 0 { // a short name, not a file
		r.SetText(audit.ModelName, model)
	}
	r.SetString(audit.Outcome, "failed")
	r.SetString(audit.Reason, reasonFailed)
	return dst, recorded()
}

// unloaded records that a model left the memory.
func (p *Parser) unloaded(dst []parsers.Draft, line *parsers.Line, e *entry) ([]parsers.Draft, parsers.Outcome) {
	l := load{at: string(e.time)}
	var name []byte
	for rest := e.attributes; ; {
		key, value, tail, ok := p.nextPair(rest)
		if !ok {
			break
		}
		switch string(key) {
		case "model", "modelPath", "runner.model":
			l.digest = digestOf(value)
		case "runner.name":
			name = value
		}
		rest = tail
	}
	dst = p.draft(dst, p.find(line.Path), &l)
	r := &dst[len(dst)-1].Record
	r.SetString(audit.Event, "model.unload")
	p.setName(r, name)
	return dst, recorded()
}

// loaded records the load of a server as done.
func (p *Parser) loaded(dst []parsers.Draft, s *server, name []byte) []parsers.Draft {
	l := s.load
	s.load = nil
	dst = p.draft(dst, s, l)
	r := &dst[len(dst)-1].Record
	p.setName(r, name)
	r.SetInt(audit.UsageDurationMs, l.ms)
	return dst
}

// giveUp records the load of a server whose end was not logged, if there is one.
func (p *Parser) giveUp(dst []parsers.Draft, s *server, reason string) []parsers.Draft {
	l := s.load
	switch {
	case l == nil:
		return dst
	case l.ready:
		return p.loaded(dst, s, nil)
	}
	s.load = nil
	dst = p.draft(dst, s, l)
	r := &dst[len(dst)-1].Record
	r.SetString(audit.Outcome, "unknown")
	r.SetString(audit.Reason, reason)
	return dst
}

// draft appends a successful model.load.
func (p *Parser) draft(dst []parsers.Draft, s *server, l *load) []parsers.Draft {
	dst, d := parsers.Next(dst)
	r := &d.Record
	d.Held = append(d.Held, l.held...)
	r.SetString(audit.Time, l.at)
	d.SetTimeBasis(true)
	r.SetString(audit.Event, "model.load")
	r.SetString(audit.Outcome, "success")
	d.SetActor(nil)
	p.describe(d, s)
	r.SetString(audit.ModelDigest, l.digest)
	return dst
}

// setName fills the name of a model, and says that the log itself brought its digest.
func (p *Parser) setName(r *audit.Record, name []byte) {
	r.SetText(audit.ModelName, name)
	if len(name) > 0 && r.Has(audit.ModelDigest) {
		r.SetString(audit.ModelBasis, "log")
	}
}

// digestOf returns the digest that the name of a file of Ollama's store claims,
// ".../blobs/sha256-e98a…", or nothing.
func digestOf(file []byte) string {
	const mark, length = "sha256-", 64
	at := bytes.LastIndex(file, []byte(mark))
	if at < 0 {
		return ""
	}
	digest := file[at+len(mark):]
	if len(digest) < length {
		return ""
	}
	for _, c := range digest[:length] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ""
		}
	}
	return "claimed-sha256:" + string(digest[:length])
}

// startedIn reads "llama-server started in 0.72 seconds" as 720.
func startedIn(message []byte) (ms int64, ok bool) {
	rest, ok := bytes.CutPrefix(message, []byte("llama-server started in "))
	if !ok {
		if rest, ok = bytes.CutPrefix(message, []byte("llama runner started in ")); !ok {
			return 0, false
		}
	}
	figure, ok := bytes.CutSuffix(rest, []byte(" seconds"))
	if !ok {
		return 0, false
	}
	var buffer [32]byte
	return stamp.Milliseconds(append(append(buffer[:0], figure...), 's'))
}

// Flush implements [parsers.Stateful]: loads whose end or name was not logged in time.
func (p *Parser) Flush(now time.Time, dst []parsers.Draft) (out []parsers.Draft, released int) {
	for _, s := range p.servers {
		if l := s.load; l != nil && (now.IsZero() || now.Sub(l.seen).Abs() >= window || l.ready && now.Sub(l.seen).Abs() >= settle) {
			dst = p.giveUp(dst, s, parsers.ReasonOutcomeNotLogged)
		}
	}
	return dst, 0
}

// Held implements [parsers.Stateful].
func (p *Parser) Held() (lines int) {
	for _, s := range p.servers {
		if s.load == nil {
			continue
		}
		for i := range s.load.held {
			lines += s.load.held[i].Lines
		}
	}
	return lines
}
