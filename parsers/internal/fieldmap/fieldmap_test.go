package fieldmap_test

import (
	"slices"
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

// TestOr: of several sources the preferred one counts wherever it stands, and
// the next one where the line has none that the field takes.
func TestOr(t *testing.T) {
	m, err := fieldmap.New(fieldmap.Config{
		Fields: []fieldmap.Mapping{
			{Field: "model.name", Path: []string{"group"}, Or: []fieldmap.Source{{Path: []string{"body", "model"}}, {Path: []string{"model"}}}},
			{Field: "time", Path: []string{"t"}, Layout: "unix", Or: []fieldmap.Source{{Path: []string{"t"}}, {Path: []string{"u"}}}},
			{Field: "output", Path: []string{"answer"}, Or: []fieldmap.Source{{Path: []string{"out"}}}},
			{Field: "output.finish", Path: []string{"reasons"}, Or: []fieldmap.Source{{Path: []string{"reason"}}}},
		},
		Slots: [][]string{{"model"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ line, model, time, output, finish string }{
		{`{"model":"c","body":{"model":"b"},"group":"a","t":1}`, "a", "1970-01-01T00:00:01Z", "", ""},
		{`{"group":"a","body":{"model":"b"},"model":"c","t":"1970-01-01T00:00:02Z"}`, "a", "1970-01-01T00:00:02Z", "", ""},
		{`{"model":"c","group":"","body":{"model":"b"},"u":"1970-01-01T00:00:03Z","t":"soon"}`, "b", "1970-01-01T00:00:03Z", "", ""},
		{`{"model":"c","body":{},"t":1.5,"u":"1970-01-01T00:00:03Z"}`, "c", "1970-01-01T00:00:01.5Z", "", ""},
		{`{"model":"c","out":"second","answer":{"content":["first","!"]},"reason":"stop"}`, "c", "", "first\n!", `["stop"]`},
		{`{"model":"c","answer":"first","out":{"content":"second"},"reason":"stop","reasons":["length","stop"]}`, "c", "", "first", `["length","stop"]`},
		{`{"model":"c","out":[{"content":"second"}],"answer":"","reasons":["stop"],"reason":"x"}`, "c", "", "second", `["stop"]`},
	} {
		drafts, outcome := m.ParseJSON(nil, &parsers.Line{Data: []byte(c.line)})
		if len(drafts) != 1 {
			t.Fatalf("%s: %+v", c.line, outcome)
		}
		r := &drafts[0].Record
		for i, got := range [...]string{string(r.Text(audit.ModelName)), string(r.Text(audit.Time)), string(drafts[0].Output.Text), string(r.Text(audit.OutputFinish))} {
			if want := [...]string{c.model, c.time, c.output, c.finish}[i]; got != want {
				t.Errorf("%s: %q, want %q", c.line, got, want)
			}
		}
	}
	if got := m.Trace()[audit.Time]; got != "t or u" {
		t.Errorf("the trace of time is %q", got)
	}
	if n := m.Dropped(); n != 1 { // the time "soon"
		t.Errorf("%d values were dropped", n)
	}
}

// TestEmbedded: an object that a writer put as a string is read like the object;
// another string there is what it is.
func TestEmbedded(t *testing.T) {
	m, err := fieldmap.New(fieldmap.Config{
		Fields: []fieldmap.Mapping{
			{Field: "model.name", Path: []string{"body", "model"}},
			{Field: "actor.id", Path: []string{"body", "who", "id"}},
			{Field: "input", Path: []string{"body"}},
		},
		Embedded: [][]string{{"body"}, {"body", "who"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ line, model, actor, input string }{
		{`{"body":{"model":"m","who":{"id":"ann"},"prompt":"hi"}}`, "m", "ann", "hi"},
		{`{"body":"{\"model\":\"m\",\"who\":\"{\\\"id\\\":\\\"ann\\\"}\",\"prompt\":\"h\\u0069\"}"}`, "m", "ann", "hi"},
		{`{"body":"{\"model\":\"m\""}`, "", "", `{"model":"m"`},
		{`{"body":"{} and {\"model\":\"m\"}"}`, "", "", `{} and {"model":"m"}`},
		{`{"body":"{\"model\":\"m\",\"model\":\"n\"}","x":1}`, "m", "", ""},
	} {
		drafts, outcome := m.ParseJSON(nil, &parsers.Line{Data: []byte(c.line)})
		if len(drafts) != 1 {
			t.Fatalf("%s: %+v", c.line, outcome)
		}
		d := &drafts[0]
		if got := [...]string{string(d.Record.Text(audit.ModelName)), string(d.Record.Text(audit.ActorID)), string(d.Input.Text)}; got != [...]string{c.model, c.actor, c.input} {
			t.Errorf("%s: %q", c.line, got)
		}
	}
}

func TestWalk(t *testing.T) {
	var got []string
	for _, raw := range []string{` `, ``, `"text"`, `{}`, `[]`, `{"a":1, "b" : [ {} , 2 ],"c":{"d":"}"}}`, `[1,"]",[2]]`} {
		for w := fieldmap.Open([]byte(raw)); w.Next(); {
			got = append(got, string(w.Key)+"="+string(w.Value))
		}
	}
	want := []string{"a=1", "b=[ {} , 2 ]", `c={"d":"}"}`, "=1", `="]"`, "=[2]"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := string(fieldmap.Member([]byte(`{"a":{"b":{"c":1}},"a":2}`), "a", "b", "c")); got != "1" {
		t.Errorf("member %q", got)
	}
	if got := fieldmap.Member([]byte(`{"a":[{"b":1}]}`), "a", "b"); got != nil {
		t.Errorf("member %q of an array", got)
	}
}

// TestSystem: system instructions are found in what was entered, wherever an API
// has them, once; or where the map says that they stand.
func TestSystem(t *testing.T) {
	body := []fieldmap.Mapping{{Field: "input", Path: []string{"in"}}, {Field: "output", Path: []string{"out"}}}
	for _, c := range []struct {
		line, system, input, output string
	}{
		{`{"in":{"messages":[{"role":"system","content":"Be"},{"role":"user","content":"hi"}]}}`, "Be", "Be\nhi", ""},
		{`{"in":[{"content":[{"type":"text","text":"hi"}],"role":"user"},{"content":[{"text":"a"},{"text":"b"}],"role":"developer"}]}`, "a\nb", "hi\na\nb", ""},
		{`{"in":{"system":[{"text":"Be"}],"messages":[{"role":"user","content":[{"text":"hi"}]}]}}`, "Be", "Be\nhi", ""},
		{`{"in":{"contents":[{"role":"user","parts":[{"text":"hi"}]}],"systemInstruction":{"role":"system","parts":[{"text":"Be"}]}}}`, "Be", "hi\nBe", ""},
		{`{"in":{"instructions":"Be","input":"hi"},"out":{"instructions":"Be","output":[{"content":[{"text":"yes"}]}]}}`, "Be", "Be\nhi", "yes"},
		{`{"in":{"messages":[{"role":"system","content":"A"}],"system":"B"}}`, "A\nB", "A\nB", ""},
		{`{"in":"system"}`, "", "system", ""},
		{`{"out":{"choices":[{"message":{"role":"system","content":"x"}}]}}`, "", "", "x"},
	} {
		m, err := fieldmap.New(fieldmap.Config{Fields: body})
		if err != nil {
			t.Fatal(err)
		}
		drafts, outcome := m.ParseJSON(nil, &parsers.Line{Data: []byte(c.line)})
		if len(drafts) != 1 {
			t.Fatal(c.line, outcome)
		}
		d := &drafts[0]
		if string(d.System.Text) != c.system || string(d.Input.Text) != c.input || string(d.Output.Text) != c.output {
			t.Errorf("%s: system %q, input %q, output %q", c.line, d.System.Text, d.Input.Text, d.Output.Text)
		}
	}
	m, err := fieldmap.New(fieldmap.Config{Fields: append(body,
		fieldmap.Mapping{Field: "prompt.system_hmac", Path: []string{"sys"}}, fieldmap.Mapping{Field: "tool.hmac", Path: []string{"args"}})})
	if err != nil {
		t.Fatal(err)
	}
	line := `{"in":{"messages":[{"role":"system","content":"A"}]},"sys":"B","args":{"city": "Rome"}}`
	drafts, _ := m.ParseJSON(nil, &parsers.Line{Data: []byte(line)})
	if d := &drafts[0]; string(d.System.Text) != "B" || string(d.Arguments.Text) != `{"city": "Rome"}` {
		t.Errorf("system %q, arguments %q", d.System.Text, d.Arguments.Text)
	}
}
