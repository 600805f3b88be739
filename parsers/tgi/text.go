package tgi

import (
	"bytes"

	"github.com/auditail/auditail/parsers/internal/pyrepr"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// split takes a line of the text format apart:
//
//	TIME  INFO span{field=value …}:span: target: file.rs:622: message
//	TIME  INFO span: target: message field=value           the launcher
//
// It reports false for a line that does not begin with a time in UTC and a level.
func (p *Parser) split(line []byte) (e event, ok bool) {
	when, n, ok := stamp.Read(line, p.zone)
	if !ok || !when.Zoned() {
		return e, false
	}
	rest := bytes.TrimLeft(line[n:], " ")
	level, rest, ok := bytes.Cut(rest, []byte(" "))
	if !ok || !isLevel(level) {
		return e, false
	}
	e.when, e.level, e.first = when, level, true
	if e.success(rest) || e.launcher(rest) {
		return e, true
	}
	e.other(rest)
	return e, true
}

func isLevel(b []byte) bool {
	switch string(b) {
	case "TRACE", "DEBUG", "INFO", "WARN", "ERROR":
		return true
	default:
		return false
	}
}

// success reads "…: target: file.rs:622: Success". It is read from its end, where
// nothing stands that a caller chose.
func (e *event) success(rest []byte) bool {
	head, ok := bytes.CutSuffix(rest, []byte(": Success"))
	if !ok {
		return false
	}
	head, last := cutLast(head)
	if isPlace(last) {
		head, last = cutLast(head)
	}
	if !isRouter(last) {
		return false
	}
	e.router, e.message = true, rest[len(rest)-len("Success"):]
	e.setServer(last)
	e.request = e.call.readSpans(head)
	return true
}

// cutLast splits at the last ": ".
func cutLast(b []byte) (head, last []byte) {
	at := bytes.LastIndex(b, []byte(": "))
	if at < 0 {
		return nil, b
	}
	return b[:at], b[at+2:]
}

// isRouter accepts "text_generation_router", "text_generation_router_v3::backend",
// "text_embeddings_router::http::server".
func isRouter(target []byte) bool {
	rest, ok := cutAny(target, "text_generation_router", "text_embeddings_router", "text_embeddings_core", "text_generation_client")
	if !ok {
		return false
	}
	for _, c := range rest {
		if !pyrepr.IsNameByte(c) && c != ':' {
			return false
		}
	}
	return true
}

// setServer notes which of the two servers a line is of.
func (e *event) setServer(target []byte) {
	if bytes.HasPrefix(target, []byte("text_embeddings_")) {
		e.call.server = "tei"
	}
}

func cutAny(b []byte, prefixes ...string) ([]byte, bool) {
	for _, prefix := range prefixes {
		if rest, ok := bytes.CutPrefix(b, []byte(prefix)); ok {
			return rest, true
		}
	}
	return b, false
}

// isPlace accepts "router/src/server.rs:622".
func isPlace(b []byte) bool {
	file, number, ok := bytes.Cut(b, []byte(".rs:"))
	return ok && len(number) > 0 && pyrepr.DigitRun(number) == len(number) && bytes.IndexByte(file, ' ') < 0
}

// launcher reads "shard-manager: text_generation_launcher: Shard ready in 16.1s rank=0".
func (e *event) launcher(rest []byte) bool {
	for _, span := range [...]string{"", "shard-manager: ", "download: "} {
		message, ok := bytes.CutPrefix(rest, []byte(span+"text_generation_launcher: "))
		if !ok {
			continue
		}
		e.message = message
		if span == "shard-manager: " {
			if at := bytes.LastIndex(message, []byte(" rank=")); at >= 0 {
				e.message, e.first = message[:at], string(message[at+len(" rank="):]) == "0"
			}
		}
		return true
	}
	return false
}

// other reads everything else: the router's lines without a request, and those of
// requests that did not succeed.
func (e *event) other(rest []byte) {
	at := -1
	for _, target := range [...]string{"text_generation_router", "text_embeddings_router", "text_embeddings_core"} {
		if bytes.HasPrefix(rest, []byte(target)) {
			at = 0
		} else if i := bytes.Index(rest, []byte(": "+target)); i >= 0 && at < 0 {
			at = i + len(": ")
		}
	}
	if at < 0 {
		e.message = rest
		return
	}
	target, message, ok := bytes.Cut(rest[at:], []byte(": "))
	if !ok || !isRouter(target) {
		e.message = rest
		return
	}
	e.router = true
	e.setServer(target)
	if place, after, ok := bytes.Cut(message, []byte(": ")); ok && isPlace(place) {
		message = after
	}
	e.message = message
	if at > 0 {
		e.request = e.call.readSpans(rest[:at-len(": ")])
	}
}
