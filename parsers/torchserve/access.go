package torchserve

import (
	"bytes"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// access reads `/127.0.0.1:40592 "POST /predictions/xgb_iris HTTP/1.1" 200 7`: the last
// number is the time it took, in milliseconds. A request target holds no space (RFC
// 9112, 3.2); what a caller sends cannot move the fields behind it, because those are
// found from the end.
func (p *Parser) access(dst []parsers.Draft, line *parsers.Line, when time.Time, b []byte) ([]parsers.Draft, parsers.Outcome) {
	client, rest, ok := bytes.Cut(b, []byte(` "`))
	end := bytes.LastIndex(rest, []byte(`" `))
	if !ok || end < 0 || bytes.IndexByte(client, '/') < 0 {
		return dst, unparsed("no client and quoted request")
	}
	code, took, ok := bytes.Cut(rest[end+2:], []byte(" "))
	duration, err := strconv.ParseInt(string(took), 10, 64)
	if !ok || err != nil || duration < 0 {
		return dst, unparsed("no status and duration behind the request")
	}
	request := rest[:end]
	if target, ok := bytes.CutPrefix(request, []byte("gRPC ")); ok {
		return p.remoteCall(dst, line, when, client, target, code, duration)
	}
	method, target, ok := parsers.SplitRequest(request)
	status, err := strconv.Atoi(string(code))
	if string(code) == "null" {
		status, err = parsers.NoStatus, nil
	}
	if !ok || err != nil || status > 999 {
		return dst, unparsed("no method, path and status in the request")
	}
	route := parsers.Classify(method, target)
	if rule, noise := route.Noise(status); noise {
		return dst, ignored(rule)
	}
	dst, d := parsers.Next(dst)
	setModel(&d.Record, method, target, &route)
	d.SetRequest(method, &route)
	d.SetStatus(status)
	p.complete(d, line, when, client, duration)
	return dst, recorded()
}

// complete fills what access lines of both kinds have.
func (p *Parser) complete(d *parsers.Draft, line *parsers.Line, when time.Time, client []byte, duration int64) {
	r := &d.Record
	d.SetTime(when, false)
	d.SetActor(nil)
	setClient(d, client)
	r.SetInt(audit.UsageDurationMs, duration)
	p.describe(d, line.Path)
	if !utf8.Valid(line.Data) {
		r.Flag(audit.InvalidUTF8)
	}
	if line.Cut {
		r.Flag(audit.Truncated)
	}
}

// setClient reads an address as Java prints a socket's: "/127.0.0.1:40592",
// "host/127.0.0.1:40592", "/[0:0:0:0:0:0:0:1]:40592", before Java 14 without brackets.
func setClient(d *parsers.Draft, client []byte) {
	address := client[bytes.IndexByte(client, '/')+1:]
	if len(address) > 0 && address[0] != '[' && bytes.Count(address, []byte(":")) == 8 {
		address = address[:bytes.LastIndexByte(address, ':')]
	}
	if !d.SetClient(address) {
		d.Record.Flag(audit.FieldsDropped)
	}
}

// setModel fills event and model of the paths that only TorchServe has: its models have
// a name without slashes, and a version behind it.
func setModel(r *audit.Record, method, target []byte, route *parsers.Route) {
	path := route.Path
	if rest, ok := bytes.CutPrefix(path, []byte("/explanations/")); ok {
		r.SetString(audit.Event, "model.inference")
		r.SetString(audit.APIOperation, "explain")
		setName(r, rest)
		return
	}
	if bytes.HasPrefix(path, []byte("/wfpredict/")) {
		r.SetString(audit.Event, "model.inference")
		r.SetString(audit.APIOperation, "predict")
		return // the path names a workflow
	}
	if string(path) == "/token" {
		r.SetString(audit.Event, "auth.key")
		return
	}
	if string(path) == "/models" && string(method) == "POST" {
		r.SetString(audit.Event, "model.load")
		r.SetText(audit.ModelName, parameter(target, "model_name="))
		return
	}
	if rest, ok := bytes.CutPrefix(path, []byte("/models/")); ok && route.Event != "model.inference" {
		route.Model, route.Revision = nil, nil
		setName(r, rest)
	}
}

// setName splits "resnet18/1.0".
func setName(r *audit.Record, rest []byte) {
	name, version, _ := bytes.Cut(rest, []byte("/"))
	version, _, _ = bytes.Cut(version, []byte("/"))
	r.SetText(audit.ModelName, name)
	if string(version) != "all" && string(version) != "set-default" {
		r.SetText(audit.ModelVersion, version)
	}
}

// parameter returns a value of the query, if it stands there without escapes. Nothing
// else of a query is kept: the address of a model can hold a key.
func parameter(target []byte, name string) []byte {
	_, query, _ := bytes.Cut(target, []byte("?"))
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte("&"))
		if value, ok := bytes.CutPrefix(pair, []byte(name)); ok && len(value) <= 256 && bytes.IndexByte(value, '%') < 0 && bytes.IndexByte(value, '+') < 0 {
			return value
		}
	}
	return nil
}

// remoteCall records a call over gRPC: `"gRPC org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions HTTP/2.0" null 24`.
// Up to 0.11.0 its status was not set; since then it is gRPC's.
func (p *Parser) remoteCall(dst []parsers.Draft, line *parsers.Line, when time.Time, client, target, code []byte, duration int64) ([]parsers.Draft, parsers.Outcome) {
	name, _, _ := bytes.Cut(target, []byte(" "))
	outcome, reason := outcomeOf(code)
	if outcome == "" || len(name) == 0 {
		return dst, unparsed("no status and duration behind the request")
	}
	event, operation, rule := remoteMethod(name[bytes.LastIndexByte(name, '/')+1:])
	if rule != "" && outcome == "success" {
		return dst, ignored(rule)
	}
	dst, d := parsers.Next(dst)
	r := &d.Record
	r.SetString(audit.Event, event)
	r.SetString(audit.APIOperation, operation)
	r.SetText(audit.APIPath, name)
	r.SetString(audit.Outcome, outcome)
	r.SetString(audit.Reason, reason)
	p.complete(d, line, when, client, duration)
	return dst, recorded()
}

// grpcReasons are the codes of gRPC that are not OK.
var grpcReasons = [...]string{
	1: "grpc_cancelled", 2: "grpc_unknown", 3: "grpc_invalid_argument", 4: "grpc_deadline_exceeded", 5: "grpc_not_found", 6: "grpc_already_exists",
	7: "grpc_permission_denied", 8: "grpc_resource_exhausted", 9: "grpc_failed_precondition", 10: "grpc_aborted", 11: "grpc_out_of_range",
	12: "grpc_unimplemented", 13: "grpc_internal", 14: "grpc_unavailable", 15: "grpc_data_loss", 16: "grpc_unauthenticated",
}

// outcomeOf reads a status of gRPC.
func outcomeOf(code []byte) (outcome, reason string) {
	if string(code) == "null" {
		return "unknown", parsers.ReasonOutcomeNotLogged
	}
	n, err := strconv.Atoi(string(code))
	switch {
	case err != nil || n < 0 || n >= len(grpcReasons):
		return "", ""
	case n == 0:
		return "success", ""
	case n == 1:
		return "cancelled", grpcReasons[n]
	case n == 7 || n == 16:
		return "denied", grpcReasons[n]
	default:
		return "failed", grpcReasons[n]
	}
}

// remoteMethod tells what a method of TorchServe's services does.
func remoteMethod(name []byte) (event, operation, noise string) {
	switch string(name) {
	case "Predictions", "StreamPredictions", "StreamPredictions2", "ModelInfer":
		return "model.inference", "predict", ""
	case "Ping", "ServerLive", "ServerReady", "ModelReady":
		return "data.access", "", parsers.RuleHealthCheck
	case "RegisterModel":
		return "model.load", "", ""
	case "UnregisterModel":
		return "model.unload", "", ""
	case "ListModels", "DescribeModel", "ServerMetadata", "ModelMetadata":
		return "model.list", "", ""
	default: // ScaleWorker, SetDefault
		return "data.modify", "", ""
	}
}
