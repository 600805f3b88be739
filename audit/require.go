package audit

import (
	"bytes"
	"strings"
)

// condition is one rule of what a record needs beyond the fields that every
// record has: when the field on has one of the values (or, with not, when it is
// set to none of them), the fields in need must be there. A value that ends in
// a dot stands for all events of that group.
type condition struct {
	on     Field
	not    bool
	values []string
	need   []Field
}

// conditions are the "required …" remarks of the format's field list. A line
// that names no model leaves model.name unknown; only a resolved version has
// to say which name it belongs to.
var conditions = []condition{
	{on: Outcome, not: true, values: []string{"success"}, need: []Field{Reason}},
	{on: ActorBasis, not: true, values: []string{"none"}, need: []Field{ActorID}},
	{on: Event, values: []string{"model."}, need: []Field{ModelProvider, ModelBasis}},
	{on: ModelBasis, not: true, values: []string{"unresolved"}, need: []Field{ModelName, ModelRef}},
	{on: Event, values: []string{"model.inference"}, need: []Field{APIOperation}},
	{on: Event, values: []string{"model.deploy", "model.update", "model.conflict", "model.resolve", "admin.", "agent.config"}, need: []Field{ChangeWhat}},
	{on: Event, values: []string{"policy."}, need: []Field{PolicyID, PolicyDecision}},
	{on: Event, values: []string{"alert."}, need: []Field{AlertRule, AlertRuleVersion, AlertTitle, AlertState}},
	{on: Event, values: []string{"agent.gap", "agent.unparsed"}, need: []Field{LossCause}},
	{on: Event, values: []string{"agent.coverage"}, need: []Field{Coverage}},
}

// always holds the fields that every record has.
var always = func() (set [words]uint64) {
	for f := range fields {
		if fields[f].Required {
			set[f>>6] |= 1 << (f & 63)
		}
	}
	return set
}()

// Missing returns the fields that the record needs and does not have, in the
// order they stand in a line; nil when it is complete. It allocates only when
// something is missing.
func (r *Record) Missing() []Field {
	need := always
	for i := range conditions {
		c := &conditions[i]
		if !c.holds(r.Text(c.on)) {
			continue
		}
		for _, f := range c.need {
			need[f>>6] |= 1 << (f & 63)
		}
	}
	complete := true
	for w := range need {
		need[w] &^= r.set[w]
		complete = complete && need[w] == 0
	}
	if complete {
		return nil
	}
	var missing []Field
	for f := range fieldCount {
		if need[f>>6]&(1<<(f&63)) != 0 {
			missing = append(missing, f)
		}
	}
	return missing
}

// holds tells whether the condition applies to a value of its field; nil is unset.
func (c *condition) holds(value []byte) bool {
	if value == nil {
		return false
	}
	for _, v := range c.values {
		if string(value) == v || strings.HasSuffix(v, ".") && bytes.HasPrefix(value, []byte(v)) {
			return !c.not
		}
	}
	return c.not
}
