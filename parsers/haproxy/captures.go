package haproxy

import (
	"bytes"
	"strings"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/access"
)

// readCaptures reads "{a|b} {c}" up to the request: captured headers of the
// request and of the response, of which either may be missing. It reports
// whether a quote follows.
func (p *Parser) readCaptures(f *fields) bool {
	var groups [2][]byte
	count := 0
	f.rest = bytes.TrimLeft(f.rest, " ")
	for count < len(groups) && len(f.rest) > 0 && f.rest[0] == '{' {
		end := bytes.IndexByte(f.rest, '}') // HAProxy escapes it inside
		if end < 0 {
			return false
		}
		groups[count] = f.rest[1:end]
		count++
		f.rest = bytes.TrimLeft(f.rest[end+1:], " ")
	}
	if count > 0 {
		p.takeCaptures(groups[0], count == 1)
	}
	if count > 1 {
		p.call.Drop(groups[1])
	}
	return len(f.rest) > 0 && f.rest[0] == '"'
}

// takeCaptures finds the user agent among captured headers of the request,
// which have no names, by its shape. If the line has only one group it may be
// the response's, whose Server header has the same shape; known ones are left out.
func (p *Parser) takeCaptures(group []byte, only bool) {
	c := &p.call
	for len(group) > 0 {
		var value []byte
		value, group, _ = bytes.Cut(group, []byte("|"))
		switch {
		case len(value) == 0:
		case parsers.IsRawKey(value):
			if tellsKeys(value) {
				c.Set(access.Key, value)
			} else {
				c.Drop(value)
			}
		case isUserAgent(value) && (!only || !isServer(value)):
			c.Set(access.Agent, p.decode(value))
		default:
			c.Drop(value)
		}
	}
}

// minCredentials is how much of a key has to be there for its fingerprint: a
// capture is cut at the length that the configuration gives it, and beginnings
// are alike.
const minCredentials = 24

// tellsKeys reports whether captured credentials are long enough to tell one key
// from another. Those of a JSON web token are not: all begin with the same header.
func tellsKeys(value []byte) bool {
	credentials := value[bytes.IndexByte(value, ' ')+1:]
	return len(credentials) >= minCredentials && !bytes.HasPrefix(credentials, []byte("eyJ"))
}

// isUserAgent recognises "name/1.2" at the start, or "OpenAI/Python 1.55".
func isUserAgent(value []byte) bool {
	product, rest, _ := bytes.Cut(value, []byte(" "))
	name, version, ok := bytes.Cut(product, []byte("/"))
	if !ok || len(name) == 0 || len(version) == 0 || bytes.ContainsAny(product, ":,;=@") || bytes.EqualFold(name, []byte("http")) {
		return false
	}
	digit := func(b []byte) bool { return len(b) > 0 && b[0] >= '0' && b[0] <= '9' }
	return digit(version) || bytes.IndexByte(version, '/') < 0 && digit(rest)
}

// isServer recognises the Server header of programs that answer requests.
func isServer(value []byte) bool {
	name, _, _ := bytes.Cut(value, []byte("/"))
	var lower [16]byte
	if len(name) > len(lower) {
		return false
	}
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		lower[i] = c
	}
	switch string(lower[:len(name)]) {
	case "nginx", "openresty", "apache", "caddy", "envoy", "istio-envoy", "haproxy", "traefik", "kong", "uvicorn", "gunicorn", "hypercorn",
		"granian", "daphne", "waitress", "werkzeug", "tornadoserver", "basehttp", "simplehttp", "cheroot", "wsgiserver", "kestrel",
		"microsoft-iis", "jetty", "llama.cpp", "ollama", "tritonserver", "torchserve", "ray", "litespeed", "lighttpd", "cloudflare":
		return true
	default:
		return false
	}
}

// decode undoes HAProxy's escapes: "#22" is a quote. Without one the text is
// returned as it is.
func (p *Parser) decode(text []byte) []byte {
	if bytes.IndexByte(text, '#') < 0 {
		return text
	}
	at := len(p.plain)
	for i := 0; i < len(text); i++ {
		if text[i] == '#' && i+2 < len(text) {
			if value, ok := parsers.Hex(text[i+1:], 2); ok {
				p.plain = append(p.plain, byte(value))
				i += 2
				continue
			}
		}
		p.plain = append(p.plain, text[i])
	}
	return p.plain[at:len(p.plain):len(p.plain)]
}

// isUniqueID recognises the unique id of HAProxy's documentation
// ("7F000001:8364_7F000001:4836_6B01C99E_001D:6C68") and a UUID.
func isUniqueID(id []byte) bool {
	if len(id) == 36 && id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-' {
		return isHex(id, "-")
	}
	return bytes.Count(id, []byte("_")) == 3 && bytes.Count(id, []byte(":")) == 3 && isHex(id, "_:")
}

func isHex(id []byte, separators string) bool {
	for _, c := range id {
		if _, ok := parsers.HexDigit(c); !ok && strings.IndexByte(separators, c) < 0 {
			return false
		}
	}
	return true
}
