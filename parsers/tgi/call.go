package tgi

import (
	"bytes"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/pyrepr"
	"github.com/auditail/auditail/parsers/internal/sampling"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// call is what the spans of a request say.
type call struct {
	server    string // software; empty: that of the preset
	operation string
	stream    bool
	settings  sampling.Settings
	adapter   []byte

	total, inference, perToken int64 // nanoseconds; 0: not in the line

	method, target, client, agent, trace []byte
	status                               int // 0: not in the line
}

// operationOf returns the operation of the span of a request.
func operationOf(span []byte) (operation string, stream, ok bool) {
	switch string(span) {
	case "generate", "compat_generate", "completions", "sagemaker_compatibility":
		return "text_completion", false, true
	case "generate_stream":
		return "text_completion", true, true
	case "chat_completions", "vertex_compatibility":
		return "chat", false, true
	case "embed", "embed_all", "embed_sparse", "openai_embed", "similarity":
		return "embeddings", false, true
	case "rerank":
		return "rerank", false, true
	case "predict":
		return "classify", false, true
	default:
		return "", false, false
	}
}

const httpSpan = "HTTP request{"

// readSpans reads "span{field=value …}:span:…". It reports whether one of them is
// that of a request. Only the first such counts, and a caller has no hand in what
// stands before it but the values of HTTP headers.
func (c *call) readSpans(spans []byte) bool { return c.readNested(spans, maxSpans) }

// maxSpans bounds the spans within each other that are looked at.
const maxSpans = 8

func (c *call) readNested(spans []byte, depth int) bool {
	if rest, ok := bytes.CutPrefix(spans, []byte(httpSpan)); ok {
		at := c.readHTTP(rest)
		if at < 0 {
			return false
		}
		spans = rest[at:]
	}
	name := spans
	for i, b := range spans {
		if !pyrepr.IsNameByte(b) {
			name = spans[:i]
			break
		}
	}
	var ok bool
	if c.operation, c.stream, ok = operationOf(name); !ok {
		return false
	}
	fields := spans[len(name):]
	next, nested := bytes.CutPrefix(fields, []byte(":"))
	if !nested && string(name) == "compat_generate" { // its fields are the server's
		_, next, nested = bytes.Cut(fields, []byte("}:"))
	}
	if nested && depth > 0 {
		// The inner one has the parameters. Below the route's own span are those of
		// functions that every request goes through: the names say nothing.
		operation := c.operation
		if c.readNested(next, depth-1); string(name) != "compat_generate" {
			c.stream = false
		}
		c.operation = operation
		return true
	}
	if at := bytes.Index(fields, []byte("parameters=")); at == len("{") {
		c.readParameters(fields[at+len("parameters="):])
	}
	c.readFigures(fields)
	return true
}

// readFigures reads `… total_time="735.200735ms" … seed="None"}` from its end:
// these values the server writes, what stands before them is the caller's.
func (c *call) readFigures(b []byte) {
	b, ok := bytes.CutSuffix(b, []byte("}"))
	for ok {
		var name, value []byte
		if name, value, b, ok = cutFigure(b); ok {
			ok = c.figure(name, value)
		}
	}
}

// cutFigure takes `name="value"` from the end of b.
func cutFigure(b []byte) (name, value, rest []byte, ok bool) {
	b, ok = bytes.CutSuffix(bytes.TrimRight(b, " "), []byte(`"`))
	if !ok {
		return nil, nil, b, false
	}
	at := bytes.LastIndex(b, []byte(`="`))
	if at < 0 {
		return nil, nil, b, false
	}
	value = b[at+len(`="`):]
	start := at
	for start > 0 && pyrepr.IsNameByte(b[start-1]) {
		start--
	}
	return b[start:at], value, b[:start], true
}

// figure takes one of the server's figures. It reports false for what is none.
func (c *call) figure(name, value []byte) bool {
	took, isTime := stamp.Duration(value)
	switch string(name) {
	case "total_time":
		c.total = took
	case "inference_time":
		c.inference = took
	case "time_per_token":
		c.perToken = took
	case "validation_time", "tokenization_time", "queue_time":
	case "seed":
		if seed, ok := pyrepr.Integer(some(value)); ok && c.settings.Get(sampling.Seed) == 0 {
			c.settings.Set(sampling.Seed, seed)
		}
		return true
	default:
		return false
	}
	return isTime
}

// readParameters reads "GenerateParameters { best_of: None, temperature: Some(0.7), … }"
// as Rust's Debug prints it.
func (c *call) readParameters(b []byte) {
	if len(b) > 0 && b[0] == '"' { // chat_completions of 3.3 has it as a text
		if end := pyrepr.EndOfString(b); end > 0 {
			b, _ = pyrepr.AppendUnescaped(nil, b[1:end-1])
		}
	}
	b, ok := bytes.CutPrefix(b, []byte("GenerateParameters { "))
	for ok {
		var name []byte
		if name, b, ok = bytes.Cut(b, []byte(": ")); !ok || len(name) > 32 {
			return
		}
		end := pyrepr.EndOfValue(b)
		if end < 0 {
			return
		}
		value := bytes.TrimRight(b[:end], " ")
		c.parameter(name, some(value))
		b, ok = bytes.CutPrefix(b[end:], []byte(", "))
	}
}

func (c *call) parameter(name, value []byte) {
	switch string(name) {
	case "temperature", "top_p", "top_k", "max_new_tokens", "seed", "stop":
		c.settings.Learn(name, value)
	case "adapter_id":
		if pyrepr.IsString(value) && len(value) <= maxName {
			c.adapter = value[1 : len(value)-1]
		}
	}
}

// maxName bounds the name of an adapter.
const maxName = 256

// some returns what stands in "Some(…)", or the value as it is.
func some(value []byte) []byte {
	if inner, ok := bytes.CutPrefix(value, []byte("Some(")); ok {
		if inner, ok = bytes.CutSuffix(inner, []byte(")")); ok {
			return inner
		}
	}
	return value
}

// readHTTP reads the fields of the span that OpenTelemetry opens. They have no
// quotes: a value ends where the next name begins, and the user agent, which may
// hold anything, where the server's own fields begin. It returns where the next
// span does, or -1.
func (c *call) readHTTP(b []byte) (end int) {
	close := bytes.LastIndex(b, []byte("}:"))
	mark := bytes.Index(b, []byte(" otel.kind="))
	if mark >= 0 {
		if at := bytes.Index(b[mark:], []byte("}:")); at >= 0 {
			close = mark + at
		}
	}
	if close < 0 {
		return -1
	}
	c.method = field(b[:close], "http.method", "http.request.method")
	c.target = field(b[:close], "http.target", "url.path")
	c.client = field(b[:close], "http.client_ip", "client.address")
	if mark >= 0 && mark < close {
		if at := bytes.Index(b[:mark], []byte(" http.user_agent=")); at >= 0 {
			c.agent = b[at+len(" http.user_agent=") : mark]
		}
		c.trace = field(b[mark:close], "trace_id")
		c.setStatus(field(b[mark:close], "http.status_code", "http.response.status_code"))
	}
	return close + len("}:")
}

// field returns the first value of one of the names, up to the next space.
func field(b []byte, names ...string) []byte {
	for _, name := range names {
		if at := bytes.Index(b, []byte(" "+name+"=")); at >= 0 {
			value := b[at+len(name)+2:]
			if end := bytes.IndexByte(value, ' '); end >= 0 {
				value = value[:end]
			}
			return bytes.Trim(value, `"`)
		}
	}
	return nil
}

func (c *call) setStatus(value []byte) {
	if n, ok := pyrepr.Integer(value); ok && n >= 100 && n <= 999 {
		c.status = int(n)
	}
}

// fill fills what the spans say.
func (c *call) fill(d *parsers.Draft) {
	r := &d.Record
	r.SetString(audit.APIOperation, c.operation)
	if len(c.method) > 0 {
		route := parsers.Classify(c.method, c.target)
		route.Model, route.Revision = nil, nil
		d.SetRequest(c.method, &route)
	}
	if c.status > 0 {
		d.SetStatus(c.status)
	}
	if len(c.client) > 0 && !d.SetClient(c.client) {
		r.Flag(audit.FieldsDropped)
	}
	d.SetUserAgent(c.agent)
	if isTrace(c.trace) {
		r.SetText(audit.SessionTraceID, c.trace)
	}
	r.SetText(audit.ModelAdapter, c.adapter)
	c.settings.Fill(r)
	if c.stream {
		r.SetBool(audit.ParamsStream, true)
	}
	if c.total > 0 {
		r.SetInt(audit.UsageDurationMs, milliseconds(c.total))
	}
	if n, ok := tokens(c.inference, c.perToken); ok {
		r.SetInt(audit.UsageOutputTokens, n)
	}
}

// isTrace accepts 32 hex digits that are not all zero.
func isTrace(b []byte) bool {
	if len(b) != 32 {
		return false
	}
	set := false
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
		set = set || c != '0'
	}
	return set
}

// tokens returns how many tokens were generated. The router divides the time by
// their number and rounds down to a nanosecond, so of the numbers that lead to the
// same quotient there is mostly one.
func tokens(inference, perToken int64) (n int64, ok bool) {
	if inference <= 0 || perToken <= 0 {
		return 0, false
	}
	most := inference / perToken
	least := inference/(perToken+1) + 1
	return most, most == least
}

func milliseconds(nanoseconds int64) int64 { return (nanoseconds + 5e5) / 1e6 }
