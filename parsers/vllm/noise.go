package vllm

import (
	"bytes"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/pyrepr"
	"github.com/auditail/auditail/parsers/internal/tqdm"
	"github.com/auditail/auditail/parsers/internal/traceback"
	"github.com/auditail/auditail/parsers/internal/uvicorn"
)

// rule ignores messages with a prefix.
type rule struct{ prefix, name string }

// engineNoise is what vLLM's own loggers are known to write besides requests.
// Each entry is the beginning of one message of vLLM's sources; there is none
// that could match free text.
var engineNoise = [...]rule{
	{"Avg prompt throughput: ", ruleStatistics},
	{"SpecDecoding metrics: ", ruleStatistics},
	{"Route: /", ruleRoutes},
	{"Available routes are:", ruleRoutes},
	{"Automatically detected platform ", ruleStartup},
	{"Starting vLLM API server ", ruleStartup},
	{"Resolved architecture: ", ruleStartup},
	{"Supported_tasks: ", ruleStartup},
	{"Supported tasks: ", ruleStartup},
	{"Using max model len ", ruleStartup},
	{"Chunked prefill is enabled with max_num_batched_tokens=", ruleStartup},
	{"Detected the chat template content format to be ", ruleStartup},
	{"Using supplied chat template", ruleStartup},
	{"Using default chat sampling params from model: ", ruleStartup},
	{"Starting to load model ", ruleStartup},
	{"Loading model from scratch", ruleStartup},
	{"EngineCore waiting for work.", ruleStatistics},
	{"EngineCore loop active.", ruleStatistics},
	{"Using model weights format ", ruleStartup},
	{"Time spent downloading weights for ", ruleStartup},
	{"Model loading took ", ruleStartup},
	{"Memory profiling takes ", ruleStartup},
	{"Available KV cache memory: ", ruleStartup},
	{"GPU KV cache size: ", ruleStartup},
	{"Maximum concurrency for ", ruleStartup},
	{"# GPU blocks: ", ruleStartup},
	{"# cuda blocks: ", ruleStartup},
	{"Using Flash Attention backend", ruleStartup},
	{"Using FlashInfer ", ruleStartup},
	{"Using XFormers backend", ruleStartup},
	{"Using cache directory: ", ruleStartup},
	{"Dynamo bytecode transform time: ", ruleStartup},
	{"torch.compile takes ", ruleStartup},
	{"Graph capturing finished in ", ruleStartup},
	{"Capturing cudagraphs for decoding", ruleStartup},
	{"init engine (profile, create kv cache, warmup model) took ", ruleStartup},
}

// progressBars begin what is drawn while weights are loaded.
func progressBars() []string {
	return []string{
		"Loading safetensors checkpoint shards: ",
		"Loading pt checkpoint shards: ",
		"Capturing CUDA graph shapes: ",
		"Capturing CUDA graphs",
	}
}

// message judges an engine line that is about no request.
func (p *Parser) message(path string, message []byte) parsers.Outcome {
	for _, n := range engineNoise {
		if _, ok := cut(message, n.prefix); ok {
			return ignored(n.name)
		}
	}
	if rest, ok := cut(message, "Engine "); ok { // "Engine 000: …"
		if n := pyrepr.DigitRun(rest); n > 0 && n < len(rest) && rest[n] == ':' {
			return ignored(ruleStatistics)
		}
	}
	if rest, ok := cut(message, "rank "); ok && bytes.Contains(rest, []byte(" in world size ")) {
		return ignored(ruleStartup)
	}
	if p.traceback.Frame(path, message) {
		return ignored(traceback.Rule)
	}
	return unparsed("a message that no rule knows")
}

// other judges a line that the engine's logger did not write.
func (p *Parser) other(line *parsers.Line, h *header) parsers.Outcome {
	if h.kind == web {
		if rule, ok := uvicorn.Noise(h.message); ok {
			return ignored(rule)
		}
		return unparsed("a message that no rule knows")
	}
	if len(h.message) == 0 {
		return ignored(ruleEmpty)
	}
	if tqdm.IsBar(h.message, progressBars()) {
		return ignored(ruleProgress)
	}
	if p.traceback.Frame(line.Path, h.message) {
		return ignored(traceback.Rule)
	}
	return unparsed("not a line of vLLM")
}
