package sglang

import (
	"bytes"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/tqdm"
	"github.com/auditail/auditail/parsers/internal/traceback"
	"github.com/auditail/auditail/parsers/internal/uvicorn"
)

// noise is what SGLang is known to write besides requests. Each entry is the
// beginning of one message of its sources; there is none that could match free text.
var noise = [...]struct{ prefix, rule string }{
	{"Prefill batch", ruleStatistics},
	{"Decode batch", ruleStatistics},
	{"Req Time Stats(rid=", ruleRequests},
	{"ReqTimeStats(rid=", ruleRequests},
	{"The server is fired up and ready to roll!", ruleServer},
	{"Gracefully exiting...", ruleServer},
	{"Cache flushed successfully!", ruleServer},
	{"Load weight begin.", ruleStartup},
	{"LoRA adapter loading starts: ", ruleStartup},
	{"Start load Lora adapter.", ruleStartup},
	{"Init torch distributed begin.", ruleStartup},
	{"Init torch distributed ends.", ruleStartup},
	{"Init nccl begin.", ruleStartup},
	{"KV Cache is allocated.", ruleStartup},
	{"Mamba Cache is allocated.", ruleStartup},
	{"Memory pool end.", ruleStartup},
	{"Using KV cache dtype: ", ruleStartup},
	{"max_total_num_tokens=", ruleStartup},
	{"Capture cuda graph ", ruleStartup},
	{"Capture piecewise cuda graph ", ruleStartup},
	{"Attention backend not s", ruleStartup},
	{"Automatically turn off ", ruleStartup},
	{"Update engine weights online from disk begin.", ruleStartup},
	{"Using default HuggingFace chat template with detected content format: ", ruleStartup},
	{"Detected chat template content format: ", ruleStartup},
	{"No HuggingFace chat template found", ruleStartup},
	{"Loading chat template from ", ruleStartup},
	{"Using default chat template", ruleStartup},
	{"No chat template found, defaulting to 'string' content format", ruleStartup},
	{"Start of prefill ", ruleStartup},
	{"End of prefill ", ruleStartup},
	{"Using model weights format ", ruleStartup},
	{"NumExpr defaulting to ", ruleStartup},
	{"Note: NumExpr detected ", ruleStartup},
	{"Note: detected ", ruleStartup},
	{"MOE_RUNNER_BACKEND is not initialized", ruleStartup},
	{"sglang is using nccl==", ruleStartup},
	{"Overlap scheduler is ", ruleStartup},
	{"Using configuration from ", ruleStartup},
	{"Using MoE kernel config", ruleStartup},
	{"Custom allreduce is ", ruleStartup},
	{"Setting hicache storage backend", ruleStartup},
}

// bars begin what tqdm draws.
func bars() []string {
	return []string{
		"Loading safetensors checkpoint shards: ",
		"Loading pt checkpoint shards: ",
		"Multi-thread loading shards: ",
		"Capturing batches (",
		"Capturing num tokens (",
		"Compiling num tokens (",
	}
}

// other judges a line that is about no request.
func (p *Parser) other(line *parsers.Line, h *header, message []byte) parsers.Outcome {
	if h.found {
		if h.web {
			if rule, ok := uvicorn.Noise(message); ok {
				return ignored(rule)
			}
		} else {
			for _, n := range noise {
				if _, ok := cut(message, n.prefix); ok {
					return ignored(n.rule)
				}
			}
			if bytes.HasSuffix(message, []byte("Traceback (most recent call last):")) {
				p.traceback.Frame(line.Path, []byte("Traceback (most recent call last):"))
				return unparsed("a message that no rule knows")
			}
		}
	}
	for _, prefix := range [...]string{"new fill batch. #seq: ", "#running-req: "} { // the first versions write no header
		if _, ok := cut(message, prefix); ok {
			return ignored(ruleStatistics)
		}
	}
	switch {
	case len(bytes.TrimSpace(line.Data)) == 0:
		return ignored(ruleEmpty)
	case !h.found && tqdm.IsBar(message, bars()):
		return ignored(ruleProgress)
	case p.traceback.Frame(line.Path, message):
		return ignored(traceback.Rule)
	case h.found:
		return unparsed("a message that no rule knows")
	default:
		return unparsed("not a line of SGLang")
	}
}
