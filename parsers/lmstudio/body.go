package lmstudio

import (
	"bytes"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
)

// body reads the JSON of requests, or of answers.
type body struct {
	fields *fieldmap.Map
	drafts []parsers.Draft // of the body in hand: one
}

func newBody(config parsers.Config, fields []parsers.Mapping) (*body, error) {
	m, err := fieldmap.New(fieldmap.Config{
		Config: config, Fields: fields, Set: []parsers.Constant{{Field: "event", Value: "model.inference"}},
		Slots: fieldmap.Paths("messages"),
	})
	return &body{fields: m}, err
}

// requestFields are those of OpenAI's, Anthropic's and LM Studio's own APIs.
func requestFields() []parsers.Mapping {
	from := fieldmap.From
	return []parsers.Mapping{
		from("model.name", "model", "instance_id", "modelIdentifier"),
		from("actor.id", "user"),
		from("params.temperature", "temperature"),
		from("params.top_p", "top_p"),
		from("params.top_k", "top_k"),
		from("params.max_tokens", "max_tokens", "max_completion_tokens", "max_output_tokens"),
		from("params.seed", "seed"),
		from("params.n", "n"),
		from("params.stream", "stream"),
		from("input", "messages", "prompt", "input"),
	}
}

func answerFields() []parsers.Mapping {
	from := fieldmap.From
	return []parsers.Mapping{
		from("session.response_id", "id", "response_id"),
		from("model.served", "model", "model_instance_id", "modelIdentifier"),
		from("usage.input_tokens", "usage/prompt_tokens", "usage/input_tokens", "stats/input_tokens", "stats/promptTokensCount"),
		from("usage.output_tokens", "usage/completion_tokens", "usage/output_tokens", "stats/total_output_tokens", "stats/predictedTokensCount"),
		from("usage.cached_tokens", "usage/prompt_tokens_details/cached_tokens", "usage/input_tokens_details/cached_tokens"),
		from("usage.duration_ms", "stats/totalTimeSec s"),
		from("output.finish", "choices/0/finish_reason", "stop_reason", "stats/stop_reason", "stats/stopReason"),
		from("output", "choices", "content", "output"),
	}
}

// Marks that LM Studio puts where it leaves out the middle of a long text.
var shortened = [...]string{"<Truncated in logs>", "(truncated in these logs)"}

// read reads a body. What it returns is valid until the next one. ok is false for what
// is no JSON, "[Sensitive]" among it.
func (b *body) read(raw []byte, line *parsers.Line) (d *parsers.Draft, ok bool) {
	if len(raw) == 0 || raw[0] != '{' {
		return nil, false
	}
	// The end of an entry that the input could not join whole is missing.
	part := parsers.Line{Data: raw, Seen: line.Seen, Cut: line.Cut || raw[len(raw)-1] != '}'}
	var outcome parsers.Outcome
	b.drafts, outcome = b.fields.ParseJSON(b.drafts[:0], &part)
	if outcome.Verdict != parsers.Recorded {
		return nil, false
	}
	d = &b.drafts[0]
	for _, c := range [...]*parsers.Content{&d.Input, &d.Output} {
		for _, mark := range shortened {
			c.Truncated = c.Truncated || bytes.Contains(c.Text, []byte(mark))
		}
	}
	return d, true
}

// messages returns how many messages the body in hand has.
func (b *body) messages() int {
	n := 0
	for w := fieldmap.Open(b.fields.Slot(0)); w.Next(); {
		n++
	}
	return n
}

// facts are the fields that a call keeps of its request and its answer.
var facts = [...]audit.Field{
	audit.ModelName, audit.ActorID, audit.ParamsTemperature, audit.ParamsTopP, audit.ParamsTopK, audit.ParamsMaxTokens, audit.ParamsSeed,
	audit.ParamsN, audit.ParamsStream, audit.SessionResponseID, audit.ModelServed, audit.UsageInputTokens, audit.UsageOutputTokens,
	audit.UsageCachedTokens, audit.UsageDurationMs, audit.OutputFinish,
}

// marks are the quality flags that go with them.
const marks = audit.FieldsDropped | audit.DuplicateKeys | audit.InvalidUTF8 | audit.Truncated

// learn takes what another record says and to does not say yet.
func learn(to, from *audit.Record) {
	for _, field := range facts {
		if !from.Has(field) || to.Has(field) {
			continue
		}
		switch field.Def().Kind {
		case audit.KindInt:
			to.SetInt(field, from.Int(field))
		case audit.KindBool:
			to.SetBool(field, from.Bool(field))
		case audit.KindJSON, audit.KindNumber, audit.KindStrings:
			to.SetJSON(field, from.Text(field))
		default:
			to.SetText(field, from.Text(field))
		}
	}
	to.Flag(from.Flags() & marks)
}
