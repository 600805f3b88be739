package nginx

import (
	"bytes"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/access"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// readCombined collects the facts of a line that begins as the combined format
// does.
func (p *Parser) readCombined(f *access.Combined) parsers.Outcome {
	c := &p.call
	if !c.SetTime(f.Time, nil) {
		return parsers.Outcome{Rule: "no valid time in brackets"}
	}
	if real, user, ok := realAddress(f.User); ok {
		c.Set(access.Client, real)
		f.User = user
		c.Drop(f.Host)
	}
	if c.Get(access.Client) == nil {
		c.Set(access.Client, f.Host)
	}
	c.Drop(f.VirtualHost)
	c.Drop(f.Ident)
	c.Set(access.User, p.plain.Text(f.User))
	c.Set(access.Request, p.plain.Text(f.Request))
	c.Set(access.Status, f.Status)
	c.Set(access.BodyBytes, f.Bytes)
	p.readTail(f.Rest)
	return parsers.Outcome{}
}

// realAddress splits "[203.0.113.9] - alice", which ingress-nginx before 0.30
// wrote in the place of the user, into the address and the user.
func realAddress(field []byte) (address, user []byte, ok bool) {
	if len(field) == 0 || field[0] != '[' {
		return nil, nil, false
	}
	at := bytes.Index(field, []byte("] - "))
	if at < 0 || at > 1 && string(field[1:at]) != "-" && !isAddressList(field[1:at]) {
		return nil, nil, false
	}
	return field[1:at], field[at+len("] - "):], true
}

// isAddressList accepts what X-Forwarded-For holds.
func isAddressList(b []byte) bool {
	for len(b) > 0 {
		element, rest, _ := bytes.Cut(b, []byte(","))
		if !parsers.IsAddress(bytes.TrimSpace(element)) {
			return false
		}
		b = rest
	}
	return true
}

// maxBare is how many fields without a name a tail may have to be understood.
const maxBare = 32

// tail is what follows the combined format's bytes.
type tail struct {
	quoted   int    // quoted fields so far
	only     []byte // the first of them
	brackets int    // bracketed fields so far
	bare     [maxBare][]byte
	bares    int
	before   int // how many of bare stand before the first bracket
}

// readTail reads the fields behind the combined format's bytes: quoted ones are
// referer, user agent and X-Forwarded-For in this order, labelled ones say what
// they are, and of those without a name only ingress-nginx's are known.
func (p *Parser) readTail(rest []byte) {
	c := &p.call
	var t tail
	p.labels.reset()
	for len(rest) > 0 {
		if rest[0] == ' ' {
			rest = rest[1:]
			continue
		}
		field, next := cutField(rest)
		switch rest[0] {
		case '"':
			p.takeQuoted(&t, p.plain.Text(field))
			rest = next
		case '[':
			if t.brackets++; t.brackets == 1 {
				t.before = t.bares
			}
			c.Drop(field)
			rest = next
		default:
			name, value, after, ok := cutPair(rest, '=', ' ')
			if ok {
				p.takeLabelled(name, p.plain.Text(value))
				rest = after
				continue
			}
			if t.bares < maxBare {
				t.bare[t.bares] = field
				t.bares++
			} else {
				c.Drop(field)
			}
			rest = next
		}
	}
	if t.quoted == 1 {
		p.takeOnly(t.only)
	}
	p.takeBare(&t)
}

// takeQuoted uses a quoted field by its place.
func (p *Parser) takeQuoted(t *tail, text []byte) {
	c := &p.call
	t.quoted++
	switch {
	case t.quoted == 1:
		t.only = text // whether it is the referer is known when there is a second
	case t.quoted == 2:
		c.Drop(t.only)
		c.Set(access.Agent, text)
	case t.quoted == 3 && isAddressList(text):
		c.Set(access.Forwarded, text)
	default:
		c.Drop(text)
	}
}

// takeOnly uses the only quoted field. Formats that leave out the referer have
// the user agent there; a referer is a URL, which begins with no product.
func (p *Parser) takeOnly(text []byte) {
	product, _, _ := bytes.Cut(text, []byte(" "))
	if at := bytes.IndexByte(product, '/'); at > 0 && at < len(product)-1 && bytes.IndexByte(product, ':') < 0 {
		p.call.Set(access.Agent, text)
		return
	}
	p.call.Drop(text)
}

// takeBare uses the fields without a name of ingress-nginx's format:
//
//	request_length request_time [upstream name] … addr length time status request_id
//
// Each of the four about upstreams is a list when several were tried.
func (p *Parser) takeBare(t *tail) {
	c := &p.call
	if t.brackets == 0 || t.before != 2 || t.bares < 6 || !isMillis(t.bare[1]) {
		for _, field := range t.bare[:t.bares] {
			c.Drop(field)
		}
		return
	}
	c.Set(access.RequestBytes, t.bare[0])
	c.Set(access.Seconds, t.bare[1])
	upstreams := t.bare[2:t.bares]
	tried := len(upstreams) / 4
	c.Set(access.Upstream, bytes.TrimSuffix(upstreams[tried-1], []byte(",")))
	if len(upstreams)%4 == 1 {
		c.Set(access.RequestID, upstreams[len(upstreams)-1])
		upstreams = upstreams[:len(upstreams)-1]
	}
	for _, field := range upstreams[tried:] {
		c.Drop(field)
	}
}

func isMillis(field []byte) bool {
	at := bytes.IndexByte(field, '.')
	return at > 0 && len(field)-at == len(".000")
}

// cutField takes a quoted, bracketed or bare field from the front.
func cutField(rest []byte) (field, next []byte) {
	closing := byte(' ')
	switch rest[0] {
	case '"':
		return cutQuote(rest)
	case '[':
		closing = ']'
		rest = rest[1:]
	}
	end := bytes.IndexByte(rest, closing)
	if end < 0 {
		return rest, nil
	}
	return rest[:end], rest[end+1:]
}

// cutQuote takes a field in quotes from the front, without them. next is nil
// when it does not end.
func cutQuote(rest []byte) (field, next []byte) {
	end := access.IndexQuote(rest, 1)
	if end < 0 {
		return rest[1:], nil // cut short by a crash of the writer or by max_line
	}
	return rest[1:end], rest[end+1:]
}

// cutPair takes `name=value` or `name="value"` from the front. equals stands
// between them, space behind.
func cutPair(rest []byte, equals, space byte) (name, value, next []byte, ok bool) {
	at := 0
	for at < len(rest) && (isNameByte(rest[at]) || at == 0 && rest[0] == '$') {
		at++
	}
	if at == 0 || at == len(rest) || rest[at] != equals {
		return nil, nil, rest, false
	}
	name, rest = rest[:at], rest[at+1:]
	if len(rest) > 0 && rest[0] == '"' {
		if value, next = cutQuote(rest); next == nil {
			value = nil // half a value is none
		}
		return name, value, next, true
	}
	end := bytes.IndexByte(rest, space)
	if end < 0 {
		return name, rest, nil, true
	}
	return name, rest[:end], rest[end+1:], true
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.' || c == '@'
}

// isLabelled tells whether a line begins with "name=" or "name:".
func isLabelled(line []byte, equals byte) bool {
	_, _, _, ok := cutPair(line, equals, ' ')
	return ok
}

// labels remembers under which name a label gave each variable its value.
type labels struct{ names [access.Variables][]byte }

func (l *labels) reset() { *l = labels{} }

// takeLabelled uses a labelled value. A name that stands twice says nothing: one
// of the two may have been written by a client, in a field that is not quoted.
func (p *Parser) takeLabelled(name, value []byte) {
	c := &p.call
	v := p.table.Find(name)
	if string(name) == "ua" && isHostPort(access.LastTried(value)) {
		v = access.Upstream // as in the format that nginx recommends for its Amplify
	}
	if before := p.labels.names[v]; v != access.None && before != nil {
		if bytes.Equal(before, name) {
			c.Unset(v)
			c.Duplicates = true
		}
		c.Drop(value)
		return
	}
	p.labels.names[v] = name
	if v == access.Time {
		if !c.SetTime(value, p.config.Zone()) {
			c.Drop(value)
		}
		return
	}
	c.Set(v, value)
}

func isHostPort(b []byte) bool {
	at := bytes.LastIndexByte(b, ':')
	return at > 0 && parsers.IsAddress(bytes.Trim(b[:at], "[]")) && len(b)-at > 1 && b[at+1] >= '0' && b[at+1] <= '9'
}

// readLabelled collects the facts of a line of labelled values alone.
func (p *Parser) readLabelled(rest []byte, equals, space byte, cut bool) parsers.Outcome {
	p.labels.reset()
	for len(rest) > 0 {
		if rest[0] == space {
			rest = rest[1:]
			continue
		}
		name, value, next, ok := cutPair(rest, equals, space)
		if !ok {
			value, next = cutField(rest)
			p.call.Drop(value)
			rest = next
			continue
		}
		if next == nil && cut {
			break // half a value
		}
		if equals == ':' && string(name) == "host" {
			name = []byte("remote_addr") // so LTSV calls it
		}
		if string(name) == "time_local" || string(name) == "time" {
			value, next = wholeTime(rest[len(name)+1:], value, next)
		}
		p.takeLabelled(name, p.plain.Text(value))
		rest = next
	}
	return p.check()
}

// wholeTime takes the zone, which stands behind a space, to a time of the common
// log format that was not quoted. from begins where value does.
func wholeTime(from, value, next []byte) (whole, rest []byte) {
	length := stamp.CLFLength
	if len(from) > 0 && from[0] == '[' {
		length += len("[]")
	}
	if len(from) < length || len(value) != bytes.IndexByte(from[:length], ' ') || len(value) < len("21/Nov/2026:09:06:34") {
		return value, next
	}
	return from[:length], bytes.TrimPrefix(from[length:], []byte(" "))
}
