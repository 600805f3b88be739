// Package otlp takes log records over OTLP/HTTP, in protobuf and in JSON.
//
// It keeps the promise of package web: a request that is answered with 200 is
// durable, all its records but those that the answer counts as rejected.
//
// Each record becomes one line, a JSON object with fixed keys in a fixed
// order; README.md has them. Requests are translated on the wire, record by
// record, without a tree of objects in between: an empty message of two bytes
// would take a hundred times as much there, and memory is bounded.
package otlp

import (
	"encoding/json"
	"net/http"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/internal/web"
)

// The defaults of Config, those of the OTLP specification.
const (
	DefaultListen = "127.0.0.1:4318"
	DefaultPath   = "/v1/logs"
)

// Config is what users say about an OTLP input. Listen defaults to
// DefaultListen and Path to DefaultPath.
type Config = web.Config

// Deps is what code gives to an OTLP input.
type Deps = web.Deps

// Input takes records until its context ends. Run may be called once at a time.
type Input = web.Server

var _ inputs.Input = (*Input)(nil)

// New checks the configuration. It opens nothing.
func New(config Config, deps Deps) (*Input, error) {
	return web.New(config, deps, kind(), web.DefaultLimits(config.MaxBody), nil)
}

func kind() web.Kind { return web.Kind{Listen: DefaultListen, Path: DefaultPath, Format: format{}} }

// The media types of OTLP/HTTP. An answer has that of its request.
const (
	typeProtobuf = "application/x-protobuf"
	typeJSON     = "application/json"
)

// format is OTLP/HTTP. Field numbers are those of opentelemetry-proto 1.9.
type format struct{}

// Accepts implements web.Format.
func (format) Accepts(media string) (bool, string) {
	return media == typeProtobuf || media == typeJSON, typeProtobuf + " or " + typeJSON
}

// Convert implements web.Format.
func (format) Convert(media string, body []byte, share *web.Share) (web.Lines, error) {
	b := &builder{out: buffer{share: share}, resource: buffer{share: share}, scope: buffer{share: share}}
	var err error
	if media == typeJSON {
		err = b.convertJSON(body)
	} else {
		err = b.convertProtobuf(body)
	}
	if err == nil {
		err = b.full()
	}
	if err != nil {
		return web.Lines{}, err
	}
	b.lines.Data = b.out.data
	return b.lines, nil
}

// Success implements web.Format with an ExportLogsServiceResponse.
func (format) Success(media string, lines web.Lines) (string, []byte) {
	if media == typeJSON {
		if lines.Rejected == 0 {
			return typeJSON, []byte("{}")
		}
		type partial struct {
			Rejected int64  `json:"rejectedLogRecords,string"`
			Message  string `json:"errorMessage"`
		}
		return typeJSON, encode(map[string]partial{"partialSuccess": {lines.Rejected, lines.Reason}})
	}
	if lines.Rejected == 0 {
		return typeProtobuf, nil
	}
	var partial []byte
	partial = protowire.AppendTag(partial, 1, protowire.VarintType)
	partial = protowire.AppendVarint(partial, uint64(lines.Rejected)) //nolint:gosec // a count
	partial = protowire.AppendTag(partial, 2, protowire.BytesType)
	partial = protowire.AppendString(partial, lines.Reason)
	body := protowire.AppendTag(nil, 1, protowire.BytesType)
	return typeProtobuf, protowire.AppendBytes(body, partial)
}

// Failure implements web.Format with a google.rpc.Status.
func (format) Failure(media string, r *web.RefusalError) (string, []byte) {
	code := rpcCode(r.Status)
	if media == typeProtobuf {
		body := protowire.AppendTag(nil, 1, protowire.VarintType)
		body = protowire.AppendVarint(body, code)
		body = protowire.AppendTag(body, 2, protowire.BytesType)
		return typeProtobuf, protowire.AppendString(body, r.Detail)
	}
	return typeJSON, encode(struct {
		Code    uint64 `json:"code"`
		Message string `json:"message"`
	}{code, r.Detail})
}

func encode(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil { // strings and integers always encode
		return []byte("{}")
	}
	return body
}

// rpcCode returns the google.rpc.Code that belongs to an HTTP status.
func rpcCode(status int) uint64 {
	switch status {
	case http.StatusUnauthorized:
		return 16 // UNAUTHENTICATED
	case http.StatusForbidden:
		return 7 // PERMISSION_DENIED
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return 12 // UNIMPLEMENTED
	case http.StatusTooManyRequests, http.StatusRequestEntityTooLarge:
		return 8 // RESOURCE_EXHAUSTED
	case http.StatusServiceUnavailable:
		return 14 // UNAVAILABLE
	default:
		return 3 // INVALID_ARGUMENT
	}
}

// builder makes the lines of one request.
type builder struct {
	out             buffer
	resource, scope buffer // of the records in hand, as JSON; empty when there is nothing
	unfit           error  // what is wrong with resource or scope: their records are rejected
	lines           web.Lines
}

// full returns the refusal of memory, if there was one.
func (b *builder) full() error {
	for _, part := range []*buffer{&b.out, &b.resource, &b.scope} {
		if part.full != nil {
			return part.full
		}
	}
	return nil
}

// reject counts a record that can not become a line. The first reason is told.
func (b *builder) reject(err error) {
	if b.lines.Rejected == 0 {
		b.lines.Reason = err.Error()
	}
	b.lines.Rejected++
}

// record is a LogRecord in pieces of its encoding, which dialect knows.
type record struct {
	time, observed          uint64
	severity                int64
	dropped, flags          uint64
	severityText, eventName []byte
	body, attributes        []byte
	traceID, spanID         []byte // in lower-case hexadecimal
}

// dialect writes pieces of one of the two encodings as JSON.
type dialect interface {
	// text writes a string.
	text(to *buffer, piece []byte)
	// value writes an AnyValue, at most depth deep.
	value(to *buffer, piece []byte, depth int) error
	// attributes writes the list of KeyValues in a piece as an object, a member
	// when it has a name, and nothing when it is empty.
	attributes(to *buffer, name string, piece []byte) error
}

// add writes the line of a record, or rejects it.
func (b *builder) add(r *record, d dialect) {
	if b.unfit != nil {
		b.reject(b.unfit)
		return
	}
	begin := len(b.out.data)
	if err := b.write(r, d); err != nil {
		b.out.data = b.out.data[:begin]
		b.reject(err)
		return
	}
	b.lines.Count++
}

func (b *builder) write(r *record, d dialect) error {
	to := &b.out
	if b.lines.Count > 0 {
		to.byte('\n')
	}
	to.open('{')
	to.number("time_unix_nano", r.time)
	to.number("observed_time_unix_nano", r.observed)
	if r.severity != 0 {
		to.key("severity_number")
		to.text(strconv.FormatInt(r.severity, 10))
	}
	if len(r.severityText) > 0 {
		to.key("severity_text")
		d.text(to, r.severityText)
	}
	if len(r.eventName) > 0 {
		to.key("event_name")
		d.text(to, r.eventName)
	}
	if r.body != nil {
		to.key("body")
		if err := d.value(to, r.body, maxDepth); err != nil {
			return err
		}
	}
	if err := d.attributes(to, "attributes", r.attributes); err != nil {
		return err
	}
	to.number("dropped_attributes_count", r.dropped)
	to.number("flags", r.flags)
	to.hex("trace_id", r.traceID)
	to.hex("span_id", r.spanID)
	for _, of := range []struct {
		key  string
		part *buffer
	}{{"resource", &b.resource}, {"scope", &b.scope}} {
		if len(of.part.data) > 0 {
			to.key(of.key)
			to.bytes(of.part.data)
		}
	}
	to.close('}')
	return nil
}
