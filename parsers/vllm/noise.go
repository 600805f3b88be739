package vllm

import (
	"bytes"

	"github.com/auditail/auditail/parsers"
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

// uvicornNoise is what uvicorn writes about itself.
var uvicornNoise = [...]rule{
	{"Started server process [", ruleLifecycle},
	{"Finished server process [", ruleLifecycle},
	{"Uvicorn running on ", ruleLifecycle},
}

// uvicornWords are whole messages of uvicorn.
var uvicornWords = [...]rule{
	{"Waiting for application startup.", ruleLifecycle},
	{"Application startup complete.", ruleLifecycle},
	{"Shutting down", ruleLifecycle},
	{"Waiting for application shutdown.", ruleLifecycle},
	{"Waiting for connections to close. (CTRL+C to force quit)", ruleLifecycle},
	{"Waiting for background tasks to complete. (CTRL+C to force quit)", ruleLifecycle},
	{"Application shutdown complete.", ruleLifecycle},
	{"Exception in ASGI application", ruleTraceback},
}

// progressBars begin what tqdm draws while weights are loaded.
var progressBars = [...]string{
	"Loading safetensors checkpoint shards: ",
	"Loading pt checkpoint shards: ",
	"Capturing CUDA graph shapes: ",
	"Capturing CUDA graphs",
}

// message judges an engine line that is about no request.
func (p *Parser) message(dst []parsers.Draft, path string, message []byte) ([]parsers.Draft, parsers.Outcome) {
	for _, n := range engineNoise {
		if _, ok := cut(message, n.prefix); ok {
			return dst, ignored(n.name)
		}
	}
	if rest, ok := cut(message, "Engine "); ok { // "Engine 000: …"
		if n := digitRun(rest); n > 0 && n < len(rest) && rest[n] == ':' {
			return dst, ignored(ruleStatistics)
		}
	}
	if rest, ok := cut(message, "rank "); ok && bytes.Contains(rest, []byte(" in world size ")) {
		return dst, ignored(ruleStartup)
	}
	dst, frame := p.frame(dst, path, message)
	if frame {
		return dst, ignored(ruleTraceback)
	}
	return dst, unparsed("a message that no rule knows")
}

// other judges a line that the engine's logger did not write.
func (p *Parser) other(dst []parsers.Draft, line *parsers.Line, h *header) ([]parsers.Draft, parsers.Outcome) {
	if h.kind == uvicorn {
		for _, n := range uvicornNoise {
			if _, ok := cut(h.message, n.prefix); ok {
				return dst, ignored(n.name)
			}
		}
		for _, n := range uvicornWords {
			if string(h.message) == n.prefix {
				return dst, ignored(n.name)
			}
		}
		return dst, unparsed("a message that no rule knows")
	}
	if len(h.message) == 0 {
		return dst, ignored(ruleEmpty)
	}
	if isProgress(h.message) {
		return dst, ignored(ruleProgress)
	}
	dst, frame := p.frame(dst, line.Path, h.message)
	if frame {
		return dst, ignored(ruleTraceback)
	}
	return dst, unparsed("not a line of vLLM")
}

// isProgress accepts progress bars, drawn over each other with carriage returns.
func isProgress(b []byte) bool {
	drawn := false
	for part := range bytes.SplitSeq(b, []byte("\r")) {
		if len(part) == 0 {
			continue
		}
		if drawn = isBar(part); !drawn {
			return false
		}
	}
	return drawn
}

func isBar(part []byte) bool {
	for _, prefix := range progressBars {
		if rest, ok := cut(part, prefix); ok {
			return bytes.IndexByte(rest, '%') >= 0
		}
	}
	return false
}

// frame recognises the lines of a Python traceback except the last, which
// carries the message of the exception and stays unparsed.
func (p *Parser) frame(dst []parsers.Draft, path string, b []byte) (out []parsers.Draft, frame bool) {
	s := p.find(path)
	inside := s != nil && s.traceback
	starts := string(b) == "Traceback (most recent call last):" ||
		bytes.HasPrefix(b, []byte("Process ")) && isProcessName(b[len("Process "):]) ||
		bytes.HasPrefix(b, []byte(`  File "`)) && bytes.Contains(b, []byte(", line "))
	if starts {
		dst, s = p.serverOf(dst, path)
	}
	frame = starts || inside && bytes.HasPrefix(b, []byte("    "))
	if s != nil {
		s.traceback = frame
	}
	return dst, frame
}

// isProcessName accepts "EngineCore_DP0:".
func isProcessName(b []byte) bool {
	for _, c := range b[:max(len(b)-1, 0)] {
		if !isNameByte(c) && c != '-' {
			return false
		}
	}
	return len(b) > 1 && b[len(b)-1] == ':'
}
