package sglang

import (
	"bytes"
	"unicode/utf8"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
	"github.com/auditail/auditail/parsers/internal/pyrepr"
	"github.com/auditail/auditail/parsers/internal/stamp"
)

// Slots of the JSON format.
const (
	slotTime = iota
	slotEvent
	slotRID
	slotTokens
	slotSettings
	slotStream
	slotAdapter
	slotCrossEncoder
	slotObject
	slotMeta
)

// newFields returns the map of --log-requests-format json. The texts are taken as
// they stand; everything else is looked at in the slots.
func (p *Parser) newFields(config parsers.Config) (*fieldmap.Map, error) {
	return fieldmap.New(fieldmap.Config{
		Config: config,
		Fields: []fieldmap.Mapping{
			{Field: "input", Path: []string{"obj", "text"}, Or: []fieldmap.Source{
				{Path: []string{"obj", "messages"}}, {Path: []string{"obj", "prompt"}}, {Path: []string{"obj", "input"}},
			}},
			{Field: "output", Path: []string{"out", "text"}},
		},
		Slots: [][]string{
			slotTime:         {"timestamp"},
			slotEvent:        {"event"},
			slotRID:          {"rid"},
			slotTokens:       {"obj", "input_ids"},
			slotSettings:     {"obj", "sampling_params"},
			slotStream:       {"obj", "stream"},
			slotAdapter:      {"obj", "lora_path"},
			slotCrossEncoder: {"obj", "is_cross_encoder_request"},
			slotObject:       {"obj"},
			slotMeta:         {"out", "meta_info"},
		},
		Decide: func(m *fieldmap.Map, d *parsers.Draft) parsers.Outcome {
			p.report.fromJSON(m, d)
			return ignored(ruleRead)
		},
	})
}

// ruleRead ends the reading of every line in the map: it is used to read, not to
// record.
const ruleRead = "read"

// object reads a line of the request logger's JSON format.
func (p *Parser) object(dst []parsers.Draft, line *parsers.Line, h *header, message []byte) ([]parsers.Draft, parsers.Outcome) {
	f := &p.report
	f.reset()
	whole := *line
	whole.Data = message
	var outcome parsers.Outcome
	if p.scratch, outcome = p.fields.ParseJSON(p.scratch[:0], &whole); outcome.Rule != ruleRead {
		return dst, outcome
	}
	if when, n, ok := stamp.Read(p.fields.Slot(slotTime), p.zone); ok && n == len(p.fields.Slot(slotTime)) {
		h.when = when
	}
	f.cut = line.Cut
	switch string(p.fields.Slot(slotEvent)) {
	case "request.received":
		return p.received(dst, line, h, f)
	case "request.finished":
		return p.finished(dst, line, h, f)
	case "request.received.openai":
		return p.asked(dst, line, h, f)
	default:
		return dst, unparsed("an object that is no event of the request logger")
	}
}

// fromJSON takes what the object says. Values are written in JSON as Python's repr
// writes them, as far as they are looked at: numbers, strings without escapes, lists.
func (f *report) fromJSON(m *fieldmap.Map, d *parsers.Draft) {
	fillContent(&f.prompt, &d.Input)
	fillContent(&f.answer, &d.Output)
	f.prompt.Truncated = f.prompt.Truncated || isShortened(f.prompt.Text)
	f.answer.Truncated = f.answer.Truncated || isShortened(f.answer.Text)
	f.operation = operationEmbeddings
	if m.Slot(slotStream) != nil || d.Output.Parts > 0 {
		f.operation = operationInference
	}
	if string(m.Slot(slotCrossEncoder)) == "true" {
		f.operation = operationRerank
	}
	f.stream = trileanOf(m.Slot(slotStream))
	f.setName(&f.adapter, string(m.Slot(slotAdapter)))
	f.idsFromJSON(m)
	if tokens := m.Slot(slotTokens); !bytes.Contains(tokens, []byte(`"..."`)) {
		if n, ok := pyrepr.CountElements(tokens); ok {
			f.tokens = n
		}
	}
	f.settingsFromJSON(m.Slot(slotSettings))
	if string(m.Slot(slotEvent)) == "request.received.openai" {
		f.payloadFromJSON(m)
	}
	for w := fieldmap.Open(m.Slot(slotMeta)); w.Next(); {
		f.metaFromJSON(m, w.Key, w.Value)
	}
}

func (f *report) idsFromJSON(m *fieldmap.Map) {
	rid := m.Slot(slotRID)
	if w := fieldmap.Open(rid); len(rid) > 0 && rid[0] == '[' {
		for w.Next() {
			f.addID(string(m.Text(w.Value)))
		}
		return
	}
	f.addID(string(rid))
}

// settingsFromJSON reads sampling_params, or the only one of a batch.
func (f *report) settingsFromJSON(raw []byte) {
	for w := fieldmap.Open(only(raw)); w.Next(); {
		f.settings.Learn(w.Key, w.Value)
	}
}

// payloadFromJSON reads what the caller of an OpenAI-compatible route sent.
func (f *report) payloadFromJSON(m *fieldmap.Map) {
	f.operation = operationInference
	for w := fieldmap.Open(m.Slot(slotObject)); w.Next(); {
		switch string(w.Key) {
		case "model":
			f.setName(&f.model, string(m.Text(w.Value)))
		case "user":
			f.setName(&f.user, string(m.Text(w.Value)))
		case "stream":
			f.stream = trileanOf(w.Value)
		case "messages":
			f.operation = operationChat
		case "prompt":
			f.operation = operationCompletion
		case "input":
			if f.operation == operationInference {
				f.operation = operationEmbeddings
			}
		case "instructions", "max_output_tokens":
			f.operation = operationChat
		case "query":
			f.operation = operationRerank
		default:
			f.settings.Learn(w.Key, w.Value)
		}
	}
}

func (f *report) metaFromJSON(m *fieldmap.Map, name, value []byte) {
	switch string(name) {
	case "id":
		f.setName(&f.response, string(m.Text(value)))
	case "weight_version":
		if version := m.Text(value); string(version) != "default" {
			f.setName(&f.weights, string(version))
		}
	case "finish_reason":
		if len(value) > 0 && value[0] == '{' {
			f.setFinish(string(m.Text(fieldmap.Member(value, "type"))))
			f.status = readStatus(m.Text(fieldmap.Member(value, "status_code")))
		} else {
			f.setFinish(string(m.Text(value)))
		}
	default:
		f.meta(name, value) // numbers
	}
}

// shortened is the length in characters of a text that was longer than the logger's
// limit, with "..." in its middle.
const shortened = 1024 + len("...") + 1024

// isShortened recognises such a text.
func isShortened(text []byte) bool {
	if len(text) < shortened || utf8.RuneCount(text) != shortened {
		return false
	}
	at := 0
	for range 1024 {
		_, size := utf8.DecodeRune(text[at:])
		at += size
	}
	return bytes.HasPrefix(text[at:], []byte("..."))
}
