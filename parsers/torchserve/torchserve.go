// Package torchserve reads the logs of TorchServe: access_log.log, model_metrics.log,
// ts_log.log, and the console that has all of them, with log4j and log4j 2.
//
// A call is one access line. The metrics of a model name the server's id of a request,
// which the access line lacks, so they make records of their own: those of one id are
// joined into one.
//
// The promise: each line gets one verdict by a rule that names it, what no rule
// names is unparsed, and what a model prints is never kept.
package torchserve

import (
	"bytes"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/ansi"
	"github.com/auditail/auditail/parsers/internal/llamalog"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// Rules under which lines are ignored, besides those of access lines in package
// parsers.
const (
	ruleServer    = "server_log"   // what the server says of itself
	ruleWorker    = "worker_log"   // what its workers say when they start and stop
	ruleMetrics   = "metrics"      // figures that belong to no request
	ruleBanner    = "start_banner" // the configuration that is printed at the start
	ruleTraceback = "traceback"    // frames of a Java exception
	ruleEmpty     = "empty"
)

// Parser reads the lines of one input, which may be the logs of several
// servers: what is remembered belongs to the path of a line.
type Parser struct {
	config   parsers.Config
	provider string
	zone     *time.Location

	servers []*server  // oldest first
	last    *server    // of the line before; may be nil
	waiting []*request // oldest first
	plain   []byte     // the line in hand without colours
}

// New returns a parser.
func New(config parsers.Config) (*Parser, error) {
	p := &Parser{config: config, provider: config.Provider, zone: config.Zone()}
	if p.provider == "" {
		p.provider = "torchserve"
	}
	return p, nil
}

// Parse implements [parsers.Parser].
func (p *Parser) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	line.Data, p.plain = ansi.Plain(p.plain, line.Data)
	when, n, ok := stamp.ReadLocal(line.Data, p.zone)
	if !ok {
		outcome := p.bare(&line)
		return dst, outcome, nil
	}
	if s := p.find(line.Path); s != nil {
		s.dump = 0
	}
	dst, outcome := p.entry(dst, &line, when, line.Data[n:])
	return dst, outcome, nil
}

// entry judges a line with a time:
//
//	2024-04-15T21:36:12,719 - /127.0.0.1:40592 "POST /predictions/xgb_iris HTTP/1.1" 200 7
//	2024-04-15T21:36:12,706 - HandlerTime.ms:0.9|#ModelName:xgb_iris,Level:Model|#hostname:node-a,requestID:a758f15c-…,timestamp:1713216970
//	2018-10-15 13:56:18,976 [INFO ] BackendWorker-9000 ACCESS_LOG - /127.0.0.1:64003 "POST /predictions/resnet-18 HTTP/1.1" 200 118
func (p *Parser) entry(dst []parsers.Draft, line *parsers.Line, when time.Time, b []byte) ([]parsers.Draft, parsers.Outcome) {
	if rest, ok := bytes.CutPrefix(b, []byte(" - ")); ok {
		if isMetric(rest) {
			return p.metric(dst, line, when, rest)
		}
		return p.access(dst, line, when, rest)
	}
	head, message, ok := cutHead(b)
	if !ok {
		return dst, unparsed("not a line of TorchServe")
	}
	switch string(head.logger) {
	case "ACCESS_LOG":
		return p.access(dst, line, when, message)
	case "MODEL_METRICS":
		return p.metric(dst, line, when, message)
	case "TS_METRICS":
		return dst, ignored(ruleMetrics)
	case "MODEL_LOG":
		if isWorker(message) {
			return dst, ignored(ruleWorker)
		}
		return dst, unparsed("printed by the model")
	}
	if !bytes.HasPrefix(head.logger, []byte("org.pytorch.serve.")) {
		return dst, unparsed("a logger that no rule knows")
	}
	return p.server(dst, line, when, &head, message)
}

// head is what stands before the message of a console line.
type head struct {
	level, logger []byte
}

// cutHead reads " [INFO ] main org.pytorch.serve.ModelServer - ".
func cutHead(b []byte) (h head, message []byte, ok bool) {
	rest, ok := bytes.CutPrefix(b, []byte(" ["))
	at := bytes.IndexByte(rest, ']')
	if !ok || at < 4 || at > 6 {
		return h, nil, false
	}
	h.level = bytes.TrimRight(rest[:at], " ")
	rest = bytes.TrimPrefix(rest[at+1:], []byte(" "))
	// The name of a thread may hold spaces, that of a logger does not.
	at = bytes.Index(rest, []byte(" - "))
	if at < 0 {
		var whole bool
		if rest, whole = bytes.CutSuffix(rest, []byte(" -")); !whole {
			return h, nil, false
		}
		at = len(rest)
	} else {
		message = rest[at+len(" - "):]
	}
	front := rest[:at]
	space := bytes.LastIndexByte(front, ' ')
	if space < 1 {
		return h, nil, false
	}
	h.logger = front[space+1:]
	return h, message, len(h.logger) > 0
}

// server judges what the server says of itself.
func (p *Parser) server(dst []parsers.Draft, line *parsers.Line, when time.Time, h *head, m []byte) ([]parsers.Draft, parsers.Outcome) {
	class := h.logger[bytes.LastIndexByte(h.logger, '.')+1:]
	switch string(class) {
	case "ModelManager":
		if name, ok := cutModel(m, " loaded."); ok {
			return p.moved(dst, line, when, "model.load", "success", name), recorded()
		}
		if name, ok := cutModel(m, " unregistered."); ok {
			return p.moved(dst, line, when, "model.unload", "success", name), recorded()
		}
	case "BatchAggregator", "AsyncBatchAggregator":
		if rest, ok := bytes.CutPrefix(m, []byte("Load model failed: ")); ok {
			if at := bytes.Index(rest, []byte(", error: ")); at > 0 {
				return p.moved(dst, line, when, "model.load", "failed", rest[:at]), recorded()
			}
		}
	case "ModelServer", "SnapshotManager", "TokenAuthorization":
		if m = bytes.TrimSpace(m); len(m) == 0 || m[len(m)-1] == '{' || string(class) == "TokenAuthorization" {
			p.serverOf(line.Path).dump = maxDump // it goes on over several lines
			return dst, ignored(ruleBanner)
		}
	}
	if level := string(h.level); level != "INFO" && level != "DEBUG" && level != "TRACE" || llamalog.Troubled(m) {
		return dst, unparsed("a message that no rule knows")
	}
	return dst, ignored(ruleServer)
}

// cutModel reads "Model resnet18 loaded.".
func cutModel(m []byte, end string) (name []byte, ok bool) {
	name, ok = bytes.CutPrefix(m, []byte("Model "))
	if !ok {
		return nil, false
	}
	name, ok = bytes.CutSuffix(name, []byte(end))
	return name, ok && len(name) > 0 && bytes.IndexByte(name, ' ') < 0
}

// moved records that a model came into memory or left it.
func (p *Parser) moved(dst []parsers.Draft, line *parsers.Line, when time.Time, event, outcome string, name []byte) []parsers.Draft {
	dst, d := parsers.Next(dst)
	r := &d.Record
	d.SetTime(when, false)
	r.SetString(audit.Event, event)
	r.SetString(audit.Outcome, outcome)
	if outcome != "success" {
		r.SetString(audit.Reason, "load_failed")
	}
	d.SetActor(nil)
	r.SetText(audit.ModelName, name)
	p.describe(d, line.Path)
	return dst
}

// isWorker knows what the worker process itself prints.
func isWorker(m []byte) bool {
	for _, text := range [...]string{
		"Listening on port: ", "Torch worker started.", "Python runtime: ", "Frontend disconnected.", "Connection accepted: ", "s_name_part0=",
		"model_name: ", "model requires grad: ", "Enabled tensor cores", "Successfully loaded /",
	} {
		if bytes.HasPrefix(m, []byte(text)) {
			return true
		}
	}
	if rest, ok := bytes.CutPrefix(m, []byte("[PID]")); ok {
		for _, c := range rest {
			if c < '0' || c > '9' {
				return false
			}
		}
		return len(rest) > 0
	}
	return false
}

// bare judges a line without a time: frames of exceptions, and the configuration that
// the server prints at its start.
func (p *Parser) bare(line *parsers.Line) parsers.Outcome {
	b := line.Data
	s := p.find(line.Path)
	switch {
	case len(bytes.TrimSpace(b)) == 0:
		return ignored(ruleEmpty)
	case isFrame(b):
		return ignored(ruleTraceback)
	case s != nil && s.dump > 0:
		s.dump--
		if version, ok := bytes.CutPrefix(b, []byte("Torchserve version: ")); ok && isVersion(version) {
			s.version = string(version)
		}
		return ignored(ruleBanner)
	case bytes.HasPrefix(b, []byte("WARNING: sun.reflect.Reflection.getCallerClass is not supported.")),
		string(b) == "TorchServe is not currently running.", string(b) == "Removing orphan pid file.":
		return ignored(ruleServer)
	}
	return unparsed("not a line of TorchServe")
}

// isFrame accepts "	at java.lang.Thread.run(Thread.java:829) [?:?]" and "	... 7 more".
func isFrame(b []byte) bool {
	rest := bytes.TrimLeft(b, " \t")
	if len(rest) == len(b) {
		return false
	}
	return bytes.HasPrefix(rest, []byte("at ")) && bytes.IndexByte(rest, '(') > 0 ||
		bytes.HasPrefix(rest, []byte("... ")) && bytes.HasSuffix(rest, []byte(" more"))
}

// isVersion accepts "0.11.1".
func isVersion(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != '.' && c != '-' && c != '+' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 64 && b[0] >= '0' && b[0] <= '9'
}

// describe fills what is known of the server behind a record.
func (p *Parser) describe(d *parsers.Draft, path string) {
	d.Record.SetString(audit.APIServer, "torchserve")
	if s := p.find(path); s != nil {
		d.Record.SetString(audit.APIServerVersion, s.version)
	}
	d.SetProvider(p.provider)
}

// Trace implements [parsers.Traced].
func (p *Parser) Trace() map[audit.Field]string {
	const access, metric = "access line", "metric"
	return map[audit.Field]string{
		audit.Time:             "time of the line",
		audit.Event:            access + ": method and path, kind of line",
		audit.Outcome:          access + ": status, Model … loaded",
		audit.Reason:           access + ": status",
		audit.ClientIP:         access + ": client",
		audit.APIMethod:        access + ": method",
		audit.APIPath:          access + ": path",
		audit.APIVersion:       access + ": path",
		audit.APIStatus:        access + ": status",
		audit.APIOperation:     access + ": path",
		audit.APIServerVersion: "Torchserve version",
		audit.ModelName:        access + ": path, model_name of the query; " + metric + ": ModelName; Model … loaded",
		audit.ModelVersion:     access + ": path",
		audit.SessionRequestID: metric + ": requestID",
		audit.UsageDurationMs:  access + ": last number, " + metric + ": PredictionTime",
	}
}

func unparsed(reason string) parsers.Outcome { return parsers.Outcome{Rule: reason} }

func ignored(rule string) parsers.Outcome {
	return parsers.Outcome{Verdict: parsers.Ignored, Rule: rule}
}

func recorded() parsers.Outcome { return parsers.Outcome{Verdict: parsers.Recorded} }

func held() parsers.Outcome { return parsers.Outcome{Verdict: parsers.Held} }
