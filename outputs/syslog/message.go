package syslogoutput

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/auditail/auditail/outputs/internal/records"
)

const (
	facility = 13 // log audit (RFC 5424, table 1)
	appName  = "auditail"
	// timeForm has the 6 digits of a second that RFC 5424 allows at most.
	timeForm = "2006-01-02T15:04:05.999999Z07:00"
)

// severities are those of RFC 5424, table 2, for 1 (informational) to 5 (critical).
var severities = [...]int{6, 5, 4, 3, 2}

// form is how a record becomes a message.
type form struct {
	format Format
	most   int    // bytes of a message
	id     string // SD-ID
}

// frame appends a record as one octet-counted message (RFC 5425, section 4.3).
func (f form) frame(dst, line []byte) []byte {
	message := f.message(line)
	dst = append(strconv.AppendInt(dst, int64(len(message)), 10), ' ')
	return append(dst, message...)
}

// message returns a record as RFC 5424 writes it. A record that would make it
// too long is left out of it: its id, size and mark stand there instead.
func (f form) message(line []byte) []byte {
	record, err := records.Decode(line)
	if err != nil {
		record = nil
	}
	var m bytes.Buffer
	fmt.Fprintf(&m, "<%d>1 %s %s %s - %s ", facility*8+severities[records.Severity(record)-1], timestamp(records.Text(record, "time")),
		word(records.Text(record, "host", "name"), 255), appName, word(records.Text(record, "event"), 32))
	header := m.Len()
	if f.format == FormatStructured && record != nil {
		f.open(&m)
		parameters(&m, "", record)
		m.WriteByte(']')
	} else {
		f.open(&m)
		parameter(&m, "id", records.Text(record, "id"))
		m.WriteString("] ")
		m.Write(line)
	}
	if m.Len() > f.most {
		m.Truncate(header)
		f.open(&m)
		parameter(&m, "id", records.Text(record, "id"))
		parameter(&m, "bytes", strconv.Itoa(len(line)))
		parameter(&m, "truncated", "true")
		m.WriteByte(']')
	}
	return m.Bytes()
}

func (f form) open(m *bytes.Buffer) {
	m.WriteByte('[')
	m.WriteString(f.id)
}

// timestamp returns the record's time, "-" for none.
func timestamp(text string) string {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return "-"
	}
	return t.Format(timeForm)
}

// word returns text as a header field may be: printable ASCII, not too long.
func word(text string, most int) string {
	clean := strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	if clean == "" {
		return "-"
	}
	return clean[:min(len(clean), most)]
}

// parameters writes the members of an object, those of objects within by their
// dotted path. What no PARAM-NAME can be (RFC 5424, section 6.3.3) goes as a
// part of the object that it stands in.
func parameters(m *bytes.Buffer, prefix string, object map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		name, value := prefix+key, object[key]
		inner, isObject := value.(map[string]any)
		switch {
		case isObject && nameable(name+".", inner):
			parameters(m, name+".", inner)
		case !isName(name):
		default:
			parameter(m, name, text(value))
		}
	}
}

func nameable(prefix string, object map[string]any) bool {
	for key, value := range object {
		if inner, ok := value.(map[string]any); ok && !nameable(prefix+key+".", inner) || !isName(prefix+key) {
			return false
		}
	}
	return true
}

func isName(name string) bool {
	return name != "" && len(name) <= 32 && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r > '~' || r == '=' || r == ']' || r == '"'
	})
}

func text(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return "" // it came from JSON
	}
	return string(encoded)
}

// escaper is for a PARAM-VALUE. Line ends would be legal there, and surprise
// most receivers.
var escaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`, "\n", " ", "\r", " ", "\x00", " ")

func parameter(m *bytes.Buffer, name, value string) {
	if !utf8.ValidString(value) {
		value = strings.ToValidUTF8(value, "\uFFFD")
	}
	m.WriteByte(' ')
	m.WriteString(name)
	m.WriteString(`="`)
	m.WriteString(escaper.Replace(value))
	m.WriteByte('"')
}
