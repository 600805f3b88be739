package fieldmap

import (
	"bytes"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// Stream puts an answer together again that was logged as the events in which it
// was sent, in the form of OpenAI, Anthropic, Google, or one of Bedrock's families.
// From the events it also takes what the record does not have yet: response id,
// served model, tokens and why the answer ended.
type Stream struct {
	Map   *Map
	Draft *parsers.Draft
	begun bool // the part in hand has text
}

// Event takes one event, valid JSON.
func (s *Stream) Event(raw []byte) {
	r := &s.Draft.Record
	var finish []byte
	for w := Open(raw); w.Next(); {
		switch value := w.Value; string(w.Key) {
		case "id":
			s.text(audit.SessionResponseID, value)
		case "model":
			s.text(audit.ModelServed, value)
		case "system_fingerprint":
			s.text(audit.APIFingerprint, value)
		case "usage":
			s.usage(value)
		case "message": // Anthropic's message_start
			s.text(audit.SessionResponseID, Member(value, "id"))
			s.text(audit.ModelServed, Member(value, "model"))
		case "content_block", "contentBlockStart":
			s.begun = false
		case "delta": // Anthropic; of OpenAI's responses it is the text itself
			finish = either(finish, s.delta(value))
		case "contentBlockDelta": // Converse, Nova
			s.delta(Member(value, "delta"))
		case "completion", "outputText", "generation", "text": // Claude 2, Titan, Llama, Cohere
			s.piece(value)
		case "choices", "outputs", "generations": // OpenAI, Mistral, Cohere: the first answer
			one := Open(value)
			if one.Next() {
				s.piece(either(Member(one.Value, "text"), Member(one.Value, "delta", "content")))
				finish = either(finish, either(Member(one.Value, "finish_reason"), Member(one.Value, "stop_reason")))
			}
		case "candidates": // Google
			if one := Open(value); one.Next() {
				for part := Open(Member(one.Value, "content", "parts")); part.Next(); {
					s.piece(Member(part.Value, "text"))
				}
				finish = either(finish, Member(one.Value, "finishReason"))
			}
		case "responseId":
			s.text(audit.SessionResponseID, value)
		case "messageStop":
			finish = either(finish, Member(value, "stopReason"))
		case "stop_reason", "completionReason", "finish_reason":
			finish = either(finish, value)
		}
	}
	if reason := s.Map.Text(finish); reason != nil {
		var list [128]byte
		r.SetJSON(audit.OutputFinish, append(audit.AppendText(append(list[:0], '['), reason), ']'))
	}
}

// delta takes what an event adds to the block in hand.
func (s *Stream) delta(raw []byte) (finish []byte) {
	if len(raw) > 0 && raw[0] == '"' {
		s.piece(raw)
		return nil
	}
	for w := Open(raw); w.Next(); {
		switch string(w.Key) {
		case "text", "partial_json", "thinking":
			s.piece(w.Value)
		case "toolUse":
			s.piece(Member(w.Value, "input"))
		case "stop_reason":
			finish = w.Value
		}
	}
	return finish
}

// piece adds a string to the part in hand.
func (s *Stream) piece(raw []byte) {
	if len(raw) < 3 || raw[0] != '"' {
		return
	}
	s.Map.AddPiece(&s.Draft.Output, raw, !s.begun)
	s.begun = true
}

func (s *Stream) text(field audit.Field, raw []byte) {
	if r := &s.Draft.Record; !r.Has(field) {
		r.SetText(field, s.Map.Text(raw))
	}
}

func (s *Stream) usage(raw []byte) {
	s.Map.Count(s.Draft, audit.UsageInputTokens, raw, "prompt_tokens", "input_tokens")
	s.Map.Count(s.Draft, audit.UsageOutputTokens, raw, "completion_tokens", "output_tokens")
	s.Map.Count(s.Draft, audit.UsageCachedTokens, Member(raw, "prompt_tokens_details"), "cached_tokens")
}

// Events takes the server-sent events in a text, of which each ends in a line
// feed. It reports how many there are.
func (s *Stream) Events(text []byte) (n int) {
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		data, ok := bytes.CutPrefix(line, []byte("data:"))
		if !ok {
			continue
		}
		if data = bytes.TrimSpace(data); Valid(data) {
			s.Event(data)
			n++
		}
	}
	return n
}

// either returns the first that is there and not null.
func either(a, b []byte) []byte {
	if len(a) > 0 && a[0] != 'n' {
		return a
	}
	return b
}

// Count sets a field of the record that is not set yet to the first number that
// an object has under one of the keys.
func (m *Map) Count(d *parsers.Draft, field audit.Field, object []byte, keys ...string) {
	for _, key := range keys {
		if d.Record.Has(field) {
			return
		}
		if n, ok := m.Integer(Member(object, key)); ok && n >= 0 {
			d.Record.SetInt(field, n)
		}
	}
}

// Recount is Count for a running total: a number replaces what is set.
func (m *Map) Recount(d *parsers.Draft, field audit.Field, object []byte, key string) {
	if n, ok := m.Integer(Member(object, key)); ok && n >= 0 {
		d.Record.SetInt(field, n)
	}
}

// Valid tells whether a text is one value of JSON, and nothing else.
func Valid(text []byte) bool {
	i := skipSpace(text, 0)
	if i >= len(text) {
		return false
	}
	end := skipValue(text, i, maxDepth)
	return end >= 0 && skipSpace(text, end) == len(text)
}
