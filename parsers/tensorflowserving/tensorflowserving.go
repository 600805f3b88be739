// Package tensorflowserving reads the log of TensorFlow Serving (tensorflow_model_server),
// in TensorFlow's own format and in that of Abseil's logger.
//
// TensorFlow Serving writes no access log: who asked what must come from a proxy in
// front. Its log tells which model versions were loaded and unloaded, and with
// TF_CPP_MAX_VLOG_LEVEL=1 which requests came over HTTP and what failed.
//
// The promise: each line gets one verdict by a rule that names it, and what no rule
// names is unparsed. The parser remembers nothing between lines.
package tensorflowserving

import (
	"bytes"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/ansi"
	"github.com/auditail/auditail/parsers/internal/llamalog"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// Rules under which lines are ignored.
const (
	ruleLoad    = "model_load"     // a step of loading or unloading that makes no record
	ruleServer  = "server_log"     // what the server says of itself
	ruleLibrary = "tensorflow_log" // what TensorFlow says while it loads a model
	ruleEmpty   = "empty"
)

// Parser reads the lines of a server. It holds nothing between them.
type Parser struct {
	config   parsers.Config
	provider string
	zone     *time.Location
	plain    []byte // the line in hand without colours
}

// New returns a parser.
func New(config parsers.Config) (*Parser, error) {
	p := &Parser{config: config, provider: config.Provider, zone: config.Zone()}
	if p.provider == "" {
		p.provider = "tensorflow-serving"
	}
	return p, nil
}

// entry is a line of TensorFlow's logger.
type entry struct {
	level   byte // 'I', 'W', 'E', 'F'
	when    time.Time
	zoned   bool
	file    []byte // "tensorflow_serving/core/loader_harness.cc"
	message []byte
}

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	line.Data, p.plain = ansi.Plain(p.plain, line.Data)
	e, ok := p.split(line.Data, line.Seen)
	if !ok {
		return dst, bare(line.Data), nil
	}
	dst, outcome := p.read(dst, &line, &e)
	return dst, outcome, nil
}

// split takes a line apart:
//
//	2020-11-25 07:15:05.348822: I tensorflow_serving/core/loader_harness.cc:74] Loading servable version {name: tracking version: 1}
//	I0730 07:15:05.348822       1 loader_harness.cc:78] Loading servable version {name: tracking version: 1}
//	I0000 00:00:1785391985.348822       1 loader_harness.cc:78] Loading servable version {name: tracking version: 1}
//
// The last one is Abseil's before it is initialised: the seconds are Unix time.
func (p *Parser) split(b []byte, seen time.Time) (e entry, ok bool) {
	var rest []byte
	if when, n, found := stamp.ReadLocal(b, p.zone); found {
		if len(b) < n+5 || b[n] != ':' || b[n+1] != ' ' || !isLevel(b[n+2]) || b[n+3] != ' ' {
			return e, false
		}
		e.when, e.level, rest = when, b[n+2], b[n+4:]
	} else {
		if rest, ok = p.splitAbseil(&e, b, seen); !ok {
			return e, false
		}
		_, rest, ok = bytes.Cut(bytes.TrimLeft(rest, " "), []byte(" ")) // thread
		if !ok {
			return e, false
		}
	}
	at := bytes.Index(rest, []byte("] "))
	if at < 0 {
		return e, false
	}
	place := rest[:at]
	e.message = rest[at+2:]
	if at = bytes.LastIndexByte(place, ':'); at < 1 || bytes.IndexByte(place, ' ') >= 0 {
		return e, false
	}
	e.file = place[:at]
	return e, true
}

// splitAbseil reads "I0730 07:15:05.348822 ".
func (p *Parser) splitAbseil(e *entry, b []byte, seen time.Time) (rest []byte, ok bool) {
	const date = len("I0730 ")
	if len(b) < date || !isLevel(b[0]) || b[5] != ' ' {
		return nil, false
	}
	e.level = b[0]
	if epoch, found := bytes.CutPrefix(b[1:], []byte("0000 00:00:")); found {
		seconds, rest, found := bytes.Cut(epoch, []byte(" "))
		e.when, ok = stamp.ParseEpoch(seconds, 1)
		e.zoned = true
		return rest, ok && found
	}
	month, ok1 := parsers.TwoDigits(b[1:])
	day, ok2 := parsers.TwoDigits(b[3:])
	clock, rest, found := bytes.Cut(b[date:], []byte(" "))
	if !ok1 || !ok2 || !found || len(clock) != len("07:15:05.348822") || clock[2] != ':' || clock[5] != ':' || clock[8] != '.' {
		return nil, false
	}
	hour, ok1 := parsers.TwoDigits(clock)
	minute, ok2 := parsers.TwoDigits(clock[3:])
	second, ok3 := parsers.TwoDigits(clock[6:])
	micro := 0
	for _, c := range clock[9:] {
		ok3 = ok3 && c >= '0' && c <= '9'
		micro = micro*10 + int(c-'0')
	}
	if !ok1 || !ok2 || !ok3 {
		return nil, false
	}
	e.when, ok = stamp.WithYear(month, day, hour, minute, second, micro*1000, seen, p.zone)
	return rest, ok
}

func isLevel(c byte) bool { return c == 'I' || c == 'W' || c == 'E' || c == 'F' }

// read judges a line of TensorFlow's logger.
func (p *Parser) read(dst []parsers.Draft, line *parsers.Line, e *entry) ([]parsers.Draft, parsers.Outcome) {
	m := e.message
	for _, kind := range [...]struct{ mark, event, outcome string }{
		{"Successfully loaded servable version ", "model.load", "success"},
		{"Done unloading servable version ", "model.unload", "success"},
		{"Encountered an error for servable version ", "model.load", "failed"},
	} {
		if rest, ok := bytes.CutPrefix(m, []byte(kind.mark)); ok {
			return p.servable(dst, e, kind.event, kind.outcome, rest)
		}
	}
	if rest, ok := bytes.CutPrefix(m, []byte("Processing HTTP request: ")); ok {
		return p.request(dst, line, e, rest)
	}
	if event, operation, ok := failedCall(m); ok {
		dst, d := p.next(dst, e, event)
		d.Record.SetString(audit.APIOperation, operation)
		d.Record.SetString(audit.Outcome, "failed")
		d.Record.SetString(audit.Reason, "call_failed")
		return dst, recorded()
	}
	switch {
	case bytes.HasPrefix(m, []byte("Error Processing HTTP/REST request: ")):
		return dst, unparsed("a call failed, of which there is a record already")
	case e.level != 'I' || llamalog.Troubled(m):
		return dst, unparsed("a message that no rule knows")
	case bytes.HasPrefix(m, []byte("Loading servable version ")), bytes.HasPrefix(m, []byte("Approving load for servable version ")),
		bytes.HasPrefix(m, []byte("Successfully reserved resources to load servable ")), bytes.HasPrefix(m, []byte("Quiescing servable version ")),
		bytes.HasPrefix(m, []byte("Done quiescing servable version ")), bytes.HasPrefix(m, []byte("Unloading just-loaded servable version ")),
		bytes.HasPrefix(m, []byte("Unloading servable version ")), bytes.HasPrefix(m, []byte(" (Re-)adding model: ")):
		return dst, ignored(ruleLoad)
	case isServing(e.file):
		return dst, ignored(ruleServer)
	case bytes.HasPrefix(e.file, []byte("external/org_tensorflow/")), bytes.HasPrefix(e.file, []byte("tensorflow/")), bytes.HasPrefix(e.file, []byte("external/local_tsl/")),
		bytes.HasPrefix(e.file, []byte("external/local_xla/")), bytes.HasPrefix(e.file, []byte("third_party/tensorflow/")), isLibrary(e.file):
		return dst, ignored(ruleLibrary)
	}
	return dst, unparsed("a message that no rule knows")
}

// failedCall reads what the server logs of calls over gRPC that failed. Its text can
// quote the caller.
func failedCall(m []byte) (event, operation string, ok bool) {
	m = bytes.TrimPrefix(m, []byte("TFRT "))
	name, _, ok := bytes.Cut(m, []byte(" failed: "))
	if !ok {
		return "", "", false
	}
	switch string(name) {
	case "Predict", "Regress request", "MultiInference request":
		return "model.inference", "predict", true
	case "Classify request":
		return "model.inference", "classify", true
	case "GetModelMetadata", "GetModelStatus":
		return "model.list", "", true
	}
	return "", "", false
}

// isServing tells whether a source file is one of the server's. Abseil's format has no
// folders.
func isServing(file []byte) bool {
	if bytes.HasPrefix(file, []byte("tensorflow_serving/")) {
		return true
	}
	switch string(file) {
	case "server.cc", "server_core.cc", "server_core.h", "loader_harness.cc", "basic_manager.cc", "aspired_versions_manager.cc", "http_server.cc",
		"model_service_impl.cc", "prediction_service_impl.cc", "saved_model_bundle_factory.cc", "bundle_factory_util.cc", "saved_model_warmup_util.cc",
		"file_system_storage_path_source.cc", "static_storage_path_source.cc", "retrier.cc", "simple_loader.h", "tfrt_saved_model_factory.cc":
		return true
	default:
		return false
	}
}

// isLibrary knows the files of TensorFlow that write while a model is loaded.
func isLibrary(file []byte) bool {
	switch string(file) {
	case "reader.cc", "loader.cc", "cpu_feature_guard.cc", "loader_util.cc", "mlir_graph_optimization_pass.cc", "port.cc", "gpu_device.cc", "cuda_executor.cc":
		return true
	default:
		return false
	}
}

// servable records that a version of a model came into memory or left it.
func (p *Parser) servable(dst []parsers.Draft, e *entry, event, outcome string, b []byte) ([]parsers.Draft, parsers.Outcome) {
	name, version, ok := readServable(b)
	if !ok {
		return dst, unparsed("no name and version of a servable")
	}
	dst, d := p.next(dst, e, event)
	r := &d.Record
	r.SetString(audit.Outcome, outcome)
	if outcome != "success" {
		r.SetString(audit.Reason, "load_failed")
	}
	r.SetText(audit.ModelName, name)
	r.SetText(audit.ModelVersion, version)
	return dst, recorded()
}

// readServable reads "{name: tracking version: 1}".
func readServable(b []byte) (name, version []byte, ok bool) {
	rest, ok := bytes.CutPrefix(b, []byte("{name: "))
	if !ok {
		return nil, nil, false
	}
	rest, _, ok = bytes.Cut(rest, []byte("}"))
	at := bytes.LastIndex(rest, []byte(" version: "))
	if !ok || at < 1 {
		return nil, nil, false
	}
	name, version = rest[:at], rest[at+len(" version: "):]
	for _, c := range version {
		if c < '0' || c > '9' {
			return nil, nil, false
		}
	}
	return name, version, len(version) > 0
}

// request reads "POST /v1/models/half:predict body: 123 bytes." How it ended is not
// logged, unless it failed.
func (p *Parser) request(dst []parsers.Draft, line *parsers.Line, e *entry, b []byte) ([]parsers.Draft, parsers.Outcome) {
	method, rest, ok := bytes.Cut(b, []byte(" "))
	at := bytes.LastIndex(rest, []byte(" body: "))
	if !ok || at < 1 || !parsers.IsMethod(method) {
		return dst, unparsed("no method, path and size")
	}
	size, ok := readSize(rest[at+len(" body: "):])
	if !ok {
		return dst, unparsed("no method, path and size")
	}
	route := parsers.Classify(method, rest[:at])
	dst, d := p.next(dst, e, "")
	d.SetRequest(method, &route)
	d.SetProvider(p.provider)
	r := &d.Record
	r.SetString(audit.Outcome, "unknown")
	r.SetString(audit.Reason, parsers.ReasonOutcomeNotLogged)
	r.SetInt(audit.UsageRequestBytes, size)
	if line.Cut {
		r.Flag(audit.Truncated)
	}
	return dst, recorded()
}

// readSize reads "123 bytes.".
func readSize(b []byte) (n int64, ok bool) {
	digits, ok := bytes.CutSuffix(b, []byte(" bytes."))
	if !ok || len(digits) == 0 || len(digits) > 18 {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// next begins a record of an event; without one it is left to the route.
func (p *Parser) next(dst []parsers.Draft, e *entry, event string) ([]parsers.Draft, *parsers.Draft) {
	dst, d := parsers.Next(dst)
	d.SetTime(e.when, e.zoned)
	d.Record.SetString(audit.Event, event)
	d.SetActor(nil)
	d.Record.SetString(audit.APIServer, "tensorflow-serving")
	if event != "" {
		d.SetProvider(p.provider)
	}
	return dst, d
}

// bare judges a line that the logger did not write.
func bare(b []byte) parsers.Outcome {
	switch {
	case len(bytes.TrimSpace(b)) == 0:
		return ignored(ruleEmpty)
	case string(b) == "To enable them in other operations, rebuild TensorFlow with the appropriate compiler flags.":
		return ignored(ruleLibrary)
	case bytes.HasPrefix(b, []byte("[evhttp_server.cc : ")) && bytes.HasSuffix(b, []byte("] NET_LOG: Entering the event loop ...")),
		bytes.HasPrefix(b, []byte("[evhttp_server.cc : ")) && bytes.HasSuffix(b, []byte("] NET_LOG: Server has been terminated.")),
		string(b) == "[warn] getaddrinfo: address family for nodename not supported",
		bytes.HasPrefix(b, []byte("WARNING: All log messages before absl::InitializeLog() is called are written to STDERR")):
		return ignored(ruleServer)
	}
	return unparsed("not a line of TensorFlow Serving")
}

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string {
	const request = "Processing HTTP request"
	return map[audit.Field]string{
		audit.Time:              "time of the line",
		audit.Event:             "message, " + request + ": path",
		audit.Outcome:           "message",
		audit.Reason:            "message",
		audit.ModelName:         "servable: name, " + request + ": path",
		audit.ModelVersion:      "servable: version, " + request + ": path",
		audit.APIMethod:         request + ": method",
		audit.APIPath:           request + ": path",
		audit.APIVersion:        request + ": path",
		audit.APIOperation:      request + ": path, kind of the failed call",
		audit.UsageRequestBytes: request + ": body",
	}
}

func unparsed(reason string) parsers.Outcome { return parsers.Outcome{Rule: reason} }

func ignored(rule string) parsers.Outcome {
	return parsers.Outcome{Verdict: parsers.Ignored, Rule: rule}
}

func recorded() parsers.Outcome { return parsers.Outcome{Verdict: parsers.Recorded} }
