package vllm

import (
	"bytes"
	"time"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/process"
	"github.com/auditail/auditail/parsers/internal/pyrepr"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// kind tells which logger wrote a line.
type kind uint8

const (
	bare   kind = iota // no level: progress bars, tracebacks, other programs
	web                // "INFO:     …", of uvicorn
	engine             // "INFO 11-07 04:35:20 [logger.py:40] …"
)

// header is what stands before the message of a line.
type header struct {
	kind    kind
	level   []byte
	stamp   []byte // "11-07 04:35:20", of engine lines
	message []byte
}

// split takes a line apart. An engine line without "[file.py:12]" is bare: the
// logger writes it on every line, so what lacks it was written by something else.
func split(line []byte) header {
	line = process.Peel(line)
	for _, level := range [...]string{"INFO", "WARNING", "ERROR", "DEBUG", "CRITICAL"} {
		if len(line) <= len(level) || string(line[:len(level)]) != level {
			continue
		}
		rest := line[len(level):]
		switch rest[0] {
		case ':':
			return header{kind: web, level: line[:len(level)], message: bytes.TrimLeft(rest[1:], " ")}
		case ' ':
			if h, ok := splitEngine(rest[1:]); ok {
				h.level = line[:len(level)]
				return h
			}
		}
		break
	}
	return header{message: line}
}

const stampLength = len("11-07 04:35:20")

func splitEngine(b []byte) (header, bool) {
	b = bytes.TrimLeft(b, " ")
	if len(b) < stampLength+1 || b[stampLength] != ' ' {
		return header{}, false
	}
	h := header{kind: engine, stamp: b[:stampLength]}
	b = b[stampLength+1:]
	if len(b) > 0 && b[0] == '[' {
		b = b[1:] // since 0.7
	}
	at := bytes.IndexByte(b, ']')
	if at < 0 || !isPlace(b[:at]) {
		return header{}, false
	}
	h.message = b[at+1:]
	if len(h.message) > 0 && h.message[0] == ' ' {
		h.message = h.message[1:]
	}
	return h, true
}

// isPlace accepts "logger.py:40" and "v1/engine/core.py:77".
func isPlace(b []byte) bool {
	at := bytes.LastIndexByte(b, ':')
	if at < 1 || len(b) > 256 || at == len(b)-1 || pyrepr.DigitRun(b[at+1:]) != len(b)-at-1 {
		return false
	}
	for _, c := range b[:at] {
		if !pyrepr.IsNameByte(c) && c != '.' && c != '/' && c != '-' {
			return false
		}
	}
	return true
}

// readStamp reads "11-07 04:35:20".
func readStamp(b []byte, seen time.Time, zone *time.Location) (time.Time, bool) {
	month, ok1 := parsers.TwoDigits(b)
	day, ok2 := parsers.TwoDigits(b[3:])
	hour, ok3 := parsers.TwoDigits(b[6:])
	minute, ok4 := parsers.TwoDigits(b[9:])
	second, ok5 := parsers.TwoDigits(b[12:])
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || b[2] != '-' || b[5] != ' ' || b[8] != ':' || b[11] != ':' {
		return time.Time{}, false
	}
	return stamp.WithYear(month, day, hour, minute, second, 0, seen, zone)
}
