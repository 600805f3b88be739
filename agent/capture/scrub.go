package capture

import (
	"encoding/json"
	"strconv"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/internal/redact"
)

// Scrubber takes secrets out of records: the last line, for what a log wrote
// where no secret belongs and a parser took for a user agent, a path or a name.
// It is not safe for concurrent use.
type Scrubber struct {
	fields []audit.Field // those that can hold one
	spans  []redact.Span
	text   []byte
}

// NewScrubber returns a scrubber.
func NewScrubber() *Scrubber {
	s := &Scrubber{}
	for _, f := range audit.Fields() {
		switch f.Def().Kind {
		case audit.KindText, audit.KindStrings, audit.KindJSON:
			s.fields = append(s.fields, f)
		default: // numbers, times and words out of a list
		}
	}
	return s
}

// Record puts [KEY_1], [PASSWORD_2] and the like in the place of secrets in all
// fields, numbered within each, and flags the record when there was one. It does
// not allocate when there is none.
func (s *Scrubber) Record(r *audit.Record) {
	if !redact.Suspect(r.Written()) {
		return
	}
	for _, f := range s.fields {
		text := r.Text(f)
		if len(text) == 0 {
			continue
		}
		s.spans = redact.Secrets(s.spans[:0], text)
		if len(s.spans) == 0 {
			continue
		}
		r.Flag(audit.SecretMasked)
		encoded := f.Def().Kind != audit.KindText
		s.text = mask(s.text[:0], text, s.spans, encoded)
		if encoded && !wellFormed(f, s.text) {
			r.Clear(f)
			continue
		}
		r.SetText(f, s.text)
	}
}

// mask appends the text with a placeholder for each span. In encoded text, what
// stands outside of strings becomes a string.
func mask(dst, text []byte, spans []redact.Span, encoded bool) []byte {
	at := 0
	for i, span := range spans {
		dst = append(dst, text[at:span.Start]...)
		bare := encoded && span.Start > 0 && (text[span.Start-1] == ':' || text[span.Start-1] == ',' || text[span.Start-1] == '[')
		bare = bare && !insideString(text[:span.Start])
		if bare {
			dst = append(dst, '"')
		}
		dst = appendPlaceholder(dst, span.Type, i+1)
		if bare {
			dst = append(dst, '"')
		}
		at = span.End
	}
	return append(dst, text[at:]...)
}

// appendPlaceholder appends what stands in the place of a find: [IBAN_1].
func appendPlaceholder(dst []byte, kind string, n int) []byte {
	dst = append(append(append(dst, '['), kind...), '_')
	return append(strconv.AppendInt(dst, int64(n), 10), ']')
}

// insideString tells whether JSON that is cut here is cut within a string.
func insideString(head []byte) bool {
	inside := false
	for i := 0; i < len(head); i++ {
		switch head[i] {
		case '"':
			inside = !inside
		case '\\':
			i++
		}
	}
	return inside
}

// wellFormed tells whether the value still is one that the field takes: a secret
// may have been a number, in the place of a number.
func wellFormed(f audit.Field, value []byte) bool {
	var err error
	switch def := f.Def(); {
	case def.Kind == audit.KindStrings:
		err = json.Unmarshal(value, &[]string{})
	case def.Shape == audit.MapInt:
		err = json.Unmarshal(value, &map[string]int64{})
	case def.Shape == audit.MapText:
		err = json.Unmarshal(value, &map[string]string{})
	case def.Shape == audit.Objects:
		err = json.Unmarshal(value, &[]map[string]any{})
	default:
		err = json.Unmarshal(value, &map[string]any{})
	}
	return err == nil
}
