package syslog

import "bytes"

// The parts of a header, and what follows it.
const (
	partTimestamp = iota
	partHost
	partApp
	partPID
	partMessageID
	partMessage
	parts
)

func names() [parts]string {
	return [parts]string{"timestamp", "host", "app", "pid", "msgid", "message"}
}

// facilities and severities are the keywords that daemons use for the codes of
// RFC 5424, section 6.2.1.
var (
	facilities = [...]string{
		"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit", "alert", "clock",
		"local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
	}
	severities = [...]string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}
)

// header is what stands in front of a message, and the message.
type header struct {
	facility, severity string // keywords; empty: not said

	parts [parts][]byte
	data  []byte // structured data as it stands there; nil: none
}

// split reads a header in one of the forms in which files hold it:
//
//	<134>1 2026-11-21T09:03:19+00:00 host app 42 ID [id name="value"] message   RFC 5424
//	<134>Nov 21 09:03:19 host app[42]: message                                  RFC 3164
//	Nov 21 09:03:19 host app[42]: message                                       a daemon's file
//	2026-11-21T09:03:19.123456+00:00 host app[42]: message                      the same with precise times
//	<13>Nov 21 09:03:19 app[42]: message                                        of a local socket
func split(line []byte) (h header, ok bool) {
	rest := line
	if len(rest) > 0 && rest[0] == '<' {
		if rest, ok = h.priority(rest); !ok {
			return h, false
		}
		if after, found := bytes.CutPrefix(rest, []byte("1 ")); found {
			return h, h.structured(after)
		}
	}
	return h, h.classic(rest)
}

// priority reads "<134>".
func (h *header) priority(text []byte) (rest []byte, ok bool) {
	n, i := 0, 1
	for i < len(text) && i <= 3 && text[i] >= '0' && text[i] <= '9' {
		n = n*10 + int(text[i]-'0')
		i++
	}
	if i == 1 || i == len(text) || text[i] != '>' || n/8 >= len(facilities) {
		return nil, false
	}
	h.facility, h.severity = facilities[n/8], severities[n%8]
	return text[i+1:], true
}

// structured reads what follows the version of RFC 5424.
func (h *header) structured(text []byte) bool {
	for _, part := range [...]int{partTimestamp, partHost, partApp, partPID, partMessageID} {
		field, rest, found := bytes.Cut(text, []byte(" "))
		if !found || len(field) == 0 {
			return false
		}
		if text = rest; string(field) != "-" {
			h.parts[part] = field
		}
	}
	end := 0
	switch {
	case len(text) == 0:
		return false
	case text[0] == '-':
		end = 1
	default:
		for end < len(text) && text[end] == '[' {
			length := elementLength(text[end:])
			if length < 0 {
				return false
			}
			end += length
		}
		h.data = text[:end]
	}
	if end == 0 || end < len(text) && text[end] != ' ' {
		return false
	}
	message := bytes.TrimPrefix(text[end:], []byte(" "))
	h.parts[partMessage] = bytes.TrimPrefix(message, []byte("\xef\xbb\xbf")) // section 6.4
	return true
}

// elementLength returns the length of the element that text begins with, or -1. A
// bracket in quotes ends none; a backslash there escapes what follows.
func elementLength(text []byte) int {
	quoted := false
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ']' && !quoted:
			return i + 1
		}
	}
	return -1
}

// classic reads time, host and tag.
func (h *header) classic(text []byte) bool {
	stamp, rest, ok := cutStamp(text)
	if !ok {
		return false
	}
	h.parts[partTimestamp] = stamp
	first, after, found := bytes.Cut(rest, []byte(" "))
	if h.tag(first) { // of a local socket: no host
		h.parts[partMessage] = bytes.TrimPrefix(after, []byte(" "))
		return true
	}
	tag, message, _ := bytes.Cut(after, []byte(" "))
	if !found || len(first) == 0 || !h.tag(tag) {
		return false
	}
	h.parts[partHost] = first
	h.parts[partMessage] = message
	return true
}

// tag reads "app:" and "app[42]:".
func (h *header) tag(tag []byte) bool {
	app, ok := bytes.CutSuffix(tag, []byte(":"))
	if !ok || len(app) == 0 {
		return false
	}
	var pid []byte
	if at := bytes.IndexByte(app, '['); at > 0 && app[len(app)-1] == ']' {
		app, pid = app[:at], app[at+1:len(app)-1]
	}
	if bytes.IndexByte(app, ':') >= 0 || bytes.IndexByte(app, '[') >= 0 {
		return false
	}
	h.parts[partApp], h.parts[partPID] = app, pid
	return true
}

// cutStamp cuts "Nov 21 09:03:19 " or a time of RFC 3339 off.
func cutStamp(text []byte) (stamp, rest []byte, ok bool) {
	const months, classic = "JanFebMarAprMayJunJulAugSepOctNovDec", "Nov 21 09:03:19"
	if len(text) > len(classic) && text[3] == ' ' && text[6] == ' ' && text[9] == ':' && text[12] == ':' && text[len(classic)] == ' ' {
		month := bytes.Index([]byte(months), text[:3])
		return text[:len(classic)], text[len(classic)+1:], month >= 0 && month%3 == 0
	}
	stamp, rest, ok = bytes.Cut(text, []byte(" "))
	return stamp, rest, ok && len(stamp) >= len("2026-11-21T09:03:19Z") && stamp[4] == '-' && stamp[10] == 'T' && stamp[13] == ':'
}
