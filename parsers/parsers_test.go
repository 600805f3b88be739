package parsers_test

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// TestClassify: one line a request, and what it is.
func TestClassify(t *testing.T) {
	var remembers parsers.Classifier
	for request, want := range map[string]string{
		"POST /v1/chat/completions":                     "model.inference chat v1",
		"POST /v1/chat/completions/":                    "model.inference chat v1",
		"POST /chat/completions":                        "model.inference chat",
		"POST /openai/v1/chat/completions":              "model.inference chat v1",
		"POST /gateway/team-a/chat/completions":         "model.inference chat",
		"POST /v1/chat/complet%69ons":                   "model.inference chat v1",
		"POST //v1/./x/../chat//completions":            "model.inference chat v1",
		"POST http://host/v1/chat/completions?x=1":      "model.inference chat v1",
		" /v1/chat/completions":                         "model.inference chat v1",
		"GET /v1/chat/completions":                      "data.access v1",
		"OPTIONS /v1/chat/completions":                  "data.access v1",
		"POST /v1/completions":                          "model.inference text_completion v1",
		"POST /completion":                              "model.inference text_completion",
		"POST /v1/embeddings":                           "model.inference embeddings v1",
		"POST /embeddings":                              "model.inference embeddings",
		"POST /v1/responses":                            "model.inference chat v1",
		"GET /v1/responses/resp_1":                      "data.access v1",
		"DELETE /v1/responses/resp_1":                   "data.delete v1",
		"POST /v1/messages":                             "model.inference chat v1",
		"POST /v1/messages/count_tokens":                "model.inference count_tokens v1",
		"POST /app/messages":                            "data.modify",
		"POST /v1/audio/transcriptions":                 "model.inference transcription v1",
		"GET /v1/realtime":                              "model.inference realtime v1",
		"POST /v2/rerank":                               "model.inference rerank v2",
		"POST /score":                                   "model.inference score",
		"POST /tokenize":                                "model.inference tokenize",
		"POST /generate_stream":                         "model.inference text_completion",
		"POST /invocations":                             "model.inference predict",
		"GET /v1/models":                                "model.list v1",
		"GET /v1/models/Qwen/Qwen3-8B":                  "model.list v1 model=Qwen/Qwen3-8B",
		"GET /v1/models/resnet/metadata":                "model.list v1 model=resnet",
		"DELETE /v1/models/ft:gpt:acme":                 "data.delete v1 model=ft:gpt:acme",
		"DELETE /models/resnet":                         "model.unload model=resnet",
		"POST /v1/models/resnet:predict":                "model.inference predict v1 model=resnet",
		"POST /v1/models/resnet/versions/2:predict":     "model.inference predict v1 model=resnet revision=2",
		"POST /v1/models/resnet/labels/stable:classify": "model.inference classify v1 model=resnet revision=stable",
		"POST /v1beta/models/gemini-2.0-flash:streamGenerateContent?alt=sse": "model.inference generate_content v1beta model=gemini-2.0-flash",
		"POST /v1/projects/p/locations/eu/models/g:rawPredict":               "model.inference predict v1 model=g",
		"POST /v2/models/risk/infer":                                         "model.inference predict v2 model=risk",
		"POST /v2/models/risk/versions/3/infer":                              "model.inference predict v2 model=risk revision=3",
		"POST /ai/models/chat/completions?api-version=2024-05-01-preview":    "model.inference chat 2024-05-01-preview",
		"POST /models/embeddings":                                            "model.inference embeddings",
		"GET /v1/models/embeddings":                                          "model.list v1",
		"GET /v2/models/risk":                                                "model.list v2 model=risk",
		"GET /v2/models/risk/ready":                                          "model.list v2 model=risk noise=health_check",
		"POST /v2/repository/index":                                          "model.list v2",
		"POST /v2/repository/models/risk/load":                               "model.load v2 model=risk",
		"POST /v2/repository/models/risk/unload":                             "model.unload v2 model=risk",
		"POST /predictions/resnet/2.0":                                       "model.inference predict model=resnet revision=2.0",
		"POST /model/anthropic.claude-3/invoke":                              "model.inference predict model=anthropic.claude-3",
		"POST /model/anthropic.claude%2D3/converse":                          "model.inference chat model=anthropic.claude-3",
		"POST /openai/deployments/g/chat/completions?api-version=2024-10-21": "model.inference chat 2024-10-21 model=g",
		"POST /openai/deployments/g/chat/completions?api-version=<script>":   "model.inference chat model=g",
		"POST /api/generate":                                                 "model.inference text_completion",
		"POST /api/chat":                                                     "model.inference chat",
		"GET /api/tags":                                                      "model.list",
		"POST /api/show":                                                     "model.list",
		"POST /api/push":                                                     "model.export",
		"DELETE /api/delete":                                                 "data.delete",
		"POST /v1/load_lora_adapter":                                         "model.load v1",
		"POST /v1/files":                                                     "data.upload v1",
		"GET /v1/files/file-1/content":                                       "data.access v1",
		"POST /v1/fine_tuning/jobs":                                          "model.finetune v1",
		"GET /health":                                                        "data.access noise=health_check",
		"HEAD /health":                                                       "data.access noise=health_check",
		"POST /health":                                                       "data.modify",
		"GET /v2/health/ready":                                               "data.access v2 noise=health_check",
		"GET /metrics":                                                       "data.access noise=metrics_scrape",
		"GET /docs":                                                          "data.access noise=documentation",
		"GET /favicon.ico":                                                   "data.access noise=favicon",
		"GET /admin/health":                                                  "data.access",
		"GET /":                                                              "data.access",
		"PUT /anything":                                                      "data.modify",
		"PATCH /v1/thing":                                                    "data.modify v1",
		"CONNECT host:443":                                                   "data.access",
		"OPTIONS *":                                                          "data.access",
		"get /v1/models":                                                     "model.list v1",
		"GET ":                                                               "data.access",
		" ":                                                                  "data.access",
		"GET /%":                                                             "data.access",
		"GET /%2e%2e/%2e%2e":                                                 "data.access",
	} {
		method, target, _ := strings.Cut(request, " ")
		r := parsers.Classify([]byte(method), []byte(target))
		for range 2 { // first asked, then remembered
			asked := []byte(target)
			if again := remembers.Classify([]byte(method), asked); !reflect.DeepEqual(*again, r) {
				t.Errorf("%s: remembered as %+v, is %+v", request, *again, r)
			}
			clear(asked) // the answer is not made of it
		}
		words := []string{r.Event}
		add := func(prefix, word string) {
			if word != "" {
				words = append(words, prefix+word)
			}
		}
		add("", r.Operation)
		add("", string(r.Version))
		add("model=", string(r.Model))
		add("revision=", string(r.Revision))
		if rule, ignored := r.Noise(200); ignored {
			add("noise=", rule)
		}
		if got := strings.Join(words, " "); got != want {
			t.Errorf("%s: %s, want %s", request, got, want)
		}
		if _, known := audit.EventAction(r.Event); !known {
			t.Errorf("%s: %q is no event", request, r.Event)
		}
		if strings.ContainsAny(string(r.Path), "?#") {
			t.Errorf("%s: path %s", request, r.Path)
		}
	}
}

// TestNoise: only a call that was answered normally is noise.
func TestNoise(t *testing.T) {
	r := parsers.Classify([]byte("GET"), []byte("/health"))
	for status, want := range map[int]bool{200: true, 304: true, 101: true, 401: false, 503: false, 0: false, 99: false, parsers.NoStatus: false} {
		if _, ignored := r.Noise(status); ignored != want {
			t.Errorf("%d: ignored %v", status, ignored)
		}
	}
}

func FuzzClassify(f *testing.F) {
	f.Add([]byte("POST"), []byte("/v1/models/a/versions/2:predict?api-version=2024-10-21"))
	f.Add([]byte("GET"), []byte("http://h//%2e%2e/%zz/./"))
	f.Fuzz(func(t *testing.T, method, target []byte) {
		r := parsers.Classify(method, target)
		action, known := audit.EventAction(r.Event)
		if !known || action == "" || (r.Event == "model.inference") != (r.Operation != "") {
			t.Fatalf("%q %q: %+v", method, target, r)
		}
		if strings.ContainsAny(string(r.Path), "?#") {
			t.Fatalf("%q: path %q", target, r.Path)
		}
	})
}

func TestSetStatus(t *testing.T) {
	for _, c := range []struct {
		status                  int
		given, because          string
		wantOutcome, wantReason string
		wantStatus              int64
	}{
		{status: 200, wantOutcome: "success", wantStatus: 200},
		{status: 101, wantOutcome: "success", wantStatus: 101},
		{status: 401, wantOutcome: "denied", wantReason: "http_401", wantStatus: 401},
		{status: 403, wantOutcome: "denied", wantReason: "http_403", wantStatus: 403},
		{status: 429, wantOutcome: "failed", wantReason: "http_429", wantStatus: 429},
		{status: 500, wantOutcome: "failed", wantReason: "http_500", wantStatus: 500},
		{status: 999, wantOutcome: "failed", wantReason: "http_999", wantStatus: 999},
		{status: 499, wantOutcome: "cancelled", wantReason: "client_closed", wantStatus: 499},
		{status: 0, wantOutcome: "cancelled", wantReason: "client_closed"},
		{status: 9, wantOutcome: "unknown", wantReason: "outcome_not_logged"},
		{status: parsers.NoStatus, wantOutcome: "unknown", wantReason: "outcome_not_logged"},
		{status: 400, given: "blocked", wantOutcome: "blocked", wantReason: "http_400", wantStatus: 400},
		{status: 200, given: "failed", wantOutcome: "failed", wantReason: "reason_not_logged", wantStatus: 200},
		{status: 500, given: "success", wantOutcome: "success", wantStatus: 500},
		{status: parsers.NoStatus, given: "success", wantOutcome: "success"},
		{status: parsers.NoStatus, given: "failed", because: "Timeout", wantOutcome: "failed", wantReason: "Timeout"},
		{status: 200, given: "unknown", wantOutcome: "unknown", wantReason: "outcome_not_logged", wantStatus: 200},
		{status: 200, because: "leftover", wantOutcome: "success", wantStatus: 200},
	} {
		var d parsers.Draft
		d.Record.SetString(audit.Outcome, c.given)
		d.Record.SetString(audit.Reason, c.because)
		d.SetStatus(c.status)
		r := &d.Record
		if string(r.Text(audit.Outcome)) != c.wantOutcome || string(r.Text(audit.Reason)) != c.wantReason || r.Int(audit.APIStatus) != c.wantStatus {
			t.Errorf("%+v: %s %s %d", c, r.Text(audit.Outcome), r.Text(audit.Reason), r.Int(audit.APIStatus))
		}
	}
}

func TestSetActor(t *testing.T) {
	var d parsers.Draft
	d.SetActor([]byte("ann"))
	r := &d.Record
	if string(r.Text(audit.ActorID)) != "ann" || string(r.Text(audit.ActorBasis)) != "header" || r.Bool(audit.ActorVerified) || r.Flags() != audit.ActorUnverified {
		t.Errorf("ann: %s", r.Append(nil, 0))
	}
	for _, nobody := range []string{"", "-"} {
		d.Reset()
		d.SetActor([]byte(nobody))
		if r.Has(audit.ActorID) || string(r.Text(audit.ActorBasis)) != "none" || !r.Has(audit.ActorVerified) || r.Flags() != 0 {
			t.Errorf("%q: %s", nobody, r.Append(nil, 0))
		}
	}
}

func TestSetUserAgent(t *testing.T) {
	for agent, want := range map[string]string{
		"openai-python/1.99.2":            "openai-python/1.99.2",
		"Mozilla/5.0 (X11; Linux x86_64)": "Mozilla/5.0",
		"curl":                            "curl",
		"() { :; }; echo":                 "",
		"/1.0":                            "",
		"name/":                           "",
		"a/b/c":                           "",
		"Caf\u00e9/1":                     "",
		"axios/1.7.9 node/22":             "axios/1.7.9",
		"OpenAI/Python 1.55.0":            "OpenAI/Python 1.55.0",
		"Anthropic/JS 0.39.0 (x)":         "Anthropic/JS 0.39.0",
		"Name/Word 1,2":                   "Name/Word",
		"Name/Word (1.0)":                 "Name/Word",
	} {
		var d parsers.Draft
		d.SetUserAgent([]byte(agent))
		if got := string(d.Record.Text(audit.ClientApp)); got != want || string(d.Record.Text(audit.ClientUserAgent)) != agent {
			t.Errorf("%s: %q, want %q", agent, got, want)
		}
	}
	var d parsers.Draft
	d.SetUserAgent([]byte("-"))
	if d.Record.Has(audit.ClientUserAgent) {
		t.Error(`"-" is a user agent`)
	}
}

func TestSetClient(t *testing.T) {
	for address, want := range map[string]string{
		"10.0.0.7":              "10.0.0.7",
		"10.0.0.7:52114":        "10.0.0.7",
		"2001:db8::1":           "2001:db8::1",
		"[2001:db8::1]:443":     "2001:db8::1",
		"203.0.113.9, 10.0.0.1": "10.0.0.1",
		"spoofed,10.0.0.1:80":   "10.0.0.1",
		"localhost":             "",
		"unix:":                 "",
		"[2001:db8::1":          "",
		"":                      "",
	} {
		var d parsers.Draft
		ok := d.SetClient([]byte(address))
		if got := string(d.Record.Text(audit.ClientIP)); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v; want %q", address, got, ok, want)
		}
	}
}

// FuzzIsAddress agrees with the standard library about every text.
func FuzzIsAddress(f *testing.F) {
	for _, seed := range []string{
		"1.2.3.4", "01.2.3.4", "256.1.1.1", "1.2.3", "1.2.3.4.5", "::", "::1", "1::", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:8:9",
		"::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "fe80::1%eth0", "fe80::1%", "1::2::3", "1:2:3:4:5:6:8::7", ":1::2", "1:", ":", ":::", "12345::", "1.2.3.4:80", "::1.2.3", "::1.2.3.4:5", "%a", "1.2.3.4%x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, err := netip.ParseAddr(text)
		if at := strings.IndexByte(text, '%'); at >= 0 && len(text)-at > 32 {
			return // no interface has such a name
		}
		if got := parsers.IsAddress([]byte(text)); got != (err == nil) {
			t.Fatalf("%q: %v, the standard library: %v", text, got, err)
		}
	})
}

func TestSetTime(t *testing.T) {
	var d parsers.Draft
	at := time.Date(2026, 11, 21, 9, 6, 34, 0, time.FixedZone("", 3600))
	d.SetTime(at, false)
	if string(d.Record.Text(audit.Time)) != "2026-11-21T09:06:34+01:00" || string(d.Record.Text(audit.TimeBasis)) != "source_tz_assumed" || d.Record.Flags() != audit.TZAssumed {
		t.Errorf("%s", d.Record.Append(nil, 0))
	}
	d.Reset()
	d.SetTime(at, true)
	if string(d.Record.Text(audit.TimeBasis)) != "source" || d.Record.Flags() != 0 {
		t.Errorf("%s", d.Record.Append(nil, 0))
	}
}

// TestValidDate goes through every day that could be written of 800 years.
func TestValidDate(t *testing.T) {
	for year := 1599; year <= 2400; year++ {
		for month := range 14 {
			for day := range 34 {
				at := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
				want := at.Year() == year && int(at.Month()) == month && at.Day() == day
				if parsers.ValidDate(year, month, day) != want {
					t.Fatalf("%d-%d-%d: not %v", year, month, day, want)
				}
			}
		}
	}
}

func TestNext(t *testing.T) {
	drafts, d := parsers.Next(nil)
	d.Input = parsers.Content{Text: []byte("secret"), Parts: 1}
	d.Record.SetString(audit.ActorID, "ann")
	d.Sub, d.Held = 3, []parsers.Ref{{}}
	drafts, d = parsers.Next(drafts[:0])
	if len(drafts) != 1 || d.Input.Parts != 0 || len(d.Input.Text) != 0 || d.Record.Has(audit.ActorID) || d.Sub != 0 || len(d.Held) != 0 {
		t.Errorf("a reused draft is not empty: %+v", d)
	}
}

func TestFingerprint(t *testing.T) {
	config := parsers.Config{KeyID: func(dst, key []byte) []byte { return append(append(dst, "k_"...), key...) }}
	for value, want := range map[string]string{
		"sk-test-alice":         "k_sk-test-alice",
		"Bearer sk-test-alice":  "k_sk-test-alice",
		"bearer  sk-test-alice": "k_sk-test-alice",
		"ApiKey sk-test-alice":  "k_sk-test-alice",
		"0123456789abcdef":      "k_0123456789abcdef",
		"Basic YWxpY2U6cHc6cHc": "",
		"sk-...lice":            "",
		"sk-t***********lice":   "",
		"Bearer sk-t\u2026lice": "",
		"two words here":        "",
		"short":                 "",
		"Bearer ":               "",
		"":                      "",
	} {
		id, ok := config.Fingerprint([]byte("before "), []byte(value))
		if got := strings.TrimPrefix(string(id), "before "); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v; want %q", value, got, ok, want)
		}
	}
	if id, ok := (&parsers.Config{}).Fingerprint(nil, []byte("sk-test-alice")); ok || len(id) > 0 {
		t.Errorf("without a keyed hash: %q", id)
	}
}

func TestIsRawKey(t *testing.T) {
	for value, want := range map[string]bool{
		"sk-test-alice": true, "Bearer x": true, "bearer x": true, "BASIC eA==": true, "AIzaSyX": true, "eyJhbGciOiJIUzI1NiJ9.e30.x": true,
		"hf_abc": true, "gsk_abc": true,
		"key_alice_7f3a": false, "k_5c1e77a2": false, "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b": false,
		"Bearer": false, "sk-": false, "": false, "alice": false,
	} {
		if got := parsers.IsRawKey([]byte(value)); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
}
