package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/auditail/auditail/agent"
	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/parsers"
)

// parserAuto is the word for "say which parser fits". It is none that an agent
// runs with: one that changed its mind would make records nobody can compare.
const parserAuto = "auto"

// maxProposalLines bounds the sample that a proposal is made from.
const maxProposalLines = 1000

// proposal is what a preset makes of the sample, read with a wrapper.
type proposal struct {
	Parser   string `json:"parser"`
	Wrapper  string `json:"wrapper"`
	Lines    int    `json:"lines"`    // of the sample
	Recorded int    `json:"recorded"` // lines
	Ignored  int    `json:"ignored"`
	Unparsed int    `json:"unparsed"`
	Records  int    `json:"records"`
	Facts    int    `json:"facts"` // fields of all records that the lines filled
}

func (p *proposal) known() int { return p.Recorded + p.Ignored }

// fits tells whether the preset knows enough of the sample to be proposed. What
// only ignores lines has not shown that they are its own.
func (p *proposal) fits() bool { return 2*p.known() > p.Lines && p.Recorded > 0 }

// general are presets for what many servers write, the most general first. They
// are proposed before special ones that make nothing more of the sample: ray-serve
// knows vLLM's lines too.
func general() []string { return []string{"combined", "uvicorn", "gunicorn", "nginx", "vllm"} }

// better orders proposals: the fewer lines stay unparsed the better, then the
// more the records say, then the more lines they were made from, then the more
// general preset.
func better(a, b proposal) int {
	rank := func(p proposal) int {
		if i := slices.Index(general(), p.Parser); i >= 0 {
			return i
		}
		return len(general())
	}
	return cmp.Or(
		cmp.Compare(a.Unparsed, b.Unparsed),
		cmp.Compare(b.Facts, a.Facts),
		cmp.Compare(b.Recorded, a.Recorded),
		cmp.Compare(rank(a), rank(b)),
		cmp.Compare(a.Parser, b.Parser),
	)
}

// propose tries every preset on the first lines of the sample, and on what is in
// wrappers around them when that says more. The best comes first.
func propose(ctx context.Context, data []byte, dir string) ([]proposal, error) {
	data = firstLines(data, maxProposalLines)
	list, err := tryPresets(ctx, data, dir, config.WrapperNone)
	if err != nil {
		return nil, err
	}
	for _, wrapper := range likelyWrappers(data) {
		wrapped, err := tryPresets(ctx, data, dir, wrapper)
		if err != nil {
			return nil, err
		}
		if best, now := wrapped[0], list[0]; best.Unparsed < now.Unparsed || best.Unparsed == now.Unparsed && best.Facts > now.Facts {
			list = wrapped
		}
	}
	return list, nil
}

// likelyWrappers returns the wrappers that the first line may be in; trying
// presets on lines in all of them would take four times as long.
func likelyWrappers(data []byte) (list []string) {
	first, _, _ := bytes.Cut(data, []byte("\n"))
	if bytes.HasPrefix(first, []byte(`{"log":`)) {
		list = append(list, "docker")
	}
	if bytes.Contains(first, []byte(" stdout ")) || bytes.Contains(first, []byte(" stderr ")) {
		list = append(list, "cri")
	}
	if syslogHead.Match(first) {
		list = append(list, "syslog")
	}
	return list
}

var syslogHead = regexp.MustCompile(`^(<\d{1,3}>|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d |\d{4}-\d\d-\d\dT\S+ \S+ \S+:)`)

// tryPresets returns what each preset makes of the sample, best first.
func tryPresets(ctx context.Context, data []byte, dir, wrapper string) ([]proposal, error) {
	var list []proposal
	for _, name := range config.Presets() {
		p, err := tryPreset(ctx, data, dir, name, wrapper)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	slices.SortStableFunc(list, better)
	return list, nil
}

func tryPreset(ctx context.Context, data []byte, dir, name, wrapper string) (proposal, error) {
	p := proposal{Parser: name, Wrapper: wrapper, Lines: bytes.Count(data, []byte("\n"))}
	text := fmt.Sprintf("[[inputs.file]]\nname = \"try\"\npaths = [\"/dev/stdin\"]\nparser = %q\nwrapper = %q\n", name, wrapper)
	cfg, err := config.Parse("--parser", []byte(text))
	if err != nil {
		return p, err
	}
	in := &cfg.Inputs.File[0].Input
	spec, err := newSpec(cfg, in, checkKey())
	if err != nil {
		return p, err
	}
	if spec.Input, err = sampleInput(dir, data, cfg, in); err != nil {
		return p, err
	}
	err = agent.Try(ctx, agent.Config{Environment: cfg.Agent.Environment}, spec, "sample", data, func(t agent.Tried) error {
		switch {
		case t.Record != nil:
			p.Records++
			p.Facts += facts(t.Record)
		case t.Verdict == parsers.Unparsed:
			p.Unparsed += len(t.Lines)
		case t.Verdict == parsers.Ignored:
			p.Ignored += len(t.Lines)
		}
		return nil
	})
	p.Recorded = max(0, p.Lines-p.Ignored-p.Unparsed)
	return p, err
}

// firstLines returns the first lines of a sample, each with its end.
func firstLines(data []byte, limit int) []byte {
	end := 0
	for range limit {
		at := bytes.IndexByte(data[end:], '\n')
		if at < 0 {
			if end < len(data) {
				data = append(slices.Clip(data), '\n')
			}
			return data
		}
		end += at + 1
	}
	return data[:end]
}

// facts counts the fields of a record that come from its lines.
func facts(record []byte) (n int) {
	var tree map[string]json.RawMessage
	if json.Unmarshal(record, &tree) != nil {
		return 0
	}
	for name, value := range tree {
		switch name {
		case "actor", "ai_agent", "client", "session", "model", "api", "params", "usage", "input", "output", "policy", "tool", "prompt", "extra", "data":
			var members map[string]json.RawMessage
			if json.Unmarshal(value, &members) != nil {
				continue
			}
			if _, named := members["server"]; named && name == "api" {
				n-- // the parser knows its own name, the lines did not say it
			}
			n += len(members)
		case "time_basis":
			if string(value) != `"observed"` {
				n++
			}
		}
	}
	return n
}

// showProposal prints which preset fits and why.
func showProposal(ctx context.Context, w io.Writer, asJSON bool, name string, data []byte) (err error) {
	dir, err := os.MkdirTemp("", "auditail-try-*")
	if err != nil {
		return fmt.Errorf("lay out sample: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if len(bytes.TrimSpace(data)) == 0 {
		return errors.New("the sample is empty: there is nothing to propose a parser from")
	}
	list, err := propose(ctx, data, dir)
	if err != nil {
		return err
	}
	best := list[0]
	if !best.fits() {
		return noProposal(best, data)
	}
	if asJSON {
		return json.NewEncoder(w).Encode(map[string]any{"proposed": best})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "proposed: parser = %q", best.Parser)
	if best.Wrapper != config.WrapperNone {
		fmt.Fprintf(&b, ", wrapper = %q", best.Wrapper)
	}
	fmt.Fprintf(&b, "\n  it knows %d of %d lines: %d recorded, %d ignored as noise, %d not parsed\n", best.known(), best.Lines, best.Recorded, best.Ignored, best.Unparsed)
	for _, next := range list[1:min(3, len(list))] {
		if next.fits() {
			fmt.Fprintf(&b, "  %s knows %d%s\n", next.Parser, next.known(), comparison(best, next))
		}
	}
	wrapper := ""
	if best.Wrapper != config.WrapperNone {
		wrapper = " --wrapper " + best.Wrapper
	}
	fmt.Fprintf(&b, "to see the records: auditail try --parser %s%s %s\n", best.Parser, wrapper, printableName(name))
	_, err = io.WriteString(w, b.String())
	return err
}

// comparison says what the best proposal has before another one.
func comparison(best, other proposal) string {
	switch {
	case other.Unparsed > best.Unparsed:
		return ""
	case other.Facts < best.Facts:
		return fmt.Sprintf(" too, but its records say less (%d facts, not %d)", other.Facts, best.Facts)
	default:
		return " as well"
	}
}

// noProposal says what the sample is when no preset knows it.
func noProposal(best proposal, data []byte) error {
	nearest := ""
	switch {
	case best.Recorded == 0 && best.known() == best.Lines:
		return fmt.Errorf("no preset makes a record of these lines; %s ignores all of them as noise: try more of the log", best.Parser)
	case best.known() > 0:
		nearest = fmt.Sprintf("; %s knows the most, %d of %d", best.Parser, best.known(), best.Lines)
	}
	first, _, _ := bytes.Cut(bytes.TrimLeft(data, "\r\n"), []byte("\n"))
	switch {
	case len(first) > 0 && first[0] == '{':
		return fmt.Errorf(`no preset knows these lines%s. They are JSON: write a field map, { type = "json", fields = { "time" = "…" } }`, nearest)
	case bytes.Count(first, []byte("=")) > 2:
		return fmt.Errorf(`no preset knows these lines%s. They look like logfmt: write a field map, { type = "logfmt", fields = { "time" = "…" } }`, nearest)
	}
	return fmt.Errorf(`no preset knows these lines%s. Write a pattern with named groups, { type = "regex", patterns = ["…"] }, or a field map for csv`, nearest)
}

// printableName quotes a file name for a shell when it needs to be.
func printableName(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool {
		return r != '/' && r != '.' && r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		return fmt.Sprintf("%q", filepath.Clean(name))
	}
	return name
}
