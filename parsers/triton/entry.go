package triton

import (
	"bytes"
	"time"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/llamalog"
	"github.com/auditail/auditail/parsers/internal/rawjson"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// entry is a line of Triton's logger.
type entry struct {
	level   byte // 'I', 'W', 'E'
	when    time.Time
	zoned   bool
	file    []byte // "http_server.cc"
	message []byte
	quoted  bool // the message is one JSON string, so it is whole
}

// split takes a line of Triton's logger apart:
//
//	I0131 00:45:01.169500 760 http_server.cc:4619] "HTTP request: 2 /v2/models/identity_fp32/versions/1/infer"
//	2024-05-13T15:14:17Z I 760 http_server.cc:4619] "HTTP request: 2 /v2/models/identity_fp32/versions/1/infer"
func (p *Parser) split(b []byte, seen time.Time) (e entry, ok bool) {
	rest, ok := p.splitDefault(&e, b, seen)
	if !ok {
		if rest, ok = splitISO(&e, b); !ok {
			return e, false
		}
	}
	_, rest, ok = bytes.Cut(rest, []byte(" ")) // process
	if !ok {
		return e, false
	}
	at := bytes.IndexByte(rest, ']')
	if at < 0 {
		return e, false
	}
	place := rest[:at]
	rest = rest[at+1:]
	if at = bytes.LastIndexByte(place, ':'); at < 1 || bytes.IndexByte(place, ' ') >= 0 {
		return e, false
	}
	e.file = place[:at]
	e.message = bytes.TrimPrefix(rest, []byte(" "))
	if len(e.message) > 1 && e.message[0] == '"' {
		if v, tail, ok := rawjson.Cut(e.message); ok && len(tail) == 0 {
			p.text = v.AppendText(p.text[:0])
			e.message, e.quoted = p.text, true
		}
	}
	return e, true
}

// splitDefault reads "I0131 00:45:01.169500 ".
func (p *Parser) splitDefault(e *entry, b []byte, seen time.Time) (rest []byte, ok bool) {
	const length = len("I0131 00:45:01.169500 ")
	if len(b) <= length || b[5] != ' ' || b[8] != ':' || b[11] != ':' || b[14] != '.' || b[21] != ' ' || !isLevel(b[0]) {
		return nil, false
	}
	month, ok1 := parsers.TwoDigits(b[1:])
	day, ok2 := parsers.TwoDigits(b[3:])
	hour, ok3 := parsers.TwoDigits(b[6:])
	minute, ok4 := parsers.TwoDigits(b[9:])
	second, ok5 := parsers.TwoDigits(b[12:])
	micro := 0
	for _, c := range b[15:21] {
		ok5 = ok5 && c >= '0' && c <= '9'
		micro = micro*10 + int(c-'0')
	}
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 {
		return nil, false
	}
	e.level = b[0]
	e.when, ok = stamp.WithYear(month, day, hour, minute, second, micro*1000, seen, p.zone)
	return b[length:], ok
}

// splitISO reads "2024-05-13T15:14:17Z I ".
func splitISO(e *entry, b []byte) (rest []byte, ok bool) {
	when, n, ok := stamp.ReadLocal(b, time.UTC)
	if !ok || len(b) < n+5 || b[n] != 'Z' || b[n+1] != ' ' || !isLevel(b[n+2]) || b[n+3] != ' ' {
		return nil, false
	}
	e.level, e.when, e.zoned = b[n+2], when, true
	return b[n+4:], true
}

func isLevel(c byte) bool { return c == 'I' || c == 'W' || c == 'E' }

// read judges a line of Triton's logger.
func (p *Parser) read(dst []parsers.Draft, line *parsers.Line, e *entry) ([]parsers.Draft, parsers.Outcome) {
	s := p.find(line.Path)
	if s != nil {
		s.detail = 0
		dst = p.settle(dst, s, e.when)
	}
	m := e.message
	if rest, ok := bytes.CutPrefix(m, []byte("HTTP request: ")); ok {
		return p.request(dst, line, e, rest)
	}
	if rest, ok := bytes.CutPrefix(m, []byte("HTTP error: ")); ok {
		return p.refused(dst, line, e, rest)
	}
	id, text := cutRequestID(m)
	if rest, ok := bytes.CutPrefix(text, []byte("prepared: ")); ok {
		return p.prepared(dst, line, e, rest)
	}
	if bytes.HasPrefix(text, []byte("Infer failed: ")) {
		return p.failed(dst, line, e, id)
	}
	if bytes.HasPrefix(text, []byte("Setting state from ")) && bytes.HasSuffix(text, []byte(" to RELEASED")) {
		return p.releases(dst, line, e, id)
	}
	if dst, outcome, ok := p.model(dst, line, e); ok {
		return dst, outcome
	}
	if e.level != 'I' || llamalog.Troubled(m) || !isOwn(e.file) {
		return dst, unparsed("a message that no rule knows")
	}
	if !e.quoted && (bytes.HasPrefix(m, []byte("Server side auto-completed config: ")) || bytes.HasPrefix(m, []byte("backend configuration:")) ||
		bytes.HasPrefix(m, []byte("ModelConfig 64-bit fields:")) || bytes.HasPrefix(m, []byte("model configuration:"))) {
		dst, s = p.serverOf(dst, line.Path)
		s.detail = maxDetail
	}
	return dst, ignored(ruleServer)
}

// cutRequestID cuts "[request id: G-bf9acb9e] " off; of a call without one it is
// "<id_unknown>". The caller chooses it, and it may hold anything but the end of the
// mark behind it.
func cutRequestID(m []byte) (id, text []byte) {
	rest, ok := bytes.CutPrefix(m, []byte("[request id: "))
	if !ok {
		return nil, m
	}
	for _, mark := range [...]string{"] prepared: ", "] Infer failed: ", "] Setting state from "} {
		if at := bytes.Index(rest, []byte(mark)); at >= 0 {
			id = rest[:at]
			if string(id) == "<id_unknown>" {
				id = nil
			}
			return id, rest[at+2:]
		}
	}
	return nil, m
}

// isOwn tells whether a source file is one of Triton's server, core or backends, whose
// messages at level I are known. A model's own code logs too; that is not ours to judge.
func isOwn(file []byte) bool {
	switch string(file) {
	case "classification.cc", "common.cc", "data_compressor.h", "grpc_handler.h", "grpc_server.cc", "grpc_utils.cc", "infer_handler.cc", "infer_handler.h",
		"stream_infer_handler.cc", "http_server.cc", "main.cc", "memory_alloc.cc", "orca_http.cc", "restricted_features.h", "sagemaker_server.cc",
		"shared_memory_manager.cc", "tracer.cc", "triton_signal.cc", "vertex_ai_server.cc",
		"backend_config.cc", "backend_manager.cc", "backend_memory_manager.cc", "backend_model.cc", "backend_model_instance.cc", "cache_manager.cc", "cache_entry.cc",
		"cuda_block_manager.cc", "cuda_memory_manager.cc", "cuda_utils.cc", "dynamic_batch_scheduler.cc", "ensemble_model.cc", "ensemble_scheduler.cc",
		"ensemble_utils.cc", "api.cc", "as.h", "gcs.h", "local.h", "s3.h", "infer_parameter.cc", "infer_request.cc", "infer_request.h", "infer_response.cc",
		"infer_stats.cc", "infer_trace.cc", "instance_queue.cc", "label_provider.cc", "memory.cc", "metric_family.cc", "metric_model_reporter.cc", "metrics.cc",
		"model.cc", "model_config_utils.cc", "model_lifecycle.cc", "model_repository_manager.cc", "numa_utils.cc", "payload.cc", "pinned_memory_manager.cc",
		"rate_limiter.cc", "repo_agent.cc", "scheduler_utils.cc", "sequence_batch_scheduler.cc", "sequence_utils.cc", "sequence_state.cc", "server.cc",
		"shared_library.cc", "status.cc", "tritoncache.cc", "tritonserver.cc", "triton_model_instance.cc", "triton_backend_manager.cc", "backend.cc",
		"python_be.cc", "python.cc", "pb_stub.cc", "stub_launcher.cc", "pb_env.cc", "onnxruntime.cc", "onnxruntime_utils.cc", "libtorch.cc", "tensorflow.cc",
		"tensorrt.cc", "model_state.cc", "instance_state.cc", "openvino.cc", "identity.cc", "logging.cc", "autofill.cc", "local_cache.cc":
		return true
	default:
		return false
	}
}
