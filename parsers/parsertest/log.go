package parsertest

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/auditail/auditail/parsers"
)

// Framing cuts a log into lines as an input would.
type Framing func(source string, log []byte) []parsers.Line

// Joined is the framing of an input that joins lines: those that start does not match
// belong to the one before.
func Joined(start string) Framing {
	begins := regexp.MustCompile(start)
	return func(source string, log []byte) []parsers.Line {
		var joined []parsers.Line
		for _, line := range Lines(source, log) {
			if len(joined) == 0 || begins.Match(line.Data) {
				line.Lines = 1
				joined = append(joined, line)
				continue
			}
			last := &joined[len(joined)-1]
			last.Data = slices.Concat(last.Data, []byte{'\n'}, line.Data)
			last.Size += line.Size
			last.Lines++
		}
		return joined
	}
}

// Log is Golden for a parser that remembers lines: the golden file also has the lines
// that each record was made from (by number) and what Flush sets free at the end.
//
// It runs the log a second time through a parser that is thrown away behind every
// line and made anew from its snapshot: nothing may come out different. And it holds
// the parser to its account: lines held before, plus the one read, are lines held now
// and lines that became records or were let go.
func Log(t *testing.T, fresh func() parsers.Parser, name string) {
	t.Helper()
	LogFramed(t, fresh, name, Lines)
}

// LogFramed is Log for a log whose lines the input joins.
func LogFramed(t *testing.T, fresh func() parsers.Parser, name string, frame Framing) {
	t.Helper()
	log, err := os.ReadFile("testdata/" + name + ".log")
	if err != nil {
		t.Fatal(err)
	}
	lines := frame(name, log)
	got := run(t, fresh, lines, false, Schema(t))
	path := "testdata/" + name + ".golden"
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Error(diff)
	}
	restarted := run(t, fresh, lines, true, Validate)
	if diff := cmp.Diff(strings.Split(got, "\n"), strings.Split(restarted, "\n")); diff != "" {
		t.Errorf("restarts change what comes out:\n%s", diff)
	}
}

// Fuzz throws any log at a parser: each line gets a verdict, the account of lines
// holds, records are valid, restarts change nothing. Seeds are the logs in testdata,
// in pieces.
func Fuzz(f *testing.F, fresh func() parsers.Parser) {
	f.Helper()
	FuzzFramed(f, fresh, Lines)
}

// FuzzFramed is Fuzz for a log whose lines the input joins.
func FuzzFramed(f *testing.F, fresh func() parsers.Parser, frame Framing) {
	f.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", "*.log"))
	if err != nil || len(names) == 0 {
		f.Fatalf("seeds: %v, %v", names, err)
	}
	for _, name := range names {
		log, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for piece := range slices.Chunk(bytes.SplitAfter(log, []byte("\n")), 12) {
			f.Add(bytes.Join(piece, nil))
		}
	}
	f.Fuzz(func(t *testing.T, log []byte) {
		lines := frame("fuzz", log)
		for i := range lines {
			lines[i].Cut = i%7 == 3
		}
		once := run(t, fresh, lines, false, Validate)
		if again := run(t, fresh, lines, true, Validate); once != again {
			t.Errorf("restarts change what comes out:\n%s", cmp.Diff(strings.Split(once, "\n"), strings.Split(again, "\n")))
		}
	})
}

// FuzzRestore throws any bytes at a parser as its snapshot: those that it takes for a
// state are one, which can go on, be flushed, and comes out of a restart the same.
// Seeds are the states behind the lines of the logs in testdata.
func FuzzRestore(f *testing.F, fresh func() parsers.Parser) {
	f.Helper()
	FuzzRestoreFramed(f, fresh, Lines)
}

// FuzzRestoreFramed is FuzzRestore for a log whose lines the input joins.
func FuzzRestoreFramed(f *testing.F, fresh func() parsers.Parser, frame Framing) {
	f.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", "*.log"))
	if err != nil || len(names) == 0 {
		f.Fatalf("seeds: %v, %v", names, err)
	}
	var first []parsers.Line
	for _, name := range names {
		log, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		p := fresh()
		lines := frame("fuzz", log)
		for i, line := range lines {
			if _, _, err := p.Parse(nil, line); err != nil {
				f.Fatal(err)
			}
			if i%16 == 0 || held(p) > 0 {
				f.Add(stateful(f, p).Snapshot())
			}
		}
		first = append(first, lines[:min(len(lines), 64)]...)
	}
	f.Fuzz(func(t *testing.T, snapshot []byte) {
		p := fresh()
		s := stateful(t, p)
		if s.Restore(snapshot) != nil {
			if held(p) != 0 || len(s.Snapshot()) != 0 {
				t.Error("a snapshot that is refused changes the state")
			}
			return
		}
		again := reborn(t, fresh, p)
		if a, b := s.Snapshot(), stateful(t, again).Snapshot(); !bytes.Equal(a, b) {
			t.Errorf("a restart changes the state:\n%q\n%q", a, b)
		}
		for _, line := range first {
			if _, _, err := again.Parse(nil, line); err != nil {
				t.Fatal(err)
			}
		}
		drafts, _ := stateful(t, again).Flush(time.Time{}, nil)
		for i := range drafts {
			if err := Validate(&drafts[i]); err != nil {
				t.Error(err)
			}
		}
		if held(again) != 0 {
			t.Errorf("%d lines are left", held(again))
		}
	})
}

// run parses the lines of a log and writes down what became of them. It holds each
// record against check.
func run(t *testing.T, fresh func() parsers.Parser, lines []parsers.Line, restart bool, check func(*parsers.Draft) error) string {
	t.Helper()
	var b bytes.Buffer
	p := fresh()
	for i, line := range lines {
		before := held(p)
		drafts, outcome := Parse(t, p, line)
		released := outcome.ReleasedIgnored
		fmt.Fprintf(&b, "%d %s", i+1, verdict(outcome))
		if released > 0 {
			fmt.Fprintf(&b, ", %d lines let go", released)
		}
		b.WriteByte('\n')
		for d := range drafts {
			if err := check(&drafts[d]); err != nil {
				t.Errorf("line %d: %v", i+1, err)
			}
			write(&b, &drafts[d])
			released += writeHeld(&b, lines, drafts[d].Held)
		}
		if outcome.Verdict != parsers.Held {
			released += line.Ref().Lines
		}
		if before+line.Ref().Lines != held(p)+released {
			t.Errorf("line %d: held %d lines, then %d, released %d: %s", i+1, before, held(p), released, line.Data)
		}
		if restart {
			p = reborn(t, fresh, p)
			clockSetBack(t, reborn(t, fresh, p), line.Seen)
		}
	}
	flush(t, &b, p, lines, check)
	return b.String()
}

func held(p parsers.Parser) int {
	if s, ok := p.(parsers.Stateful); ok {
		return s.Held()
	}
	return 0
}

// stateful returns the parser as one that remembers lines.
func stateful(t testing.TB, p parsers.Parser) parsers.Stateful {
	t.Helper()
	s, ok := p.(parsers.Stateful)
	if !ok {
		t.Fatalf("%T remembers nothing", p)
	}
	return s
}

// reborn is what a parser is after a restart.
func reborn(t *testing.T, fresh func() parsers.Parser, p parsers.Parser) parsers.Parser {
	t.Helper()
	s, ok := p.(parsers.Stateful)
	if !ok {
		return p
	}
	next := fresh()
	if err := stateful(t, next).Restore(s.Snapshot()); err != nil {
		t.Fatal(err)
	}
	return next
}

// clockSetBack checks that lines do not wait for years when the clock was set back
// before the restart that made p.
func clockSetBack(t *testing.T, p parsers.Parser, seen time.Time) {
	t.Helper()
	if held(p) == 0 {
		return
	}
	if stateful(t, p).Flush(seen.AddDate(-10, 0, 0), nil); held(p) > 0 {
		t.Errorf("the clock was set back, and %d lines wait for it", held(p))
	}
}

func flush(t *testing.T, to *bytes.Buffer, p parsers.Parser, lines []parsers.Line, check func(*parsers.Draft) error) {
	t.Helper()
	s, ok := p.(parsers.Stateful)
	if !ok {
		return
	}
	before := s.Held()
	drafts, released := s.Flush(time.Time{}, nil)
	fmt.Fprintf(to, "flush")
	if released > 0 {
		fmt.Fprintf(to, ", %d lines let go", released)
	}
	to.WriteByte('\n')
	for d := range drafts {
		if err := check(&drafts[d]); err != nil {
			t.Error(err)
		}
		write(to, &drafts[d])
		released += writeHeld(to, lines, drafts[d].Held)
	}
	if s.Held() != 0 || released != before {
		t.Errorf("flush: held %d lines, released %d, left %d", before, released, s.Held())
	}
}

// writeHeld writes the numbers of the lines that refs name, and counts the physical
// lines they stand for.
func writeHeld(to *bytes.Buffer, lines []parsers.Line, refs []parsers.Ref) int {
	if len(refs) == 0 {
		return 0
	}
	numbers, physical := make([]int, 0, len(refs)), 0
	for i := range lines {
		for _, ref := range refs {
			if ref == lines[i].Ref() {
				numbers = append(numbers, i+1)
				physical += ref.Lines
			}
		}
	}
	fmt.Fprintf(to, "  from %v\n", numbers)
	return physical
}

// NoAllocations fails when parsing the lines of log again and again takes memory.
func NoAllocations(t *testing.T, p parsers.Parser, log string) {
	t.Helper()
	lines := Lines("steady", []byte(log))
	var drafts []parsers.Draft
	n := testing.AllocsPerRun(100, func() {
		for i := range lines {
			var err error
			if drafts, _, err = p.Parse(drafts[:0], lines[i]); err != nil {
				t.Fatal(err)
			}
		}
	})
	if n != 0 {
		t.Errorf("%v allocations for %d lines", n, len(lines))
	}
}

// Benchmark measures the parsing of a log, over and over.
func Benchmark(b *testing.B, p parsers.Parser, log string) {
	b.Helper()
	lines := Lines("bench", []byte(log))
	var drafts []parsers.Draft
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		for i := range lines {
			var err error
			if drafts, _, err = p.Parse(drafts[:0], lines[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N*len(lines))/b.Elapsed().Seconds(), "lines/s")
}
