package vllm

import (
	"bytes"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/pyrepr"
)

// banner remembers what a line of the start banner says. Other arguments than
// these are not looked at: one of them is the API key.
func (p *Parser) banner(dst []parsers.Draft, path string, when time.Time, message []byte) ([]parsers.Draft, bool) {
	if version, ok := cut(message, "vLLM API server version "); ok {
		if !isVersion(version) {
			return dst, false
		}
		return p.restart(dst, path, when, version), true
	}
	if logo(message) {
		return p.logoLine(dst, path, message), true
	}
	for _, prefix := range [...]string{"args: Namespace(", "non-default args: {"} {
		if _, ok := cut(message, prefix); ok {
			dst, s := p.serverOf(dst, path)
			s.facts.learn(pyrepr.Arguments(message))
			s.endsLogged = s.endsLogged || isSet(pyrepr.Arguments(message), "enable_log_outputs")
			return dst, true
		}
	}
	if rest, ok := cut(message, "Initializing "); ok {
		what, config, ok := bytes.Cut(rest, []byte(" with config: "))
		if ok && bytes.Contains(what, []byte("LLM engine (v")) {
			dst, s := p.serverOf(dst, path)
			s.facts.learn(config)
			return dst, true
		}
	}
	return dst, false
}

// restart begins with a new server at the path. What the old one had open will
// not end any more.
func (p *Parser) restart(dst []parsers.Draft, path string, when time.Time, version []byte) []parsers.Draft {
	dst, s := p.serverOf(dst, path)
	for r := p.queue.next; r != &p.queue; {
		next := r.next
		if r.server == s {
			if r.outcome == "" && !r.call.answered && r.answers == 0 {
				r.end(outcomeUnknown, reasonRestarted, r.seen, r.logged)
			}
			dst = p.record(dst, r)
		}
		r = next
	}
	*s = *newServer(path)
	s.clock = when.Unix()
	s.facts.version = string(version)
	return dst
}

// isVersion accepts "0.6.3.post1", "0.11.0", "0.9.2rc3.dev12+g1a2b3c".
func isVersion(b []byte) bool {
	for _, c := range b {
		if !pyrepr.IsNameByte(c) && c != '.' && c != '+' && c != '-' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 64 && b[0] >= '0' && b[0] <= '9'
}

// logo recognises the block letters that later versions print at the start,
// with the version beside the second and the model beside the third line.
func logo(message []byte) bool {
	b := bytes.TrimLeft(message, " ")
	for _, block := range [...]string{"█", "▄", "▀"} {
		if bytes.HasPrefix(b, []byte(block)) {
			return true
		}
	}
	return false
}

func (p *Parser) logoLine(dst []parsers.Draft, path string, message []byte) []parsers.Draft {
	_, version, _ := bytes.Cut(message, []byte("  version "))
	_, model, _ := bytes.Cut(message, []byte("  model   "))
	model = bytes.TrimSpace(model)
	if !isVersion(version) && len(model) == 0 {
		return dst
	}
	dst, s := p.serverOf(dst, path)
	if isVersion(version) {
		s.facts.version = string(version)
	}
	if s.facts.model == "" && len(model) <= maxName {
		s.facts.model = string(model)
	}
	return dst
}

// maxName bounds what is remembered of a banner.
const maxName = 1024

// learn reads pairs "model='…', revision=None, …" of a banner.
func (f *facts) learn(pairs []byte) {
	for {
		key, value, rest, ok := pyrepr.NextPair(pairs)
		if !ok {
			return
		}
		pairs = rest
		var to *string
		switch string(key) {
		case "model":
			to = &f.model
		case "model_tag":
			if f.model == "" {
				to = &f.model
			}
		case "served_model_name":
			to = &f.name
		case "revision":
			to = &f.revision
		case "max_log_len":
			if n, ok := pyrepr.Integer(value); ok {
				f.limit = n
			}
		}
		if to == nil {
			continue
		}
		if t := pyrepr.FirstText(value); t != "" && len(t) <= maxName {
			*to = t
		}
	}
}

// isSet tells whether a pair of this name says True.
func isSet(pairs []byte, name string) bool {
	for {
		key, value, rest, ok := pyrepr.NextPair(pairs)
		if !ok {
			return false
		}
		if string(key) == name {
			return string(value) == "True"
		}
		pairs = rest
	}
}

// describe fills api.server and model.* from what is remembered.
func (p *Parser) describe(d *parsers.Draft, s *server) {
	s.describe(d)
	p.setModel(d, s)
}

// describe fills api.server; of a nil server only its name is known.
func (s *server) describe(d *parsers.Draft) {
	d.Record.SetString(audit.APIServer, "vllm")
	if s != nil {
		d.Record.SetString(audit.APIServerVersion, s.facts.version)
	}
}

// setModel fills model.* of a model.* record. The banner is evidence for its
// own log only; without one the model is left to the catalog.
func (p *Parser) setModel(d *parsers.Draft, s *server) {
	r := &d.Record
	if !bytes.HasPrefix(r.Text(audit.Event), []byte("model.")) {
		return
	}
	d.SetProvider(p.provider)
	if s == nil || s.facts.model == "" && s.facts.name == "" {
		return
	}
	f := &s.facts
	name := f.name
	if name == "" {
		name = f.model // vLLM serves under the name it was given
	}
	if r.Has(audit.ModelName) && string(r.Text(audit.ModelName)) != name {
		return // the path names another one
	}
	r.SetString(audit.ModelName, name)
	if isHubName(f.model) {
		var buffer [128]byte
		r.SetText(audit.ModelID, append(append(buffer[:0], "hf:"...), f.model...))
	}
	if isCommit(f.revision) {
		r.SetString(audit.ModelRevision, f.revision)
	}
	r.SetString(audit.ModelBasis, "banner")
}

// isHubName accepts "mistralai/Mistral-Small", not "/models/x" or "./x/y".
func isHubName(name string) bool {
	slashes := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c == '/':
			slashes++
		case !pyrepr.IsNameByte(c) && c != '-' && c != '.':
			return false
		}
	}
	return slashes == 1 && name[0] != '/' && name[0] != '.' && name[len(name)-1] != '/'
}

// isCommit accepts 40 hex digits; a branch name is not an exact version.
func isCommit(revision string) bool {
	if len(revision) != 40 {
		return false
	}
	for i := range len(revision) {
		if c := revision[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
