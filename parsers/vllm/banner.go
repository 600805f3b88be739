package vllm

import (
	"bytes"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/pyrepr"
	"github.com/auditail/auditail/parsers/internal/served"
)

// banner remembers what a line of the start banner says. Other arguments than
// these are not looked at: one of them is the API key.
func (p *Parser) banner(dst []parsers.Draft, path string, when time.Time, message []byte) ([]parsers.Draft, bool) {
	if version, ok := cut(message, "vLLM API server version "); ok {
		if !served.IsVersion(version) {
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
		if ok && bytes.Contains(what, []byte("LLM engine")) {
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
	s.facts.model.Version = string(version)
	return dst
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
	if !served.IsVersion(version) && len(model) == 0 {
		return dst
	}
	dst, s := p.serverOf(dst, path)
	if served.IsVersion(version) {
		s.facts.model.Version = string(version)
	}
	if s.facts.model.Source == "" {
		served.Set(&s.facts.model.Source, string(model))
	}
	return dst
}

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
			to = &f.model.Source
		case "model_tag":
			if f.model.Source == "" {
				to = &f.model.Source
			}
		case "served_model_name":
			to = &f.model.Name
		case "revision":
			to = &f.model.Revision
		case "max_log_len":
			if n, ok := pyrepr.Integer(value); ok {
				f.limit = n
			}
		}
		if to != nil {
			served.Set(to, pyrepr.FirstText(value))
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
		d.Record.SetString(audit.APIServerVersion, s.facts.model.Version)
	}
}

// setModel fills model.* of a model.* record. Without a banner the model is left
// to the catalog.
func (p *Parser) setModel(d *parsers.Draft, s *server) {
	d.SetProvider(p.provider)
	if s != nil {
		s.facts.model.Fill(d)
	}
}
