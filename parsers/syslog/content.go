package syslog

import (
	"bytes"

	"github.com/auditail/auditail/parsers/internal/rawjson"
)

// elements takes the parameters of structured data (RFC 5424, section 6.3) that
// split accepted: of [origin@32473 ip="10.0.0.1"] it is sd.origin@32473.ip.
func (p *Parser) elements(data []byte) {
	for len(data) > 0 {
		length := elementLength(data)
		element := data[1 : length-1]
		data = data[length:]
		id, params, _ := bytes.Cut(element, []byte(" "))
		for {
			name, rest, found := bytes.Cut(params, []byte(`="`))
			if !found {
				break
			}
			end := indexQuote(rest)
			if end < 0 {
				break
			}
			p.name = append(append(append(p.name[:0], "sd."...), id...), '.')
			p.name = append(p.name, bytes.TrimLeft(name, " ")...)
			p.fields.Take(p.fields.Key(p.name), p.unescape(rest[:end]))
			params = rest[end+1:]
		}
	}
}

// indexQuote returns where the quote stands that no backslash escapes, or -1.
func indexQuote(b []byte) int {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// unescape undoes the escapes of a value, which are those of '"', '\' and ']'. A
// backslash before anything else stands for itself (section 6.3.3).
func (p *Parser) unescape(value []byte) []byte {
	if bytes.IndexByte(value, '\\') < 0 {
		return value
	}
	at := len(p.text)
	for i := 0; i < len(value); i++ {
		if value[i] == '\\' && i+1 < len(value) && (value[i+1] == '"' || value[i+1] == '\\' || value[i+1] == ']') {
			i++
		}
		p.text = append(p.text, value[i])
	}
	return p.text[at:len(p.text):len(p.text)]
}

// members takes the scalars of a message that is JSON, perhaps with the cookie of
// the Common Event Expression in front. A message that merely begins like JSON has
// no members.
func (p *Parser) members(message []byte) {
	message = bytes.TrimLeft(bytes.TrimPrefix(message, []byte("@cee:")), " ")
	value, rest, ok := rawjson.Cut(message)
	if !ok || value.Kind != rawjson.Object || len(bytes.TrimSpace(rest)) > 0 || !whole(value.Raw, 0) {
		return
	}
	p.name = append(p.name[:0], "message"...)
	p.object(value.Raw)
}

// maxDepth bounds how deep members are looked for.
const maxDepth = 16

// whole tells whether an object, to the depth that is looked at, is right.
func whole(raw []byte, depth int) bool {
	w, ok := rawjson.Into(raw)
	for ok && w.Next() {
		if w.Value.Kind == rawjson.Object && depth < maxDepth {
			ok = whole(w.Value.Raw, depth+1)
		}
	}
	return ok && w.Done()
}

// object takes the scalars of an object whose name stands in p.name.
func (p *Parser) object(raw []byte) {
	depth := bytes.Count(p.name, []byte("."))
	prefix := len(p.name)
	w, ok := rawjson.Into(raw)
	for ok && w.Next() {
		p.name = rawjson.AppendUnescaped(append(p.name[:prefix], '.'), w.Key)
		switch w.Value.Kind {
		case rawjson.Object:
			if depth < maxDepth {
				p.object(w.Value.Raw)
			}
		case rawjson.String:
			at := len(p.text)
			p.text = w.Value.AppendText(p.text)
			p.fields.Take(p.fields.Key(p.name), p.text[at:len(p.text):len(p.text)])
		case rawjson.Number, rawjson.Bool:
			p.fields.Take(p.fields.Key(p.name), w.Value.Raw)
		default: // null is unknown, lists have no home
		}
	}
	p.name = p.name[:prefix]
}
