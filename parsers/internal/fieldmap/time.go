package fieldmap

import (
	"errors"
	"strings"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// layout says how a time is written.
type layout struct {
	scale int64  // of numbers since 1970: how many a second has; 0: text
	text  string // a layout of package time; empty: RFC 3339 and its relatives
	zoned bool   // text carries a zone
	dated bool   // text carries the year
}

// newLayout reads the name of a layout.
func newLayout(name string) (layout, error) {
	switch name {
	case "", "rfc3339":
		return layout{}, nil
	case "unix":
		return layout{scale: 1}, nil
	case "unix_ms":
		return layout{scale: 1e3}, nil
	case "unix_us":
		return layout{scale: 1e6}, nil
	case "unix_ns":
		return layout{scale: 1e9}, nil
	}
	if strings.Contains(name, "MST") {
		return layout{}, errors.New("abbreviations of zones are ambiguous; use a numeric zone such as -0700 in the layout")
	}
	month, day := strings.Contains(name, "01") || strings.Contains(name, "Jan"), strings.Contains(strings.ReplaceAll(name, "2006", ""), "2")
	if !month || !day || !strings.Contains(name, "05") {
		return layout{}, errors.New("a time layout is rfc3339, unix, unix_ms, unix_us, unix_ns or one of Go's with month, day and second, such as 2006/01/02 15:04:05")
	}
	return layout{text: name, zoned: strings.Contains(name, "-07") || strings.Contains(name, "Z07"), dated: strings.Contains(name, "06")}, nil
}

// mayFit tells at a glance whether a text can be of a layout that begins with the
// year: package time takes memory for each text that is not.
func (l *layout) mayFit(text []byte) bool {
	return !strings.HasPrefix(l.text, "2006") || len(l.text) < 5 || len(text) > 4 && text[4] == l.text[4]
}

// setTime parses a time into a field. It reports whether the text was one.
func (p *pass) setTime(t *target, text []byte) bool {
	r := &p.draft.Record
	isTime := t.field == audit.Time
	switch {
	case t.layout.scale > 0:
		when, ok := stamp.ParseEpoch(text, t.layout.scale)
		if !ok {
			return false
		}
		r.SetTime(t.field, when)
		if isTime {
			p.draft.SetTimeBasis(true)
		}
	case !t.layout.mayFit(text):
		return false
	case t.layout.text != "":
		when, err := time.ParseInLocation(t.layout.text, string(text), p.zone)
		ok := err == nil
		if ok && !t.layout.dated {
			when, ok = stamp.WithYear(int(when.Month()), when.Day(), when.Hour(), when.Minute(), when.Second(), when.Nanosecond(), p.now, when.Location())
		}
		if !ok || !stamp.Fits(when) {
			return false
		}
		r.SetTime(t.field, when)
		if isTime {
			p.draft.SetTimeBasis(t.layout.zoned)
		}
	default:
		var buffer [stamp.MaxRFC3339]byte
		out, zoned, ok := stamp.AppendRFC3339(buffer[:0], text)
		if !ok {
			return false
		}
		if zoned {
			r.SetText(t.field, out)
		} else {
			when, err := time.ParseInLocation("2006-01-02T15:04:05.999999999", string(out), p.zone)
			if err != nil {
				return false
			}
			r.SetTime(t.field, when)
		}
		if isTime {
			p.draft.SetTimeBasis(zoned)
		}
	}
	return true
}
