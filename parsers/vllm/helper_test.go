package vllm_test

import (
	"bytes"
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/vllm"
)

var update = flag.Bool("update", false, "write the golden files anew")

// samples are the logs in testdata.
func samples(t testing.TB) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", "*.log"))
	if err != nil || len(names) < 3 {
		t.Fatalf("samples: %v, %v", names, err)
	}
	return names
}

var seen = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)

// lines splits a log as an input does.
func lines(log []byte) []parsers.Line {
	var list []parsers.Line
	offset := int64(0)
	for chunk := range bytes.SplitAfterSeq(log, []byte("\n")) {
		if len(chunk) == 0 {
			continue
		}
		data := bytes.TrimSuffix(bytes.TrimSuffix(chunk, []byte("\n")), []byte("\r"))
		list = append(list, parsers.Line{
			Source: "vllm", Path: "/var/log/vllm/a.log", Generation: "g1",
			Offset: offset, Size: int64(len(chunk)), Data: data,
			Seen: seen.Add(time.Duration(len(list)) * time.Millisecond),
		})
		offset += int64(len(chunk))
	}
	return list
}

func text(log string) []parsers.Line { return lines([]byte(log)) }

func sample(t testing.TB, name string) []parsers.Line {
	t.Helper()
	log, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return lines(log)
}

// capture stands for a policy that keeps everything, but nothing in clear.
func capture(dst []byte, c *parsers.Content, direction parsers.Direction) []byte {
	dst = fmt.Appendf(dst, "%d:%d:%t:", direction, c.Parts, c.Truncated)
	return base64.StdEncoding.AppendEncode(dst, c.Text)
}

// revealed undoes capture.
func revealed(t testing.TB, c parsers.Content) string {
	t.Helper()
	if len(c.Text) > 0 {
		t.Errorf("content in clear: %q", c.Text)
	}
	if len(c.Applied) == 0 {
		return ""
	}
	fields := strings.Split(string(c.Applied), ":")
	plain, err := base64.StdEncoding.DecodeString(fields[3])
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

func newParser(t testing.TB) *vllm.Parser {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	p, err := vllm.New(parsers.Config{Name: "vllm", Location: zone, Capture: capture})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// result is what a parser made of a log.
type result struct {
	outcomes []parsers.Outcome
	drafts   []string // in order, those of Flush last
	at       []int    // index of the line that completed the draft; len(outcomes) for Flush
}

func parse(t testing.TB, p *vllm.Parser, list []parsers.Line) result {
	t.Helper()
	var r result
	for i := range list {
		r.line(t, p, list[i], i)
	}
	drafts, released := p.Flush(time.Time{}, nil)
	if released != 0 {
		t.Errorf("flush released %d lines", released)
	}
	r.add(t, drafts, len(list))
	if n := p.Held(); n != 0 {
		t.Errorf("%d lines held after everything was flushed", n)
	}
	return r
}

func (r *result) line(t testing.TB, p *vllm.Parser, line parsers.Line, i int) {
	t.Helper()
	drafts, outcome, err := p.Parse(nil, line)
	if err != nil {
		t.Fatalf("line %d: %v", i+1, err)
	}
	r.outcomes = append(r.outcomes, outcome)
	r.add(t, drafts, i)
}

func (r *result) add(t testing.TB, drafts []parsers.Draft, at int) {
	t.Helper()
	for i := range drafts {
		r.drafts = append(r.drafts, render(t, &drafts[i]))
		r.at = append(r.at, at)
	}
}

// render writes a draft as text: the record, the contents, the held lines.
func render(t testing.TB, d *parsers.Draft) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", d.Record.Append(nil, 0))
	for _, c := range []struct {
		name    string
		content parsers.Content
	}{{"input", d.Input}, {"output", d.Output}} {
		if c.content.Parts > 0 {
			fmt.Fprintf(&b, "%s %q truncated=%t\n", c.name, revealed(t, c.content), c.content.Truncated)
		}
	}
	for _, ref := range d.Held {
		fmt.Fprintf(&b, "from %s %s %d+%d\n", ref.Path, ref.Generation, ref.Offset, ref.Size)
	}
	if d.Sub > 0 {
		fmt.Fprintf(&b, "sub %d\n", d.Sub)
	}
	return b.String()
}

func (r *result) String() string {
	var b strings.Builder
	next := 0
	for i, o := range r.outcomes {
		fmt.Fprintf(&b, "line %d %s %s\n", i+1, verdicts[o.Verdict], o.Rule)
		for ; next < len(r.drafts) && r.at[next] == i; next++ {
			b.WriteString(indent(r.drafts[next]))
		}
	}
	b.WriteString("flush\n")
	for ; next < len(r.drafts); next++ {
		b.WriteString(indent(r.drafts[next]))
	}
	return b.String()
}

func indent(s string) string {
	return "\t" + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n\t\t") + "\n"
}

var verdicts = map[parsers.Verdict]string{
	parsers.Unparsed: "unparsed", parsers.Recorded: "recorded",
	parsers.Ignored: "ignored", parsers.Held: "held",
}

const stamp = "INFO 11-07 04:35:20 "

func received(id, prompt string) string {
	return stamp + "[logger.py:40] Received request " + id + ": prompt: " + prompt +
		", params: SamplingParams(n=1, temperature=0.7, stop=['a,', \"b'\"], seed=None), prompt_token_ids: None, lora_request: None.\n"
}

func generated(id, output string) string {
	return stamp + "[logger.py:71] Generated response " + id + ": output: " + output + ", output_token_ids: [1, 2], finish_reason: stop\n"
}

func finished(id string) string {
	return stamp + "[async_llm_engine.py:176] Finished request " + id + ".\n"
}

func aborted(id string) string { return stamp + "[async_llm.py:411] Aborted request " + id + ".\n" }

func access(client, route string, status int) string {
	return fmt.Sprintf("INFO:     %s - \"POST %s HTTP/1.1\" %d OK\n", client, route, status)
}

const chat = "/v1/chat/completions"

// drafts parses a log and returns its drafts and verdicts ("held", "ignored rule", …).
func drafts(t *testing.T, log string) (list []parsers.Draft, words []string) {
	t.Helper()
	p := newParser(t)
	for _, line := range text(log) {
		var outcome parsers.Outcome
		var err error
		if list, outcome, err = p.Parse(list, line); err != nil {
			t.Fatal(err)
		}
		word := verdicts[outcome.Verdict]
		if outcome.Verdict == parsers.Ignored {
			word += " " + outcome.Rule
		}
		words = append(words, word)
	}
	list, _ = p.Flush(time.Time{}, list)
	return list, words
}

// summary describes a draft in a few words.
func summary(t *testing.T, d *parsers.Draft) string {
	t.Helper()
	r := &d.Record
	s := fmt.Sprintf("%s %s", r.Text(audit.Event), r.Text(audit.Outcome))
	for _, f := range []audit.Field{audit.Reason, audit.SessionRequestID, audit.ClientIP} {
		if r.Has(f) {
			s += " " + string(r.Text(f))
		}
	}
	if r.Has(audit.APIStatus) {
		s += fmt.Sprintf(" %d", r.Int(audit.APIStatus))
	}
	if r.Flags()&audit.InferredJoin != 0 {
		s += " inferred"
	}
	for _, c := range []parsers.Content{d.Input, d.Output} {
		if c.Parts > 0 {
			s += fmt.Sprintf(" %q", revealed(t, c))
		}
		if c.Truncated {
			s += "…"
		}
	}
	return s
}
