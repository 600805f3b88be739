package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/admin"
)

func newTap() *cobra.Command {
	cmd := &cobra.Command{
		Use: "tap", Short: "Watch records as the running agent writes them", Args: cobra.NoArgs,
		Long: `Shows each record in the moment it is durable, as it was written: behind the
capture policy, with control characters escaped. It goes on over reloads and
restarts of the agent. Records that come faster than they are shown are left
out of the view, and counted.

A filter is a field and what it must hold, such as event=model.inference or
actor.id=u-17; a record is shown when all filters fit.`,
		Example: `  auditail tap --input vllm
  auditail tap event=model.inference outcome=failed
  auditail tap --json | jq .model`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Args = cobra.ArbitraryArgs
	cmd.Use = "tap [FIELD=VALUE …]"
	path := configFlag(cmd)
	input := cmd.Flags().String("input", "", `show records of this input only ("agent": of the agent itself)`)
	asJSON := cmd.Flags().Bool("json", false, "print each record as one line of JSON")
	count := cmd.Flags().IntP("count", "n", 0, "stop after so many records; 0: go on")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		filters, err := parseFilters(args)
		if err != nil {
			return err
		}
		client, err := newClient(cmd.Context(), *path, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		t := &tapper{out: cmd.OutOrStdout(), notes: cmd.ErrOrStderr(), filters: filters, asJSON: *asJSON, limit: *count}
		return t.follow(cmd.Context(), client, *input)
	}
	return cmd
}

// tapper shows records.
type tapper struct {
	out, notes io.Writer
	filters    []filter
	asJSON     bool
	limit      int // 0: none
	shown      int
}

// errEnough ends a tap that has shown what it was to show.
var errEnough = errors.New("enough")

// follow shows records until ctx ends. An agent that was there and goes away is
// waited for.
func (t *tapper) follow(ctx context.Context, client *admin.Client, input string) error {
	connected := false
	for {
		err := client.Tap(ctx, input, t.show, func(count string) {
			fmt.Fprintf(t.notes, "auditail: %s records came too fast and are not shown\n", count)
		})
		if ctx.Err() != nil || errors.Is(err, errEnough) {
			return nil //nolint:nilerr // it ended as it was meant to
		}
		switch {
		case err == nil:
			connected = true
			fmt.Fprintln(t.notes, "auditail: the agent stopped; waiting for it")
		case !connected || !errors.Is(err, admin.ErrNotRunning):
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(admin.WaitTime):
		}
	}
}

func (t *tapper) show(line []byte) error {
	var record map[string]any
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	if err := decoder.Decode(&record); err != nil {
		return fmt.Errorf("read a record of the agent: %w", err)
	}
	for _, f := range t.filters {
		if !slices.Contains(valuesAt(record, f.path), f.value) {
			return nil
		}
	}
	var err error
	if t.asJSON {
		_, err = io.WriteString(t.out, printable(string(line))+"\n")
	} else {
		_, err = io.WriteString(t.out, summary(record)+"\n")
	}
	if err != nil {
		return err
	}
	if t.shown++; t.shown == t.limit {
		return errEnough
	}
	return nil
}

// filter is a field and what it must hold.
type filter struct {
	path  []string
	value string
}

func parseFilters(args []string) (list []filter, err error) {
	for _, arg := range args {
		field, value, ok := strings.Cut(arg, "=")
		if !ok || field == "" {
			return nil, fmt.Errorf("%q is no filter: write FIELD=VALUE, such as event=model.inference", arg)
		}
		list = append(list, filter{path: strings.Split(field, "."), value: value})
	}
	return list, nil
}

// valuesAt returns what stands at a path of a record, as text; of a list each element.
func valuesAt(at any, path []string) []string {
	for _, step := range path {
		group, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = group[step]
	}
	list, ok := at.([]any)
	if !ok {
		list = []any{at}
	}
	var texts []string
	for _, item := range list {
		switch item.(type) {
		case nil, map[string]any:
		default:
			texts = append(texts, fmt.Sprint(item))
		}
	}
	return texts
}

// summary is a record on one line for people: when, what, who, which model,
// from where, how it ended.
func summary(record map[string]any) string {
	field := func(path string) string {
		return printable(strings.Join(valuesAt(record, strings.Split(path, ".")), ","))
	}
	clock := field("time")
	if at, err := time.Parse(time.RFC3339Nano, clock); err == nil {
		clock = at.Local().Format("15:04:05.000") //nolint:gosmopolitan // a person looks at their own clock
	}
	outcome := field("outcome")
	if reason := field("reason"); reason != "" {
		outcome += " (" + reason + ")"
	}
	parts := []string{clock, field("source.id"), field("event"), outcome}
	for _, p := range []struct{ name, path string }{
		{"actor", "actor.id"},
		{"key", "actor.key_id"},
		{"from", "client.ip"},
		{"model", "model.name"},
		{"version", "model.version"},
		{"revision", "model.revision"},
		{"digest", "model.digest"},
		{"basis", "model.basis"},
		{"", "api.operation"},
		{"status", "api.status"},
		{"in", "usage.input_tokens"},
		{"out", "usage.output_tokens"},
		{"ms", "usage.duration_ms"},
		{"policy", "policy.decision"},
		{"what", "change.what"},
		{"lines", "loss.lines"},
		{"cause", "loss.cause"},
	} {
		switch value := field(p.path); {
		case value == "":
		case p.name == "":
			parts = append(parts, value)
		case p.name == "revision", p.name == "digest":
			parts = append(parts, p.name+"="+shortDigest(value))
		default:
			parts = append(parts, p.name+"="+value)
		}
	}
	return strings.Join(parts, "  ")
}
