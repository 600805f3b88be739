package access

import (
	"bytes"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// Combined are the parts of a line in the combined or common log format. They
// point into the line and are escaped as there.
type Combined struct {
	Host, Ident, User, Time, Request, Status, Bytes []byte

	VirtualHost []byte // "name:port" in front of the host, Apache's vhost_combined, or "name"
	Rest        []byte // behind the bytes: nothing, or a space and more fields
}

// SplitCombined finds the fields of
//
//	host ident user [time] "request" status bytes …
//
// The user may contain spaces and brackets, so time is found from the first
// quote backwards. reason says why it is no such line.
func SplitCombined(line []byte) (f Combined, reason string) {
	quote := openingQuote(line)
	if quote < 0 {
		return f, `no "[time] " before a quoted request`
	}
	open := quote - stamp.CLFLength - len("[] ")
	f.Time = line[open+1 : quote-2]
	if !f.splitHead(line[:open-1]) {
		return f, "no host, identity and user before the time"
	}
	end := IndexQuote(line, quote+1)
	if end < 0 {
		return f, "the quoted request does not end"
	}
	f.Request = line[quote+1 : end]
	rest := line[end+1:]
	if len(rest) < 4 || rest[0] != ' ' || !isStatus(rest[1:4]) {
		return f, "no status behind the request"
	}
	f.Status, rest = rest[1:4], rest[4:]
	if len(rest) < 2 || rest[0] != ' ' {
		return f, "no size behind the status"
	}
	size := sizeLength(rest[1:])
	if size == 0 {
		return f, "no size behind the status"
	}
	f.Bytes, f.Rest = rest[1:1+size], rest[1+size:]
	return f, ""
}

// openingQuote returns the index of the first quote that a time in brackets
// stands before, or -1. Only an empty user, which Apache writes as "", has
// quotes before that.
func openingQuote(line []byte) int {
	for from := 0; ; {
		quote := IndexQuote(line, from)
		if quote < 0 {
			return -1
		}
		open := quote - stamp.CLFLength - len("[] ")
		if open >= len("h i u ") && line[open-1] == ' ' && line[open] == '[' && line[quote-2] == ']' && line[quote-1] == ' ' {
			return quote
		}
		from = quote + 1
	}
}

// splitHead takes host, identity and user apart. The host may be a list with
// ", ", where a format has X-Forwarded-For in its place. Apache's
// "vhost_combined" puts "name:port" before the host, others only the name.
func (f *Combined) splitHead(head []byte) bool {
	host, rest, ok := bytes.Cut(head, []byte(" "))
	isAddress := parsers.IsAddress(host)
	if ok && !isAddress {
		next, tail, more := bytes.Cut(rest, []byte(" "))
		switch {
		case more && (isVirtualHost(host) || isHostName(host) && bytes.IndexByte(tail, ' ') > 0) && parsers.IsAddress(next):
			f.VirtualHost, host, rest, isAddress = host, next, tail, true
		case bytes.HasSuffix(host, []byte(",")):
			host, rest, isAddress = cutList(head)
		}
	}
	f.Host = host
	f.Ident, f.User, ok = bytes.Cut(rest, []byte(" "))
	if string(f.User) == `""` {
		f.User = []byte("-")
	}
	if !ok || len(f.Host) == 0 || len(f.Ident) == 0 || len(f.User) == 0 {
		return false
	}
	// A name in the place of the client may be a word of something else in front
	// of the line, such as a wrapper that was not taken off, and the user then
	// all that follows it.
	return isAddress || isHostName(f.Host) && bytes.IndexByte(f.User, ' ') < 0
}

// cutList takes "a, b, c" from the front. ok is false unless the last is one
// word: clients choose what stands in the list.
func cutList(head []byte) (list, rest []byte, ok bool) {
	end := 0
	for {
		at := bytes.IndexByte(head[end:], ' ')
		if at < 0 {
			return head, nil, false
		}
		element := head[end : end+at]
		end += at + 1
		if len(element) == 0 || element[len(element)-1] != ',' {
			return head[:end-1], head[end:], parsers.IsAddress(element) || isHostName(element)
		}
	}
}

// isHostName accepts what a server writes for a client that is no address: its
// name, or "unix:" for a socket.
func isHostName(b []byte) bool {
	for i, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-', c == '_':
		case c == ':' && i == len("unix") && string(b[:i]) == "unix":
		default:
			return false
		}
	}
	return true
}

func isVirtualHost(b []byte) bool {
	at := bytes.LastIndexByte(b, ':')
	if at < 0 || at == len(b)-1 {
		return false
	}
	for _, c := range b[at+1:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

func isStatus(b []byte) bool {
	return b[0] >= '0' && b[0] <= '9' && b[1] >= '0' && b[1] <= '9' && b[2] >= '0' && b[2] <= '9'
}

// sizeLength returns the length of the decimal number or "-" at the start of b,
// which must end at a space or the end; 0 when there is none.
func sizeLength(b []byte) int {
	i := 0
	if len(b) > 0 && b[0] == '-' {
		i = 1
	} else {
		for i < len(b) && i < 19 && b[i] >= '0' && b[i] <= '9' {
			i++
		}
	}
	if i < len(b) && b[i] != ' ' {
		return 0
	}
	return i
}

// IndexQuote returns the index of the first quote at or behind from that no
// backslash escapes, or -1.
func IndexQuote(line []byte, from int) int {
	for from < len(line) {
		at := bytes.IndexByte(line[from:], '"')
		if at < 0 {
			return -1
		}
		at += from
		slashes := 0
		for i := at - 1; i >= from && line[i] == '\\'; i-- {
			slashes++
		}
		if slashes%2 == 0 {
			return at
		}
		from = at + 1
	}
	return -1
}

// CutQuoted takes a field ` "…"` from the front of rest. Without one it takes nothing.
func CutQuoted(rest []byte) (field, tail []byte) {
	if len(rest) < 2 || rest[0] != ' ' || rest[1] != '"' {
		return nil, rest
	}
	end := IndexQuote(rest, 2)
	if end < 0 {
		return rest[2:], nil // cut short by a crash of the writer or by max_line
	}
	return rest[2:end], rest[end+1:]
}

// Unescaper undoes what nginx (\xHH) and Apache (\xHH, \", \\, \n, \r, \t, \b, \v)
// do to bytes that are not plain. The zero value is ready.
type Unescaper struct{ scratch []byte }

// Reset gives the memory of earlier fields free.
func (u *Unescaper) Reset() { u.scratch = u.scratch[:0] }

// Text returns the plain text of a field, valid until Reset. Without a
// backslash the field is returned as it is.
func (u *Unescaper) Text(field []byte) []byte {
	if bytes.IndexByte(field, '\\') < 0 {
		return field
	}
	at := len(u.scratch)
	for i := 0; i < len(field); i++ {
		c := field[i]
		if c != '\\' || i+1 == len(field) {
			u.scratch = append(u.scratch, c)
			continue
		}
		i++
		switch e := field[i]; e {
		case 'x':
			if value, ok := parsers.Hex(field[i+1:], 2); ok {
				u.scratch = append(u.scratch, byte(value))
				i += 2
			} else {
				u.scratch = append(u.scratch, '\\', 'x')
			}
		case 'n':
			u.scratch = append(u.scratch, '\n')
		case 'r':
			u.scratch = append(u.scratch, '\r')
		case 't':
			u.scratch = append(u.scratch, '\t')
		case 'b':
			u.scratch = append(u.scratch, '\b')
		case 'v':
			u.scratch = append(u.scratch, '\v')
		case '"', '\\':
			u.scratch = append(u.scratch, e)
		default:
			u.scratch = append(u.scratch, '\\', e)
		}
	}
	return u.scratch[at:len(u.scratch):len(u.scratch)]
}
