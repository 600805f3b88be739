package triton

import (
	"bytes"
	"slices"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

const reasonLoad = "load_failed"

// server is what is remembered of the log at one path.
type server struct {
	path    string
	version string
	detail  int     // lines that a text on several lines may still have
	loads   []*load // under way, oldest first

	number int // within a snapshot
}

// load is a model on its way into memory.
type load struct {
	model    string
	versions []string // that are loaded together
	seen     time.Time
	held     []parsers.Ref
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

// serverOf returns the server of a path. The oldest is forgotten when there are too
// many; what it held is recorded.
func (p *Parser) serverOf(dst []parsers.Draft, path string) ([]parsers.Draft, *server) {
	if s := p.find(path); s != nil {
		return dst, s
	}
	if len(p.servers) == maxServers {
		dst = p.forget(dst, p.servers[0])
		p.servers = slices.Delete(p.servers, 0, 1)
	}
	s := &server{path: path}
	p.servers = append(p.servers, s)
	p.last = s
	return dst, s
}

// forget records everything that is held of a server.
func (p *Parser) forget(dst []parsers.Draft, s *server) []parsers.Draft {
	for i := 0; i < len(p.calls); {
		if p.calls[i].server == s {
			dst = p.record(dst, p.calls[i])
		} else {
			i++
		}
	}
	for len(s.loads) > 0 {
		dst = p.giveUp(dst, s, 0)
	}
	return dst
}

// model reads the lines that tell of models being loaded and unloaded.
func (p *Parser) model(dst []parsers.Draft, line *parsers.Line, e *entry) (out []parsers.Draft, outcome parsers.Outcome, ok bool) {
	m := e.message
	if rest, ok := bytes.CutPrefix(m, []byte("loading: ")); ok && e.level == 'I' {
		at := bytes.LastIndexByte(rest, ':')
		if at < 1 || at == len(rest)-1 || len(rest) > maxName {
			return dst, unparsed("no model and version behind loading"), true
		}
		dst, outcome = p.loading(dst, line, rest[:at], rest[at+1:])
		return dst, outcome, true
	}
	if bytes.HasPrefix(m, []byte("unloading: ")) && e.level == 'I' {
		return dst, ignored(ruleLoad), true
	}
	for _, kind := range [...]struct{ mark, event, outcome string }{
		{"successfully loaded '", "model.load", "success"},
		{"successfully unloaded '", "model.unload", "success"},
		{"failed to load '", "model.load", "failed"},
	} {
		rest, ok := bytes.CutPrefix(m, []byte(kind.mark))
		if !ok {
			continue
		}
		name, rest, ok := bytes.Cut(rest, []byte("'"))
		if !ok || len(name) == 0 || len(name) > maxName {
			return dst, unparsed("no name of a model"), true
		}
		version, _ := bytes.CutPrefix(rest, []byte(" version "))
		if kind.outcome == "failed" {
			version, _, _ = bytes.Cut(version, []byte(": "))
			if e.level == 'I' {
				return dst, ignored(ruleRepeated), true // said again, without the version
			}
		}
		dst = p.loaded(dst, line, e, kind.event, kind.outcome, name, version)
		return dst, recorded(), true
	}
	return dst, outcome, false
}

// loading holds the line that says which version is loaded. A model may have several.
func (p *Parser) loading(dst []parsers.Draft, line *parsers.Line, name, version []byte) ([]parsers.Draft, parsers.Outcome) {
	dst, s := p.serverOf(dst, line.Path)
	for _, l := range s.loads {
		if l.model == string(name) {
			if len(l.held) == maxHeld {
				return dst, ignored(ruleLoad)
			}
			l.versions = append(l.versions, string(version))
			l.held = append(l.held, line.Ref())
			l.seen = line.Seen
			return dst, held()
		}
	}
	if len(s.loads) == maxLoads {
		dst = p.giveUp(dst, s, 0)
	}
	s.loads = append(s.loads, &load{model: string(name), versions: []string{string(version)}, held: []parsers.Ref{line.Ref()}, seen: line.Seen})
	return dst, held()
}

// loaded records what became of a model. The version is that of the line, else the
// only one that was being loaded.
func (p *Parser) loaded(dst []parsers.Draft, line *parsers.Line, e *entry, event, outcome string, name, version []byte) []parsers.Draft {
	s := p.find(line.Path)
	dst, d := parsers.Next(dst)
	r := &d.Record
	d.SetTime(e.when, e.zoned)
	r.SetString(audit.Event, event)
	r.SetString(audit.Outcome, outcome)
	if outcome != "success" {
		r.SetString(audit.Reason, reasonLoad)
	}
	d.SetActor(nil)
	r.SetText(audit.ModelName, name)
	r.SetText(audit.ModelVersion, version)
	p.describe(d, s)
	if s == nil || event != "model.load" {
		return dst
	}
	for i, l := range s.loads {
		if l.model != string(name) {
			continue
		}
		if len(version) == 0 && len(l.versions) == 1 {
			r.SetString(audit.ModelVersion, l.versions[0])
		}
		if at := slices.Index(l.versions, string(version)); at >= 0 && len(l.versions) > 1 {
			// One of several versions: the others are still on their way.
			d.Held = append(d.Held, l.held[at])
			l.versions, l.held = slices.Delete(l.versions, at, at+1), slices.Delete(l.held, at, at+1)
			return dst
		}
		d.Held = append(d.Held, l.held...)
		s.loads = slices.Delete(s.loads, i, i+1)
		break
	}
	return dst
}

// giveUp records a load whose end was not logged.
func (p *Parser) giveUp(dst []parsers.Draft, s *server, i int) []parsers.Draft {
	l := s.loads[i]
	s.loads = slices.Delete(s.loads, i, i+1)
	dst, d := parsers.Next(dst)
	r := &d.Record
	d.Held = append(d.Held, l.held...)
	r.SetString(audit.Event, "model.load")
	r.SetString(audit.Outcome, outcomeUnknown)
	r.SetString(audit.Reason, parsers.ReasonOutcomeNotLogged)
	d.SetActor(nil)
	r.SetString(audit.ModelName, l.model)
	if len(l.versions) == 1 {
		r.SetString(audit.ModelVersion, l.versions[0])
	}
	p.describe(d, s)
	return dst
}

const loadWindow = 30 * time.Minute // after which a load whose end was not logged is recorded

// Flush implements [parsers.Stateful].
func (p *Parser) Flush(now time.Time, dst []parsers.Draft) (out []parsers.Draft, released int) {
	for i := 0; i < len(p.calls); {
		if now.IsZero() || now.Sub(p.calls[i].seen).Abs() >= settleTime {
			dst = p.record(dst, p.calls[i])
		} else {
			i++
		}
	}
	for _, s := range p.servers {
		for i := 0; i < len(s.loads); {
			if now.IsZero() || now.Sub(s.loads[i].seen).Abs() >= loadWindow {
				dst = p.giveUp(dst, s, i)
			} else {
				i++
			}
		}
	}
	return dst, 0
}

// Held implements [parsers.Stateful].
func (p *Parser) Held() int {
	lines := p.lines
	for _, s := range p.servers {
		for _, l := range s.loads {
			for i := range l.held {
				lines += l.held[i].Lines
			}
		}
	}
	return lines
}
