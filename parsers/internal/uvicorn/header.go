package uvicorn

import (
	"bytes"
	"time"

	"github.com/auditail/auditail/parsers/internal/stamp"
)

// Header is what a logging configuration puts before the message of a line.
type Header struct {
	When  stamp.Time
	Found bool // there is something of a header
}

// maxParts bounds the parts of a header.
const maxParts = 12

// CutHeader takes times, levels, names of loggers, process and thread ids from the
// front of a line, in any order and with the separators that logging
// configurations use:
//
//	INFO:     message
//	[2026-11-21 08:46:42 +0000] [22746] [INFO] message
//	2026-11-21 08:46:41.672 INFO:     uvicorn.error message
//	2026-11-21 08:46:41,672 - uvicorn.access - INFO - message
//	2026-11-21 08:46:41.672 | INFO     | uvicorn.server:serve:84 - message
//	INFO:uvicorn.access:message
//	INFO 2026-11-21 08:46:41 [entrypoints/logger.py:39] message
//
// It stops at the first part that is none of these, so free text never counts as
// a header.
func CutHeader(line []byte, zone *time.Location) (h Header, message []byte) {
	for range maxParts {
		rest, ok := h.cutPart(line, zone)
		if !ok {
			break
		}
		h.Found = true
		line = cutSeparator(rest)
	}
	return h, line
}

// cutPart takes one part of a header from the front.
func (h *Header) cutPart(b []byte, zone *time.Location) (rest []byte, ok bool) {
	if len(b) == 0 {
		return b, false
	}
	switch c := b[0]; {
	case c == '[':
		end := bytes.IndexByte(b, ']')
		if end < 2 || end > 80 {
			return b, false
		}
		left, ok := h.cutPart(bytes.TrimLeft(b[1:end], " "), zone)
		return b[end+1:], ok && len(bytes.TrimRight(left, " ")) == 0 || IsNumber(b[1:end]) || h.Found && isPlace(b[1:end])
	case c >= '0' && c <= '9':
		when, n, ok := stamp.Read(b, zone)
		if ok && h.When.IsZero() {
			h.When = when
			return b[n:], true
		}
		end := bytes.IndexByte(b, ' ')
		if h.Found && end > 0 && IsNumber(b[:end]) { // a process id
			return b[end:], true
		}
		return b, false
	case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		return cutWord(b)
	default:
		return b, false
	}
}

// cutWord takes a level, the name of a logger of uvicorn or gunicorn, or the name
// of the main process or thread.
func cutWord(b []byte) (rest []byte, ok bool) {
	end := 0
	for end < len(b) && (b[end] >= 'a' && b[end] <= 'z' || b[end] >= 'A' && b[end] <= 'Z' || b[end] == '_' || b[end] == '.' || b[end] >= '0' && b[end] <= '9') {
		end++
	}
	word, rest := b[:end], b[end:]
	switch string(word) {
	case "INFO", "WARNING", "WARN", "ERROR", "DEBUG", "CRITICAL", "TRACE", "info", "warning", "error", "debug", "critical",
		"MainProcess", "MainThread":
		return rest, len(rest) == 0 || bytes.IndexByte([]byte(": \t|]-"), rest[0]) >= 0
	}
	if isLogger(word) {
		return cutPlace(rest), true
	}
	return b, false
}

// isLogger accepts "uvicorn", "uvicorn.access", "gunicorn.error", the names of vLLM's
// modules and the like.
func isLogger(word []byte) bool {
	for _, name := range [...]string{"uvicorn", "gunicorn", "vllm"} {
		if rest, ok := bytes.CutPrefix(word, []byte(name)); ok {
			return len(rest) == 0 || rest[0] == '.' && rest[len(rest)-1] != '.'
		}
	}
	return false
}

// cutPlace takes ":serve:84", function and line, from behind the name of a logger.
func cutPlace(b []byte) []byte {
	if len(b) == 0 || b[0] != ':' {
		return b
	}
	function, rest, ok := bytes.Cut(b[1:], []byte(":"))
	if !ok || len(function) == 0 || len(function) > 64 || bytes.IndexByte(function, ' ') >= 0 {
		return b
	}
	digits := 0
	for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
		digits++
	}
	if digits == 0 || digits < len(rest) && rest[digits] != ' ' {
		return b
	}
	return rest[digits:]
}

// cutSeparator takes what stands between two parts: one colon, spaces, bars and
// hyphens. The hyphen of an access line without a client is none, nor are further
// colons, with which an address may begin.
func cutSeparator(b []byte) []byte {
	if len(b) > 0 && b[0] == ':' {
		b = b[1:]
	}
	for len(b) > 0 {
		switch {
		case b[0] == ' ' || b[0] == '\t' || b[0] == '|':
		case b[0] == '-' && len(b) > 1 && b[1] == ' ' && (len(b) == 2 || b[2] != '"'):
		default:
			return b
		}
		b = b[1:]
	}
	return b
}

// isPlace accepts "logger.py:39" and "v1/engine/core.py:77".
func isPlace(b []byte) bool {
	file, line, ok := bytes.Cut(b, []byte(".py:"))
	if !ok || len(file) == 0 || !IsNumber(line) {
		return false
	}
	for _, c := range file {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && bytes.IndexByte([]byte("_/.-"), c) < 0 {
			return false
		}
	}
	return true
}

// IsNumber accepts ports, process and thread ids.
func IsNumber(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 20
}
