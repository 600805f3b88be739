package sglang

import (
	"bytes"

	"github.com/auditail/auditail/parsers/internal/pyrepr"
)

// Operations of calls to the OpenAI-compatible routes.
const (
	operationChat       = "chat"
	operationCompletion = "text_completion"
)

// readPayload reads the body of a call to an OpenAI-compatible route as Python
// prints it: {'model': '…', 'messages': […], …}, headers={…}.
func (f *report) readPayload(b []byte, cutLine bool) (reason string) {
	f.cut, f.operation = cutLine, operationInference
	object, b, ok := cutValue(b, cutLine)
	if !ok || len(object) == 0 || object[0] != '{' {
		return "the request is no object that ends"
	}
	whole := pairs(object, cutLine, func(name, value []byte, open bool) {
		switch string(name) {
		case "messages":
			f.operation = operationChat
			f.messages(value, cutLine, maxParts)
		case "prompt":
			f.operation = operationCompletion
			f.invalid = readText(&f.prompt, value, open) || f.invalid
		case "input":
			if f.operation == operationInference {
				f.operation = operationEmbeddings
			}
			f.invalid = readText(&f.prompt, value, open) || f.invalid
		default:
			if !open {
				f.argument(name, value)
			}
		}
	})
	if !whole {
		return "not a list of arguments"
	}
	if rest, ok := cut(b, ", headers="); ok {
		_, b, _ = cutValue(rest, cutLine) // they may hold credentials
	}
	if len(b) > 0 && !cutLine {
		return "not a request to the last byte"
	}
	return ""
}

// argument reads a member that is no content.
func (f *report) argument(name, value []byte) {
	switch string(name) {
	case "model":
		f.setName(&f.model, pyrepr.Text(value))
	case "user":
		f.setName(&f.user, pyrepr.Text(value))
	case "stream":
		f.stream = trileanOf(value)
	case "instructions", "max_output_tokens":
		f.operation = operationChat // of the Responses API
	case "query":
		f.operation = operationRerank
	case "lora_path":
		f.adapter = pyrepr.FirstText(value)
	default:
		f.settings.Learn(name, value)
	}
}

func (f *report) setName(to *string, name string) {
	if len(name) <= maxID {
		*to = name
	}
}

// maxParts bounds how deep messages are nested: a message has parts, a part has none.
const maxParts = 2

// messages adds the texts of "[{'role': 'user', 'content': '…'}, …]".
func (f *report) messages(list []byte, cutLine bool, depth int) {
	if depth == 0 || len(list) == 0 || list[0] != '[' {
		return
	}
	for b := list[1:]; ; {
		b = bytes.TrimLeft(b, " ,")
		if len(b) == 0 || b[0] != '{' {
			return
		}
		end := pyrepr.EndOfValue(b)
		if end < 0 {
			if !cutLine {
				return
			}
			end = len(b)
		}
		pairs(b[:end], cutLine, func(name, value []byte, open bool) {
			if string(name) == "content" || string(name) == "text" {
				if pyrepr.IsString(value) {
					f.invalid = readText(&f.prompt, value, open) || f.invalid
				} else {
					f.messages(value, cutLine, depth-1) // parts: [{'type': 'text', 'text': '…'}]
				}
			}
		})
		b = b[end:]
	}
}
