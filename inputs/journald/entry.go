package journald

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// entry is what is taken of one entry of the journal's JSON form, see
// https://systemd.io/JOURNAL_EXPORT_FORMATS/: a field's value is a string, an
// array of the byte values of what is not printable, an array of values when
// the entry has the field more than once, or null when it was left out.
type entry struct {
	cursor   string
	unit     string
	written  time.Time // when journald took it; zero when it does not say
	messages [][]byte
}

// maxCursor bounds what is committed as position and given to journalctl.
const maxCursor = 1024

var (
	errTooLong  = errors.New("the JSON of an entry is too long")
	errNoCursor = errors.New("no usable __CURSOR")
	errValue    = errors.New("neither a string, nor bytes, nor an array of these")
)

func parseEntry(data []byte) (entry, error) {
	var fields map[string]json.RawMessage // keys match exactly, unlike those of a struct
	if err := json.Unmarshal(data, &fields); err != nil {
		return entry{}, fmt.Errorf("decode entry: %w", err)
	}
	var e entry
	if err := json.Unmarshal(fields["__CURSOR"], &e.cursor); err != nil || !validCursor(e.cursor) {
		return entry{}, fmt.Errorf("decode entry: %w", errNoCursor)
	}
	var micros string // microseconds since 1970 (systemd.journal-fields(7))
	if json.Unmarshal(fields["__REALTIME_TIMESTAMP"], &micros) == nil {
		if n, err := strconv.ParseInt(micros, 10, 64); err == nil && n > 0 {
			e.written = time.UnixMicro(n)
		}
	}
	units, err := values(fields["_SYSTEMD_UNIT"])
	if err != nil {
		return entry{}, fmt.Errorf("decode _SYSTEMD_UNIT: %w", err)
	}
	if len(units) == 1 && validUnit(string(units[0])) {
		e.unit = string(units[0])
	}
	if e.messages, err = values(fields["MESSAGE"]); err != nil {
		return entry{}, fmt.Errorf("decode MESSAGE: %w", err)
	}
	return e, nil
}

// validCursor keeps out what is no cursor of any version: they are made of
// key=value pairs, hexadecimal, joined by semicolons.
func validCursor(cursor string) bool {
	return cursor != "" && len(cursor) <= maxCursor &&
		strings.IndexFunc(cursor, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// values returns the values of a field; none when it is absent or null.
func values(raw json.RawMessage) ([][]byte, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	if raw[0] != '[' {
		value, err := text(raw)
		return [][]byte{value}, err
	}
	if value, ok := byteValues(raw); ok {
		return [][]byte{value}, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	var out [][]byte
	for _, one := range list {
		switch value, ok := byteValues(one); {
		case ok:
			out = append(out, value)
		case string(one) == "null":
		default:
			value, err := text(one)
			if err != nil {
				return nil, err
			}
			out = append(out, value)
		}
	}
	return out, nil
}

func text(raw json.RawMessage) ([]byte, error) {
	var s string
	if raw[0] != '"' {
		return nil, errValue
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, err
	}
	return []byte(s), nil
}

// byteValues reads an array of numbers from 0 to 255, in valid JSON. It is
// read by hand because a generic array would take ten times its memory.
func byteValues(raw []byte) ([]byte, bool) {
	raw, ok := bytes.CutPrefix(raw, []byte{'['})
	if !ok {
		return nil, false
	}
	raw, ok = bytes.CutSuffix(raw, []byte{']'})
	if !ok {
		return nil, false
	}
	out := make([]byte, 0, bytes.Count(raw, []byte{','})+1)
	if len(bytes.TrimSpace(raw)) == 0 {
		return out, true
	}
	for more := true; more; {
		var number []byte
		number, raw, more = bytes.Cut(raw, []byte{','})
		number = bytes.TrimSpace(number)
		if len(number) == 0 || len(number) > 3 {
			return nil, false
		}
		value := 0
		for _, digit := range number {
			if digit < '0' || digit > '9' {
				return nil, false
			}
			value = 10*value + int(digit-'0')
		}
		if value > 0xff {
			return nil, false
		}
		out = append(out, byte(value))
	}
	return out, true
}
