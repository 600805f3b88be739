package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/agent"
	"github.com/auditail/auditail/agent/capture/keyed"
	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/inputs/file"
	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/seal"
)

func newTry() *cobra.Command {
	cmd := &cobra.Command{
		Use: "try [FILE]", Short: "Parse sample lines and print the records", Args: cobra.MaximumNArgs(1),
		Long: `Reads sample lines from FILE, or from standard input, and prints what run would make
of them: each record, and for each of its fields the source field it comes from.
Nothing is stored; keyed hashes are made with a key of their own.

--parser takes a preset (` + strings.Join(config.Presets(), ", ") + `)
or an inline table as in the configuration; auto proposes a preset and says why;
--input takes the parser of that input from the configuration, catalog included.
Exit 1 when a line did not parse.`,
		Example: `  auditail try --parser auto /var/log/vllm/server.log
  auditail try --parser vllm /var/log/vllm/server.log
  auditail try --parser vllm --wrapper cri /var/log/containers/vllm.log
  auditail try --parser '{ type = "json", fields = { "time" = "ts", "actor.id" = "user" } }' gateway.jsonl
  auditail try --config auditail.toml --input gateway --json < gateway.jsonl`,
	}
	path := configFlag(cmd)
	parser := cmd.Flags().String("parser", "", "preset, inline table or auto")
	input := cmd.Flags().String("input", "", "use the parser of this input of the configuration")
	wrapper := cmd.Flags().String("wrapper", "", "what stands in front of each line, with --parser: none, auto, cri, docker or syslog")
	asJSON := cmd.Flags().Bool("json", false, `one object a record: {"lines":[…],"record":{…}}`)
	explain := cmd.Flags().Bool("explain", false, "show the lines that make no record, and why they did not match")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *parser == parserAuto && *input == "" {
			data, name, err := readSample(cmd.InOrStdin(), args)
			if err != nil {
				return err
			}
			return showProposal(cmd.Context(), cmd.OutOrStdout(), *asJSON, name, data)
		}
		cfg, in, err := trialConfig(*path, *parser, *input, *wrapper)
		if err != nil {
			return err
		}
		data, name, err := readSample(cmd.InOrStdin(), args)
		if err != nil {
			return err
		}
		dir, err := os.MkdirTemp("", "auditail-try-*")
		if err != nil {
			return fmt.Errorf("lay out sample: %w", err)
		}
		t := trial{out: cmd.OutOrStdout(), json: *asJSON, explain: *explain, name: name, data: data, dir: dir}
		return errors.Join(t.run(cmd.Context(), cfg, in), os.RemoveAll(dir))
	}
	return cmd
}

// trialConfig finds the input whose parser is tried, or makes one.
func trialConfig(path, parser, input, wrapper string) (*config.Config, *config.Input, error) {
	switch {
	case (parser == "") == (input == ""):
		return nil, nil, errors.New("say what to try: either --parser (" + strings.Join(config.Presets(), ", ") + ", or an inline table), or --input with the name of an input of the configuration")
	case input != "" && wrapper != "":
		return nil, nil, errors.New("--wrapper goes with --parser; an input of the configuration has its own")
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
	if wrapper != "" {
		text += fmt.Sprintf("wrapper = %q\n", wrapper)
	}
	cfg, err := config.Parse("--parser", []byte(text))
	if err != nil {
		return nil, nil, err
	}
	return cfg, &cfg.Inputs.File[0].Input, nil
}

// maxSample bounds what try reads.
const maxSample = 64 << 20

// readSample returns the sample and the name it has in the records.
func readSample(stdin io.Reader, args []string) (data []byte, name string, err error) {
	from, name := stdin, "stdin"
	if len(args) == 1 && args[0] != "-" {
		name = args[0]
		f, err := os.Open(name)
		if err != nil {
			return nil, "", fmt.Errorf("open sample: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		from = f
	}
	if data, err = io.ReadAll(io.LimitReader(from, maxSample+1)); err != nil {
		return nil, "", fmt.Errorf("read sample: %w", err)
	}
	if len(data) > maxSample {
		return nil, "", fmt.Errorf("the sample is larger than %d bytes: cut it with head", maxSample)
	}
	return data, name, nil
}

// sampleInput lays the sample into a folder of its own and returns the file input
// that reads it there: encoding, wrapper and joined lines are handled as run does.
func sampleInput(dir string, data []byte, cfg *config.Config, in *config.Input) (*file.Input, error) {
	sample := filepath.Join(dir, "sample.log")
	if err := os.WriteFile(sample, data, 0o600); err != nil {
		return nil, fmt.Errorf("lay out sample: %w", err)
	}
	c := file.Config{Name: in.Name, MaxLine: int64(in.MaxLine)}
	for i := range cfg.Inputs.File {
		if cfg.Inputs.File[i].Name == in.Name {
			c = fileConfig(&cfg.Inputs.File[i])
		}
	}
	c.Paths, c.Exclude, c.Rotated, c.Start, c.IgnoreOlder = []string{sample}, nil, nil, file.StartBeginning, 0
	return file.New(c, file.Deps{Logger: slog.New(slog.DiscardHandler)})
}

// checkKey is a key for what is looked at and not kept.
func checkKey() keyed.Key {
	key := keyed.New(time.Now())
	key.ID = "try"
	return key
}

// trial is one run of try.
type trial struct {
	out     io.Writer
	json    bool
	explain bool
	name    string
	data    []byte
	dir     string
}

func (t *trial) run(ctx context.Context, cfg *config.Config, in *config.Input) error {
	unparsed := 0
	var show func(agent.Tried) error
	err := tryLines(ctx, cfg, in, t.name, t.data, t.dir, func(parser parsers.Parser, tried agent.Tried) error {
		if tried.Record == nil && tried.Verdict == parsers.Unparsed {
			unparsed += len(tried.Lines)
		}
		if show == nil {
			show = t.printer(parser)
		}
		return show(tried)
	})
	if err == nil && unparsed > 0 {
		err = fmt.Errorf("%d lines did not parse; run would keep their count, bytes and keyed hash in agent.unparsed records", unparsed)
		if !t.explain {
			err = fmt.Errorf("%w; --explain shows why", err)
		}
	}
	return err
}

func (t *trial) printer(parser parsers.Parser) func(agent.Tried) error {
	if t.json {
		return func(tried agent.Tried) error { return printTriedJSON(t.out, tried) }
	}
	return printTried(t.out, parser, t.explain)
}

// tryLines takes sample lines through an input of the configuration. dir is an
// empty folder of the caller's.
func tryLines(
	ctx context.Context, cfg *config.Config, in *config.Input, name string, data []byte, dir string,
	emit func(parsers.Parser, agent.Tried) error,
) error {
	key := checkKey()
	spec, err := newSpec(cfg, in, key)
	if err != nil {
		return err
	}
	if spec.Input, err = sampleInput(dir, data, cfg, in); err != nil {
		return err
	}
	base := baseConfig(cfg, agent.Host{ID: "h-try", Name: "try"}, seal.Run{})
	return agent.Try(ctx, base, spec, name, data, func(tried agent.Tried) error { return emit(spec.Parser, tried) })
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

func printTried(w io.Writer, parser parsers.Parser, explain bool) func(agent.Tried) error {
	trace := map[audit.Field]string{}
	if traced, ok := parser.(parsers.Traced); ok {
		trace = traced.Trace()
	}
	return func(t agent.Tried) error {
		var b bytes.Buffer
		fmt.Fprintf(&b, "%s\n", linesText(t))
		if t.Record != nil {
			if err := printFields(&b, t, trace); err != nil {
				return err
			}
		} else if explain {
			printReason(&b, parser, t)
		}
		_, err := w.Write(b.Bytes())
		return err
	}
}

// printReason shows a line that made no record, and what its parser knows of why.
func printReason(w io.Writer, parser parsers.Parser, t agent.Tried) {
	const most = 240
	text := strconv.QuoteToGraphic(string(t.Text[:min(len(t.Text), most)]))
	if len(t.Text) > most {
		text += " …"
	}
	fmt.Fprintf(w, "    %s\n", text)
	if explainer, ok := parser.(parsers.Explainer); ok && t.Verdict == parsers.Unparsed {
		fmt.Fprintf(w, "    %s\n", explainer.Explain(t.Text))
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
func printFields(w io.Writer, t agent.Tried, trace map[audit.Field]string) error {
	var tree map[string]json.RawMessage
	if err := json.Unmarshal(t.Record, &tree); err != nil {
		return fmt.Errorf("read record back: %w", err)
	}
	for _, f := range audit.Fields() {
		value := lookup(tree, f.String())
		if value == nil {
			continue
		}
		if _, err := fmt.Fprintf(w, "    %-26s %-50s %s\n", f, printable(string(value)), provenance(f, trace, t.Identified)); err != nil {
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

func provenance(f audit.Field, trace map[audit.Field]string, identified bool) string {
	switch f {
	case audit.ActorID, audit.ActorName, audit.ActorType, audit.ActorBasis, audit.ActorVerified, audit.ActorRoles:
		if identified {
			return "← identity map"
		}
	case audit.ClientZone:
		return "← zones"
	default:
	}
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
