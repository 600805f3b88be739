package sglang

import (
	"bytes"
	"time"

	"github.com/auditail/auditail/parsers/internal/stamp"
)

// header is what stands before the message of a line.
type header struct {
	when  stamp.Time
	found bool
	first bool // not of another process than the first of a model that is split over several
	web   bool // behind the time stands a level, as uvicorn has it
}

// cutHeader takes the header from the front of a line:
//
//	[2025-03-03 17:53:04 TP0] message
//	[2025-03-03 17:53:04] INFO:     message      uvicorn
//	[2025-12-30 02:33:42] INFO utils.py:148: message
//	[16:43:29 TP0] message                       no date, so no time
//	[gpu=0] message
//	INFO:     message
//
// The request logger of newer versions writes none.
func cutHeader(line []byte, zone *time.Location) (h header, message []byte) {
	h.first = true
	message = line
	if len(line) > 0 && line[0] == '[' {
		end := bytes.IndexByte(line, ']')
		if end < 0 || end+1 < len(line) && line[end+1] != ' ' || !h.cutTime(line[1:end], zone) {
			return h, line
		}
		message = bytes.TrimLeft(line[end+1:], " ")
	}
	for _, level := range [...]string{"INFO", "WARNING", "ERROR", "DEBUG", "CRITICAL", "TRACE"} {
		rest, ok := cut(message, level)
		if !ok || len(rest) == 0 {
			continue
		}
		switch rest[0] {
		case ':':
			h.found, h.web = true, true
			return h, bytes.TrimLeft(rest[1:], " ")
		case ' ':
			if h.found {
				if place, rest, ok := bytes.Cut(rest[1:], []byte(": ")); ok && isPlace(place) {
					return h, rest
				}
			}
		}
		break
	}
	return h, message
}

// cutTime reads what stands between the brackets: a time and the ranks of the
// process ("DP0 TP1 EP1").
func (h *header) cutTime(b []byte, zone *time.Location) bool {
	for _, name := range [...]string{"gpu=", "gpu_id="} {
		if rank, ok := cut(b, name); ok {
			h.found, h.first = isDigits(rank), string(rank) == "0"
			return h.found
		}
	}
	when, n, ok := stamp.Read(b, zone)
	if ok {
		h.when = when
	} else if n = len("16:43:29"); len(b) < n || b[2] != ':' || b[5] != ':' || !isDigits(b[:2]) || !isDigits(b[3:5]) || !isDigits(b[6:8]) {
		return false
	}
	first := true
	for _, c := range b[n:] {
		switch {
		case c >= '1' && c <= '9':
			first = false
		case c == '0' || c == ' ' || c >= 'A' && c <= 'Z':
		default:
			return false
		}
	}
	h.found, h.first = true, first
	return true
}

// isPlace accepts "utils.py:148".
func isPlace(b []byte) bool {
	file, number, ok := bytes.Cut(b, []byte(":"))
	return ok && isDigits(number) && bytes.HasSuffix(file, []byte(".py")) && bytes.IndexByte(file, ' ') < 0
}

func isDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

func cut(message []byte, prefix string) ([]byte, bool) {
	if len(message) < len(prefix) || string(message[:len(prefix)]) != prefix {
		return nil, false
	}
	return message[len(prefix):], true
}
