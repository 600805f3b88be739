package llamacpp_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/llamacpp"
	"github.com/auditail/auditail/parsers/parsertest"
)

var _ = flag.Bool("update", false, "write the golden files anew")

func fresh() parsers.Parser {
	p, err := llamacpp.New(parsers.Config{Name: "llamacpp"})
	if err != nil {
		panic(err)
	}
	return p
}

// TestSamples compares every verdict and every record with the golden files.
func TestSamples(t *testing.T) {
	names, err := filepath.Glob("testdata/*.log")
	if err != nil || len(names) < 8 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		name = strings.TrimSuffix(filepath.Base(name), ".log")
		t.Run(name, func(t *testing.T) { parsertest.Log(t, fresh, name) })
	}
}

func FuzzParse(f *testing.F) { parsertest.Fuzz(f, fresh) }

// FuzzRestore: bytes that are taken for a state are one.
func FuzzRestore(f *testing.F) { parsertest.FuzzRestore(f, fresh) }

const (
	access = "srv  log_server_r: request: POST /v1/chat/completions 10.20.0.14 200\n"
	object = `{"tid":"140264512761857","timestamp":1714500012,"level":"INFO","function":"log_server_request","line":2734,"msg":"request",` +
		`"remote_addr":"172.17.0.1","remote_port":42264,"status":200,"method":"POST","path":"/v1/chat/completions","params":{}}` + "\n"
)

func TestNoAllocations(t *testing.T) {
	for _, log := range []string{
		access, object,
		"0.31.480.248 I slot get_availabl: id  0 | task -1 | selected slot by LCP similarity, f_sim_best = 0.500 (> 0.100 thold), f_keep = 0.310\n",
	} {
		parsertest.NoAllocations(t, fresh(), log)
	}
}

func BenchmarkAccess(b *testing.B) { parsertest.Benchmark(b, fresh(), access) }

func BenchmarkAccessJSON(b *testing.B) { parsertest.Benchmark(b, fresh(), object) }

// BenchmarkTask parses the lines of one task at default verbosity.
func BenchmarkTask(b *testing.B) {
	parsertest.Benchmark(b, fresh(), `0.11.898.735 I slot get_availabl: id  1 | task -1 | selected slot by LCP similarity, f_sim_best = 0.565 (> 0.100 thold), f_keep = 0.351
0.11.899.259 I slot launch_slot_: id  1 | task 13 | processing task, is_child = 0
0.15.523.964 I slot print_timing: id  1 | task 13 | prompt eval time =     995.40 ms /    10 tokens (   99.54 ms per token,    10.05 tokens per second)
0.15.527.803 I slot print_timing: id  1 | task 13 |        eval time =    2629.12 ms /     8 tokens (  375.59 ms per token,     2.66 tokens per second)
0.15.527.899 I slot print_timing: id  1 | task 13 |       total time =    3624.53 ms /    18 tokens
0.15.527.914 I slot print_timing: id  1 | task 13 |    graphs reused =         17
0.15.533.735 I slot      release: id  1 | task 13 | stop processing: n_tokens = 30, truncated = 0
`)
}

// TestFlush: tasks leave when nothing more can be logged of them, not before, and a
// restart in between changes nothing.
func TestFlush(t *testing.T) {
	log := `slot launch_slot_: id  0 | task 1 | processing task
slot launch_slot_: id  1 | task 2 | processing task
slot      release: id  0 | task 1 | stop processing: n_past = 4, truncated = 0
`
	p := fresh().(*llamacpp.Parser)
	lines := parsertest.Lines("llamacpp", []byte(log))
	for _, line := range lines {
		if drafts, _ := parsertest.Parse(t, p, line); len(drafts) > 0 {
			t.Fatal("recorded before its timings could come")
		}
	}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{time.Second, 0}, {4 * time.Second, 1}, {30 * time.Minute, 0}, {61 * time.Minute, 1}} {
		next := fresh().(*llamacpp.Parser)
		if err := next.Restore(p.Snapshot()); err != nil {
			t.Fatal(err)
		}
		p = next
		if drafts, released := p.Flush(lines[0].Seen.Add(c.after), nil); len(drafts) != c.want || released != 0 {
			t.Errorf("after %v: %d records, %d lines let go; want %d", c.after, len(drafts), released, c.want)
		}
	}
	if p.Held() != 0 {
		t.Errorf("%d lines held", p.Held())
	}
}

// TestBounds: neither many tasks nor many servers nor many lines of one task make the
// state grow without end, and all tasks are recorded.
func TestBounds(t *testing.T) {
	p := fresh().(*llamacpp.Parser)
	line := parsertest.Lines("llamacpp", []byte("x"))[0]
	records := 0
	parse := func(text string) {
		line.Data = []byte(text)
		drafts, _ := parsertest.Parse(t, p, line)
		records += len(drafts)
		if p.Held() > 16*1024 {
			t.Fatalf("%d lines held", p.Held())
		}
	}
	for i := range 3000 {
		parse(fmt.Sprintf("slot launch_slot_: id %d | task %d | processing task", i, i))
	}
	for i := range 600 {
		parse(fmt.Sprintf("[%d] slot launch_slot_: id 0 | task 1 | processing task", 10000+i))
	}
	for range 100 {
		parse("slot print_timing: id 0 | task 2999 | prompt eval time = 1.0 ms / 1 tokens")
	}
	drafts, _ := p.Flush(time.Time{}, nil)
	// Task 2999 left with the log of its server, and came back with its timings.
	if records += len(drafts); records != 3601 {
		t.Errorf("%d records of 3601 tasks", records)
	}
}
