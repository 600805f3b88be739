package llamacpp

import (
	"bytes"
	"strings"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/llamalog"
)

// maxName bounds what is remembered of a model.
const maxName = 1024

const reasonLoad = "load_failed"

// setTime fills the time of a record, if the line has one.
func (c *current) setTime(d *parsers.Draft) {
	if c.when != 0 {
		d.SetTime(time.Unix(c.when, 0).UTC(), true)
	}
}

// model reads the lines that tell of a model being loaded or unloaded.
func (p *Parser) model(dst []parsers.Draft, c *current, l *llamalog.Line) (out []parsers.Draft, outcome parsers.Outcome, ok bool) {
	m := l.Message
	if rest, ok := bytes.CutPrefix(m, []byte("loading model '")); ok {
		if at := bytes.LastIndexByte(rest, '\''); at > 0 {
			dst, outcome = p.loads(dst, c, rest[:at])
			return dst, outcome, true
		}
	}
	if bytes.HasPrefix(m, []byte("failed to load model")) {
		dst, s := p.serverOf(dst, c.server)
		if _, file, ok := bytes.Cut(m, []byte("'")); ok {
			s.learnFile(bytes.TrimSuffix(file, []byte("'")))
		}
		return p.loadedNow(dst, c, s, outcomeFailed, reasonLoad), recorded(), true
	}
	switch string(m) {
	case "model loaded":
		dst, s := p.serverOf(dst, c.server)
		return p.loadedNow(dst, c, s, outcomeSuccess, ""), recorded(), true
	case "server is exiting sleeping state":
		return p.moved(dst, c, "model.load", nil), recorded(), true
	case "server is entering sleeping state":
		return p.moved(dst, c, "model.unload", nil), recorded(), true
	}
	if name, ok := bytes.CutPrefix(m, []byte("stopping model instance name=")); ok && len(name) > 0 && len(name) <= maxName {
		return p.moved(dst, c, "model.unload", name), recorded(), true
	}
	if s := p.find(c.server); s != nil && s.facts.file != "" && s.facts.alias == "" && bytes.HasSuffix(m, []byte("cleaning up before exit...")) {
		return p.moved(dst, c, "model.unload", nil), recorded(), true
	}
	return dst, outcome, false
}

// loads holds the line that names the file until the line that says it is loaded.
func (p *Parser) loads(dst []parsers.Draft, c *current, file []byte) ([]parsers.Draft, parsers.Outcome) {
	dst, s := p.serverOf(dst, c.server)
	if s.load != nil {
		dst = p.loaded(dst, s, outcomeUnknown, parsers.ReasonOutcomeNotLogged)
	}
	s.facts.version = ""
	s.learnFile(file)
	s.load = &load{held: []parsers.Ref{c.line.Ref()}, seen: c.line.Seen}
	return dst, held()
}

func (s *server) learnFile(file []byte) {
	if len(file) <= maxName && len(file) > 0 {
		s.facts.file = string(file)
	}
}

// loaded records what became of the model that a server was loading.
func (p *Parser) loaded(dst []parsers.Draft, s *server, outcome, reason string) []parsers.Draft {
	dst, d := parsers.Next(dst)
	r := &d.Record
	d.SetActor(nil)
	if s.load != nil {
		d.Held = append(d.Held, s.load.held...)
		s.load = nil
	}
	r.SetString(audit.Event, "model.load")
	r.SetString(audit.Outcome, outcome)
	r.SetString(audit.Reason, reason)
	p.describe(d, s)
	return dst
}

// loadedNow is loaded with the time of the line in hand.
func (p *Parser) loadedNow(dst []parsers.Draft, c *current, s *server, outcome, reason string) []parsers.Draft {
	dst = p.loaded(dst, s, outcome, reason)
	c.setTime(&dst[len(dst)-1])
	return dst
}

// moved records that a model came into memory or left it, by one line.
func (p *Parser) moved(dst []parsers.Draft, c *current, event string, name []byte) []parsers.Draft {
	dst, d := p.next(dst, c)
	r := &d.Record
	r.SetString(audit.Event, event)
	r.SetString(audit.Outcome, outcomeSuccess)
	r.SetText(audit.ModelName, name)
	if len(name) > 0 {
		r.SetString(audit.APIServer, serverSoftware)
		d.SetProvider(p.provider)
		return dst
	}
	p.describe(d, p.find(c.server))
	return dst
}

// loader learns from the library's lines: the file it reads and what the file says
// of itself.
//
//	llama_model_loader: loaded meta data with 28 key-value pairs and 21 tensors from models/x.gguf (version GGUF V3 (latest))
//	llama_model_loader: - kv  13:                            general.version str              = v0.2
func (p *Parser) loader(dst []parsers.Draft, c *current, l *llamalog.Line) []parsers.Draft {
	if string(l.Function) != "llama_model_loader" {
		return dst
	}
	if bytes.HasPrefix(l.Message, []byte("loaded meta data with ")) {
		_, file, ok := bytes.Cut(l.Message, []byte(" tensors from "))
		at := bytes.LastIndex(file, []byte(" (version "))
		if !ok || at <= 0 {
			return dst
		}
		dst, s := p.serverOf(dst, c.server)
		if s.facts.file == "" {
			s.learnFile(file[:at])
		}
		return dst
	}
	if _, value, ok := bytes.Cut(l.Message, []byte(" general.version str")); ok && bytes.HasPrefix(l.Message, []byte("- kv ")) {
		value = bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimLeft(value, " "), []byte("=")))
		if len(value) > 0 && len(value) <= maxName {
			var s *server
			dst, s = p.serverOf(dst, c.server)
			s.facts.version = string(value)
		}
	}
	return dst
}

const serverSoftware = "llama.cpp"

// describe fills api.server and model.* from what is remembered. One server runs one
// model, and answers with it whatever model a call names.
func (p *Parser) describe(d *parsers.Draft, s *server) {
	r := &d.Record
	r.SetString(audit.APIServer, serverSoftware)
	if s != nil {
		r.SetString(audit.APIServerVersion, s.version)
	}
	if !bytes.HasPrefix(r.Text(audit.Event), []byte("model.")) {
		return
	}
	d.SetProvider(p.provider)
	if s == nil || s.facts.file == "" && s.facts.alias == "" || r.Has(audit.ModelName) {
		return
	}
	r.SetString(audit.ModelName, s.facts.file)
	if s.facts.alias != "" {
		r.SetString(audit.ModelName, s.facts.alias)
	}
	repository, commit := hubOf(s.facts.file)
	if repository != "" {
		var buffer [128]byte
		id := append(buffer[:0], "hf:"...)
		id = append(id, repository...)
		r.SetText(audit.ModelID, bytes.Replace(id, []byte("--"), []byte("/"), 1))
		r.SetString(audit.ModelRevision, commit)
	}
	r.SetString(audit.ModelVersion, s.facts.version)
	r.SetString(audit.ModelBasis, "banner")
}

// hubOf reads organisation, name and commit out of a file in the cache of the Hugging
// Face hub, ".../models--ggml-org--gemma-3-1b-it-GGUF/snapshots/COMMIT/x.gguf".
func hubOf(file string) (repository, commit string) {
	_, rest, ok := strings.Cut(file, "/models--")
	if !ok {
		return "", ""
	}
	repository, rest, ok = strings.Cut(rest, "/snapshots/")
	if !ok || len(rest) < 41 || rest[40] != '/' || len(repository) < 4 {
		return "", ""
	}
	commit = rest[:40]
	for i := range len(commit) {
		if c := commit[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return "", ""
		}
	}
	for i := range len(repository) {
		switch c := repository[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return "", ""
		}
	}
	return repository, commit
}
