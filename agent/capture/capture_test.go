package capture_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/agent/capture"
	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

var key = capture.Key{ID: "2026-11", Secret: []byte("0123456789abcdef")}

func content(text string) *parsers.Content {
	return &parsers.Content{Text: []byte(text), Parts: 1}
}

func policy(t *testing.T, mode capture.Mode) *capture.Policy {
	t.Helper()
	p, err := capture.New(mode, key)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func keyedHash(text string) string {
	mac := hmac.New(sha256.New, key.Secret)
	mac.Write([]byte(text))
	return "hmac-sha256:2026-11:" + hex.EncodeToString(mac.Sum(nil))
}

// envelope is what a record says of a content.
func envelope(t *testing.T, r *audit.Record, member string) map[string]any {
	t.Helper()
	r.SetString(audit.AgentID, "a")
	var v map[string]map[string]any
	line := r.Append(nil, 0)
	var all map[string]json.RawMessage
	if err := json.Unmarshal(line, &all); err != nil {
		t.Fatal(err)
	}
	if all[member] == nil {
		return nil
	}
	if err := json.Unmarshal([]byte(`{"x":`+string(all[member])+`}`), &v); err != nil {
		t.Fatal(err)
	}
	return v["x"]
}

func TestModes(t *testing.T) {
	const secret = "the prompt"
	for mode, want := range map[capture.Mode]map[string]any{
		capture.None:   {"mode": "none"},
		capture.Hashed: {"mode": "hashed", "hmac": keyedHash(secret), "bytes": 10.0, "parts": 1.0},
		capture.Full:   {"mode": "full", "hmac": keyedHash(secret), "bytes": 10.0, "parts": 1.0, "text": secret},
	} {
		for direction, member := range map[parsers.Direction]string{parsers.Entered: "input", parsers.Returned: "output"} {
			p := policy(t, mode)
			var direct, held audit.Record
			if err := p.Apply(&direct, content(secret), direction); err != nil {
				t.Fatal(err)
			}
			kept := p.Hold(nil, content(secret), direction)
			if mode != capture.Full && bytes.Contains(kept, []byte(secret)) {
				t.Errorf("%s: held content shows the text", mode)
			}
			if err := p.Apply(&held, &parsers.Content{Applied: kept}, direction); err != nil {
				t.Fatal(err)
			}
			for how, r := range map[string]*audit.Record{"direct": &direct, "held": &held} {
				got, wanted := mustJSON(t, envelope(t, r, member)), mustJSON(t, want)
				if got != wanted {
					t.Errorf("%s %s %s: %s, want %s", mode, member, how, got, wanted)
				}
			}
		}
	}
	if _, err := capture.New("redacted", key); err == nil {
		t.Error("a mode that does not exist is taken")
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestNoContent(t *testing.T) {
	var r audit.Record
	if err := policy(t, capture.Full).Apply(&r, &parsers.Content{}, parsers.Entered); err != nil {
		t.Fatal(err)
	}
	if got := envelope(t, &r, "input"); got != nil {
		t.Errorf("a line without content has %v", got)
	}
}

// A record has at most 1 MiB: longer content is cut and flagged; size and hash are of the whole.
func TestLongTextIsCut(t *testing.T) {
	for name, unit := range map[string]string{"plain": "word ", "controls": "\x01\x02", "broken": "\xff", "wide": "日本語", "quotes": `"\`} {
		long := strings.Repeat(unit, 1<<20/len(unit))
		var r audit.Record
		if err := policy(t, capture.Full).Apply(&r, content(long), parsers.Entered); err != nil {
			t.Fatal(err)
		}
		if encoded := len(audit.AppendString(nil, string(r.Text(audit.InputText)))) - 2; encoded > capture.MaxText || encoded < capture.MaxText-8 {
			t.Errorf("%s: the text takes %d bytes, the limit is %d", name, encoded, capture.MaxText)
		}
		if !strings.HasPrefix(long, string(r.Text(audit.InputText))) || r.Int(audit.InputBytes) != int64(len(long)) ||
			string(r.Text(audit.InputHMAC)) != keyedHash(long) || !r.Bool(audit.InputTruncated) || r.Flags()&audit.Truncated == 0 {
			t.Errorf("%s: not head, size and hash of the whole, flagged", name)
		}
	}
}

func TestKeys(t *testing.T) {
	made := capture.NewKey(time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC))
	parsed, err := capture.ParseKey(made.Marshal())
	if err != nil || parsed.ID != made.ID || !bytes.Equal(parsed.Secret, made.Secret) || made.ID != "2026-11" || len(made.Secret) != 32 {
		t.Errorf("%+v, %v", parsed, err)
	}
	for _, bad := range []string{"", "2026-11", "2026-11:", "2026-11:!!", "2026-11:c2hvcnQ=", "Bad Id:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="} {
		if _, err := capture.ParseKey([]byte(bad)); err == nil {
			t.Errorf("%q is taken for a key", bad)
		}
	}
}

// What was held comes from the agent's own disk, which may be damaged.
func FuzzHeld(f *testing.F) {
	p, err := capture.New(capture.Full, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.Hold(nil, content("text"), parsers.Entered))
	f.Add([]byte{1})
	f.Add([]byte{1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, held []byte) {
		var r audit.Record
		if err := p.Apply(&r, &parsers.Content{Applied: held}, parsers.Returned); err == nil && len(held) > 0 && held[0] != 1 {
			t.Error("an unknown version is read")
		}
	})
}
