// Package parsertest holds a parser against the contract of package parsers.
package parsertest

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// Golden feeds the lines of testdata/NAME.log to the parser and compares what
// comes out with testdata/NAME.golden: per line its verdict, then the records
// it completes, then their content. `go test -update` writes the golden file.
//
// On the way it checks what every parser promises: a record is complete once
// the agent has added its part, and valid by the published JSON Schema, a line has exactly one verdict, records come
// from recorded lines only, and line data is not retained.
func Golden(t *testing.T, p parsers.Parser, name string) {
	t.Helper()
	log, err := os.ReadFile("testdata/" + name + ".log")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	check := Schema(t)
	for i, line := range Lines(name, log) {
		drafts, outcome := Parse(t, p, line)
		fmt.Fprintf(&got, "%d %s", i+1, verdict(outcome))
		got.WriteByte('\n')
		for d := range drafts {
			write(&got, &drafts[d])
			if err := check(&drafts[d]); err != nil {
				t.Errorf("line %d: %v", i+1, err)
			}
		}
	}
	path := "testdata/" + name + ".golden"
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")); diff != "" {
		t.Error(diff)
	}
}

// Lines cuts a log into lines as a file input would.
func Lines(source string, log []byte) []parsers.Line {
	var lines []parsers.Line
	var offset int64
	for raw := range bytes.Lines(log) {
		lines = append(lines, parsers.Line{
			Source: source, Path: source + ".log", Generation: "g", Offset: offset, Size: int64(len(raw)),
			Data: bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r")),
			Seen: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC),
		})
		offset += int64(len(raw))
	}
	return lines
}

// Parse parses one line and checks the contract.
func Parse(t testing.TB, p parsers.Parser, line parsers.Line) ([]parsers.Draft, parsers.Outcome) {
	t.Helper()
	original := line.Data
	line.Data = bytes.Clone(original)
	drafts, outcome, err := p.Parse(nil, line)
	if err != nil {
		t.Fatalf("%s: %v", original, err)
	}
	if !bytes.Equal(line.Data, original) {
		t.Fatalf("the parser changed the line %s", original)
	}
	for i := range line.Data {
		line.Data[i] = '?' // what was retained shows in the records below
	}
	if (outcome.Rule == "") != (outcome.Verdict == parsers.Recorded || outcome.Verdict == parsers.Held) {
		t.Errorf("%s: verdict %d with rule %q", original, outcome.Verdict, outcome.Rule)
	}
	if len(drafts) == 0 && outcome.Verdict == parsers.Recorded {
		t.Errorf("%s: recorded without a record", original)
	}
	for i := range drafts {
		if err := Validate(&drafts[i]); err != nil {
			t.Errorf("%s: %v", original, err)
		}
	}
	return drafts, outcome
}

// Validate checks a draft as the record it becomes when the agent has added
// its part.
func Validate(d *parsers.Draft) error {
	if d.Record.Has(audit.TimeBasis) && !d.Record.Has(audit.Time) {
		return fmt.Errorf("time_basis %s without a time", d.Record.Text(audit.TimeBasis))
	}
	if err := audit.Validate(whole(d)); err != nil {
		return fmt.Errorf("invalid record: %w", err)
	}
	return nil
}

// whole is the record that a draft becomes, encoded.
func whole(d *parsers.Draft) []byte {
	var r audit.Record
	r.CopyFrom(&d.Record)
	event := string(r.Text(audit.Event))
	action, _ := audit.EventAction(event)
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	r.SetInt(audit.SchemaVersion, audit.Version)
	r.SetText(audit.ID, audit.AppendID(nil, "h", "s", "g", 0, d.Sub))
	if !r.Has(audit.Time) {
		r.SetTime(audit.Time, now)
		r.SetString(audit.TimeBasis, "observed")
	}
	r.SetTime(audit.ObservedTime, now)
	r.SetString(audit.Action, action)
	r.SetInt(audit.Severity, 1)
	r.SetString(audit.Retention, "standard")
	r.SetString(audit.Service, "test")
	r.SetString(audit.Environment, "test")
	r.SetString(audit.HostID, "h")
	r.SetString(audit.HostName, "h")
	r.SetString(audit.SourceID, "s")
	r.SetText(audit.Salt, audit.AppendSalt(nil, [8]byte{}))
	r.SetString(audit.AgentID, "a")
	if strings.HasPrefix(event, "model.") {
		r.SetString(audit.ModelBasis, "unresolved")
		if !r.Has(audit.ModelProvider) {
			r.SetString(audit.ModelProvider, "unknown")
		}
	}
	return r.Append(nil, 0)
}

func verdict(o parsers.Outcome) string {
	names := map[parsers.Verdict]string{
		parsers.Unparsed: "unparsed", parsers.Recorded: "recorded", parsers.Ignored: "ignored", parsers.Held: "held",
	}
	if o.Rule == "" {
		return names[o.Verdict]
	}
	return names[o.Verdict] + ": " + o.Rule
}

func write(to *bytes.Buffer, d *parsers.Draft) {
	line := d.Record.Append(nil, 0)
	line = bytes.TrimSuffix(line, []byte(`"agent":{"id":"","seq":0}}`))
	fmt.Fprintf(to, "  %s}\n", bytes.TrimSuffix(line, []byte(",")))
	for _, content := range []struct {
		name string
		c    *parsers.Content
	}{{"input", &d.Input}, {"output", &d.Output}, {"system", &d.System}, {"arguments", &d.Arguments}} {
		switch c := content.c; {
		case len(c.Applied) > 0:
			fmt.Fprintf(to, "  %s applied: %s\n", content.name, c.Applied)
		case c.Parts > 0:
			fmt.Fprintf(to, "  %s %d %s%s\n", content.name, c.Parts, strconv.Quote(string(c.Text)), ellipsis(c))
		}
	}
}

// Capture stands for a capture policy that keeps everything, for parsers that hold
// content across lines: golden files show what it was given.
func Capture(dst []byte, c *parsers.Content, direction parsers.Direction) []byte {
	word := [...]string{parsers.Entered: "entered", parsers.Returned: "returned"}[direction]
	return fmt.Appendf(dst, "%s %d %q%s", word, c.Parts, c.Text, ellipsis(c))
}

func ellipsis(c *parsers.Content) string {
	if c.Truncated {
		return "…"
	}
	return ""
}
