package audit_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/auditail/auditail/audit"
)

// envelope fills what every record has.
func envelope(r *audit.Record) {
	r.Reset()
	at := time.Date(2026, 11, 21, 9, 6, 34, 5e6, time.FixedZone("", 3600))
	r.SetInt(audit.SchemaVersion, audit.Version)
	r.SetText(audit.ID, audit.AppendID(nil, "h-1", "gateway", "g1", 0, 0))
	r.SetTime(audit.Time, at)
	r.SetString(audit.TimeBasis, "source")
	r.SetTime(audit.ObservedTime, at.UTC())
	r.SetString(audit.Event, "model.inference")
	r.SetString(audit.Action, "execute")
	r.SetString(audit.Outcome, "success")
	r.SetInt(audit.Severity, 1)
	r.SetString(audit.Retention, "standard")
	r.SetString(audit.ActorType, "unknown")
	r.SetString(audit.ActorBasis, "none")
	r.SetBool(audit.ActorVerified, false)
	r.SetString(audit.Service, "chat")
	r.SetString(audit.Environment, "prod")
	r.SetString(audit.HostID, "h-1")
	r.SetString(audit.HostName, "gpu-07")
	r.SetString(audit.ModelProvider, "vllm")
	r.SetString(audit.ModelBasis, "unresolved")
	r.SetString(audit.APIOperation, "chat")
	r.SetString(audit.SourceID, "gateway")
	r.SetText(audit.Salt, audit.AppendSalt(nil, [8]byte{1, 2, 3}))
	r.SetString(audit.AgentID, "gpu-07")
}

// typical fills a record of about 900 bytes, as a gateway line makes it.
func typical(r *audit.Record) {
	envelope(r)
	r.SetString(audit.ActorID, "alice")
	r.SetString(audit.ActorBasis, "header")
	r.SetString(audit.ClientIP, "10.30.0.8")
	r.SetString(audit.ClientApp, "openai-python/1.99.2")
	r.SetString(audit.SessionRequestID, "9f5d3bb2ed9b7b3dcfbfcf36affe7c6f")
	r.SetString(audit.ModelName, "llama-3-8b")
	r.SetString(audit.APIMethod, "POST")
	r.SetString(audit.APIPath, "/v1/chat/completions")
	r.SetInt(audit.APIStatus, 200)
	r.SetInt(audit.UsageInputTokens, 1841)
	r.SetInt(audit.UsageOutputTokens, 402)
	r.SetString(audit.SourcePath, "/var/log/gateway/requests.jsonl")
	r.SetString(audit.SourceGeneration, "f3a1")
	r.SetInt(audit.SourceOffset, 18231)
	r.Flag(audit.ActorUnverified | audit.FieldsDropped)
}

func decode(t rapid.TB, line []byte) map[string]any {
	t.Helper()
	var v map[string]any
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return v
}

func TestAppend(t *testing.T) {
	var r audit.Record
	envelope(&r)
	r.SetStrings(audit.ActorRoles, "legal", "", "x")
	r.SetString(audit.ActorName, "")
	r.Flag(audit.TZAssumed | audit.InferredJoin)
	const want = `{"schema_version":1,"id":"7xfytpl3vg7funxaliaai6kgbj","time":"2026-11-21T09:06:34.005+01:00","time_basis":"source",` +
		`"observed_time":"2026-11-21T08:06:34.005Z","event":"model.inference","action":"execute","outcome":"success","severity":1,` +
		`"retention":"standard","actor":{"type":"unknown","basis":"none","verified":false,"roles":["legal","x"]},"service":"chat",` +
		`"environment":"prod","host":{"id":"h-1","name":"gpu-07"},"model":{"provider":"vllm","basis":"unresolved"},"api":{"operation":"chat"},` +
		`"source":{"id":"gateway"},"salt":"AQIDAAAAAAA","quality":["tz_assumed","inferred_join"],"agent":{"id":"gpu-07","seq":7}}`
	if diff := cmp.Diff(want, string(r.Append(nil, 7))); diff != "" {
		t.Error(diff)
	}
}

func TestTextIsEscaped(t *testing.T) {
	for text, want := range map[string]string{
		`plain text, 8 bytes and more`:     `"plain text, 8 bytes and more"`,
		"quote \" in the second word":      `"quote \" in the second word"`,
		"\\":                               `"\\"`,
		"line\nfeed\ttab\rreturn":          `"line\nfeed\ttab\rreturn"`,
		"\x00\x1f\x7f":                     `"\u0000\u001f` + "\x7f" + `"`,
		"é€😀 wide but fine, not escaped":   `"é€😀 wide but fine, not escaped"`,
		"\xff":                             `"` + "\ufffd" + `"`,
		"half of a rune \xe2\x82":          `"half of a rune ` + "\ufffd\ufffd" + `"`,
		"surrogate \xed\xa0\x80 as bytes":  `"surrogate ` + "\ufffd\ufffd\ufffd" + ` as bytes"`,
		"overlong \xc0\xaf":                `"overlong ` + "\ufffd\ufffd" + `"`,
		"<script>&\u2028":                  `"<script>&` + "\u2028" + `"`,
		strings.Repeat("a", 7) + "\x01bcd": `"aaaaaaa\u0001bcd"`,
	} {
		if got := string(audit.AppendString(nil, text)); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

// TestFieldsRoundTrip sets any fields to any values and reads them back with a
// decoder that is not ours.
func TestFieldsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r audit.Record
		want := map[string]any{}
		put := func(f audit.Field, value any) {
			group, name, nested := strings.Cut(f.String(), ".")
			if !nested {
				want[group] = value
				return
			}
			if want[group] == nil {
				want[group] = map[string]any{}
			}
			want[group].(map[string]any)[name] = value
		}
		for _, f := range rapid.SliceOf(rapid.SampledFrom(audit.Fields())).Draw(t, "fields") {
			if f == audit.AgentID || r.Has(f) {
				continue
			}
			switch f.Def().Kind {
			case audit.KindInt:
				n := rapid.Int64().Draw(t, "int")
				r.SetInt(f, n)
				put(f, json.Number(strings.TrimSpace(string(mustJSON(n)))))
			case audit.KindBool:
				b := rapid.Bool().Draw(t, "bool")
				r.SetBool(f, b)
				put(f, b)
			case audit.KindStrings:
				list := rapid.SliceOfN(rapid.StringN(1, 8, -1), 1, 4).Draw(t, "strings")
				r.SetStrings(f, list...)
				var wide []any
				for _, s := range list {
					wide = append(wide, strings.ToValidUTF8(s, "\ufffd"))
				}
				put(f, wide)
			case audit.KindNumber:
				r.SetJSON(f, []byte("0.25"))
				put(f, json.Number("0.25"))
			case audit.KindJSON:
				r.SetJSON(f, []byte(`{"k":"v"}`))
				put(f, map[string]any{"k": "v"})
			default:
				s := rapid.StringN(1, 40, -1).Draw(t, "text")
				r.SetString(f, s)
				put(f, s)
			}
		}
		r.SetString(audit.AgentID, "a")
		want["agent"] = map[string]any{"id": "a", "seq": json.Number("42")}
		line := r.Append(nil, 42)
		if diff := cmp.Diff(want, decode(t, line)); diff != "" {
			t.Fatalf("%s\n%s", line, diff)
		}
		var twin audit.Record
		twin.CopyFrom(&r)
		r.Reset()
		if diff := cmp.Diff(string(line), string(twin.Append(nil, 42))); diff != "" {
			t.Fatalf("the copy shares memory: %s", diff)
		}
		r.SetString(audit.Tenant, "stays unless the other has it")
		kept := !twin.Has(audit.Tenant)
		r.Add(&twin)
		if tenant := string(r.Text(audit.Tenant)); kept != (tenant == "stays unless the other has it") {
			t.Fatalf("tenant %q behind Add", tenant)
		}
		if kept {
			r.Clear(audit.Tenant)
		}
		if diff := cmp.Diff(string(line), string(r.Append(nil, 42))); diff != "" {
			t.Fatalf("added to another record: %s", diff)
		}
	})
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// FuzzAppendText compares the escaping with the standard library's decoder.
func FuzzAppendText(f *testing.F) {
	f.Add([]byte("plain"))
	f.Add([]byte("\"\\\n\x00\x7f\xff é 😀"))
	f.Add([]byte("1234567\x80abcdefgh\xe2\x82"))
	f.Fuzz(func(t *testing.T, text []byte) {
		encoded := audit.AppendText(nil, text)
		if !utf8.Valid(encoded) {
			t.Fatalf("%q is not UTF-8", encoded)
		}
		var got string
		if err := json.Unmarshal(encoded, &got); err != nil {
			t.Fatalf("%q: %v", encoded, err)
		}
		if want := string([]rune(string(text))); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

func examples(t testing.TB) [][]byte {
	t.Helper()
	data, err := os.ReadFile("testdata/examples.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
}

// TestExamplesAreValid holds the published examples against both validators.
func TestExamplesAreValid(t *testing.T) {
	schema := compiled(t)
	lines := examples(t)
	if len(lines) != 4 {
		t.Fatalf("%d examples", len(lines))
	}
	var r audit.Record
	typical(&r)
	for _, line := range append(lines, r.Append(nil, 1)) {
		if err := audit.Validate(line); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if err := conforms(t, schema, line); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// TestBrokenRecords breaks a good record in every way the format forbids; both
// validators must see it, unless schema is false.
func TestBrokenRecords(t *testing.T) {
	schema := compiled(t)
	for name, c := range map[string]struct {
		change func(r *audit.Record)
		edit   func(line string) string
		want   string
		schema bool
	}{
		"no id":            {change: func(r *audit.Record) { r.Clear(audit.ID) }, want: "id is missing", schema: true},
		"no salt":          {change: func(r *audit.Record) { r.Clear(audit.Salt) }, want: "salt is missing", schema: true},
		"no host":          {change: func(r *audit.Record) { r.Clear(audit.HostID); r.Clear(audit.HostName) }, want: "host.id is missing", schema: true},
		"no reason":        {change: func(r *audit.Record) { r.SetString(audit.Outcome, "failed") }, want: "reason is missing", schema: true},
		"nobody":           {change: func(r *audit.Record) { r.Clear(audit.ActorID) }, want: "actor.id is missing", schema: true},
		"no operation":     {change: func(r *audit.Record) { r.Clear(audit.APIOperation) }, want: "api.operation is missing", schema: true},
		"no provider":      {change: func(r *audit.Record) { r.Clear(audit.ModelProvider) }, want: "model.provider is missing", schema: true},
		"no model basis":   {change: func(r *audit.Record) { r.Clear(audit.ModelBasis) }, want: "model.basis is missing", schema: true},
		"no model ref":     {change: func(r *audit.Record) { r.SetString(audit.ModelBasis, "declared") }, want: "model.ref is missing", schema: true},
		"no model name":    {change: func(r *audit.Record) { resolve(r); r.Clear(audit.ModelName) }, want: "model.name is missing", schema: true},
		"no policy id":     {change: event("policy.block", "block"), want: "policy.id is missing", schema: true},
		"no alert rule":    {change: event("alert.raise", "detect"), want: "alert.rule is missing", schema: true},
		"no change":        {change: event("admin.user", "modify"), want: "change.what is missing", schema: true},
		"no loss":          {change: event("agent.gap", "observe"), want: "loss.cause is missing", schema: true},
		"no coverage":      {change: event("agent.coverage", "observe"), want: "coverage is missing", schema: true},
		"strange outcome":  {change: func(r *audit.Record) { r.SetString(audit.Outcome, "ok") }, want: `outcome: "ok" is none of`, schema: true},
		"strange event":    {change: event("model.dream", "observe"), want: `event: "model.dream" is no event`, schema: true},
		"wrong action":     {change: event("data.access", "delete"), want: `action is "delete", but data.access means "read"`},
		"time of no day":   {change: func(r *audit.Record) { r.SetString(audit.Time, "2026-02-30T00:00:00Z") }, want: "no time of RFC 3339", schema: true},
		"time of no zone":  {change: func(r *audit.Record) { r.SetString(audit.Time, "2026-02-20T00:00:00") }, want: "no time of RFC 3339", schema: true},
		"severity 9":       {change: func(r *audit.Record) { r.SetInt(audit.Severity, 9) }, want: "severity: an integer from 1 to 5", schema: true},
		"version 2":        {change: func(r *audit.Record) { r.SetInt(audit.SchemaVersion, 2) }, want: "schema_version: an integer from 1 to 1", schema: true},
		"short id":         {change: func(r *audit.Record) { r.SetString(audit.ID, "abc") }, want: "not 26 characters", schema: true},
		"strange salt":     {change: func(r *audit.Record) { r.SetString(audit.Salt, "==========!") }, want: "not 8 bytes of base64url", schema: true},
		"status as text":   {edit: swap(`"status":200`, `"status":"200"`), want: "api.status: an integer", schema: true},
		"fraction":         {edit: swap(`"status":200`, `"status":200.5`), want: "api.status: an integer", schema: true},
		"number as text":   {edit: swap(`"name":"llama-3-8b"`, `"name":8`), want: "model.name: a text is wanted", schema: true},
		"bool as text":     {edit: swap(`"verified":false`, `"verified":"no"`), want: "actor.verified: true or false", schema: true},
		"null":             {edit: swap(`"status":200`, `"status":null`), want: "api.status: an integer", schema: true},
		"empty text":       {edit: swap(`"name":"llama-3-8b"`, `"name":""`), want: "model.name: the text is empty", schema: true},
		"unknown null":     {edit: swap(`"salt"`, `"later":{"x":[null]},"salt"`), want: "later: null", schema: true},
		"unknown empty":    {edit: swap(`"status":200`, `"later":"","status":200`), want: "api.later: the text is empty", schema: true},
		"unknown flag":     {edit: swap(`"actor_unverified"`, `"shiny"`), want: `quality: "shiny"`, schema: true},
		"key twice":        {edit: swap(`"status":200`, `"status":200,"status":500`), want: `"status" stands twice`},
		"group twice":      {edit: swap(`"salt"`, `"actor":{"id":"mallory"},"salt"`), want: `"actor" stands twice`},
		"no sequence":      {edit: swap(`,"seq":1}`, `}`), want: "agent.seq is missing", schema: true},
		"negative":         {edit: swap(`"seq":1}`, `"seq":-1}`), want: "agent.seq: an integer", schema: true},
		"group as text":    {edit: swap(`"salt"`, `"policy":"p","salt"`), want: "an object is wanted", schema: true},
		"line feed inside": {edit: swap(`,"salt"`, ",\n\"salt\""), want: "line feed"},
		"rest":             {edit: func(line string) string { return line + "{}" }, want: "something follows"},
		"not UTF-8":        {edit: swap("llama-3-8b", "llama\xff"), want: "not UTF-8"},
		"not JSON":         {edit: func(line string) string { return line[:len(line)-1] }, want: "read JSON"},
		"no object":        {edit: func(string) string { return `["x"]` }, want: "an object is wanted", schema: true},
	} {
		t.Run(name, func(t *testing.T) {
			var r audit.Record
			typical(&r)
			if c.change != nil {
				c.change(&r)
			}
			line := string(r.Append(nil, 1))
			if c.edit != nil {
				before := line
				if line = c.edit(line); line == before {
					t.Fatal("the edit changed nothing")
				}
			}
			err := audit.Validate([]byte(line))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Validate: %v, want %q", err, c.want)
			}
			if c.schema && conforms(t, schema, []byte(line)) == nil {
				t.Errorf("the schema accepts %s", line)
			}
		})
	}
}

func resolve(r *audit.Record) {
	r.SetString(audit.ModelBasis, "declared")
	r.SetString(audit.ModelRef, "m_0bdbfdbe1f5f639cc03e055b2620c5e6")
}

func event(name, action string) func(*audit.Record) {
	return func(r *audit.Record) {
		r.SetString(audit.Event, name)
		r.SetString(audit.Action, action)
	}
}

func swap(from, to string) func(string) string {
	return func(line string) string { return strings.Replace(line, from, to, 1) }
}

// TestUnknownFieldsAreAllowed: a later minor version may add any.
func TestUnknownFieldsAreAllowed(t *testing.T) {
	var r audit.Record
	typical(&r)
	line := []byte(strings.Replace(string(r.Append(nil, 1)), `"salt"`, `"later":{"x":[1,true,"y",{"z":2}]},"salt"`, 1))
	if err := audit.Validate(line); err != nil {
		t.Error(err)
	}
	if err := conforms(t, compiled(t), line); err != nil {
		t.Error(err)
	}
}

func TestMissing(t *testing.T) {
	var r audit.Record
	typical(&r)
	if missing := r.Missing(); missing != nil {
		t.Errorf("a complete record misses %v", missing)
	}
	r.SetString(audit.Outcome, "denied")
	r.Clear(audit.APIOperation)
	r.Clear(audit.Salt)
	if diff := cmp.Diff([]audit.Field{audit.Reason, audit.APIOperation, audit.Salt}, r.Missing()); diff != "" {
		t.Error(diff)
	}
}

func TestNoAllocations(t *testing.T) {
	var r audit.Record
	typical(&r)
	buffer := make([]byte, 0, 4096)
	for name, f := range map[string]func(){
		"Append":  func() { buffer = r.Append(buffer[:0], 1) },
		"Missing": func() { r.Missing() },
		"fill":    func() { typical(&r) },
	} {
		// fill builds an id, a salt and a zone of its own for the test.
		limit := 0.0
		if name == "fill" {
			limit = 6
		}
		if n := testing.AllocsPerRun(100, f); n > limit {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestModelRef uses the entry behind the published example, whose version is
// not part of the entry.
func TestModelRef(t *testing.T) {
	m := audit.Model{
		Provider: "vllm",
		ID:       "hf:meta-llama/Llama-3.1-8B-Instruct",
		Revision: "0e9e39f249a16976918f6564b8830bc894c89659",
		Digest:   "sha256:1761859e16f9a0a8a14419a2a7dd5eb3639b2beb40f01ff3c73942fd37f7ea26",
		Config:   "sha256:5cb411750273d59e7e9b1e5b782b60fef4d5809812f6bf81f25f234f9fc7b59c",
	}
	if got := m.Ref(); got != "m_3a3f1cab5ce91b8b80915180739de267" {
		t.Errorf("without version: %s", got)
	}
	m.Version = "3.1"
	if got := m.Ref(); got != "m_0bdbfdbe1f5f639cc03e055b2620c5e6" {
		t.Errorf("with version: %s", got)
	}
	if empty := (&audit.Model{}).Ref(); empty != "m_44136fa355b3678a1146ad16f7e8649e" {
		t.Errorf("empty: %s", empty)
	}
}

func TestEventsHaveActions(t *testing.T) {
	for _, name := range audit.Events() {
		action, known := audit.EventAction(name)
		if !known || !audit.Action.Allows(action) {
			t.Errorf("%s: action %q", name, action)
		}
	}
	if _, known := audit.EventAction("model.dream"); known {
		t.Error("an unknown event is known")
	}
}

func TestLookup(t *testing.T) {
	for _, f := range audit.Fields() {
		if got, ok := audit.Lookup(f.String()); !ok || got != f {
			t.Errorf("%s: %v, %v", f, got, ok)
		}
	}
	if _, ok := audit.Lookup("actor"); ok {
		t.Error("a group is no field")
	}
}

func BenchmarkAppend(b *testing.B) {
	var r audit.Record
	typical(&r)
	buffer := r.Append(make([]byte, 0, 4096), 1)
	b.SetBytes(int64(len(buffer)))
	b.ReportAllocs()
	for b.Loop() {
		buffer = r.Append(buffer[:0], 1)
	}
}

func BenchmarkMissing(b *testing.B) {
	var r audit.Record
	typical(&r)
	b.ReportAllocs()
	for b.Loop() {
		if r.Missing() != nil {
			b.Fatal("something is missing")
		}
	}
}
