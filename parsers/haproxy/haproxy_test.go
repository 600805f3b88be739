package haproxy_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/haproxy"
	"github.com/auditail/auditail/parsers/parsertest"
)

var _ = flag.Bool("update", false, "write the golden files anew")

// keyID stands for the keyed fingerprint.
func keyID(dst, key []byte) []byte {
	sum := sha256.Sum256(key)
	return hex.AppendEncode(append(dst, "k_"...), sum[:4])
}

func newParser(t testing.TB) *haproxy.Parser {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	p, err := haproxy.New(haproxy.Config{Config: parsers.Config{Name: "haproxy", Provider: "vllm", Location: zone, KeyID: keyID}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func logs(t testing.TB) []string {
	t.Helper()
	names, err := filepath.Glob("testdata/*.log")
	if err != nil || len(names) == 0 {
		t.Fatal("no logs", err)
	}
	for i, name := range names {
		names[i] = strings.TrimSuffix(filepath.Base(name), ".log")
	}
	return names
}

func lines(t testing.TB, name string) []parsers.Line {
	t.Helper()
	log, err := os.ReadFile("testdata/" + name + ".log")
	if err != nil {
		t.Fatal(err)
	}
	return parsertest.Lines(name, log)
}

func TestGolden(t *testing.T) {
	for _, name := range logs(t) {
		t.Run(name, func(t *testing.T) { parsertest.Golden(t, newParser(t), name) })
	}
}

// TestTrace: every field that the samples fill has a source.
func TestTrace(t *testing.T) {
	p := newParser(t)
	trace := p.Trace()
	derived := map[audit.Field]bool{
		audit.TimeBasis: true, audit.ActorType: true, audit.ActorBasis: true, audit.ActorVerified: true, audit.ModelProvider: true,
	}
	for _, name := range logs(t) {
		for _, line := range lines(t, name) {
			drafts, _ := parsertest.Parse(t, p, line)
			for i := range drafts {
				for _, f := range audit.Fields() {
					if drafts[i].Record.Has(f) && trace[f] == "" && !derived[f] {
						t.Errorf("%s has no source", f)
					}
				}
			}
		}
	}
}

// TestNoSecret: no part of a captured key or cookie reaches a record.
func TestNoSecret(t *testing.T) {
	p := newParser(t)
	for _, name := range logs(t) {
		for _, line := range lines(t, name) {
			drafts, _ := parsertest.Parse(t, p, line)
			for i := range drafts {
				record := bytes.ToLower(drafts[i].Record.Append(nil, 0))
				for _, secret := range []string{"sk-", "ywxpy2u6chc", "bearer", "basic", "aiza", "secretcookie", "xyz"} {
					if bytes.Contains(record, []byte(secret)) {
						t.Errorf("%s\nkeeps %s: %s", line.Data, secret, record)
					}
				}
			}
		}
	}
}

// TestCut: the head of a line beyond max_line is used when it reaches the request.
func TestCut(t *testing.T) {
	p := newParser(t)
	const whole = `10.0.1.2:33317 [21/Nov/2026:09:23:23.742] ai_in llama/gpu0 0/0/0/10/60 200 90 - - ---- 1/1/0/0/0 0/0 "GET /v1/models?a=b HTTP/1.1"`
	for n := range len(whole) {
		drafts, outcome := parsertest.Parse(t, p, parsers.Line{Data: []byte(whole[:n]), Cut: true})
		if recorded := n > strings.IndexByte(whole, '"')+1; recorded != (len(drafts) == 1) || recorded && drafts[0].Record.Flags()&audit.Truncated == 0 {
			t.Fatalf("%s: %d records, %+v", whole[:n], len(drafts), outcome)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range logs(f) {
		for _, line := range lines(f, name) {
			f.Add(line.Data, false)
		}
	}
	p := newParser(f)
	f.Fuzz(func(t *testing.T, data []byte, cut bool) {
		parsertest.Parse(t, p, parsers.Line{Data: data, Cut: cut})
	})
}

func samples() map[string]string {
	return map[string]string{
		"httplog": `127.0.0.1:47748 [21/Nov/2026:09:06:39.218] ai_in llama/gpu0 0/0/0/1/1 200 136 - - ---- 1/1/0/0/0 0/0 {Bearer sk-test-a|openai-python/1.99.2} "POST /v1/chat/completions HTTP/1.1"`,
		"clf":     `127.0.0.1 - - [21/Nov/2026:16:41:02 +0000] "POST /v1/chat/completions HTTP/1.1" 200 135 "" "" 35286 245 "clf" "llama" "gpu0" 0 0 0 7 7 ---- 1 1 0 0 0 0 0 "" "" `,
	}
}

func TestNoAllocations(t *testing.T) {
	for name, sample := range samples() {
		p := newParser(t)
		line := parsers.Line{Data: []byte(sample)}
		var drafts []parsers.Draft
		parse := func() { drafts, _, _ = p.Parse(drafts[:0], line) }
		parse()
		if n := testing.AllocsPerRun(100, parse); n > 0 {
			t.Errorf("%s: %v allocations a line", name, n)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for name, sample := range samples() {
		b.Run(name, func(b *testing.B) {
			p := newParser(b)
			line := parsers.Line{Data: []byte(sample)}
			var drafts []parsers.Draft
			b.SetBytes(int64(len(line.Data)))
			b.ReportAllocs()
			for b.Loop() {
				drafts, _, _ = p.Parse(drafts[:0], line)
			}
		})
	}
}
