package vllm

import (
	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// draft appends the record of a request: everything its lines said.
func (p *Parser) draft(dst []parsers.Draft, q *request) []parsers.Draft {
	dst, d := parsers.Next(dst)
	r := &d.Record
	d.Held = append(d.Held, q.held...)
	p.setTime(d, q.logged, q.nanoseconds, q.basis)
	r.SetString(audit.Event, "model.inference")
	d.SetActor(nil)
	operation := q.operation
	if operation == "" {
		operation = "text_completion" // nothing says otherwise
	}
	r.SetString(audit.APIOperation, operation)
	r.SetString(audit.SessionRequestID, q.id)
	if operationOf(q.id) != "" || isEither(q.id) {
		r.SetString(audit.SessionResponseID, baseOf(q.id))
	}
	answered := q.call != nil && q.call.answered
	if answered {
		p.setAccess(d, &q.call.access)
	}
	q.setOutcome(r, answered)
	q.settings.Fill(r)
	if q.streamed {
		r.SetBool(audit.ParamsStream, true)
	}
	if q.inputTokens >= 0 {
		r.SetInt(audit.UsageInputTokens, q.inputTokens)
	}
	if q.outputTokens >= 0 {
		r.SetInt(audit.UsageOutputTokens, q.outputTokens)
	}
	p.describe(d, q.server)
	r.SetString(audit.ModelAdapter, q.adapter)
	r.SetStrings(audit.OutputFinish, q.finish...)
	q.prompt.fill(&d.Input)
	q.answer.fill(&d.Output)
	if q.hasParams {
		r.Flag(audit.FieldsDropped) // most sampling parameters have no home in a record
	}
	if q.cut {
		r.Flag(audit.Truncated)
	}
	if q.inferred {
		r.Flag(audit.InferredJoin)
	}
	if q.invalid {
		r.Flag(audit.InvalidUTF8)
	}
	return dst
}

func (p *Parser) setAccess(d *parsers.Draft, a *access) {
	r := &d.Record
	r.SetString(audit.APIMethod, a.method)
	r.SetString(audit.APIPath, a.path)
	r.SetString(audit.APIVersion, a.version)
	p.setClient(d, []byte(a.client))
	d.SetStatus(a.status)
	r.Flag(audit.InferredJoin)
}

// setOutcome: how the engine ended it says more than the status, which is
// written when the answer begins; a failed status says that no answer came.
func (q *request) setOutcome(r *audit.Record, answered bool) {
	switch {
	case answered && q.call.access.status >= 500:
	case q.outcome != "":
		r.SetString(audit.Outcome, q.outcome)
		r.SetString(audit.Reason, q.reason)
	case answered:
	case q.answers > 0:
		r.SetString(audit.Outcome, outcomeSuccess)
	default:
		r.SetString(audit.Outcome, outcomeUnknown)
		r.SetString(audit.Reason, parsers.ReasonOutcomeNotLogged)
	}
}

func (c *content) fill(to *parsers.Content) {
	to.Applied = append(to.Applied, c.applied...)
	to.Parts = c.parts
	to.Truncated = c.truncated
}
