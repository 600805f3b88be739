package ollama

import (
	"bytes"
	"unicode/utf8"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// entry is one line of the server's own log.
type entry struct {
	level      []byte
	message    []byte
	attributes []byte
	time       []byte // RFC 3339
	zoned      bool
}

// entry reads a line of Go's slog package:
//
//	time=2026-11-21T09:30:57.905Z level=INFO source=llama_server.go:1048 msg="loading model via llama-server" model=/usr/…
func (p *Parser) entry(dst []parsers.Draft, line *parsers.Line) ([]parsers.Draft, parsers.Outcome) {
	var e entry
	rest := line.Data
	for {
		key, value, tail, ok := p.nextPair(rest)
		if !ok {
			return dst, unparsed("no msg in a line of the server's log")
		}
		rest = tail
		switch string(key) {
		case "time":
			e.time, e.zoned, ok = stamp.AppendRFC3339(p.stamp[:0], value)
			if !ok || !e.zoned {
				return dst, unparsed("no valid time")
			}
		case "level":
			e.level = value
		case "source":
		case "msg":
			e.message, e.attributes = value, rest
			if e.time == nil {
				return dst, unparsed("no valid time")
			}
			return p.read(dst, line, &e)
		default:
			return dst, unparsed("not the order of a line of the server's log")
		}
	}
}

// read judges a line of the server's log.
func (p *Parser) read(dst []parsers.Draft, line *parsers.Line, e *entry) ([]parsers.Draft, parsers.Outcome) {
	switch string(e.message) {
	case "starting llama-server", "starting llama server", "starting runner":
		return p.loadStarts(dst, line, e)
	case "template selection":
		return p.loadNamed(dst, line, e)
	case "loaded runners":
		return p.loadDone(dst, line, e)
	case "Load failed", "NewLlamaServer failed", "error loading llama server", "failed to load model metadata", "failed to create server":
		return p.loadFailed(dst, line, e)
	case "runner released", "shutting down runner", "runner terminated and removed from list, blocking for VRAM recovery":
		return p.unloaded(dst, line, e)
	case "server config":
		return dst, ignored(ruleBanner)
	case "chat request", "generate request", "completion request", "chat handler", "embedding request":
		return p.prompt(dst, line, e)
	}
	if version, ok := versionOf(e.message); ok {
		return p.starts(dst, line, version), ignored(ruleBanner)
	}
	if seconds, ok := startedIn(e.message); ok {
		return p.loadStarted(dst, line, e, seconds)
	}
	switch string(e.level) {
	case "INFO", "DEBUG", "TRACE", "DEBUG-4":
		if rule, ok := p.quiet.rule(e.message); ok {
			return dst, ignored(rule)
		}
		if bytes.HasPrefix(e.message, []byte("aborting ")) {
			return dst, unparsed("a call was aborted, and the line does not say which")
		}
	}
	return dst, unparsed("a message that no rule knows")
}

// versionOf reads "Listening on 127.0.0.1:11434 (version 0.3.5)".
func versionOf(message []byte) (version []byte, ok bool) {
	if !bytes.HasPrefix(message, []byte("Listening on ")) {
		return nil, false
	}
	_, version, _ = bytes.Cut(message, []byte(" (version "))
	version, _ = bytes.CutSuffix(version, []byte(")"))
	return version, isVersion(version)
}

// isVersion accepts "0.3.5", "0.5.8-rc7", "0.0.0".
func isVersion(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '.' && c != '-' && c != '+' && c != '_' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 64
}

// attribute returns the value of an attribute, or nil.
func (p *Parser) attribute(e *entry, name string) []byte {
	for rest := e.attributes; ; {
		key, value, tail, ok := p.nextPair(rest)
		if !ok {
			return nil
		}
		if string(key) == name {
			return value
		}
		rest = tail
	}
}

// prompt records the prompt that a server prints when it debugs. The line names
// neither the caller nor the call, so the access line of it is another record.
func (p *Parser) prompt(dst []parsers.Draft, line *parsers.Line, e *entry) ([]parsers.Draft, parsers.Outcome) {
	if string(e.message) == "completion request" && string(e.level) == "DEBUG" {
		return dst, ignored(ruleRunner) // it has the length only
	}
	text := p.attribute(e, "prompt")
	if text == nil {
		text = p.attribute(e, "input")
	}
	if text == nil {
		return dst, unparsed("no prompt where there should be one")
	}
	dst, d := parsers.Next(dst)
	r := &d.Record
	p.setTime(d, e)
	r.SetString(audit.Event, "model.inference")
	switch e.message[0] {
	case 'e':
		r.SetString(audit.APIOperation, "embeddings")
	default:
		r.SetString(audit.APIOperation, "text_completion")
		if bytes.HasPrefix(e.message, []byte("chat ")) {
			r.SetString(audit.APIOperation, "chat")
		}
	}
	r.SetString(audit.Outcome, "unknown")
	r.SetString(audit.Reason, parsers.ReasonOutcomeNotLogged)
	d.SetActor(nil)
	p.describe(d, p.find(line.Path))
	d.Input.Text = append(d.Input.Text, text...)
	d.Input.Parts = 1
	if line.Cut {
		d.Input.Truncated = true
		r.Flag(audit.Truncated)
	}
	if !utf8.Valid(text) {
		r.Flag(audit.InvalidUTF8)
	}
	return dst, recorded()
}

func (p *Parser) setTime(d *parsers.Draft, e *entry) {
	d.Record.SetText(audit.Time, e.time)
	d.SetTimeBasis(e.zoned)
}
