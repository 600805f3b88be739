package lmstudio_test

import (
	"flag"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/lmstudio"
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

var joined = parsertest.Joined(lmstudio.Start)

func fresh() parsers.Parser {
	p, err := lmstudio.New(parsers.Config{
		Name: "lm-studio", Location: berlin,
		Capture: func(dst []byte, c *parsers.Content, _ parsers.Direction) []byte { return append(dst, c.Text...) },
	})
	if err != nil {
		panic(err)
	}
	return p
}

// TestSamples compares every verdict and every record with the golden files.
func TestSamples(t *testing.T) {
	names, err := filepath.Glob("testdata/*.log")
	if err != nil || len(names) < 5 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		name = strings.TrimSuffix(filepath.Base(name), ".log")
		t.Run(name, func(t *testing.T) { parsertest.LogFramed(t, fresh, name, joined) })
	}
}

func FuzzParse(f *testing.F) { parsertest.FuzzFramed(f, fresh, joined) }

func FuzzRestore(f *testing.F) { parsertest.FuzzRestoreFramed(f, fresh, joined) }

const (
	request = `[2026-09-10 00:33:54][DEBUG] Received request: POST to /v1/chat/completions with body {
  "model": "qwen3.8-27b",
  "messages": [
    {
      "role": "user",
      "content": "SECRET-PROMPT"
    }
  ]
}
`
	answer = `[2026-09-10 00:35:56][INFO][qwen3.8-27b] Generated prediction: {
  "id": "chatcmpl-kn6hm5jne9izrlj13nxf4c",
  "model": "qwen3.8-27b",
  "choices": [
    {
      "index": 0,
      "message": {
        "role": "assistant",
        "content": "SECRET-ANSWER"
      },
      "finish_reason": "stop"
    }
  ],
  "usage": {
    "prompt_tokens": 66,
    "completion_tokens": 300
  }
}
`
	step = "[2026-09-10 00:35:39][INFO][qwen3.8-27b] Prompt processing progress: 86.2%\n"
)

// TestSnapshotHoldsNoText: what waits on the agent's disk is what the policy keeps.
func TestSnapshotHoldsNoText(t *testing.T) {
	p, err := lmstudio.New(parsers.Config{
		Capture: func(dst []byte, c *parsers.Content, _ parsers.Direction) []byte {
			return append(dst, "kept of "+c.Model...)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var drafts []parsers.Draft
	for _, line := range joined("log", []byte(request+step+answer)) {
		if drafts, _, err = p.Parse(drafts, line); err != nil {
			t.Fatal(err)
		}
		if s := string(p.Snapshot()); strings.Contains(s, "SECRET") || len(drafts) == 0 && !strings.Contains(s, "kept of qwen3.8-27b") {
			t.Errorf("behind %.60s: %q", line.Data, s)
		}
	}
	if len(drafts) != 1 || string(drafts[0].Input.Applied) != "kept of qwen3.8-27b" || string(drafts[0].Output.Text) != "SECRET-ANSWER" {
		t.Errorf("%d records: %+v", len(drafts), drafts)
	}
}

// TestSnapshotHoldsNoSecret: a key in the place of a name does not wait on the disk.
func TestSnapshotHoldsNoSecret(t *testing.T) {
	const key = "sk-" + "test-alice"
	p := fresh().(*lmstudio.Parser)
	for _, name := range []string{"model", "user"} {
		log := strings.Replace(request, `"messages"`, `"`+name+`": "`+key+`", "messages"`, 1)
		if name == "model" {
			log = strings.Replace(request, "qwen3.8-27b", key, 1)
		}
		if _, _, err := p.Parse(nil, joined("log", []byte(log))[0]); err != nil {
			t.Fatal(err)
		}
		if s := p.Snapshot(); strings.Contains(string(s), key) {
			t.Errorf("%s: %q", name, s)
		}
	}
}

// TestNoCapture: without a policy nothing of the text is kept.
func TestNoCapture(t *testing.T) {
	p, err := lmstudio.New(parsers.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Parse(nil, joined("log", []byte(request))[0]); err != nil {
		t.Fatal(err)
	}
	drafts, _ := p.Flush(time.Time{}, nil)
	if len(drafts) != 1 || drafts[0].Input.Parts != 0 || len(drafts[0].Input.Applied) != 0 {
		t.Errorf("%+v", drafts)
	}
}

// TestShortened: LM Studio can leave the middle of a text out, and says so.
func TestShortened(t *testing.T) {
	cut := map[string]bool{}
	p, err := lmstudio.New(parsers.Config{Capture: func(dst []byte, c *parsers.Content, _ parsers.Direction) []byte {
		cut[string(c.Text)] = c.Truncated
		return append(dst, 1)
	}})
	if err != nil {
		t.Fatal(err)
	}
	short := strings.Replace(request, "SECRET-PROMPT", "You are... <Truncated in logs> ...now", 1)
	for _, line := range joined("log", []byte(request+short)) {
		if _, _, err := p.Parse(nil, line); err != nil {
			t.Fatal(err)
		}
	}
	if len(cut) != 2 || cut["SECRET-PROMPT"] || !cut["You are... <Truncated in logs> ...now"] {
		t.Error(cut)
	}
}

// TestBounds: neither many calls nor long ones make the state grow without end, and
// each is recorded once.
func TestBounds(t *testing.T) {
	for name, length := range map[string]int{"many": 1, "long": 1 << 18} {
		t.Run(name, func(t *testing.T) {
			p := fresh().(*lmstudio.Parser)
			line := joined("log", []byte(strings.Replace(request, "SECRET-PROMPT", strings.Repeat("x", length), 1)))[0]
			const calls = 300
			var drafts []parsers.Draft
			records := 0
			for range calls {
				var err error
				if drafts, _, err = p.Parse(drafts[:0], line); err != nil {
					t.Fatal(err)
				}
				records += len(drafts)
			}
			if n := len(p.Snapshot()); p.Held() > 256*9 || n > 9<<20 {
				t.Errorf("%d lines, %d bytes are held", p.Held(), n)
			}
			drafts, _ = p.Flush(time.Time{}, drafts[:0])
			if records += len(drafts); records != calls {
				t.Errorf("%d records of %d calls", records, calls)
			}
		})
	}
}

// TestWindows: a call waits for its answer, a request that no model works on only
// shortly, a stream that ended for the word that nobody read it.
func TestWindows(t *testing.T) {
	const list = "[2026-09-10 00:33:54][DEBUG] Received request: GET to /v1/models\n"
	stream := strings.Replace(request, `"messages"`, `"stream": true, "messages"`, 1) + "[2026-09-10 00:34:00][INFO] Finished streaming response\n"
	for log, window := range map[string]time.Duration{request: 10 * time.Minute, list: 5 * time.Second, stream: 2 * time.Second} {
		p := fresh().(*lmstudio.Parser)
		var seen time.Time
		for _, line := range joined("log", []byte(log)) {
			seen = line.Seen
			if drafts, _, err := p.Parse(nil, line); err != nil || len(drafts) > 0 {
				t.Fatal(drafts, err)
			}
		}
		if drafts, _ := p.Flush(seen.Add(window), nil); len(drafts) != 0 {
			t.Errorf("%.60s: recorded before %s were over", log, window)
		}
		if drafts, _ := p.Flush(seen.Add(window+time.Second), nil); len(drafts) != 1 {
			t.Errorf("%.60s: not recorded after %s", log, window)
		}
	}
}

// TestLinesThatNobodyJoined: an input that does not join lines gives the parser an
// entry's first line; the others are no entries, whatever they look like.
func TestLinesThatNobodyJoined(t *testing.T) {
	p := fresh()
	for i, line := range parsertest.Lines("log", []byte(request)) {
		_, outcome := parsertest.Parse(t, p, line)
		if (i == 0) != (outcome.Verdict == parsers.Held) || i > 0 && outcome.Verdict != parsers.Unparsed {
			t.Errorf("%s: %+v", line.Data, outcome)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	parsertest.NoAllocations(t, fresh(), step+"[2026-09-10 00:35:39][DEBUG] BeginProcessingPrompt\n")
}

func BenchmarkStep(b *testing.B) { parsertest.Benchmark(b, fresh(), step) }

func BenchmarkCall(b *testing.B) {
	p := fresh()
	lines := joined("bench", []byte(request+answer))
	var drafts []parsers.Draft
	b.SetBytes(int64(len(request + answer)))
	b.ReportAllocs()
	for b.Loop() {
		for i := range lines {
			var err error
			if drafts, _, err = p.Parse(drafts[:0], lines[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
}
