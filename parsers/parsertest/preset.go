package parsertest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditail/auditail/parsers"
)

// Samples runs [Log] over every log in testdata, and checks that its lines, parsed
// again and again, take no memory.
func Samples(t *testing.T, fresh func() parsers.Parser) {
	t.Helper()
	each(t, func(t *testing.T, name string) {
		Log(t, fresh, name)
		NoAllocations(t, fresh(), read(t, name))
	})
}

// Logs runs [Log] over every log in testdata.
func Logs(t *testing.T, fresh func() parsers.Parser) {
	t.Helper()
	each(t, func(t *testing.T, name string) { Log(t, fresh, name) })
}

func each(t *testing.T, test func(t *testing.T, name string)) {
	t.Helper()
	names, err := filepath.Glob("testdata/*.log")
	if err != nil || len(names) == 0 {
		t.Fatalf("logs in testdata: %v, %v", names, err)
	}
	for _, name := range names {
		name = strings.TrimSuffix(filepath.Base(name), ".log")
		t.Run(name, func(t *testing.T) { test(t, name) })
	}
}

// Throughput measures the lines of a log in testdata that become records of their
// own: parsing and encoding. It reports MB per second of processor time too.
func Throughput(b *testing.B, p parsers.Parser, name string) {
	b.Helper()
	var lines []parsers.Line
	for _, line := range Lines(name, []byte(read(b, name))) {
		if _, outcome := Parse(b, p, line); outcome.Verdict == parsers.Recorded {
			lines = append(lines, line)
		}
	}
	throughput(b, p, lines)
}

func throughput(b *testing.B, p parsers.Parser, lines []parsers.Line) {
	b.Helper()
	if len(lines) == 0 {
		b.Fatal("no line is recorded")
	}
	size := 0
	for i := range lines {
		size += len(lines[i].Data)
	}
	var drafts []parsers.Draft
	var encoded []byte
	b.SetBytes(int64(size))
	b.ReportAllocs()
	start := cpuTime()
	for b.Loop() {
		for i := range lines {
			var err error
			if drafts, _, err = p.Parse(drafts[:0], lines[i]); err != nil {
				b.Fatal(err)
			}
			for d := range drafts {
				encoded = drafts[d].Record.Append(encoded[:0], 1)
			}
		}
	}
	if used := cpuTime() - start; used > 0 {
		b.ReportMetric(float64(b.N)*float64(size)/1e6/used.Seconds(), "MB/cpu-s")
		b.ReportMetric(float64(b.N)*float64(len(lines))/used.Seconds(), "lines/cpu-s")
	}
}

func read(t testing.TB, name string) string {
	t.Helper()
	log, err := os.ReadFile("testdata/" + name + ".log")
	if err != nil {
		t.Fatal(err)
	}
	return string(log)
}
