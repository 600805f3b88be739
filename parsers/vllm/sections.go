package vllm

import (
	"bytes"

	"github.com/auditail/auditail/parsers/internal/pyrepr"
)

// sections are the named values of a request line.
type sections struct {
	prompt, params, tokens, lora []byte

	hasPrompt, hasParams bool
	promptCut            bool // the line ended within the prompt
	cut                  bool // the line ended within the last one kept
}

// readSections reads ": name: value, name: value." to the very end. That the
// whole line has to fit keeps an id or a prompt from passing for sections.
func readSections(b []byte, cutLine bool) (f sections, reason string) {
	b, ok := cut(b, ": ")
	for ok {
		name, value, found := bytes.Cut(b, []byte(": "))
		if !found || len(name) == 0 || len(name) > 32 {
			break
		}
		end := endOfSection(value)
		open := end < 0
		if open {
			end = len(value)
			if !cutLine {
				return f, "a value does not end"
			}
		}
		b, value = value[end:], value[:end]
		last := len(b) == 0
		if last && !cutLine {
			if value, ok = bytes.CutSuffix(value, []byte(".")); !ok {
				return f, "the line does not end with a full stop"
			}
		}
		f.cut = last && cutLine
		if !f.keep(name, value, open) {
			return f, "a section stands twice"
		}
		if last {
			return f, ""
		}
		if bytes.HasPrefix(b, []byte(",sampling_params: ")) { // of 0.3
			b, ok = b[1:], true
		} else {
			b, ok = cut(b, ", ")
		}
	}
	if cutLine {
		f.cut = true
		return f, ""
	}
	return f, "not a list of sections"
}

// endOfSection is endOfValue for values of which a string is the whole.
func endOfSection(b []byte) int {
	if !pyrepr.IsString(b) {
		return pyrepr.EndOfValue(b)
	}
	end := pyrepr.EndOfString(b)
	if end > 0 && string(b[end:]) == "." {
		return len(b)
	}
	return end
}

// keep stores a section that a record has a home for. open tells that its value
// does not end.
func (f *sections) keep(name, value []byte, open bool) (once bool) {
	switch string(name) {
	case "prompt":
		once = !f.hasPrompt
		f.prompt, f.hasPrompt, f.promptCut = value, true, open
	case "params", "sampling_params", "sampling params": // of 0.6, 0.4 and 0.2
		once = !f.hasParams
		if !f.cut {
			f.params = value
		}
		f.hasParams = true
	case "prompt_token_ids", "prompt token ids":
		once = f.tokens == nil
		if !f.cut {
			f.tokens = value
		}
	case "lora_request":
		once = f.lora == nil
		if !f.cut {
			f.lora = value
		}
	default:
		once = true
	}
	return once
}

// answer is what a "Generated response" line says.
type answer struct {
	output, tokens, finish []byte
	outputCut, cut         bool
}

func readAnswer(b []byte, cutLine bool) (f answer, reason string) {
	b, ok := cut(b, ": output: ")
	if !ok {
		return f, "no output behind the request id"
	}
	end := endOfSection(b)
	if end < 0 {
		if !cutLine || !pyrepr.IsString(b) {
			return f, "the output does not end"
		}
		return answer{output: b, outputCut: true, cut: true}, ""
	}
	f.output, b = b[:end], b[end:]
	if rest, ok := cut(b, ", output_token_ids: "); ok {
		if end = pyrepr.EndOfValue(rest); end < 0 {
			end = len(rest)
		}
		f.tokens, b = rest[:end], rest[end:]
	}
	if f.finish, ok = cut(b, ", finish_reason: "); ok && isReason(f.finish) {
		return f, ""
	}
	if cutLine {
		f.tokens, f.finish, f.cut = nil, nil, true
		return f, ""
	}
	return f, "no finish reason at the end"
}

// isReason accepts a word: "stop", "tool_calls", "None".
func isReason(b []byte) bool {
	for _, c := range b {
		if !pyrepr.IsNameByte(c) && c != '-' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 64
}
