package lmstudio

import (
	"bytes"
	"strings"
	"time"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/rawjson"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// entry is one entry of the log, in parts:
//
//	[2026-09-10 00:35:38][INFO][qwen3.8-27b] Running chat completion on conversation with 1 messages.
//	[2024-04-05 15:13:29.672] [INFO] [LM STUDIO SERVER] Accumulating tokens ... (stream = false)
//	2025-11-18 14:26:51 [DEBUG]
//	 Received request: POST to /v1/chat/completions with body  {
type entry struct {
	when    time.Time // zero: the entry has none, or only a time of day
	zoned   bool
	level   string
	sender  []byte // the first tag, "LM STUDIO SERVER"; nil: none
	model   []byte // the tag that names a model; nil: none
	message []byte
}

const maxTag = 256

// levels are those that LM Studio writes.
var levels = [...]string{"INFO", "DEBUG", "WARN", "ERROR"}

// split takes an entry apart. An entry out of the stream may have no time.
func (p *Parser) split(b []byte) (e entry, ok bool) {
	rest := b
	bracket := bytes.HasPrefix(rest, []byte("["))
	if bracket {
		rest = rest[1:]
	}
	if when, n, ok := stamp.ReadLocal(rest, p.zone); ok {
		e.when, rest = when, rest[n:]
	} else if n := clock(rest); bracket && n > 0 {
		rest = rest[n:]
	} else {
		return e, false
	}
	if bracket {
		if len(rest) == 0 || rest[0] != ']' {
			return e, false
		}
		rest = rest[1:]
	}
	return e, e.cutLevel(rest)
}

// clock returns the length of a time of day at the start of b, or 0.
func clock(b []byte) int {
	const n = len("15:04:05")
	if len(b) < n || b[2] != ':' || b[5] != ':' {
		return 0
	}
	hour, ok1 := parsers.TwoDigits(b)
	minute, ok2 := parsers.TwoDigits(b[3:])
	second, ok3 := parsers.TwoDigits(b[6:])
	if !ok1 || !ok2 || !ok3 || !parsers.ValidClock(hour, minute, second) {
		return 0
	}
	return n
}

// cutLevel reads level, tags and message.
func (e *entry) cutLevel(rest []byte) bool {
	level, rest, ok := cutBracket(bytes.TrimLeft(rest, " "))
	if !ok {
		return false
	}
	for _, known := range levels {
		if strings.EqualFold(known, string(level)) {
			e.level = known
		}
	}
	if e.level == "" {
		return false
	}
	e.message = bytes.TrimSpace(rest)
	for {
		tag, rest, ok := cutBracket(e.message)
		if !ok || string(tag) == "Server Error" {
			return true
		}
		if e.sender == nil {
			e.sender = tag
		}
		if isModelTag(tag) {
			e.model = tag
		}
		e.message = bytes.TrimSpace(rest)
	}
}

// cutBracket cuts "[…]" off.
func cutBracket(b []byte) (inside, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '[' {
		return nil, b, false
	}
	end := bytes.IndexByte(b[:min(len(b), maxTag)], ']')
	if end < 2 || bytes.IndexByte(b[:end], '\n') >= 0 {
		return nil, b, false
	}
	return b[1:end], b[end+1:], true
}

// isModelTag tells the name of a model from what else LM Studio puts into brackets.
func isModelTag(tag []byte) bool {
	switch string(tag) {
	case "LM STUDIO SERVER", "LMSAuthenticator", "LMSInternal", "INFO", "DEBUG", "WARN", "ERROR":
		return false
	default:
		return !isClientTag(tag)
	}
}

func isClientTag(tag []byte) bool {
	return bytes.HasPrefix(tag, []byte("Client=")) || bytes.HasPrefix(tag, []byte("Endpoint=")) || string(tag) == "LMSAuthenticator"
}

// stream reads a line of `lms log stream --json`:
//
//	{"timestamp":1777939641468,"data":{"type":"server.log","level":"info","content":"[2026-08-08 22:40:16][INFO]…"}}
//
// What is in it is an entry of the server's log, or what goes into a model and comes
// out of it.
func (p *Parser) stream(dst []parsers.Draft, line *parsers.Line) ([]parsers.Draft, parsers.Outcome) {
	w, ok := rawjson.Into(line.Data)
	if !ok {
		return dst, unparsed("not JSON")
	}
	var timestamp, data rawjson.Value
	for w.Next() {
		switch string(w.Key) {
		case "timestamp":
			timestamp = w.Value
		case "data":
			data = w.Value
		}
	}
	if !w.Done() || len(bytes.TrimSpace(w.Rest())) > 0 {
		return dst, unparsed("not one object of JSON")
	}
	if data.Kind != rawjson.Object {
		data = rawjson.Value{Kind: rawjson.Object, Raw: bytes.TrimSpace(line.Data)} // it may stand there by itself
	}
	var kind, content, model rawjson.Value
	for w, _ := rawjson.Into(data.Raw); w.Next(); {
		switch string(w.Key) {
		case "type":
			kind = w.Value
		case "content":
			content = w.Value
		case "modelIdentifier":
			model = w.Value
		}
	}
	var e entry
	if ms, ok := timestamp.Int(); ok && ms > 0 && ms < maxMillis {
		e.when, e.zoned = time.UnixMilli(ms).UTC(), true
	}
	switch {
	case kind.Is("runtime.log"):
		return dst, ignored(ruleEngine)
	case kind.Is("server.log") && content.Kind == rawjson.String:
		p.text = content.AppendText(p.text[:0])
		inner, ok := p.split(p.text)
		if !ok && !inner.cutLevel(p.text) {
			return dst, unparsed("no entry in the server's line")
		}
		if e.zoned {
			inner.when, inner.zoned = e.when, true
		}
		return p.read(dst, line, &inner)
	case kind.Is("llm.prediction.input") && model.Kind == rawjson.String:
		e.model = model.AppendText(nil)
		return p.predict(dst, line, &e, data.Raw)
	case kind.Is("llm.prediction.output") && model.Kind == rawjson.String:
		e.model = model.AppendText(nil)
		return p.answered(dst, line, &e, data.Raw, false)
	default:
		return dst, unparsed("no kind of line that LM Studio streams")
	}
}

// maxMillis is the year 2255, in milliseconds: state.Encoder takes times before 2262.
const maxMillis = 9_000_000_000_000
