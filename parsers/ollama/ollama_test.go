package ollama_test

import (
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/ollama"
	"github.com/auditail/auditail/parsers/parsertest"
)

var _ = flag.Bool("update", false, "write the golden files anew")

// berlin is a zone whose offset changes with the season.
var berlin = func() *time.Location {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	return zone
}()

func fresh() parsers.Parser {
	p, err := ollama.New(parsers.Config{Name: "ollama", Location: berlin})
	if err != nil {
		panic(err)
	}
	return p
}

// TestSamples compares every verdict and every record with the golden files.
func TestSamples(t *testing.T) { parsertest.Logs(t, fresh) }

func FuzzParse(f *testing.F) { parsertest.Fuzz(f, fresh) }

// FuzzRestore: bytes that are taken for a state are one.
func FuzzRestore(f *testing.F) { parsertest.FuzzRestore(f, fresh) }

const access = `[GIN] 2026/11/21 - 09:30:59 | 200 |  1.173161714s |       127.0.0.1 | POST     "/api/chat"` + "\n"

func TestNoAllocations(t *testing.T) { parsertest.NoAllocations(t, fresh(), access) }

func BenchmarkAccess(b *testing.B) { parsertest.Benchmark(b, fresh(), access) }

// TestWindow: a load whose end is not logged leaves by Flush, and not before.
func TestWindow(t *testing.T) {
	p := fresh().(*ollama.Parser)
	log := "time=2026-08-20T08:00:00Z level=INFO source=llama_server.go:433 msg=\"starting llama-server\" cmd=\"x --model /m --port 1\"\n"
	lines := parsertest.Lines("ollama", []byte(log))
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{time.Minute, 0}, {9 * time.Minute, 0}, {11 * time.Minute, 1}} {
		if c.after == time.Minute {
			parsertest.Parse(t, p, lines[0])
		}
		drafts, released := p.Flush(lines[0].Seen.Add(c.after), nil)
		if len(drafts) != c.want || released != 0 {
			t.Errorf("after %v: %d records, %d lines let go; want %d", c.after, len(drafts), released, c.want)
		}
	}
	if p.Held() != 0 {
		t.Errorf("%d lines held", p.Held())
	}
}

// TestManyServers: logs of more servers than are remembered lose nothing.
func TestManyServers(t *testing.T) {
	p := fresh().(*ollama.Parser)
	log := "time=2026-08-20T08:00:00Z level=INFO source=llama_server.go:433 msg=\"starting llama-server\" cmd=\"x --model /m --port 1\"\n"
	line := parsertest.Lines("ollama", []byte(log))[0]
	records := 0
	for i := range 600 {
		line.Path = strings.Repeat("x", i)
		drafts, _ := parsertest.Parse(t, p, line)
		records += len(drafts)
		if p.Held() > 256 {
			t.Fatalf("%d lines held", p.Held())
		}
	}
	drafts, _ := p.Flush(time.Time{}, nil)
	if records+len(drafts) != 600 {
		t.Errorf("%d records of 600 loads", records+len(drafts))
	}
}

// TestCut: of a line beyond max_line the head is used, and the record says so.
func TestCut(t *testing.T) {
	for _, text := range []string{
		`[GIN] 2026/11/21 - 09:30:59 | 200 | 1s | 127.0.0.1 | POST "/api/chat?` + strings.Repeat("x", 99),
		`time=2024-07-02T10:11:15.513+02:00 level=DEBUG source=routes.go:1305 msg="chat request" images=0 prompt="one\ntwo\`,
	} {
		line := parsertest.Lines("ollama", []byte(text))[0]
		if drafts, _ := parsertest.Parse(t, fresh(), line); len(drafts) > 0 && drafts[0].Input.Parts == 0 {
			t.Errorf("a record of %s", text)
		}
		line.Cut = true
		drafts, outcome := parsertest.Parse(t, fresh(), line)
		if len(drafts) != 1 || drafts[0].Record.Flags()&audit.Truncated == 0 {
			t.Errorf("%s: %v", text, outcome)
		}
	}
}
