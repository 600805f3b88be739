package parsers

import (
	"bytes"
)

// Route is what the request line of an HTTP call to a model server or gateway
// says about the call. Its slices are parts of the request target and valid
// as long as that is.
type Route struct {
	Event     string // one of the events of the record format, never empty
	Operation string // api.operation; set on model.inference, empty elsewhere
	Version   []byte // API contract version, "v1" or "2024-10-21"; may be nil
	Path      []byte // of the target, without query and fragment; nil when there is none
	Model     []byte // model name, for APIs that have it in the path; may be nil
	Revision  []byte // model version, for APIs that have it in the path; may be nil

	noise string // rule that knows the route as noise when it succeeds
	known bool
}

// Known tells whether the route is one of the table, and Event more than the
// meaning of its method.
func (r *Route) Known() bool { return r.known }

// Names of the rules under which access lines are ignored.
const (
	RuleHealthCheck   = "health_check"   // liveness and readiness probes
	RuleMetricsScrape = "metrics_scrape" // Prometheus and its like
	RuleDocumentation = "documentation"  // API documentation pages of the server
	RuleFavicon       = "favicon"        // what browsers ask on their own
)

// Noise returns the rule under which a line of this route is ignored. Only a
// call that was answered normally is noise: one that was refused, failed or has
// no known status is always recorded.
func (r *Route) Noise(status int) (rule string, ignored bool) {
	if r.noise == "" || status < 100 || status >= 400 {
		return "", false
	}
	return r.noise, true
}

// Classify tells what a request line asks for. It finds an event for every
// request, so that no access line is lost: what no rule knows is data.access
// for a method that only reads or is none at all, data.delete for DELETE,
// data.modify for the rest. An empty method says that the log carries none.
//
// The target is compared as a server would understand it, with percent-encoding,
// doubled slashes and dot segments resolved, so that an odd spelling does not
// hide a call. Route.Path stays as it was written.
func Classify(method, target []byte) Route {
	path, query := splitTarget(target)
	clean := path
	if needsCleaning(path) {
		clean = cleanPath(path)
	}
	for len(clean) > 1 && clean[len(clean)-1] == '/' {
		clean = clean[:len(clean)-1]
	}
	r := classify(verbOf(method), clean)
	r.Path = path
	if v := queryVersion(query); v != nil {
		r.Version = v
	}
	return r
}

// Classifier is Classify with a memory of one: most clients of a server ask the same.
// The zero value is ready. It is not safe for concurrent use.
type Classifier struct {
	method, target []byte // of route, whose slices are parts of them
	route          Route
	asked          bool
}

// longestRemembered keeps a long target from staying in memory.
const longestRemembered = 256

// Classify returns what [Classify] does, valid until the next call.
func (c *Classifier) Classify(method, target []byte) *Route {
	switch {
	case c.asked && bytes.Equal(target, c.target) && bytes.Equal(method, c.method):
	case len(method)+len(target) > longestRemembered:
		c.route, c.asked = Classify(method, target), false
	default:
		c.method, c.target = append(c.method[:0], method...), append(c.target[:0], target...)
		c.route, c.asked = Classify(c.method, c.target), true
	}
	return &c.route
}

// verb is the part of a method that decides over the event.
type verb uint8

const (
	reads verb = iota // GET, HEAD, and whatever is no method
	posts
	puts // PUT, PATCH and methods of extensions
	deletes
	unsaid // the log carries no method: the usual one of the path is meant
)

func verbOf(method []byte) verb {
	switch string(method) {
	case "":
		return unsaid
	case "GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "CONNECT":
		return reads
	case "POST":
		return posts
	case "DELETE":
		return deletes
	}
	if IsMethod(method) {
		return puts
	}
	return reads
}

// IsMethod tells whether b looks like an HTTP method: upper-case letters, "-"
// and "_", at most 32 of them. (RFC 9110 allows any token; no registered method
// is written otherwise.)
func IsMethod(b []byte) bool {
	if len(b) == 0 || len(b) > 32 || b[0] == '-' {
		return false
	}
	for _, c := range b {
		if (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// SplitRequest takes a request line apart ("POST /v1/models HTTP/1.1", or
// "GET /" of HTTP/0.9). ok is false for what is no request line.
func SplitRequest(line []byte) (method, target []byte, ok bool) {
	method, target, ok = bytes.Cut(line, []byte(" "))
	if !ok || !IsMethod(method) || len(target) == 0 {
		return nil, nil, false
	}
	if at := bytes.LastIndexByte(target, ' '); at >= 0 && bytes.HasPrefix(target[at+1:], []byte("HTTP/")) {
		target = target[:at]
	}
	return method, target, true
}

func fallback(v verb) Route {
	switch v {
	case posts, puts:
		return Route{Event: "data.modify"}
	case deletes:
		return Route{Event: "data.delete"}
	default:
		return Route{Event: "data.access"}
	}
}

// splitTarget takes path and query out of a request target (RFC 9112, 3.2):
// origin form "/path?query", absolute form "http://host/path", or neither.
func splitTarget(target []byte) (path, query []byte) {
	if len(target) == 0 {
		return nil, nil
	}
	if target[0] != '/' {
		_, rest, found := bytes.Cut(target, []byte("://"))
		if !found {
			return nil, nil // authority form, "*", or not HTTP
		}
		at := bytes.IndexByte(rest, '/')
		if at < 0 {
			return []byte("/"), nil
		}
		target = rest[at:]
	}
	if at := bytes.IndexByte(target, '#'); at >= 0 {
		target = target[:at]
	}
	if at := bytes.IndexByte(target, '?'); at >= 0 {
		return target[:at], target[at+1:]
	}
	return target, nil
}

// queryVersion returns the dated API version that Azure-style calls carry in
// the query ("api-version=2024-10-21"); nothing else of a query is kept.
func queryVersion(query []byte) []byte {
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte("&"))
		value, found := bytes.CutPrefix(pair, []byte("api-version="))
		if found && isDatedVersion(value) {
			return value
		}
	}
	return nil
}

// isDatedVersion accepts YYYY-MM-DD with an optional "-preview".
func isDatedVersion(v []byte) bool {
	v, _ = bytes.CutSuffix(v, []byte("-preview"))
	if len(v) != len("2024-10-21") {
		return false
	}
	for i, c := range v {
		if i == 4 || i == 7 {
			if c != '-' {
				return false
			}
		} else if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

func needsCleaning(path []byte) bool {
	for i, c := range path {
		if c == '%' || c == '/' && i+1 < len(path) && (path[i+1] == '/' || path[i+1] == '.') {
			return true
		}
	}
	return false
}

// cleanPath resolves percent-encoding, then empty and dot segments, once.
func cleanPath(path []byte) []byte {
	raw := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			hi, ok1 := HexDigit(path[i+1])
			lo, ok2 := HexDigit(path[i+2])
			if ok1 && ok2 {
				raw = append(raw, hi<<4|lo)
				i += 2
				continue
			}
		}
		raw = append(raw, path[i])
	}
	out := make([]byte, 0, len(raw))
	for segment := range bytes.SplitSeq(raw, []byte("/")) {
		switch string(segment) {
		case "", ".":
		case "..":
			out = out[:max(bytes.LastIndexByte(out, '/'), 0)]
		default:
			out = append(append(out, '/'), segment...)
		}
	}
	if len(out) == 0 {
		return []byte("/")
	}
	return out
}
