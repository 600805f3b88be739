package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/agent"
	"github.com/auditail/auditail/agent/capture"
	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/parsers"
)

func newTry() *cobra.Command {
	cmd := &cobra.Command{
		Use: "try [FILE]", Short: "Parse sample lines and print the records", Args: cobra.MaximumNArgs(1),
		Long: `Reads sample lines from FILE, or from standard input, and prints what run would make
of them: each record, and for each of its fields the source field it comes from.
Nothing is stored; keyed hashes are made with a key of their own.

--parser takes a preset (vllm, combined) or an inline table as in the configuration;
--input takes the parser of that input from the configuration, catalog included.
Exit 1 when a line did not parse.`,
		Example: `  auditail try --parser vllm /var/log/vllm/server.log
  auditail try --parser '{ type = "json", fields = { "time" = "ts", "actor.id" = "user" } }' gateway.jsonl
  auditail try --config auditail.toml --input gateway --json < gateway.jsonl`,
	}
	path := configFlag(cmd)
	parser := cmd.Flags().String("parser", "", "preset or inline table")
	input := cmd.Flags().String("input", "", "use the parser of this input of the configuration")
	asJSON := cmd.Flags().Bool("json", false, `one object a record: {"lines":[…],"record":{…}}`)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, in, err := trialConfig(*path, *parser, *input)
		if err != nil {
			return err
		}
		samples, closeSamples, err := openSamples(cmd.InOrStdin(), args)
		if err != nil {
			return err
		}
		err = tryLines(cmd.OutOrStdout(), cfg, in, samples, *asJSON)
		return errors.Join(err, closeSamples())
	}
	return cmd
}

// trialConfig finds the input whose parser is tried, or makes one.
func trialConfig(path, parser, input string) (*config.Config, *config.Input, error) {
	switch {
	case (parser == "") == (input == ""):
		return nil, nil, errors.New("say what to try: either --parser (vllm, combined, or an inline table), or --input with the name of an input of the configuration")
	case input != "":
		cfg, err := config.Load(path)
		if err != nil {
			return nil, nil, err
		}
		in := cfg.Inputs.Find(input)
		if in == nil {
			return nil, nil, fmt.Errorf("%s has no input %q", path, input)
		}
		return cfg, in, nil
	case parser == config.ParserJSON:
		return nil, nil, errors.New(`the json parser needs a field map: --parser '{ type = "json", fields = { "time" = "ts", … } }', or --input with a configuration`)
	case !strings.HasPrefix(strings.TrimSpace(parser), "{"):
		parser = fmt.Sprintf("%q", parser)
	}
	text := "[[inputs.file]]\nname = \"try\"\npaths = [\"/dev/stdin\"]\nparser = " + parser + "\n"
	cfg, err := config.Parse("--parser", []byte(text))
	if err != nil {
		return nil, nil, err
	}
	return cfg, &cfg.Inputs.File[0].Input, nil
}

func openSamples(stdin io.Reader, args []string) (io.Reader, func() error, error) {
	if len(args) == 0 || args[0] == "-" {
		return stdin, func() error { return nil }, nil
	}
	f, err := os.Open(args[0])
	if err != nil {
		return nil, nil, fmt.Errorf("open sample: %w", err)
	}
	return f, f.Close, nil
}

// checkKey is a key for what is looked at and not kept.
func checkKey() capture.Key {
	key := capture.NewKey(time.Now())
	key.ID = "try"
	return key
}

func tryLines(w io.Writer, cfg *config.Config, in *config.Input, samples io.Reader, asJSON bool) error {
	spec, err := newSpec(cfg, in, checkKey())
	if err != nil {
		return err
	}
	base, err := baseConfig(cfg, agent.Host{ID: "h-try", Name: "try"})
	if err != nil {
		return err
	}
	base.CaptureKey = checkKey()
	show := printTried(w, spec.Parser)
	if asJSON {
		show = func(t agent.Tried) error { return printTriedJSON(w, t) }
	}
	unparsed := 0
	err = agent.Try(base, spec, samples, func(t agent.Tried) error {
		if t.Record == nil && t.Verdict == parsers.Unparsed {
			unparsed++
		}
		return show(t)
	})
	if err == nil && unparsed > 0 {
		err = fmt.Errorf("%d lines did not parse; run would keep their count, bytes and keyed hash in agent.unparsed records", unparsed)
	}
	return err
}

func printTriedJSON(w io.Writer, t agent.Tried) error {
	if t.Record == nil {
		return nil // one object a record
	}
	lines, err := json.Marshal(t.Lines)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "{\"lines\":%s,\"record\":%s}\n", lines, t.Record)
	return err
}

// verdictWords say what became of a line without a record.
func verdictWords(t agent.Tried) string {
	switch t.Verdict {
	case parsers.Ignored:
		return "ignored by rule " + t.Rule
	case parsers.Held:
		return "held for the rest of its record"
	case parsers.Recorded:
		return "recorded"
	case parsers.Unparsed:
	}
	if t.Rule != "" {
		return "not parsed: " + t.Rule
	}
	return "not parsed"
}

func printTried(w io.Writer, parser parsers.Parser) func(agent.Tried) error {
	trace := map[audit.Field]string{}
	if traced, ok := parser.(parsers.Traced); ok {
		trace = traced.Trace()
	}
	return func(t agent.Tried) error {
		var b bytes.Buffer
		fmt.Fprintf(&b, "%s\n", linesText(t))
		if t.Record != nil {
			if err := printFields(&b, t.Record, trace); err != nil {
				return err
			}
		}
		_, err := w.Write(b.Bytes())
		return err
	}
}

func linesText(t agent.Tried) string {
	numbers := strings.Trim(strings.Join(strings.Fields(fmt.Sprint(t.Lines)), ", "), "[]")
	word := "line"
	if len(t.Lines) > 1 {
		word = "lines"
	}
	if t.Record == nil {
		return fmt.Sprintf("%s %s: %s", word, numbers, verdictWords(t))
	}
	return fmt.Sprintf("%s %s: record", word, numbers)
}

// printFields prints the record's fields in the order of the format, each with
// where it comes from.
func printFields(w io.Writer, record []byte, trace map[audit.Field]string) error {
	var tree map[string]json.RawMessage
	if err := json.Unmarshal(record, &tree); err != nil {
		return fmt.Errorf("read record back: %w", err)
	}
	for _, f := range audit.Fields() {
		value := lookup(tree, f.String())
		if value == nil {
			continue
		}
		if _, err := fmt.Fprintf(w, "    %-26s %-50s %s\n", f, printable(value), provenance(f, trace)); err != nil {
			return err
		}
	}
	return nil
}

func lookup(tree map[string]json.RawMessage, path string) json.RawMessage {
	group, name, nested := strings.Cut(path, ".")
	if !nested {
		return tree[path]
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(tree[group], &members) != nil {
		return nil
	}
	return members[name]
}

// printable shows a JSON value. JSON escapes control characters below U+0020;
// those above, which a terminal may obey too, are escaped here.
func printable(value json.RawMessage) string {
	var b strings.Builder
	for _, r := range string(value) {
		if r >= 0x7f && r < 0xa0 || r == '\u202e' || r == '\u2066' || r == '\u2067' || r == '\u2028' || r == '\u2029' {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func provenance(f audit.Field, trace map[audit.Field]string) string {
	if source, ok := trace[f]; ok {
		return "← " + source
	}
	group, _, _ := strings.Cut(f.String(), ".")
	switch group {
	case "model":
		return "← catalog"
	case "input", "output":
		return "← capture policy"
	}
	return "← auditail"
}
