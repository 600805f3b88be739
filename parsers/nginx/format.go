package nginx

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/auditail/auditail/parsers/internal/access"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// format is a compiled log_format: text and variables by turns.
type format struct {
	fields  []field
	trusted bool // what a client writes cannot move the borders of fields
}

// field is a variable with the text in front of it. The last one of a format may
// have no variable.
type field struct {
	before   string
	name     string
	variable access.Variable
	quoted   bool
}

// compile reads a format as nginx's log_format directive takes it, without the
// quotes of the configuration.
func compile(text string, table *access.Table) (*format, error) {
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		return nil, errors.New("JSON is read by the names of its members: leave format out, or use parser json")
	}
	f := &format{trusted: true}
	asked := false
	for text != "" {
		at := strings.IndexByte(text, '$')
		if at < 0 {
			f.fields = append(f.fields, field{before: text})
			break
		}
		end := at + 1
		for end < len(text) && isVariableByte(text[end]) {
			end++
		}
		name := text[at+1 : end]
		switch {
		case name == "":
			return nil, errors.New("a $ has no name behind it")
		case at == 0 && len(f.fields) > 0:
			return nil, fmt.Errorf("nothing stands between $%s and $%s", f.fields[len(f.fields)-1].name, name)
		}
		v := field{before: text[:at], name: name, variable: table.Find([]byte(name))}
		text = text[end:]
		v.quoted = strings.HasSuffix(v.before, `"`) && strings.HasPrefix(text, `"`)
		if !v.quoted && text != "" && clientWrites(name) {
			return nil, fmt.Errorf(`$%s must stand in quotes: clients write it, and it may hold spaces`, name)
		}
		switch v.variable {
		case access.Request, access.Method, access.Target:
			asked = true
		case access.User:
			f.trusted = f.trusted && v.quoted
		default:
		}
		f.fields = append(f.fields, v)
	}
	if !asked {
		return nil, errors.New("the format has none of $request, $request_method, $request_uri and $uri")
	}
	return f, nil
}

func isVariableByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// clientWrites tells whether a variable holds what a client sent and may have
// spaces. $remote_user may too, but stands without quotes in every usual format.
func clientWrites(name string) bool {
	for _, prefix := range []string{"http_", "arg_", "cookie_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return name == "request" || name == "uri" || name == "args" || name == "query_string" || name == "request_body" ||
		name == "proxy_add_x_forwarded_for"
}

// read collects the facts of a line. It reports whether the line has the format.
func (f *format) read(p *Parser, line []byte) bool {
	c := &p.call
	c.Trusted = f.trusted
	for i := range f.fields {
		v := &f.fields[i]
		rest, ok := bytes.CutPrefix(line, []byte(v.before))
		if !ok {
			return false
		}
		if v.name == "" {
			return len(rest) == 0
		}
		after := ""
		if i+1 < len(f.fields) {
			after = f.fields[i+1].before
		}
		end := v.end(rest, after)
		if end < 0 {
			return false
		}
		value := p.plain.Text(rest[:end])
		if v.variable == access.Time {
			if !c.SetTime(value, p.config.Zone()) {
				return false
			}
		} else {
			c.Set(v.variable, value)
		}
		line = rest[end:]
	}
	return len(line) == 0
}

// end returns where the value at the start of rest ends, given the text that
// follows it; -1 when that is not there.
func (v *field) end(rest []byte, after string) int {
	switch {
	case v.quoted:
		return access.IndexQuote(rest, 0)
	case after == "":
		return len(rest)
	case v.name == "time_local" && after[0] == ' ' && len(rest) > stamp.CLFLength:
		return stamp.CLFLength // it holds a space
	}
	from := 0
	for {
		at := bytes.Index(rest[from:], []byte(after))
		if at < 0 {
			return -1
		}
		at += from
		// Of several upstreams nginx writes a list, "a, b" or "a : b".
		listed := strings.HasPrefix(v.name, "upstream_") && after[0] == ' '
		switch {
		case listed && bytes.HasPrefix(rest[at:], []byte(" : ")):
			from = at + len(" : ")
		case listed && at > 0 && rest[at-1] == ',':
			from = at + 1
		default:
			return at
		}
	}
}
