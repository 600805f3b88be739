package fieldmap_test

import (
	"testing"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
)

// TestSlots: a preset sees the values of its slots, those of this line only, and
// decides over the record or the line.
func TestSlots(t *testing.T) {
	const kind, body, flag = 0, 1, 2
	var got [3]string
	m, err := fieldmap.New(fieldmap.Config{
		Fields: []fieldmap.Mapping{{Field: "model.name", Path: []string{"body", "model"}}},
		Slots:  [][]string{kind: {"kind"}, body: {"body"}, flag: {"flag"}},
		Decide: func(m *fieldmap.Map, d *parsers.Draft) parsers.Outcome {
			for i := range got {
				got[i] = string(m.Slot(i))
			}
			if got[kind] == "noise" {
				return parsers.Outcome{Verdict: parsers.Ignored, Rule: "noise"}
			}
			d.Record.SetString(audit.Event, "model.load")
			return parsers.Outcome{Verdict: parsers.Recorded}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		line    string
		want    [3]string
		verdict parsers.Verdict
	}{
		{`{"kind":"a\u0062c","body":{"model":"m", "n":[1]},"flag":true}`, [3]string{"abc", `{"model":"m", "n":[1]}`, "true"}, parsers.Recorded},
		{`{"kind":"noise","body":null,"flag":1.50}`, [3]string{"noise", "", "1.50"}, parsers.Ignored},
		{`{"body":[]}`, [3]string{"", "[]", ""}, parsers.Recorded},
		{`{"body":[}`, [3]string{"", "[]", ""}, parsers.Unparsed},
	} {
		drafts, outcome := m.ParseJSON(nil, &parsers.Line{Data: []byte(c.line)})
		if outcome.Verdict != c.verdict || len(drafts) == 1 != (c.verdict == parsers.Recorded) {
			t.Errorf("%s: %+v with %d drafts", c.line, outcome, len(drafts))
		}
		if got != c.want {
			t.Errorf("%s: slots %q, want %q", c.line, got, c.want)
		}
		if len(drafts) == 1 && string(drafts[0].Record.Text(audit.Event)) != "model.load" {
			t.Errorf("%s: event %s", c.line, drafts[0].Record.Text(audit.Event))
		}
	}
}
