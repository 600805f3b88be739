// Package generate makes the logs that benchmarks read: the same lines every
// time, each with an id of its own.
package generate

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

// Workload is one kind of log.
type Workload struct {
	Name   string
	Parser string // in TOML, for an [[inputs.file]]
	IDKey  string // what stands in front of a value that is one a line, in a record
	line   func(b []byte, i int, r *rand.Rand) []byte
}

// Workloads returns all kinds.
func Workloads() []Workload {
	return []Workload{
		{Name: "gateway", Parser: gatewayParser, line: gatewayLine, IDKey: `"request_id":"`},
		{Name: "access", Parser: `parser = "combined"`, line: accessLine, IDKey: `"offset":`},
		{Name: "vllm", Parser: `parser = "vllm"`, line: vllmLine, IDKey: `"offset":`},
	}
}

// Config returns a configuration that reads log and ships to url.
func (w Workload) Config(dir, log, url string) string {
	return fmt.Sprintf(`[agent]
id = "bench"
environment = "test"
data_dir = "%s/data"
[buffer]
max_disk = "20GiB"
[log]
level = "warn"
[[outputs.http]]
name = "sink"
url = "%s"
[[catalog]]
name = "llama-3-8b"
id = "hf:meta-llama/Llama-3.1-8B-Instruct"
revision = "0e9e39f249a16976918f6564b8830bc894c89659"
[[inputs.file]]
name = "log"
paths = ["%s"]
provider = "vllm"
service = "chat"
%s
`, dir, url, log, w.Parser)
}

// Lines calls visit with each of n lines, LF included. The slice is valid until
// visit returns.
func (w Workload) Lines(n int, visit func([]byte) error) error {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same lines every time
	var b []byte
	for i := range n {
		b = append(w.line(b[:0], i, r), '\n')
		if err := visit(b); err != nil {
			return err
		}
	}
	return nil
}

// File writes n lines to a new file and returns its size.
func (w Workload) File(name string, n int) (size int64, err error) {
	f, err := os.Create(name) //nolint:gosec // a folder of the benchmark's own
	if err != nil {
		return 0, err
	}
	out := bufio.NewWriterSize(f, 1<<20)
	err = w.Lines(n, func(line []byte) error {
		size += int64(len(line))
		_, err := out.Write(line)
		return err
	})
	return size, errors.Join(err, out.Flush(), f.Close())
}

var start = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

const words = "the quarterly report shows that revenue in the northern region grew while costs for storage and transport fell " +
	"please summarise the termination clause of this contract and list all dates that matter for the customer "

func text(b []byte, n int, r *rand.Rand) []byte {
	for n > 0 {
		at := r.IntN(len(words) - 20)
		take := min(n, 10+r.IntN(30), len(words)-at)
		b = append(b, words[at:at+take]...)
		n -= take
	}
	return b
}

// gatewayLine is about 1.2 KB: who, from where, which model, prompt, answer, usage.
func gatewayLine(b []byte, i int, r *rand.Rand) []byte {
	t := start.Add(time.Duration(i) * 7 * time.Millisecond)
	b = fmt.Appendf(b, `{"ts":"%s","level":"info","request_id":"req-%012d","user":"user-%d@example.com","team":"team-%d","key_alias":"svc-%02d","client_ip":"10.%d.%d.%d","user_agent":"openai-python/1.99.%d","method":"POST","path":"/v1/chat/completions","status":%d,"duration_ms":%d,`,
		t.Format(time.RFC3339Nano), i, r.IntN(5000), r.IntN(40), r.IntN(60), r.IntN(4), r.IntN(256), r.IntN(256), r.IntN(10), [...]int{200, 200, 200, 200, 200, 200, 200, 401, 429, 500}[r.IntN(10)], 200+r.IntN(4000))
	b = append(b, `"request":{"model":"llama-3-8b","temperature":0.2,"max_tokens":800,"stream":true,"messages":[{"role":"system","content":"You are a careful assistant."},{"role":"user","content":"`...)
	b = text(b, 320, r)
	b = append(b, `"}]},"response":{"id":"chatcmpl-`...)
	b = fmt.Appendf(b, `%016x","model":"llama-3-8b","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"`, r.Uint64())
	b = text(b, 280, r)
	b = fmt.Appendf(b, `"}}],"usage":{"prompt_tokens":%d,"completion_tokens":%d}},"trace_id":"%016x%016x","region":"eu-central-1","node":"gw-%02d"}`,
		50+r.IntN(2000), 10+r.IntN(800), r.Uint64(), r.Uint64(), r.IntN(12))
	return b
}

const gatewayParser = `[inputs.file.parser]
type = "json"
[inputs.file.parser.fields]
"time" = "ts"
"actor.id" = "user"
"workspace" = "team"
"client.ip" = "client_ip"
"client.user_agent" = "user_agent"
"session.request_id" = "request_id"
"session.response_id" = "response.id"
"session.trace_id" = "trace_id"
"model.name" = "request.model"
"model.served" = "response.model"
"api.method" = "method"
"api.path" = "path"
"api.status" = "status"
"usage.duration_ms" = "duration_ms"
"usage.input_tokens" = "response.usage.prompt_tokens"
"usage.output_tokens" = "response.usage.completion_tokens"
"input" = "request.messages"
"output" = "response.choices"
`

// accessLine is about 170 B.
func accessLine(b []byte, i int, r *rand.Rand) []byte {
	t := start.Add(time.Duration(i) * 3 * time.Millisecond)
	return fmt.Appendf(b, `10.%d.%d.%d - user%d [%s] "POST /v1/chat/completions HTTP/1.1" %d %d "-" "openai-python/1.99.%d (Linux x86_64; CPython 3.12) req/%012d"`,
		r.IntN(4), r.IntN(256), r.IntN(256), r.IntN(500), t.Format("02/Jan/2006:15:04:05 -0700"), [...]int{200, 200, 200, 401, 500}[r.IntN(5)], 200+r.IntN(9000), r.IntN(10), i)
}

// vllmLine is a mix of request, response and access lines, one record each pair.
func vllmLine(b []byte, i int, r *rand.Rand) []byte {
	t := start.Add(time.Duration(i) * 5 * time.Millisecond).Format("01-02 15:04:05")
	id := fmt.Sprintf("chatcmpl-%032x", i/3)
	switch i % 3 {
	case 0:
		b = fmt.Appendf(b, `INFO %s [logger.py:40] Received request %s: prompt: '`, t, id)
		b = text(b, 200, r)
		return append(b, `', params: SamplingParams(n=1, presence_penalty=0.0, temperature=0.7, top_p=0.95, top_k=20, seed=None, max_tokens=512), prompt_token_ids: None, lora_request: None.`...)
	case 1:
		b = fmt.Appendf(b, `INFO %s [logger.py:71] Generated response %s: output: '`, t, id)
		b = text(b, 200, r)
		return append(b, `', output_token_ids: [1298, 13, 151645], finish_reason: stop`...)
	}
	return fmt.Appendf(b, `INFO:     10.20.0.%d:%d - "POST /v1/chat/completions HTTP/1.1" 200 OK`, r.IntN(256), 30000+r.IntN(9999))
}
