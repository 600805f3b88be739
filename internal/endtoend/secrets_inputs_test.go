package endtoend

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// form is a log in a form whose fields a configuration names.
type form struct {
	name, line string
	lines      int
	parser     string
}

// fewFields maps the names that the forms without nesting have.
const fewFields = `
"actor.id" = "user"
"actor.key_id" = "key"
"model.name" = "model"
"client.user_agent" = "agent"
"input" = "text"
"extra.note" = "note"
`

// mappedForms are the generic parsers, and JSON within the wrappers of container
// runtimes and syslog daemons.
func mappedForms() []form {
	mapped := func(kind, fields string) string {
		return "[inputs.file.parser]\ntype = \"" + kind + "\"\n[inputs.file.parser.fields]" + fields
	}
	wrapped := func(wrapper string) string { return "wrapper = \"" + wrapper + "\"\n" + mapped("json", manyFields) }
	docker, err := json.Marshal(map[string]string{"log": manyLine + "\n", "stream": "stdout", "time": "2026-11-21T09:06:34.1Z"})
	if err != nil {
		panic(err)
	}
	syslogFields := strings.NewReplacer(`"user"`, `"sd.call@32473.user"`, `"key"`, `"sd.call@32473.key"`, `"model"`, `"message.model"`,
		`"agent"`, `"app"`, `"text"`, `"message.text"`, `"note"`, `"host"`).Replace(fewFields)
	return []form{
		{"json", manyLine, 8, mapped("json", manyFields)},
		{"cri", "2026-11-21T09:06:34.1Z stdout F " + manyLine, 4, wrapped("cri")},
		{"docker", string(docker), 8, wrapped("docker")},
		{"in-syslog", "Nov 21 09:06:34 gpu-07 gateway[42]: " + manyLine, 4, wrapped("syslog")},
		{"logfmt", `user=ann key=k_1 model=m agent=x/1 text="what is said" note="all well" unmapped=x`, 16, mapped("logfmt", fewFields)},
		{"csv", `ann,k_1,m,x/1,"what is said","all well",x`, 16, strings.Replace(mapped("csv", fewFields),
			"[inputs.file.parser.fields]", `columns = ["user", "key", "model", "agent", "text", "note", "unmapped"]`+"\n[inputs.file.parser.fields]", 1)},
		{"regex", `ann k_1 m x/1 "what is said" (all well)`, 16, strings.Replace(mapped("regex", fewFields), "[inputs.file.parser.fields]",
			`patterns = ['(?P<user>\S*) (?P<key>\S*) (?P<model>\S*) (?P<agent>\S*) "(?P<text>.*)" \((?P<note>.*)\)']`+"\n[inputs.file.parser.fields]", 1)},
		{
			"syslog", `<134>1 2026-11-21T09:06:34Z gpu-07 gateway 42 - [call@32473 user="ann" key="k_1"] {"model":"m","text":"what is said","x":"y"}`, 16,
			mapped("syslog", syslogFields),
		},
	}
}

// Secrets that are pushed to the agent: over HTTP, OTLP, syslog and a named pipe,
// with the agent killed while it holds them.
func TestSecretsFromPushedInputs(t *testing.T) {
	address, collector, daemon := freeAddress(t), freeAddress(t), freeAddress(t)
	parser := func(kind string) string {
		return "service = \"chat\"\n[inputs." + kind + ".parser]\ntype = \"json\"\n[inputs." + kind + ".parser.fields]" + manyFields
	}
	attributes := strings.ReplaceAll(manyFields, `= "`, `= "attributes.`)
	s := newSite(t, fmt.Sprintf("[[inputs.http]]\nname = \"push\"\nlisten = %q\npath = \"/lines\"\n%s\n", address, parser("http"))+
		fmt.Sprintf("[[inputs.syslog]]\nname = \"daemon\"\nlisten = \"tcp:%s\"\n%s\n", daemon, parser("syslog"))+
		fmt.Sprintf("[[inputs.pipe]]\nname = \"pipe\"\npath = \"DIR/logs/pipe\"\n%s\n", parser("pipe"))+
		fmt.Sprintf("[[inputs.otlp]]\nname = \"otlp\"\nlisten = %q\nservice = \"chat\"\n[inputs.otlp.parser]\ntype = \"json\"\n[inputs.otlp.parser.fields]%s", collector, attributes),
		directoryOutput+"[capture]\ndefault = \"full\"\n")
	if err := syscall.Mkfifo(s.path("logs/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := plant([]byte(strings.Repeat(manyLine+"\n", 8)), 200)

	p := s.start("auditail", "run", "--config", s.path("auditail.toml")).logged("msg=running")
	await(t, "the http input", func() bool { return post(address, "/lines", "application/x-ndjson", lines) == http.StatusOK })
	await(t, "the otlp input", func() bool { return post(collector, "/v1/logs", "application/json", otlpRecords(t)) == http.StatusOK })
	var framed bytes.Buffer
	for line := range bytes.Lines(lines) {
		fmt.Fprintf(&framed, "<134>1 2026-11-21T09:06:34Z gpu-07 gateway 42 - - %s", line)
	}
	send(t, func() (net.Conn, error) { return net.Dial("tcp", daemon) }, framed.Bytes())
	pipe, err := os.OpenFile(s.path("logs/pipe"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pipe.Write(lines); err != nil {
		t.Fatal(err)
	}
	if err := pipe.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "every input to commit", func() bool {
		segments := s.segments()
		for _, input := range []string{"push", "otlp", "daemon", "pipe"} {
			if !bytes.Contains(segments, []byte(`"input":"`+input+`"`)) {
				return false
			}
		}
		return true
	})
	p.kill()
	searchSite(s, p.log.String(), needles)

	p = s.start("auditail", "run", "--config", s.path("auditail.toml")).logged("msg=running")
	p.terminate(10 * time.Second)
	searchSite(s, p.log.String(), needles)
	searchAll(t, s.path("archive"), needles)
	c := s.read(s.path("archive"))
	c.validate(t)
	masked := map[string]int{}
	for _, r := range c.records {
		if strings.Contains(text(r, "quality"), "secret_masked") {
			masked[text(r, "source.id")]++
		}
	}
	for _, input := range []string{"push", "otlp", "daemon", "pipe"} {
		if masked[input] < 10 {
			t.Errorf("of %s only %d records had a secret masked: were they planted?", input, masked[input])
		}
	}
	s.verify(s.path("archive"))
}

// otlpRecords returns records with a secret in every place that takes text.
func otlpRecords(t *testing.T) []byte {
	t.Helper()
	value := func(text string) map[string]any { return map[string]any{"stringValue": text} }
	var records []any
	for i, secret := range append(append([]string{}, words...), phrases...) {
		var attributes []any
		for _, key := range []string{"user", "model", "user_agent", "messages", "response", "msg", "error", "unmapped", "path"} {
			attributes = append(attributes, map[string]any{"key": key, "value": value("x " + secret)})
		}
		attributes = append(attributes, map[string]any{"key": secret, "value": value("a key of its own")})
		records = append(records, map[string]any{
			"timeUnixNano": strconv.Itoa(1795251994303000000 + i), "body": value("called with " + secret), "severityText": secret, "attributes": attributes,
		})
	}
	request, err := json.Marshal(map[string]any{"resourceLogs": []any{map[string]any{
		"resource":  map[string]any{"attributes": []any{map[string]any{"key": "service.name", "value": value(words[0])}}},
		"scopeLogs": []any{map[string]any{"scope": map[string]any{"name": words[1]}, "logRecords": records}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return request
}

// send writes all to a connection and closes it.
func send(t *testing.T, dial func() (net.Conn, error), data []byte) {
	t.Helper()
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
}
