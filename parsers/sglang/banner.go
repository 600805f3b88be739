package sglang

import (
	"bytes"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/pyrepr"
	"github.com/auditail/auditail/parsers/internal/served"
)

// Rules under which lines are ignored, besides those of access lines in package
// parsers and those of what uvicorn says of itself.
const (
	ruleBanner     = "start_banner"  // what it says is remembered for the records to come
	ruleStartup    = "startup"       // what a server says of itself while it starts
	ruleStatistics = "engine_stats"  // periodic figures
	ruleRequests   = "request_stats" // figures about a request that has lines of its own
	ruleProgress   = "progress"      // progress bars
	ruleServer     = "server_ready"  // the server is up, or goes
	ruleEmpty      = "empty"         // nothing on the line
)

// banner reads what the server says of itself and its model.
func (p *Parser) banner(dst []parsers.Draft, line *parsers.Line, h *header, message []byte) ([]parsers.Draft, parsers.Outcome, bool) {
	if rest, ok := cut(message, "server_args=ServerArgs("); ok {
		dst = p.restart(dst, line.Path)
		s := p.store.serverOf(line.Path)
		s.model = served.Model{}
		learn(&s.model, rest)
		return dst, ignored(ruleBanner), true
	}
	if rest, ok := cut(message, "Found local HF snapshot for "); ok {
		p.snapshotPath(line.Path, rest)
		return dst, ignored(ruleStartup), true
	}
	if rest, ok := cut(message, "Load weight end. "); ok {
		if !h.first {
			return dst, ignored(ruleStartup), true // another part of the same model
		}
		return p.loaded(dst, line, h, elapsed(rest), ""), recorded(), true
	}
	if rest, ok := cut(message, "LoRA adapter loading completes: LoRARef("); ok {
		if !h.first {
			return dst, ignored(ruleStartup), true
		}
		return p.loaded(dst, line, h, -1, argument(rest, "lora_name")), recorded(), true
	}
	if _, ok := cut(message, "Update weights end."); ok {
		p.replaced(line.Path)
		if !h.first {
			return dst, ignored(ruleStartup), true
		}
		return p.loaded(dst, line, h, -1, ""), recorded(), true
	}
	return dst, parsers.Outcome{}, false
}

// replaced forgets which weights the banner named: a running server got others,
// which it goes on serving under the same name.
func (p *Parser) replaced(path string) {
	s := p.store.find(path)
	if s == nil {
		return
	}
	if s.model.Name == "" {
		s.model.Name = s.model.Source
	}
	s.model.Source, s.model.Revision = "", ""
}

// learn reads "model_path='…', …" of the banner. Other arguments than these are not
// looked at: one of them is the API key.
func learn(m *served.Model, b []byte) {
	for {
		name, value, rest, ok := pyrepr.NextPair(b)
		if !ok {
			return
		}
		switch string(name) {
		case "model_path":
			served.Set(&m.Source, pyrepr.FirstText(value))
		case "served_model_name":
			served.Set(&m.Name, pyrepr.FirstText(value))
		case "revision":
			served.Set(&m.Revision, pyrepr.FirstText(value))
		}
		b = rest
	}
}

// argument returns the text of an argument.
func argument(b []byte, wanted string) string {
	for {
		name, value, rest, ok := pyrepr.NextPair(b)
		if !ok {
			return ""
		}
		if string(name) == wanted {
			return pyrepr.FirstText(value)
		}
		b = rest
	}
}

// snapshotPath reads "NAME at …/snapshots/COMMIT; skipping download.": which commit
// of the hub the weights are from.
func (p *Parser) snapshotPath(path string, b []byte) {
	name, rest, ok := bytes.Cut(b, []byte(" at "))
	s := p.store.find(path)
	if !ok || s == nil || s.model.Source != string(name) {
		return
	}
	_, commit, ok := bytes.Cut(rest, []byte("/snapshots/"))
	if !ok {
		return
	}
	commit, _, _ = bytes.Cut(commit, []byte(";"))
	if revision := string(bytes.TrimRight(commit, "/.")); served.IsCommit(revision) {
		s.model.Revision = revision
	}
}

// elapsed reads "elapsed=5.32 s, …" as milliseconds; negative: it is not said.
func elapsed(b []byte) int64 {
	rest, ok := cut(b, "elapsed=")
	if !ok {
		return -1
	}
	figure, _, ok := bytes.Cut(rest, []byte(" s"))
	f := report{duration: -1}
	if ok {
		f.setLatency(figure)
	}
	return f.duration
}
