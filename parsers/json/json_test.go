package json_test

import (
	"bytes"
	stdjson "encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/json"
	"github.com/auditail/auditail/parsers/parsertest"
)

var _ = flag.Bool("update", false, "write the golden files anew")

// fields reads a map of lines "record field = source keys [layout]"; keys are
// split at dots unless they are quoted.
func fields(t testing.TB, text string) []json.Mapping {
	t.Helper()
	var list []json.Mapping
	for line := range strings.Lines(text) {
		field, source, ok := strings.Cut(strings.TrimSpace(line), " = ")
		if !ok {
			continue
		}
		source, layout, _ := strings.Cut(source, " @")
		m := json.Mapping{Field: field, Layout: layout}
		if quoted, ok := strings.CutPrefix(source, `"`); ok {
			m.Path = []string{strings.TrimSuffix(quoted, `"`)}
		} else {
			m.Path = strings.Split(source, ".")
		}
		list = append(list, m)
	}
	return list
}

func newParser(t testing.TB, c json.Config) *json.Parser {
	t.Helper()
	if c.Location == nil {
		c.Location = time.FixedZone("", 3600)
	}
	p, err := json.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const nginxMap = `
	time = time
	session.request_id = request_id
	client.ip = remote_addr
	client.user_agent = user_agent
	api.method = method
	api.path = uri
	api.status = status
	usage.response_bytes = bytes_sent
	usage.request_bytes = request_length
	usage.duration_ms = request_time @s
	actor.id = x_user
	actor.key_id = key_id
	extra.upstream_status = upstream_status
`

const litellmMap = `
	time = startTime @unix
	session.response_id = id
	session.trace_id = trace_id
	outcome = status
	reason = error_information.error_class
	api.status = error_information.error_code
	model.provider = custom_llm_provider
	model.name = model_group
	model.served = model
	actor.id = metadata.user_api_key_user_id
	actor.name = metadata.user_api_key_user_email
	actor.key_id = metadata.user_api_key_hash
	actor.on_behalf_of = metadata.user_api_key_end_user_id
	workspace = metadata.user_api_key_team_id
	client.ip = requester_ip_address
	client.user_agent = user_agent
	usage.input_tokens = prompt_tokens
	usage.output_tokens = completion_tokens
	usage.duration_ms = response_time @s
	params.temperature = model_parameters.temperature
	params.max_tokens = model_parameters.max_tokens
	params.stream = stream
	input = messages
	output = response.choices
	output.finish = response.choices.0.finish_reason
	extra.call_type = call_type
	extra.cache_hit = cache_hit
	extra.cost = response_cost
	policy.rules = metadata.applied_guardrails
`

func TestGolden(t *testing.T) {
	for name, c := range map[string]struct {
		fields string
		set    []json.Constant
	}{
		"nginx":       {fields: nginxMap},
		"nginx-llama": {fields: nginxMap},
		"caddy": {fields: `
			time = ts @unix
			client.ip = request.client_ip
			client.user_agent = request.headers.User-Agent.0
			api.method = request.method
			api.path = request.uri
			api.status = status
			actor.id = user_id
			usage.request_bytes = bytes_read
			usage.response_bytes = size
			usage.duration_ms = duration @s
		`},
		"kong": {fields: `
			time = started_at @unix_ms
			session.request_id = request.id
			client.ip = client_ip
			client.user_agent = request.headers.user-agent
			api.method = request.method
			api.path = upstream_uri
			api.status = response.status
			actor.id = consumer.username
			actor.key_id = authenticated_entity.id
			workspace = workspace_name
			model.provider = ai.proxy.meta.provider_name
			model.name = ai.proxy.meta.request_model
			model.served = ai.proxy.meta.response_model
			usage.input_tokens = ai.proxy.usage.prompt_tokens
			usage.output_tokens = ai.proxy.usage.completion_tokens
			usage.duration_ms = latencies.request
			extra.cost = ai.proxy.usage.cost
		`, set: []json.Constant{
			{Field: "actor.type", Value: "service"},
			{Field: "actor.basis", Value: "api_key"},
			{Field: "tenant", Value: "acme"},
			{Field: "extra.gateway", Value: "kong"},
		}},
		"envoy": {fields: `
			time = start_time
			session.request_id = x-request-id
			session.id = "session.id"
			client.ip = x-forwarded-for
			client.user_agent = user-agent
			api.method = method
			api.path = x-envoy-origin-path
			api.status = response_code
			model.provider = "gen_ai.provider.name"
			model.name = "gen_ai.request.model"
			model.served = "gen_ai.response.model"
			usage.input_tokens = "gen_ai.usage.input_tokens"
			usage.output_tokens = "gen_ai.usage.output_tokens"
			usage.duration_ms = duration
			tool.name = "mcp.tool.name"
			extra.flags = response_flags
		`},
		"litellm": {fields: litellmMap},
		"odd": {fields: `
			time = t
			event = kind
			outcome = out
			reason = why
			actor.id = user.name
			actor.roles = user.roles
			actor.mfa = user.mfa
			actor.basis = auth
			client.ip = peer
			client.user_agent = agent
			client.app = app
			api.path = req
			api.status = code
			usage.input_tokens = tokens
			usage.duration_ms = took
			params.temperature = temp
			approval.expires = until
			policy.id = guard.id
			policy.decision = guard.verdict
			policy.findings = guard.found
			data = docs
			input = body
			model.name = body.model
			output = answer
			actor.key_id = key
			extra.note = note
		`},
		"plain": {fields: `
			time = ts
			actor.id = user
			model.name = request.model
			api.status = status
		`},
	} {
		t.Run(name, func(t *testing.T) {
			p := newParser(t, json.Config{Config: parsers.Config{Provider: "gateway"}, Fields: fields(t, c.fields), Set: c.set})
			parsertest.Golden(t, p, name)
		})
	}
}

func one(t testing.TB, p *json.Parser, line string, cut bool) *parsers.Draft {
	t.Helper()
	drafts, outcome := parsertest.Parse(t, p, parsers.Line{Data: []byte(line), Cut: cut})
	if len(drafts) != 1 {
		t.Fatalf("%s: %+v", line, outcome)
	}
	return &drafts[0]
}

// TestTimes: each layout, what it takes and what it refuses.
func TestTimes(t *testing.T) {
	for _, c := range []struct{ layout, value, want, basis string }{
		{"", `"2026-11-21T09:06:34Z"`, "2026-11-21T09:06:34Z", "source"},
		{"rfc3339", `"2026-11-21T09:06:34+00:00"`, "2026-11-21T09:06:34Z", "source"},
		{"", `"2026-11-21t09:06:34.123456789-0530"`, "2026-11-21T09:06:34.123456789-05:30", "source"},
		{"", `"2026-11-21 09:06:34,5 +01"`, "2026-11-21T09:06:34.5+01:00", "source"},
		{"", `"2026-11-21 09:06:34.1234567890123 UTC"`, "2026-11-21T09:06:34.123456789Z", "source"},
		{"", `"2026-11-21 09:06:34"`, "2026-11-21T09:06:34+01:00", "source_tz_assumed"},
		{"", `"2026-11-21 09:06:34.250"`, "2026-11-21T09:06:34.25+01:00", "source_tz_assumed"},
		{"", `"2026-02-29T09:06:34Z"`, "", ""},
		{"", `"2026-11-21T09:06:60Z"`, "", ""},
		{"", `"2026-11-21T09:06:34.Z"`, "", ""},
		{"", `"2026-11-21T09:06:34+25:00"`, "", ""},
		{"", `"2026-11-21T09:06:34+1:00"`, "", ""},
		{"", `"2026-11-21"`, "", ""},
		{"", `1795251994`, "", ""},
		{"unix", `1795251994`, "2026-11-21T09:06:34Z", "source"},
		{"unix", `"1795251994"`, "2026-11-21T09:06:34Z", "source"},
		{"unix", `1795251994.303`, "2026-11-21T09:06:34.303Z", "source"},
		{"unix", `1795251994.1234567891`, "2026-11-21T09:06:34.123456789Z", "source"},
		{"unix_ms", `1795251994303`, "2026-11-21T09:06:34.303Z", "source"},
		{"unix_ms", `1795251994303.25`, "2026-11-21T09:06:34.30325Z", "source"},
		{"unix_us", `"1795251994303001"`, "2026-11-21T09:06:34.303001Z", "source"},
		{"unix_ns", `1795251994303001002`, "2026-11-21T09:06:34.303001002Z", "source"},
		{"unix", `-5`, "", ""},
		{"unix", `1e9`, "", ""},
		{"unix", `99999999999999999`, "", ""},
		{"unix_ns", `99999999999999999999`, "", ""},
		{"unix", `true`, "", ""},
		{"unix", `"1795251994."`, "", ""},
		{"02/Jan/2006:15:04:05 -0700", `"21/Nov/2026:09:06:34 +0200"`, "2026-11-21T09:06:34+02:00", "source"},
		{"2006/01/02 15:04:05", `"2026/11/21 09:06:34"`, "2026-11-21T09:06:34+01:00", "source_tz_assumed"},
		{"2006/01/02 15:04:05", `"yesterday"`, "", ""},
	} {
		p := newParser(t, json.Config{Fields: []json.Mapping{
			{Field: "time", Path: []string{"t"}, Layout: c.layout}, {Field: "actor.id", Path: []string{"u"}},
		}})
		r := &one(t, p, `{"t":`+c.value+`,"u":"ann"}`, false).Record
		if got := string(r.Text(audit.Time)); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.layout, c.value, got, c.want)
		}
		if got := string(r.Text(audit.TimeBasis)); got != c.basis {
			t.Errorf("%s %s: basis %s, want %s", c.layout, c.value, got, c.basis)
		}
		if dropped := r.Flags()&audit.FieldsDropped != 0; dropped != (c.want == "") {
			t.Errorf("%s %s: dropped %v", c.layout, c.value, dropped)
		}
		if assumed := r.Flags()&audit.TZAssumed != 0; assumed != (c.basis == "source_tz_assumed") {
			t.Errorf("%s %s: assumed %v", c.layout, c.value, assumed)
		}
	}
}

// TestContent: the shapes in which messages are logged.
func TestContent(t *testing.T) {
	for _, c := range []struct {
		value string
		parts int
		text  string
	}{
		{`"plain"`, 1, "plain"},
		{`""`, 0, ""},
		{`null`, 0, ""},
		{`"esc\u0061ped \ud83d\ude00 \n \" \/ é"`, 1, "escaped 😀 \n \" / é"},
		{`"lone \ud83d end"`, 1, "lone \ufffd end"},
		{`["one","two"]`, 2, "one\ntwo"},
		{`[1,2,3]`, 0, ""},
		{`[{"role":"system","content":"be kind"},{"role":"user","content":"hi"}]`, 2, "be kind\nhi"},
		{`[{"role":"user","content":[{"type":"text","text":"what is this?"},{"type":"image_url","image_url":{"url":"data:,x"}}]}]`, 1, "what is this?"},
		{`{"model":"m","messages":[{"role":"user","content":"hi","name":"bob"}],"temperature":0.5}`, 1, "hi"},
		{`{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"hello","refusal":null}}]}`, 1, "hello"},
		{`[{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]}]`, 1, `{"a":1}`},
		{`[{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"f","input":{"city": "Graz"}}]}]`, 1, `{"city": "Graz"}`},
		{`{"contents":[{"role":"user","parts":[{"text":"a"},{"text":"b"}]}]}`, 2, "a\nb"},
		{`[{"role":"user","parts":[{"type":"text","content":"otel"}]}]`, 1, "otel"},
		{`{"input":"embed me","model":"m"}`, 1, "embed me"},
		{`{"model":"m","response":"ollama says","done":true}`, 1, "ollama says"},
	} {
		p := newParser(t, json.Config{Fields: fields(t, "input = c\nactor.id = u")})
		d := one(t, p, `{"c":`+c.value+`,"u":"ann"}`, false)
		if d.Input.Parts != c.parts || string(d.Input.Text) != c.text {
			t.Errorf("%s: %d %q, want %d %q", c.value, d.Input.Parts, d.Input.Text, c.parts, c.text)
		}
	}
}

// TestCut: what stands before the cut of an overlong line is kept; half a value
// is not, but for the beginning of content.
func TestCut(t *testing.T) {
	p := newParser(t, json.Config{Fields: fields(t, "actor.id = user\nmodel.name = body.model\ninput = body\napi.status = status")})
	for _, c := range []struct{ line, user, model, text string }{
		{`{"user":"ann","body":{"model":"m","messages":[{"content":"first"},{"content":"sec`, "ann", "m", "first\nsec"},
		{`{"user":"ann","body":{"messages":["a","b\u00e`, "ann", "", "a\nb"},
		{`{"user":"ann","body":{"model":"m`, "ann", "", ""},
		{`{"user":"ann","status":20`, "ann", "", ""},
		{`{"user":"ann","body":"text with esc\`, "ann", "", "text with esc"},
		{`{"body":"x","user":"an`, "", "", "x"},
	} {
		d := one(t, p, c.line, true)
		r := &d.Record
		if got := fmt.Sprintf("%s|%s|%s", r.Text(audit.ActorID), r.Text(audit.ModelName), d.Input.Text); got != c.user+"|"+c.model+"|"+c.text {
			t.Errorf("%s: %s", c.line, got)
		}
		if r.Has(audit.APIStatus) {
			t.Errorf("%s: half a status counts", c.line)
		}
		if whole := c.text == "" || c.text == "x"; r.Flags()&audit.Truncated == 0 || d.Input.Truncated == whole {
			t.Errorf("%s: truncation is not shown", c.line)
		}
		if _, outcome := parsertest.Parse(t, p, parsers.Line{Data: []byte(c.line)}); outcome.Verdict != parsers.Unparsed {
			t.Errorf("%s: accepted although it was not cut", c.line)
		}
	}
	if _, outcome := parsertest.Parse(t, p, parsers.Line{Data: []byte(`{"user":"ann",]`), Cut: true}); outcome.Verdict != parsers.Unparsed {
		t.Error("a cut line of bad syntax is accepted")
	}
}

// TestNew: a map that can not work is refused with the field's name.
func TestNew(t *testing.T) {
	path := []string{"a"}
	for want, c := range map[string]json.Config{
		"the field map is empty":                     {},
		`map "actor.ip": there is no such`:           {Fields: []json.Mapping{{Field: "actor.ip", Path: path}}},
		`map "id": the agent fills`:                  {Fields: []json.Mapping{{Field: "id", Path: path}}},
		`map "source.path": the agent fills`:         {Fields: []json.Mapping{{Field: "source.path", Path: path}}},
		`map "model.ref": the agent fills`:           {Fields: []json.Mapping{{Field: "model.ref", Path: path}}},
		`map "input.text": the capture policy`:       {Fields: []json.Mapping{{Field: "input.text", Path: path}}},
		`map "actor.verified": a log line can not`:   {Fields: []json.Mapping{{Field: "actor.verified", Path: path}}},
		`map "extra.": the name`:                     {Fields: []json.Mapping{{Field: "extra.", Path: path}}},
		`map "extra": map extra.NAME`:                {Fields: []json.Mapping{{Field: "extra", Path: path}}},
		`map "data.colour": an item of data has no`:  {Fields: []json.Mapping{{Field: "data.colour", Path: path}}},
		`map "tenant": the source path has an empty`: {Fields: []json.Mapping{{Field: "tenant"}}},
		`map "tenant": the field already has`:        {Fields: []json.Mapping{{Field: "tenant", Path: path}, {Field: "tenant", Path: []string{"b"}}}},
		`map "data.id": data is mapped as a whole`:   {Fields: []json.Mapping{{Field: "data", Path: path}, {Field: "data.id", Path: path}}},
		`map "tenant": only times`:                   {Fields: []json.Mapping{{Field: "tenant", Path: path, Layout: "unix"}}},
		`map "time": a time layout is`:               {Fields: []json.Mapping{{Field: "time", Path: path, Layout: "15:04"}}},
		`map "time": abbreviations of zones`:         {Fields: []json.Mapping{{Field: "time", Path: path}}, TimeLayout: "2006 MST"},
		`map "usage.duration_ms": the unit`:          {Fields: []json.Mapping{{Field: "usage.duration_ms", Path: path, Layout: "min"}}},
		`set "tenant": the field already has`:        {Fields: []json.Mapping{{Field: "tenant", Path: path}}, Set: []json.Constant{{Field: "tenant", Value: "x"}}},
		`set "tenant": a text is wanted`:             {Fields: []json.Mapping{{Field: "actor.id", Path: path}}, Set: []json.Constant{{Field: "tenant", Value: int64(1)}}},
		`set "actor.type": "robot" is none of`:       {Fields: []json.Mapping{{Field: "actor.id", Path: path}}, Set: []json.Constant{{Field: "actor.type", Value: "robot"}}},
		`set "event": "agent.gap" is no event`:       {Fields: []json.Mapping{{Field: "actor.id", Path: path}}, Set: []json.Constant{{Field: "event", Value: "agent.gap"}}},
		`set "api.status": a whole number`:           {Fields: []json.Mapping{{Field: "actor.id", Path: path}}, Set: []json.Constant{{Field: "api.status", Value: "200"}}},
		`set "actor.roles": a list of texts`:         {Fields: []json.Mapping{{Field: "actor.id", Path: path}}, Set: []json.Constant{{Field: "actor.roles", Value: []any{"a", 1}}}},
		`set "data": the field takes no constant`:    {Fields: []json.Mapping{{Field: "actor.id", Path: path}}, Set: []json.Constant{{Field: "data", Value: "x"}}},
	} {
		_, err := json.New(c)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestTranslatedList: each text of a list is translated, and one that is not
// named is left out and counted.
func TestTranslatedList(t *testing.T) {
	mapping := fields(t, "actor.id = user\nactor.roles = groups")
	for i := range mapping {
		if mapping[i].Field == "actor.roles" {
			mapping[i].Values = map[string]string{"cn=legal": "legal", "cn=eu": "eu"}
		}
	}
	p := newParser(t, json.Config{Fields: mapping})
	for line, want := range map[string]string{
		`{"user":"ann","groups":["cn=legal","cn=other","cn=eu"]}`: `["legal","eu"]`,
		`{"user":"ann","groups":"cn=eu"}`:                         `["eu"]`,
	} {
		if got := string(one(t, p, line, false).Record.Text(audit.ActorRoles)); got != want {
			t.Errorf("%s: got %s, want %s", line, got, want)
		}
	}
	if p.Dropped() != 1 {
		t.Errorf("dropped %d, want 1", p.Dropped())
	}
}

// TestSet: constants of every kind reach the record, and decide over what the
// actor's identity rests on.
func TestSet(t *testing.T) {
	p := newParser(t, json.Config{
		Fields: fields(t, "actor.id = user\nmodel.name = model"),
		Set: []json.Constant{
			{Field: "actor.basis", Value: "sso"},
			{Field: "actor.verified", Value: true},
			{Field: "actor.roles", Value: []any{"legal", "eu"}},
			{Field: "params.top_p", Value: 0.5},
			{Field: "params.n", Value: int64(2)},
			{Field: "api.operation", Value: "embeddings"},
			{Field: "outcome", Value: "success"},
			{Field: "extra.site", Value: "fra"},
			{Field: "extra.rack", Value: int64(7)},
		},
	})
	r := &one(t, p, `{"user":"ann","model":"m"}`, false).Record
	const want = `{"event":"model.inference","outcome":"success","actor":{"id":"ann","type":"unknown","basis":"sso","verified":true,` +
		`"roles":["legal","eu"]},"model":{"name":"m"},"api":{"operation":"embeddings"},"params":{"top_p":0.5,"n":2},` +
		`"extra":{"site":"fra","rack":7},"agent":{"id":"","seq":0}}`
	if got := string(r.Append(nil, 0)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	r = &one(t, p, `{"user":null,"model":"m"}`, false).Record
	if r.Bool(audit.ActorVerified) || string(r.Text(audit.ActorBasis)) != "none" {
		t.Errorf("nobody is verified: %s", r.Append(nil, 0))
	}
}

func TestTrace(t *testing.T) {
	p := newParser(t, json.Config{Fields: fields(t, "actor.id = user.name\ninput = body\nextra.a = x\nextra.b = y\napi.path = uri\noutcome = ok\napi.status = code"), Set: []json.Constant{{Field: "tenant", Value: "acme"}}})
	trace := p.Trace()
	for field, want := range map[audit.Field]string{
		audit.ActorID: "user.name", audit.InputText: "body", audit.Extra: "x, y", audit.Tenant: "set",
		audit.Event: "uri", audit.APIOperation: "uri", audit.Outcome: "ok", audit.Reason: "code", audit.ClientApp: "",
	} {
		if trace[field] != want {
			t.Errorf("%s: %q, want %q", field, trace[field], want)
		}
	}
}

func TestDropped(t *testing.T) {
	p := newParser(t, json.Config{Fields: fields(t, "actor.id = user\napi.status = status")})
	one(t, p, `{"user":"ann","status":"many","x":1,"y":{"z":2}}`, false)
	if p.Dropped() != 3 {
		t.Errorf("%d dropped", p.Dropped())
	}
}

// FuzzStrict compares what is accepted with the standard library, for every
// text and as the value of a key that is mapped, skipped or content.
func FuzzStrict(f *testing.F) {
	for _, name := range []string{"nginx", "caddy", "kong", "envoy", "litellm", "odd", "plain"} {
		log, err := os.ReadFile("testdata/" + name + ".log")
		if err != nil {
			f.Fatal(err)
		}
		for _, line := range parsertest.Lines(name, log) {
			f.Add(line.Data)
		}
	}
	for _, seed := range []string{
		`{}`, ` {"a" : [ 1 , -0.5e+7 , true , false , null , "\u00e9\n" ] } `, `{"a":01}`, `{"a":1.}`, `{"a":-}`, `{"a":1e}`, `{"a":"` + "\x01" + `"}`,
		`{"a":"\x"}`, `{"a":"\u12g4"}`, `{"a":tru}`, `{"a":1,}`, `{"a" 1}`, `{,}`, `{"a":[1,]}`, `{"a":nul`, `{"a":"` + "\xff" + `"}`, `[{}]`, `{} x`, `{"a":+1}`, `{'a':1}`,
	} {
		f.Add([]byte(seed))
	}
	mapping := fields(f, litellmMap+"\ntenant = a\nai_agent.id = a.b\ndata.id = a.c\npolicy.findings = a.d\nactor.roles = a.1\n")
	f.Fuzz(func(t *testing.T, data []byte) {
		p := newParser(t, json.Config{Fields: mapping, Set: []json.Constant{{Field: "event", Value: "model.inference"}}})
		want := stdjson.Valid(data) && bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{"))
		drafts, outcome := parsertest.Parse(t, p, parsers.Line{Data: data})
		if outcome.Rule == "the JSON object nests too deeply" {
			return
		}
		if got := outcome.Verdict == parsers.Recorded; got != want {
			t.Fatalf("%q: accepted %v, the standard library %v", data, got, want)
		}
		if want {
			compare(t, data, &drafts[0])
		}
		for n := 0; n <= len(data); n += 1 + len(data)/16 {
			parsertest.Parse(t, p, parsers.Line{Data: data[:n], Cut: true})
		}
	})
}

// compare checks single fields against the standard library's reading, where
// that does not let later duplicates win.
func compare(t *testing.T, data []byte, d *parsers.Draft) {
	t.Helper()
	var v map[string]stdjson.RawMessage
	if d.Record.Flags()&audit.DuplicateKeys != 0 || stdjson.Unmarshal(data, &v) != nil {
		return
	}
	var id string
	if stdjson.Unmarshal(v["id"], &id) == nil && id != "" && id != "-" && bytes.HasPrefix(v["id"], []byte(`"`)) {
		if got := string(d.Record.Text(audit.SessionResponseID)); strings.ToValidUTF8(got, "\ufffd") != strings.ToValidUTF8(id, "\ufffd") {
			t.Fatalf("%q: id %q, the standard library %q", data, got, id)
		}
	}
}

func TestTooDeep(t *testing.T) {
	p := newParser(t, json.Config{Fields: fields(t, "actor.id = user\ninput = body")})
	for _, key := range []string{"body", "other"} {
		deep := `{"user":"ann","` + key + `":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`
		if _, outcome := parsertest.Parse(t, p, parsers.Line{Data: []byte(deep)}); outcome.Rule != "the JSON object nests too deeply" {
			t.Errorf("%s: %+v", key, outcome)
		}
		fine := `{"user":"ann","` + key + `":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`
		one(t, p, fine, false)
	}
}

// gatewayLine is a line of 1.2 KB as an API gateway writes it.
const gatewayLine = `{"ts":"2026-11-21T09:06:34.303118+01:00","level":"info","logger":"gateway.access","request_id":"9f5d3bb2ed9b7b3dcfbfcf36affe7c6f",` +
	`"trace":{"id":"4bf92f3577b34da6a3ce929d0e0e4736","span":"00f067aa0ba902b7","sampled":true},"client":{"ip":"10.20.4.17","port":52114,"agent":"openai-python/1.99.2"},` +
	`"auth":{"method":"oidc","user":"j.meier@example.com","groups":["legal","contracts-emea"],"key_id":"k_5c1e77a2"},` +
	`"http":{"method":"POST","path":"/v1/chat/completions","status":200,"proto":"HTTP/1.1","host":"llm.example.com","bytes_in":9120,"bytes_out":2210},` +
	`"request":{"model":"llama-3-8b","temperature":0.2,"max_tokens":800,"stream":true,"messages":[{"role":"system","content":"You are a careful assistant for contract lawyers. Quote the clause you rely on."},` +
	`{"role":"user","content":"Summarise the termination clause of the attached contract in three sentences.\nName the notice period, who may give notice, and what happens to prepaid fees."}]},` +
	`"response":{"id":"chatcmpl-91","model":"llama-3-8b","finish_reason":"stop","text":"Either party may terminate with ninety days' written notice. Prepaid fees for the time after termination are refunded pro rata."},` +
	`"usage":{"prompt_tokens":1841,"completion_tokens":402,"total_tokens":2243},"timing":{"queue_ms":12,"ttft_ms":210,"total_ms":3180}}`

func gatewayParser(t testing.TB) *json.Parser {
	t.Helper()
	return newParser(t, json.Config{Fields: fields(t, `
		time = ts
		session.request_id = request_id
		session.trace_id = trace.id
		client.ip = client.ip
		client.user_agent = client.agent
		actor.id = auth.user
		actor.key_id = auth.key_id
		api.method = http.method
		api.path = http.path
		api.status = http.status
		model.name = request.model
		input = request.messages
		output = response.text
		usage.input_tokens = usage.prompt_tokens
		usage.output_tokens = usage.completion_tokens
	`)})
}

func TestNoAllocations(t *testing.T) {
	p := gatewayParser(t)
	line := parsers.Line{Data: []byte(gatewayLine)}
	var drafts []parsers.Draft
	parse := func() { drafts, _, _ = p.Parse(drafts[:0], line) }
	parse()
	if n := testing.AllocsPerRun(100, parse); n > 0 {
		t.Errorf("%v allocations a line", n)
	}
	if len(drafts) != 1 || drafts[0].Input.Parts != 2 || drafts[0].Output.Parts != 1 {
		t.Errorf("%d records", len(drafts))
	}
}

func BenchmarkParse(b *testing.B) {
	p := gatewayParser(b)
	line := parsers.Line{Data: []byte(gatewayLine)}
	var drafts []parsers.Draft
	b.SetBytes(int64(len(line.Data)))
	b.ReportAllocs()
	for b.Loop() {
		drafts, _, _ = p.Parse(drafts[:0], line)
	}
	if len(drafts) != 1 {
		b.Fatal("no record")
	}
}
