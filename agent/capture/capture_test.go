package capture_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/auditail/auditail/agent/capture"
	"github.com/auditail/auditail/agent/capture/keyed"
	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/internal/redact"
	"github.com/auditail/auditail/parsers"
)

var key = keyed.Key{ID: "2026-11", Secret: []byte("0123456789abcdef")}

func content(text string) *parsers.Content {
	return &parsers.Content{Text: []byte(text), Parts: 1}
}

func newPolicy(t testing.TB, cfg capture.Config) *capture.Policy {
	t.Helper()
	if cfg.Unparsed == "" {
		cfg.Unparsed = capture.Hashed
	}
	p, err := capture.New(cfg, key, "gateway")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// auditor is who holds the key that decrypts, and their identity file.
type auditor struct{ recipient, file string }

func newAuditor(t testing.TB) auditor {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	a := auditor{recipient: identity.Recipient().String(), file: filepath.Join(t.TempDir(), "identity")}
	if err := os.WriteFile(a.file, []byte(identity.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// decrypt decrypts with the program that auditors have: Debian's age.
func (a auditor) decrypt(t testing.TB, sealed string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "age", "--decrypt", "-i", a.file)
	command.Stdin = strings.NewReader(sealed)
	out, err := command.Output()
	if err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		t.Fatalf("age: %v %s", err, exit.Stderr)
	}
	return string(out)
}

func keyedHash(text string) string {
	mac := hmac.New(sha256.New, key.Secret)
	mac.Write([]byte(text))
	return "hmac-sha256:2026-11:" + hex.EncodeToString(mac.Sum(nil))
}

// groups returns the record's line as an auditor reads it.
func groups(t testing.TB, r *audit.Record) map[string]any {
	t.Helper()
	var kept audit.Record
	kept.CopyFrom(r)
	kept.SetString(audit.AgentID, "a")
	var all map[string]any
	if err := json.Unmarshal(kept.Append(nil, 0), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func group(t testing.TB, r *audit.Record, name string) map[string]any {
	t.Helper()
	g, _ := groups(t, r)[name].(map[string]any)
	return g
}

// both ways by which content comes to a record: at once, and held across lines.
func apply(t testing.TB, p *capture.Policy, record *audit.Record, input, output *parsers.Content) map[string]*audit.Record {
	t.Helper()
	results := map[string]*audit.Record{}
	for _, how := range []string{"at once", "held"} {
		var d parsers.Draft
		d.Record.CopyFrom(record)
		for _, c := range []struct {
			from, to  *parsers.Content
			direction parsers.Direction
		}{{input, &d.Input, parsers.Entered}, {output, &d.Output, parsers.Returned}} {
			switch {
			case c.from == nil:
			case how == "held":
				c.to.Applied = p.Hold(nil, c.from, c.direction)
			default:
				*c.to = *c.from
			}
		}
		p.Apply(&d)
		results[how] = &d.Record
	}
	return results
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const prompt = "Wire it to DE89 3704 0044 0532 0130 00, write to alice@example.com."

func TestModes(t *testing.T) {
	auditor := newAuditor(t)
	hash, size := keyedHash(prompt), float64(len(prompt))
	for mode, want := range map[capture.Mode]map[string]any{
		capture.None:   {"mode": "none"},
		capture.Hashed: {"mode": "hashed", "hmac": hash, "bytes": size, "parts": 1.0},
		capture.Redacted: {
			"mode": "redacted", "hmac": hash, "bytes": size, "parts": 1.0,
			"text": "Wire it to [IBAN_1], write to [MAIL_1].", "redacted": map[string]any{"IBAN": 1.0, "MAIL": 1.0},
		},
		capture.Encrypted: {"mode": "encrypted", "hmac": hash, "bytes": size, "parts": 1.0, "key": auditor.recipient},
		capture.Full:      {"mode": "full", "hmac": hash, "bytes": size, "parts": 1.0, "text": prompt},
	} {
		p := newPolicy(t, capture.Config{Default: mode, Recipients: []string{auditor.recipient}})
		for member, results := range map[string]map[string]*audit.Record{
			"input":  apply(t, p, &audit.Record{}, content(prompt), nil),
			"output": apply(t, p, &audit.Record{}, nil, content(prompt)),
		} {
			for how, r := range results {
				got := group(t, r, member)
				if mode == capture.Encrypted {
					if text := auditor.decrypt(t, got["enc"].(string)); text != prompt {
						t.Errorf("decrypted: %q", text)
					}
					delete(got, "enc")
				}
				if asJSON(t, got) != asJSON(t, want) {
					t.Errorf("%s %s %s: %s, want %s", mode, member, how, asJSON(t, got), asJSON(t, want))
				}
			}
		}
		kept := p.Hold(nil, content(prompt), parsers.Entered)
		if mode != capture.Full && (bytes.Contains(kept, []byte("alice@")) || bytes.Contains(kept, []byte("DE89"))) {
			t.Errorf("%s: held content shows what the policy does not keep", mode)
		}
	}
}

func TestRefusedConfigs(t *testing.T) {
	auditor := newAuditor(t)
	for name, cfg := range map[string]capture.Config{
		"unknown mode":       {Default: "some", Unparsed: capture.Hashed},
		"no recipient":       {Default: capture.Encrypted, Unparsed: capture.Hashed},
		"no recipient, rule": {Default: capture.None, Unparsed: capture.Hashed, Rules: []capture.Rule{{Mode: capture.Encrypted}}},
		"no recipient, rest": {Default: capture.None, Unparsed: capture.Encrypted},
		"unparsed":           {Default: capture.None, Unparsed: capture.Full},
		"recipient":          {Default: capture.None, Unparsed: capture.Hashed, Recipients: []string{auditor.recipient[:61] + "!"}},
		"two in one":         {Default: capture.None, Unparsed: capture.Hashed, Recipients: []string{auditor.recipient + "\n" + auditor.recipient}},
		"detector":           {Default: capture.None, Unparsed: capture.Hashed, Detectors: []redact.Pattern{{Name: "A", Regex: regexp.MustCompile("x?")}}},
	} {
		if _, err := capture.New(cfg, key, "gateway"); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestNoContent(t *testing.T) {
	for how, r := range apply(t, newPolicy(t, capture.Config{Default: capture.Full}), &audit.Record{}, &parsers.Content{}, nil) {
		if how == "at once" && r.Has(audit.InputMode) {
			t.Errorf("a line without content has %v", group(t, r, "input"))
		}
	}
}

// Secrets are kept in no mode; the hash is that of the text as it was.
func TestSecretsInContent(t *testing.T) {
	auditor := newAuditor(t)
	text := "use " + planted + ", not sk-" + "test-alice; again " + planted
	const masked = "use [KEY_1], not [KEY_2]; again [KEY_1]"
	for _, mode := range []capture.Mode{capture.Redacted, capture.Encrypted, capture.Full} {
		p := newPolicy(t, capture.Config{Default: mode, Recipients: []string{auditor.recipient}})
		for how, r := range apply(t, p, &audit.Record{}, content(text), nil) {
			got := string(r.Text(audit.InputText))
			if mode == capture.Encrypted {
				got = auditor.decrypt(t, string(r.Text(audit.InputEnc)))
			}
			if got != masked || string(r.Text(audit.InputHMAC)) != keyedHash(text) || string(r.Text(audit.InputRedacted)) != `{"KEY":3}` {
				t.Errorf("%s %s: %q, %s, %s", mode, how, got, r.Text(audit.InputHMAC), r.Text(audit.InputRedacted))
			}
		}
	}
}

// The same value has the same number in question and answer, however they came.
func TestNumbersAreOfTheRecord(t *testing.T) {
	p := newPolicy(t, capture.Config{Default: capture.Redacted})
	for how, r := range apply(t, p, &audit.Record{},
		content("alice@example.com or bob@example.com?"), content("bob@example.com, carol@example.com, bob@example.com")) {
		input, output := string(r.Text(audit.InputText)), string(r.Text(audit.OutputText))
		if input != "[MAIL_1] or [MAIL_2]?" || output != "[MAIL_2], [MAIL_3], [MAIL_2]" || string(r.Text(audit.OutputRedacted)) != `{"MAIL":3}` {
			t.Errorf("%s: %q, %q, %s", how, input, output, r.Text(audit.OutputRedacted))
		}
	}
	for how, r := range apply(t, p, &audit.Record{}, content("carol@example.com"), nil) {
		if got := string(r.Text(audit.InputText)); got != "[MAIL_1]" {
			t.Errorf("%s: the next record goes on with %q", how, got)
		}
	}
}

// What the gateway masked before the model and what this agent took out of the
// log stay two facts.
func TestUpstreamRedactionIsAnotherFact(t *testing.T) {
	var record audit.Record
	record.SetString(audit.PolicyDecision, "redact")
	record.SetString(audit.PolicyBy, "litellm/presidio")
	record.SetJSON(audit.PolicyFindings, []byte(`{"PERSON":1,"IBAN":2}`))
	for _, mode := range []capture.Mode{capture.Hashed, capture.Redacted} {
		for how, r := range apply(t, newPolicy(t, capture.Config{Default: mode}), &record, content("For <PERSON>: alice@example.com"), nil) {
			if got := asJSON(t, group(t, r, "policy")); got != `{"by":"litellm/presidio","decision":"redact","findings":{"IBAN":2,"PERSON":1}}` {
				t.Errorf("%s %s: policy is %s", mode, how, got)
			}
			want := ""
			if mode == capture.Redacted {
				want = `{"MAIL":1}`
			}
			if got := string(r.Text(audit.InputRedacted)); got != want {
				t.Errorf("%s %s: input.redacted is %q, want %q", mode, how, got, want)
			}
		}
	}
}

func TestOwnDetectors(t *testing.T) {
	p := newPolicy(t, capture.Config{Default: capture.Redacted, Detectors: []redact.Pattern{{Name: "STAFF", Regex: regexp.MustCompile(`\bE-\d{6}\b`)}}})
	for how, r := range apply(t, p, &audit.Record{}, content("ask E-123456"), nil) {
		if got := asJSON(t, group(t, r, "input")["text"]); got != `"ask [STAFF_1]"` {
			t.Errorf("%s: %s", how, got)
		}
	}
}

// A detector that fails keeps less, and the record says so.
func TestDowngrade(t *testing.T) {
	text := strings.Repeat("a@b.io ", 21_000) // more than the detectors take
	for how, r := range apply(t, newPolicy(t, capture.Config{Default: capture.Redacted}), &audit.Record{}, content(text), nil) {
		want := map[string]any{"mode": "hashed", "hmac": keyedHash(text), "bytes": float64(len(text)), "parts": 1.0}
		if got := group(t, r, "input"); asJSON(t, got) != asJSON(t, want) || r.Flags()&audit.CaptureDowngraded == 0 {
			t.Errorf("%s: %.200s", how, asJSON(t, got))
		}
	}
}

// A record has at most 1 MiB: longer content is cut and flagged; size and hash are of the whole.
func TestLongTextIsCut(t *testing.T) {
	auditor := newAuditor(t)
	for name, unit := range map[string]string{"plain": "word ", "controls": "\x01\x02", "broken": "\xff", "wide": "日本語", "quotes": `"\`, "finds": "a@example.com, and then some more text "} {
		long := strings.Repeat(unit, 1<<20/len(unit))
		for _, mode := range []capture.Mode{capture.Full, capture.Redacted, capture.Encrypted} {
			p := newPolicy(t, capture.Config{Default: mode, Recipients: []string{auditor.recipient}})
			for how, r := range apply(t, p, &audit.Record{}, content(long), nil) {
				kept := r.Text(audit.InputText)
				least := capture.MaxText * 97 / 100
				if mode == capture.Encrypted {
					kept = r.Text(audit.InputEnc)
				}
				if encoded := len(audit.AppendText(nil, kept)) - 2; encoded > capture.MaxText || encoded < least && unit[0] != 'a' {
					t.Errorf("%s %s %s: the text takes %d bytes, the limit is %d", name, mode, how, encoded, capture.MaxText)
				}
				if mode == capture.Full && !strings.HasPrefix(long, string(kept)) {
					t.Errorf("%s %s: not the head of the text", name, how)
				}
				if r.Int(audit.InputBytes) != int64(len(long)) || string(r.Text(audit.InputHMAC)) != keyedHash(long) ||
					!r.Bool(audit.InputTruncated) || r.Flags()&audit.Truncated == 0 {
					t.Errorf("%s %s %s: not size and hash of the whole, flagged", name, mode, how)
				}
				if mode == capture.Redacted && bytes.ContainsRune(kept, '@') {
					t.Errorf("%s %s: a find is left", name, how)
				}
			}
		}
	}
}

// Where a text is cut, by the limit or in the source, no half of a find is kept.
func TestCutThroughAFind(t *testing.T) {
	const mail = "firstname.lastname@example.com"
	for shift := range len(mail) + 8 {
		long := strings.Repeat("x ", capture.MaxText/2-len(mail)/2) + strings.Repeat("y", shift) + " " + mail + strings.Repeat(" z", 32<<10)
		for how, r := range apply(t, newPolicy(t, capture.Config{Default: capture.Redacted}), &audit.Record{}, content(long), nil) {
			if bytes.Contains(r.Text(audit.InputText), []byte("first")) {
				t.Errorf("%s: half of the address is kept", how)
			}
		}
	}
	for end := 1; end < len(mail); end++ {
		c := content("Please write a long and friendly letter about the weather here to " + mail[:end])
		c.Truncated = true
		for how, r := range apply(t, newPolicy(t, capture.Config{Default: capture.Redacted}), &audit.Record{}, c, nil) {
			got := string(r.Text(audit.InputText))
			if strings.Contains(got, "first") || !strings.HasPrefix(got, "Pl") || r.Flags()&audit.Truncated == 0 {
				t.Errorf("%s: %q", how, got)
			}
		}
	}
}

func TestRules(t *testing.T) {
	rules := []capture.Rule{
		{Input: "elsewhere", Mode: capture.None},
		{Workspace: "legal*", Direction: "input", Mode: capture.Hashed},
		{Model: "*-public", Mode: capture.Full},
		{Input: "gateway", Direction: "output", Mode: capture.None},
		{Model: "llama-*-8b", Workspace: "r&d", Mode: capture.Full},
	}
	p := newPolicy(t, capture.Config{Default: capture.Redacted, Rules: rules})
	for _, c := range []struct{ model, served, workspace, input, output string }{
		{"", "", "", "redacted", "none"},
		{"llama-3-8b", "", "", "redacted", "none"},
		{"llama-3-8b", "", "r&d", "full", "none"},
		{"llama-8b", "", "r&d", "redacted", "none"},
		{"llama-3-8b", "", "legal", "hashed", "none"},
		{"x-public", "", "legal-emea", "hashed", "full"},
		{"alias", "x-public", "", "full", "full"},
		{"x-public-2", "", "", "redacted", "none"},
	} {
		var d parsers.Draft
		d.Record.SetString(audit.ModelName, c.model)
		d.Record.SetString(audit.ModelServed, c.served)
		d.Record.SetString(audit.Workspace, c.workspace)
		d.Input, d.Output = *content("a"), *content("b")
		p.Apply(&d)
		if input, output := string(d.Record.Text(audit.InputMode)), string(d.Record.Text(audit.OutputMode)); input != c.input || output != c.output {
			t.Errorf("%+v: %s, %s", c, input, output)
		}
	}
}

// Content is held before its record is known: what is kept of it must not be
// more than any rule keeps that may be the one, nor in the end more than the
// record's own rule does.
func TestHeldContentIsKeptByTheStrictestRule(t *testing.T) {
	auditor := newAuditor(t)
	for _, c := range []struct {
		name             string
		rules            []capture.Rule
		fallback         capture.Mode
		hint             string // model known when it was held
		model, workspace string // of the complete record
		held, want       string
	}{
		{"no rules", nil, capture.Full, "", "m", "", "full", "full"},
		{"a stricter rule may come", []capture.Rule{{Model: "secret", Mode: capture.None}}, capture.Full, "", "m", "", "none", "none"},
		{"the model is known", []capture.Rule{{Model: "secret", Mode: capture.None}}, capture.Full, "m", "m", "", "full", "full"},
		{"the model is known and strict", []capture.Rule{{Model: "m", Mode: capture.Hashed}}, capture.Full, "m", "m", "", "hashed", "hashed"},
		{"the model was another", []capture.Rule{{Model: "secret", Mode: capture.None}}, capture.Full, "m", "secret", "", "full", "none"},
		{"a looser rule may come", []capture.Rule{{Model: "open", Mode: capture.Full}}, capture.Hashed, "", "open", "", "hashed", "hashed"},
		{"the workspace is not known", []capture.Rule{{Model: "m", Workspace: "w", Mode: capture.Hashed}}, capture.Full, "m", "m", "x", "hashed", "hashed"},
		{"redacted or encrypted", []capture.Rule{{Model: "m", Mode: capture.Encrypted}}, capture.Redacted, "", "m", "", "hashed", "hashed"},
		{"first rule decides", []capture.Rule{{Direction: "input", Mode: capture.Redacted}, {Model: "m", Mode: capture.None}}, capture.Full, "", "m", "", "redacted", "redacted"},
		{"other direction", []capture.Rule{{Direction: "output", Mode: capture.None}}, capture.Full, "", "m", "", "full", "full"},
		{"full, then redacted", []capture.Rule{{Workspace: "w", Mode: capture.Redacted}, {Model: "m", Mode: capture.Full}}, capture.Full, "m", "m", "w", "redacted", "redacted"},
	} {
		p := newPolicy(t, capture.Config{Default: c.fallback, Rules: c.rules, Recipients: []string{auditor.recipient}})
		in := content(prompt)
		in.Model = c.hint
		var d parsers.Draft
		d.Input.Applied = p.Hold(nil, in, parsers.Entered)
		// What is held is what a policy without rules makes of it.
		if alone := newPolicy(t, capture.Config{Default: capture.Mode(c.held)}).Hold(nil, content(prompt), parsers.Entered); !bytes.Equal(alone, d.Input.Applied) {
			t.Errorf("%s: held as %q, not %s", c.name, d.Input.Applied, c.held)
		}
		d.Record.SetString(audit.ModelName, c.model)
		d.Record.SetString(audit.Workspace, c.workspace)
		p.Apply(&d)
		if got := string(d.Record.Text(audit.InputMode)); got != c.want || got == "hashed" && d.Record.Has(audit.InputText) || got == "none" && d.Record.Has(audit.InputHMAC) {
			t.Errorf("%s: %s, want %s", c.name, asJSON(t, group(t, &d.Record, "input")), c.want)
		}
	}
}

// A change of the configuration between hold and release never keeps more.
func TestHeldContentUnderAnotherPolicy(t *testing.T) {
	auditor := newAuditor(t)
	order := []capture.Mode{capture.None, capture.Hashed, capture.Redacted, capture.Encrypted, capture.Full}
	for _, before := range order {
		for _, after := range order {
			var d parsers.Draft
			d.Input.Applied = newPolicy(t, capture.Config{Default: before, Recipients: []string{auditor.recipient}}).Hold(nil, content(prompt), parsers.Entered)
			newPolicy(t, capture.Config{Default: after, Recipients: []string{auditor.recipient}}).Apply(&d)
			r := &d.Record
			got := capture.Mode(r.Text(audit.InputMode))
			switch {
			case before == after && got != before,
				got == capture.Full && (before != capture.Full || after != capture.Full),
				r.Has(audit.InputHMAC) && (before == capture.None || after == capture.None),
				r.Has(audit.InputText) && (before == capture.Encrypted || after == capture.Encrypted || after == capture.Redacted && before == capture.Full):
				t.Errorf("%s, then %s: %s", before, after, asJSON(t, group(t, r, "input")))
			}
		}
	}
}

func TestDigests(t *testing.T) {
	for mode, want := range map[capture.Mode][2]string{
		capture.None: {}, capture.Hashed: {keyedHash("be kind"), keyedHash(`{"a":1}`)}, capture.Full: {keyedHash("be kind"), keyedHash(`{"a":1}`)},
	} {
		p := newPolicy(t, capture.Config{Default: mode})
		for _, held := range []bool{false, true} {
			d := parsers.Draft{System: *content("be kind"), Arguments: *content(`{"a":1}`)}
			if held {
				d.System = parsers.Content{Applied: p.Hold(nil, &d.System, parsers.Entered)}
				d.Arguments = parsers.Content{Applied: p.Hold(nil, &d.Arguments, parsers.Entered)}
			}
			p.Apply(&d)
			got := [2]string{string(d.Record.Text(audit.PromptSystemHMAC)), string(d.Record.Text(audit.ToolHMAC))}
			if got != want || d.Record.Has(audit.InputMode) {
				t.Errorf("%s, held %t: %s", mode, held, asJSON(t, groups(t, &d.Record)))
			}
		}
	}
}

func TestPseudonyms(t *testing.T) {
	p := newPolicy(t, capture.Config{Default: capture.Full, Pseudonyms: true})
	var pseudonyms [2]string
	for i, user := range []string{"alice", "alice"} {
		var d parsers.Draft
		r := &d.Record
		r.SetString(audit.ActorID, user)
		r.SetString(audit.ActorName, "alice@example.com")
		r.SetString(audit.ActorOnBehalfOf, "bob")
		r.SetString(audit.ApprovalBy, "alice")
		d.Input = *content("alice")
		p.Apply(&d)
		pseudonyms[i] = string(r.Text(audit.ActorID))
		if r.Has(audit.ActorName) || string(r.Text(audit.ApprovalBy)) != pseudonyms[i] || string(r.Text(audit.ActorOnBehalfOf)) == pseudonyms[i] {
			t.Error(asJSON(t, groups(t, r)))
		}
		// Whoever can send prompts must not find out by it whose pseudonym this is.
		if pseudonyms[i] == string(r.Text(audit.InputHMAC)) {
			t.Error("a pseudonym is the hash of the name as a prompt")
		}
	}
	if pseudonyms[0] != pseudonyms[1] || !strings.HasPrefix(pseudonyms[0], "hmac-sha256:2026-11:") {
		t.Error(pseudonyms)
	}
	h := keyed.NewPseudonymizer(key)
	h.Write([]byte("alice"))
	if got := string(h.Append(nil)); got != pseudonyms[0] {
		t.Errorf("the holder of the key makes %s of alice, the record has %s", got, pseudonyms[0])
	}
	var d parsers.Draft
	newPolicy(t, capture.Config{Default: capture.Full, Pseudonyms: true}).Apply(&d)
	if d.Record.Has(audit.ActorID) {
		t.Error("nobody has a pseudonym")
	}
}

func TestUnparsed(t *testing.T) {
	auditor := newAuditor(t)
	lines := []string{"what is this", "key " + planted, "é\xff"}
	for _, mode := range []capture.Mode{capture.Hashed, capture.Encrypted} {
		u := newPolicy(t, capture.Config{Default: capture.None, Unparsed: mode, Recipients: []string{auditor.recipient}}).Unparsed()
		for range 2 {
			u.Begin()
			for _, line := range lines {
				u.Add([]byte(line))
			}
			var r audit.Record
			r.SetString(audit.SourcePath, "/var/log/"+planted)
			u.End(&r)
			if got, want := string(r.Text(audit.LossHMAC)), keyedHash(strings.Join(lines, "\n")+"\n"); got != want {
				t.Errorf("%s: %s, want %s", mode, got, want)
			}
			if string(r.Text(audit.SourcePath)) != "/var/log/[KEY_1]" {
				t.Errorf("%s", r.Text(audit.SourcePath))
			}
			if mode == capture.Hashed {
				if r.Has(audit.LossEnc) {
					t.Error("lines are kept")
				}
				continue
			}
			if got := auditor.decrypt(t, string(r.Text(audit.LossEnc))); got != "what is this\nkey [KEY_1]\né\xff\n" {
				t.Errorf("%q", got)
			}
		}
	}
}

// Lines that are kept encrypted take several records when one has no room.
func TestUnparsedRoom(t *testing.T) {
	auditor := newAuditor(t)
	u := newPolicy(t, capture.Config{Default: capture.None, Unparsed: capture.Encrypted, Recipients: []string{auditor.recipient}}).Unparsed()
	u.Begin()
	line := bytes.Repeat([]byte("unknown "), 1<<10)
	n := 0
	for ; u.HasRoom(line); n++ {
		u.Add(line)
	}
	if size := n * len(line); size < capture.MaxText/2 || size > capture.MaxText {
		t.Errorf("room for %d bytes", size)
	}
	var r audit.Record
	u.End(&r)
	if got := auditor.decrypt(t, string(r.Text(audit.LossEnc))); len(got) != n*(len(line)+1) || r.Flags()&audit.Truncated != 0 {
		t.Errorf("%d bytes of %d lines", len(got), n)
	}
	if encoded := len(audit.AppendText(nil, r.Text(audit.LossEnc))); encoded > capture.MaxText {
		t.Errorf("takes %d bytes", encoded)
	}
	long := bytes.Repeat([]byte("x"), 1<<20)
	u.Begin()
	u.Add(long)
	r.Reset()
	u.End(&r)
	if got := auditor.decrypt(t, string(r.Text(audit.LossEnc))); r.Flags()&audit.Truncated == 0 || !strings.HasPrefix(got, "xxx") ||
		string(r.Text(audit.LossHMAC)) != keyedHash(string(long)+"\n") {
		t.Error("a long line is not cut, flagged, and hashed as a whole")
	}
}

// What was held comes from the agent's own disk, which may be damaged, or from
// another version.
func FuzzHeld(f *testing.F) {
	for _, mode := range []capture.Mode{capture.None, capture.Hashed, capture.Redacted, capture.Full} {
		f.Add(newPolicy(f, capture.Config{Default: mode}).Hold(nil, content(prompt), parsers.Entered))
	}
	f.Add([]byte{1})
	f.Add([]byte{2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	p := newPolicy(f, capture.Config{Default: capture.Full})
	f.Fuzz(func(t *testing.T, held []byte) {
		var d parsers.Draft
		d.Output.Applied = held
		p.Apply(&d)
		if len(held) > 0 && held[0] != 2 && (d.Record.Has(audit.OutputMode) || d.Record.Flags()&audit.CaptureDowngraded == 0) {
			t.Error("an unknown version is read")
		}
		group(t, &d.Record, "output") // is JSON
	})
}

func TestModesAreStrict(t *testing.T) {
	// Apply is called for every record of an input: nothing of one must show in the next.
	auditor := newAuditor(t)
	p := newPolicy(t, capture.Config{
		Default: capture.Full, Recipients: []string{auditor.recipient},
		Rules: []capture.Rule{{Workspace: "e", Mode: capture.Encrypted}, {Workspace: "r", Mode: capture.Redacted}, {Workspace: "n", Mode: capture.None}},
	})
	wants := map[string][]string{"e": {"mode", "hmac", "bytes", "parts", "enc", "key"}, "r": {"mode", "hmac", "bytes", "parts", "text", "redacted"}, "n": {"mode"}, "f": {"mode", "hmac", "bytes", "parts", "text"}}
	for workspace := range strings.SplitSeq("frefnrnefrnef", "") {
		var d parsers.Draft
		d.Record.SetString(audit.Workspace, workspace)
		d.Input = *content(prompt)
		p.Apply(&d)
		got := group(t, &d.Record, "input")
		for _, name := range wants[workspace] {
			if got[name] == nil {
				t.Errorf("%s has no %s", workspace, name)
			}
			delete(got, name)
		}
		if len(got) > 0 {
			t.Errorf("%s has %v too", workspace, maps.Keys(got))
		}
	}
}

func BenchmarkApply(b *testing.B) {
	auditor := newAuditor(b)
	text := strings.Repeat("Summarise the termination clause of the contract, and mind paragraph 12. ", 40) + prompt
	for _, mode := range []capture.Mode{capture.None, capture.Hashed, capture.Redacted, capture.Encrypted, capture.Full} {
		b.Run(string(mode), func(b *testing.B) {
			p := newPolicy(b, capture.Config{Default: mode, Recipients: []string{auditor.recipient}})
			var d parsers.Draft
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				d.Reset()
				d.Input.Text, d.Input.Parts = append(d.Input.Text, text...), 1
				p.Apply(&d)
			}
		})
	}
}
