package endtoend

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/internal/config"
)

// Secrets are put together here, so that no scanner takes this file for a leak.
var (
	words = []string{ // in one piece
		"sk-" + "proj-Zq0123456789abcdefABCDEF", "gh" + "p_Zq0123456789abcdefABCDEF0123456789", "AK" + "IAZQ0123456789ABCD",
		"hf_" + "Zq0123456789abcdefABCDEFghij", "xox" + "b-Zq0123456789-abcdefABCDEF", "gl" + "pat-Zq0123456789abcdefAB",
		"eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiJacTAxMjM0NTY3ODkifQ.Zq0123456789abcdefABCDEF", "AI" + "zaZq0123456789abcdefABCDEF0123456789A",
	}
	phrases = []string{ // in several, or of several parts
		"https://svc:" + "Zq0hunter0123456789@example.com/x",
		"Authorization: Bearer " + "Zq0123456789abcdefABCDEF", "Basic " + "WnE6MDEyMzQ1Njc4OWFiY2RlZkFCQ0RFRg==", "password=" + "Zq0hunter0123456789",
		"-----BEGIN PRIVATE " + `KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjZq0123456789\n-----END PRIVATE ` + "KEY-----",
	}
	// What must not be found anywhere: all secrets have one of these in them.
	needles = []string{"0123456789abcdef", "0123456789ABCD", "0123456789-abcdef", "Zq0hunter", "acTAxMjM0NTY3ODk", "WnE6MDEyMzQ1Njc4", "Zq0123456789"}
)

var (
	token  = regexp.MustCompile(`[^\s"'\[\](){}<>,;=|]+`)
	quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
)

// plant returns variants of the lines of a log, in each of which a secret stands
// in the place of one word, in a query behind it, or in the place of a string.
func plant(log []byte, most int) []byte {
	var all [][]byte
	for n, line := range bytes.Split(bytes.TrimSuffix(log, []byte("\n")), []byte("\n")) {
		put := func(from, to int, secret string) {
			all = append(all, append(append(bytes.Clone(line[:from]), secret...), line[to:]...))
		}
		for i, at := range token.FindAllIndex(line, 60) {
			secret := words[(n+i)%len(words)]
			put(at[0], at[1], secret)
			put(at[1], at[1], "?key="+secret)
		}
		for i, at := range quoted.FindAllIndex(line, 60) {
			secret := append(words, phrases...)[(n+i)%(len(words)+len(phrases))]
			put(at[0]+1, at[1]-1, secret)
			if line[0] == '{' { // as JSON may write it
				put(at[0]+1, at[1]-1, strings.Replace(words[(n+i)%len(words)], "9", `\u0039`, 1))
			}
		}
		all = append(all, bytes.Clone(line))
	}
	step := max(1, len(all)/most)
	var planted []byte
	for i := 0; i < len(all); i += step {
		planted = append(append(planted, all[i]...), '\n')
	}
	return planted
}

// manyFields maps everything that the field map can take to what logs have.
const manyFields = `
"actor.id" = "user"
"actor.roles" = "roles"
"actor.key_id" = "api_key"
"client.user_agent" = "user_agent"
"session.request_id" = "id"
"session.trace_id" = "trace_id"
"tenant" = "tenant"
"workspace" = "team"
"model.name" = "model"
"api.path" = "path"
"policy.id" = "policy"
"policy.findings" = "findings"
"tool.name" = "tool"
"input" = "messages"
"output" = "response"
"output.finish" = "finish_reason"
"data.id" = "dataset"
"extra.msg" = "msg"
"extra.error" = "error"
`

const manyLine = `{"user":"u","roles":["a","b"],"api_key":"k_1","user_agent":"x/1","id":"r-1","trace_id":"t","tenant":"acme","team":"legal","model":"m","path":"/v1/chat/completions","policy":"p","findings":{"IBAN":1},"tool":"search","messages":[{"role":"user","content":"hello"}],"response":"bye","finish_reason":["stop"],"dataset":"d","msg":"all well","error":"none","unmapped":"x"}`

// plantedInputs lays planted variants of every sample log into the site's folder
// and returns the inputs that read them with the parser that knows them.
func plantedInputs(t *testing.T, dir string, most int) string {
	t.Helper()
	var inputs strings.Builder
	add := func(name string, log []byte, parser string) {
		if err := os.WriteFile(filepath.Join(dir, name+".log"), plant(log, most), 0o600); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&inputs, "[[inputs.file]]\nname = %q\npaths = [%q]\nservice = \"chat\"\n%s\n", name, filepath.Join(dir, name+".log"), parser)
	}
	samples := 0
	for _, preset := range config.Presets() {
		logs, err := filepath.Glob("../../parsers/" + strings.ReplaceAll(preset, "-", "") + "/testdata/*.log")
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range logs {
			log, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, of := range []string{"sk-test-", "sk-secret", "sk-wrong"} { // samples have secrets of their own, which are for their tests
				log = bytes.ReplaceAll(log, []byte(of), []byte("none-"))
			}
			add(fmt.Sprintf("%s-%d", preset, i), log, fmt.Sprintf("parser = %q", preset))
			samples++
		}
	}
	if samples < 20 {
		t.Fatalf("only %d sample logs", samples)
	}
	for _, form := range mappedForms() {
		add(form.name, []byte(strings.Repeat(form.line+"\n", form.lines)), form.parser)
	}
	return inputs.String()
}

// revealed returns a file and all that lies in it in another form: zstd frames,
// base64, JSON escapes.
func revealed(data []byte) []byte {
	all := bytes.Clone(data)
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	defer z.Close()
	for rest := data; ; {
		i := bytes.Index(rest, []byte{0x28, 0xb5, 0x2f, 0xfd})
		if i < 0 {
			break
		}
		rest = rest[i:]
		if z.Reset(bytes.NewReader(rest)) == nil {
			plain, _ := io.ReadAll(z) // what follows the frame is no frame
			all = append(append(all, '\n'), plain...)
		}
		rest = rest[4:]
	}
	for _, run := range base64Run.FindAll(data, -1) {
		for cut := range 4 {
			if plain, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(string(run[:len(run)-min(cut, len(run))]), "=")); err == nil {
				all = append(append(all, '\n'), plain...)
				break
			}
		}
	}
	return bytes.ReplaceAll(all, []byte(`\u0039`), []byte("9"))
}

var base64Run = regexp.MustCompile(`[A-Za-z0-9+/]{24,}={0,2}`)

// searchAll looks for texts in everything below a folder, in whatever form.
func searchAll(t *testing.T, folder string, texts []string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Type() == fs.ModeSocket || filepath.Ext(path) == ".tmp" {
			return err
		}
		data, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil
		}
		files++
		searchIn(t, path, revealed(data), texts)
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("searched %d files in %s: %v", files, folder, err)
	}
}

func searchIn(t *testing.T, what string, data []byte, texts []string) {
	t.Helper()
	for _, text := range texts {
		if i := bytes.Index(data, []byte(text)); i >= 0 {
			t.Errorf("%s holds %s: …%q…", what, text, data[max(0, i-160):min(len(data), i+60)])
			return
		}
	}
}

// searchSite looks for texts in all that an agent leaves on its host: its own log
// and its data directory. What else it comes to show, metrics and status, belongs here.
func searchSite(s *site, log string, texts []string) {
	s.t.Helper()
	searchIn(s.t, "the agent's log", []byte(log), texts)
	searchAll(s.t, s.path("data"), texts)
}

// auditor is who can decrypt.
type auditor struct{ identity *age.X25519Identity }

func newAuditor(t *testing.T) auditor {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return auditor{identity}
}

func (a auditor) decrypt(t *testing.T, sealed string) string {
	t.Helper()
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(sealed)), a.identity)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// decryptAll returns all that the auditor finds in the records.
func (a auditor) decryptAll(t *testing.T, c *contents) []byte {
	var all []byte
	for _, r := range c.records {
		for _, field := range []string{"input.enc", "output.enc", "loss.enc"} {
			if sealed := text(r, field); sealed != "" {
				all = append(append(all, a.decrypt(t, sealed)...), '\n')
			}
		}
	}
	return all
}

// Promise 9: secrets are kept nowhere, in no mode, in whatever field of whatever
// log they stand: not in records, in the agent's data, in its own log, nor where
// only the auditor can look.
func TestSecretsSurviveNowhere(t *testing.T) {
	for _, mode := range []string{"none", "hashed", "redacted", "encrypted", "full"} {
		t.Run(mode, func(t *testing.T) {
			auditor := newAuditor(t)
			logs := t.TempDir()
			s := newSite(t, plantedInputs(t, logs, 60), directoryOutput+fmt.Sprintf("[capture]\ndefault = %q\nrecipients = [%q]\nunparsed = %q\n",
				mode, auditor.identity.Recipient(), map[bool]string{true: "encrypted", false: "hashed"}[mode == "encrypted" || mode == "full"]))
			output := s.run("auditail", "run", "--once", "--config", s.path("auditail.toml"))
			searchSite(s, output, needles)
			searchAll(t, s.path("archive"), needles)
			c := s.read(s.path("archive"))
			if mode == "full" { // each takes seconds
				c.validate(t)
			}
			masked, modes := 0, map[string]int{}
			for _, r := range c.records {
				if strings.Contains(text(r, "quality"), "secret_masked") {
					masked++
				}
				modes[text(r, "input.mode")]++
			}
			if masked < 100 || modes[mode] < 100 {
				t.Errorf("only %d records had a secret masked, and %d content: were they planted?", masked, modes[mode])
			}
			plain := auditor.decryptAll(t, &c)
			searchIn(t, "what the auditor decrypts", plain, needles)
			if mode == "encrypted" && !bytes.Contains(plain, []byte("[KEY_1]")) {
				t.Error("the auditor does not see where secrets were")
			}
			s.verify(s.path("archive"))
		})
	}
}

// The same while the agent is killed again and again, so that what parsers hold
// for joined records is on the disk.
func TestSecretsInHeldLines(t *testing.T) {
	const rounds = 4
	logs := t.TempDir()
	s := newSite(t, plantedInputs(t, logs, 40), directoryOutput+"[capture]\ndefault = \"full\"\n")
	parts := make([]map[string][]byte, rounds) // what each round adds to each log
	names, err := filepath.Glob(filepath.Join(logs, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range rounds {
			if parts[i] == nil {
				parts[i] = make(map[string][]byte)
			}
			parts[i][name] = data[i*len(data)/rounds : (i+1)*len(data)/rounds] // also within lines
		}
		if err := os.Truncate(name, 0); err != nil {
			t.Fatal(err)
		}
	}
	held, size := 0, 0
	marker := []byte(`"parser":"`) // of a state in the meta of a frame
	for _, part := range parts {
		for name, data := range part {
			appendTo(t, name, data)
		}
		p := s.start("auditail", "run", "--config", s.path("auditail.toml"))
		var segments []byte
		await(t, "the agent to commit lines, some of them held", func() bool {
			segments = s.segments()
			return len(segments) > size+4096 && (held > 0 || bytes.Contains(segments, marker))
		})
		p.kill()
		size = len(s.segments())
		held += bytes.Count(segments, marker)
		searchSite(s, p.log.String(), needles)
	}
	if held == 0 {
		t.Error("no parser held anything when the agent was killed")
	}
	s.once()
	searchAll(t, s.path("data"), needles)
	searchAll(t, s.path("archive"), needles)
	s.verify(s.path("archive"))
}

// segments returns what the buffer's segments hold.
func (s *site) segments() (all []byte) {
	names, err := filepath.Glob(s.path("data/buffer/segments/*"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil && !os.IsNotExist(err) {
			s.t.Fatal(err)
		}
		all = append(all, data...)
	}
	return all
}

// personal are personal data with a form, as people write them into prompts.
var personal = []string{
	"zoe.quill@example.org", "DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "4111 1111 1111 1111", "219-09-9999", "+49 171 9876543", "203.0.113.77",
}

func personalPrompt() string { return "Please write to " + strings.Join(personal, " and ") + " today." }

// vllmCall is a call as vLLM logs it, over several lines.
func vllmCall(id, prompt, answer string) string {
	const stamp = "INFO 11-07 04:36:00 "
	return stamp + "[logger.py:43] Received request " + id + ": prompt: '" + prompt + "', params: SamplingParams(n=1, max_tokens=16), prompt_token_ids: [1, 2], lora_request: None.\n" +
		stamp + "[logger.py:71] Generated response " + id + ": output: '" + answer + "', output_token_ids: [1], finish_reason: stop\n" +
		"INFO:     10.20.0.14:41022 - \"POST /v1/chat/completions HTTP/1.1\" 200 OK\n"
}

func gatewayLine(user, prompt, answer string) string {
	line, err := json.Marshal(map[string]any{
		"user": user, "model": "llama-3-8b", "path": "/v1/chat/completions?email=" + personal[0], "email": personal[0], "raw": map[string]any{"messages": prompt},
		"messages": []any{map[string]any{"role": "user", "content": prompt}}, "response": answer,
	})
	if err != nil {
		panic(err)
	}
	return string(line) + "\n"
}

// Personal data in prompts, answers, queries, unmapped fields and unknown lines
// stay away from the disk in every mode but full, held lines and kills included;
// the auditor reads them where the mode is encrypted; and nothing is lost by it.
func TestPersonalData(t *testing.T) {
	for _, mode := range []string{"none", "hashed", "redacted", "encrypted", "full"} {
		t.Run(mode, func(t *testing.T) {
			auditor := newAuditor(t)
			address := freeAddress(t)
			s := newSite(t, `
[[inputs.file]]
name = "gateway"
paths = ["DIR/logs/gateway.jsonl"]
service = "chat"
[inputs.file.parser]
type = "json"
[inputs.file.parser.fields]`+manyFields+`
[[inputs.file]]
name = "vllm"
paths = ["DIR/logs/vllm.log"]
parser = "vllm"
service = "chat"

[[inputs.http]]
name = "push"
listen = "`+address+`"
path = "/lines"
service = "chat"
[inputs.http.parser]
type = "json"
[inputs.http.parser.fields]`+manyFields, directoryOutput+fmt.Sprintf(`[capture]
default = %q
recipients = [%q]
unparsed = "encrypted"
pseudonyms = true
`, mode, auditor.identity.Recipient()))
			prompt, answer := personalPrompt(), "I wrote to "+personal[0]+", not to other.person@example.org."
			var gateway, vllm strings.Builder
			const calls = 40
			for i := range calls {
				gateway.WriteString(gatewayLine("quentin.zephyr", prompt, answer))
				gateway.WriteString("Traceback: no parser knows " + personal[i%len(personal)] + "\n")
				call := vllmCall(fmt.Sprintf("chatcmpl-%032d", i), prompt, answer)
				if i == calls-1 {
					call = strings.SplitAfter(call, "\n")[0] // is held until its end comes
				}
				vllm.WriteString(call)
			}
			s.write("logs/gateway.jsonl", gateway.String())
			s.write("logs/vllm.log", vllm.String())

			p := s.start("auditail", "run", "--config", s.path("auditail.toml"))
			await(t, "the http input", func() bool {
				return post(address, "/lines", "application/x-ndjson", []byte(gatewayLine("quentin.zephyr", prompt, answer))) == http.StatusOK
			})
			p.kill()
			forbidden := append([]string{"quentin.zephyr", "other.person@"}, personal...)
			if mode == "full" {
				forbidden = []string{"quentin.zephyr", "email=", "no parser knows"}
			}
			searchSite(s, p.log.String(), forbidden)
			s.once()
			searchAll(t, s.path("data"), forbidden)
			searchAll(t, s.path("archive"), forbidden)

			c := s.read(s.path("archive"))
			c.validate(t)
			contents := 0
			users := map[string]bool{}
			for _, r := range c.records {
				if text(r, "event") != "model.inference" {
					continue
				}
				if text(r, "input.mode") != mode {
					t.Fatalf("input.mode is %s: %v", text(r, "input.mode"), r)
				}
				contents++
				users[text(r, "actor.id")] = true
				if mode == "redacted" {
					if got := text(r, "input.text"); got != "Please write to [MAIL_1] and [IBAN_1] and [IBAN_2] and [CARD_1] and [SSN_1] and [PHONE_1] and [IP_1] today." {
						t.Fatalf("input.text is %q", got)
					}
					if got := text(r, "output.text"); text(r, "output.mode") != "" && got != "I wrote to [MAIL_1], not to [MAIL_2]." {
						t.Fatalf("output.text is %q", got)
					}
				}
				if mode == "encrypted" && auditor.decrypt(t, text(r, "input.enc")) != prompt {
					t.Fatal("the auditor does not read the prompt")
				}
			}
			if contents < 2*calls || len(users) > 2 {
				t.Errorf("%d calls, users %v", contents, users)
			}
			if plain := auditor.decryptAll(t, &c); bytes.Count(plain, []byte("no parser knows")) != calls {
				t.Error("the auditor does not read the lines that no parser knows")
			}
			s.verify(s.path("archive"))
		})
	}
}
