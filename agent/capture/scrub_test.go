package capture_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/auditail/auditail/agent/capture"
	"github.com/auditail/auditail/audit"
)

// Keys are put together here, so that no scanner takes this file for a leak.
var (
	planted     = "sk-" + "proj-0123456789abcdefABCDEF"
	plantedJSON = `Bearer ` + "abcdef0123456789"
)

// usual is a record as an access line makes it.
func usual(r *audit.Record) {
	r.Reset()
	for f, text := range map[audit.Field]string{
		audit.Time: "2026-11-21T09:06:34Z", audit.TimeBasis: "source", audit.Event: "model.inference", audit.Outcome: "success",
		audit.ActorID: "alice", audit.ActorType: "unknown", audit.ActorBasis: "api_key", audit.ClientIP: "10.20.0.14",
		audit.ClientUserAgent: "openai-python/1.99.2 (+https://example.com/bot)", audit.ClientApp: "openai-python/1.99.2",
		audit.SessionRequestID: "b980db26-9512-45cc-b1da-c511a363b83f", audit.SessionResponseID: "chatcmpl-5d59579f6d27aa026c681106d9077aaf",
		audit.ModelName: "llama-3-8b", audit.ModelProvider: "vllm", audit.APIOperation: "chat", audit.APIMethod: "POST",
		audit.APIPath: "/v1/chat/completions", audit.APIVersion: "v1", audit.SourcePath: "/var/log/nginx/access.log",
	} {
		r.SetString(f, text)
	}
	r.SetInt(audit.APIStatus, 200)
	r.SetJSON(audit.Extra, []byte(`{"cost_center":"4711"}`))
}

// No field of a record, of whatever kind, keeps a secret; what stays is a valid record.
func TestScrubEveryField(t *testing.T) {
	s := capture.NewScrubber()
	for _, f := range audit.Fields() {
		for _, secret := range []string{planted, plantedJSON} {
			var r audit.Record
			usual(&r)
			switch def := f.Def(); {
			case def.Kind == audit.KindText:
				r.SetString(f, "a "+secret+" b")
			case def.Kind == audit.KindStrings:
				r.SetStrings(f, "a", secret, "b")
			case def.Kind != audit.KindJSON:
				continue
			case def.Shape == audit.MapInt:
				r.SetJSON(f, []byte(`{"`+secret+`":1,"IBAN":2}`))
			case def.Shape == audit.Objects:
				r.SetJSON(f, []byte(`[{"role":"context","id":"`+secret+`"}]`))
			default:
				r.SetJSON(f, []byte(`{"a":"`+secret+`","b":"c"}`))
			}
			s.Record(&r)
			line := r.Append(nil, 1)
			if bytes.Contains(line, []byte(strings.TrimPrefix(secret, "Bearer "))) {
				t.Errorf("%s: the secret is still there: %s", f, line)
			}
			if !bytes.Contains(line, []byte("[KEY_1]")) || r.Flags()&audit.SecretMasked == 0 {
				t.Errorf("%s: nothing tells that a secret was there: %s", f, line)
			}
		}
	}
}

func TestScrubKeepsJSON(t *testing.T) {
	s := capture.NewScrubber()
	for given, want := range map[string]string{
		`{"password":123456789,"b":1}`:                  `{"password":"[PASSWORD_1]","b":1}`,
		`{"a":"password=12345678","b":1}`:               `{"a":"password=[PASSWORD_1]","b":1}`,
		`{"a":"x, password: \"hunter22\""}`:             `{"a":"x, password: \"[PASSWORD_1]\""}`,
		`{"a":"` + planted + `","b":"` + planted + `"}`: `{"a":"[KEY_1]","b":"[KEY_2]"}`,
		`{"a":"-----BEGIN PRIVATE ` + `KEY-----\nMIIEvgIBADANBgkqhkiG9w0BAQ","b":"-----END PRIVATE ` + `KEY-----"}`: `{"a":"[PEM_1]","b":"-----END PRIVATE KEY-----"}`,
	} {
		var r audit.Record
		r.SetJSON(audit.Extra, []byte(given))
		s.Record(&r)
		if got := string(r.Text(audit.Extra)); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", given, got, want)
		}
	}
	// A secret in the place of a number: the field goes.
	var r audit.Record
	r.SetJSON(audit.PolicyFindings, []byte(`{"password":123456789}`))
	s.Record(&r)
	if r.Has(audit.PolicyFindings) || r.Flags()&audit.SecretMasked == 0 {
		t.Errorf("%s", r.Text(audit.PolicyFindings))
	}
}

func TestScrubLeavesTheRest(t *testing.T) {
	var r, before audit.Record
	usual(&r)
	before.CopyFrom(&r)
	s := capture.NewScrubber()
	s.Record(&r)
	if got, want := string(r.Append(nil, 1)), string(before.Append(nil, 1)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if n := testing.AllocsPerRun(100, func() { s.Record(&r) }); n > 0 {
		t.Errorf("%.0f allocations for a record without a secret", n)
	}
}

func BenchmarkScrub(b *testing.B) {
	var r audit.Record
	usual(&r)
	s := capture.NewScrubber()
	b.SetBytes(int64(len(r.Written())))
	b.ReportAllocs()
	for b.Loop() {
		s.Record(&r)
	}
}
