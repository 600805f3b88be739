// Package httpinput takes log lines over HTTP from programs on the same host.
//
// It keeps the promise of package web: a request that is answered with 200 is
// durable with all its lines, and any other answer stands for none of them. A
// sender that repeats what was not answered loses nothing; a repeat after an
// answer that got lost makes new records.
package httpinput

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/internal/web"
)

// The defaults of Config.
const (
	DefaultListen = "127.0.0.1:9428"
	DefaultPath   = "/"
)

// Config is what users say about an HTTP input. Listen defaults to
// DefaultListen and Path to DefaultPath.
type Config = web.Config

// Deps is what code gives to an HTTP input.
type Deps = web.Deps

// Input takes lines until its context ends. Run may be called once at a time.
type Input = web.Server

var _ inputs.Input = (*Input)(nil)

// New checks the configuration. It opens nothing.
func New(config Config, deps Deps) (*Input, error) {
	return web.New(config, deps, kind(), web.DefaultLimits(config.MaxBody), nil)
}

func kind() web.Kind { return web.Kind{Listen: DefaultListen, Path: DefaultPath, Format: format{}} }

// format is text, a line each, or JSON.
type format struct{}

const accepts = "application/x-ndjson or text/plain for one record a line, or application/json for an object or an array of objects"

// Accepts implements web.Format.
func (format) Accepts(media string) (bool, string) {
	switch media {
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "text/plain", "application/json":
		return true, accepts
	default:
		return false, accepts
	}
}

// Convert implements web.Format.
func (format) Convert(media string, body []byte, share *web.Share) (web.Lines, error) {
	if media == "application/json" {
		return splitJSON(body, share)
	}
	return web.Lines{Data: body, Count: countLines(body)}, nil
}

// countLines counts lines; what stands behind the last line end is one.
func countLines(body []byte) int64 {
	count := int64(bytes.Count(body, []byte{'\n'}))
	if len(body) > 0 && body[len(body)-1] != '\n' {
		count++
	}
	return count
}

// Success implements web.Format.
func (format) Success(_ string, lines web.Lines) (string, []byte) {
	body := strconv.AppendInt([]byte(`{"accepted":`), lines.Count, 10)
	return "application/json", append(body, '}', '\n')
}

// Failure implements web.Format with an RFC 9457 document.
func (format) Failure(_ string, r *web.RefusalError) (string, []byte) {
	body, err := json.Marshal(struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{http.StatusText(r.Status), r.Status, r.Detail})
	if err != nil { // strings and integers always encode
		body = []byte("{}")
	}
	return "application/problem+json", append(body, '\n')
}
