package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/admin"
	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/crash"
)

// askTime is how long a command waits for the agent's answer.
const askTime = 10 * time.Second

func newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use: "status", Short: "Show what the running agent does and what needs attention", Args: cobra.NoArgs,
		Long: `Asks the running agent over its socket (admin.socket) and shows one screen:
inputs with rate and lag, the buffer, outputs with cursor and last
acknowledgement, the last seal and when the next is due, model versions, alerts.

Exits with 0 when the agent is healthy and 1 when it is not or does not answer.`,
		Example: `  auditail status
  auditail status --json | jq .alerts`,
	}
	path := configFlag(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := newClient(cmd.Context(), *path, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), askTime)
		defer cancel()
		s, err := client.Status(ctx)
		if err != nil {
			return err
		}
		if *asJSON {
			err = json.NewEncoder(cmd.OutOrStdout()).Encode(s)
		} else {
			err = printStatus(cmd.OutOrStdout(), &s)
		}
		if err == nil && !s.Healthy() {
			err = errReported
		}
		return err
	}
	return cmd
}

// newClient returns a client of the agent that runs with the configuration. When
// the file is refused now, an agent that was started with it may run all the same:
// then notes says so.
func newClient(ctx context.Context, path string, notes io.Writer) (*admin.Client, error) {
	cfg, err := config.Load(path)
	if err == nil {
		return admin.NewClient(cfg.Admin.Socket), nil
	}
	if _, mistaken := errors.AsType[*config.FileError](err); !mistaken {
		return nil, err
	}
	client := admin.NewClient(config.Socket(path))
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if _, silent := client.Raw(ctx, "/healthz"); silent != nil {
		return nil, err
	}
	fmt.Fprintf(notes, "auditail: an agent runs with what this file was before: %v\n\n", err)
	return client, nil
}

// printStatus prints a status for people. Names and errors are made printable.
func printStatus(out io.Writer, s *admin.Status) error {
	state := "healthy"
	switch {
	case !s.Ready:
		state = "starting"
	case !s.Healthy():
		state = "needs attention"
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	line := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	line("%s, auditail %s, %s, up %s", s.Log, s.Version, state, span(s.Now.Sub(s.Started)))
	for i := range s.Alerts {
		a := &s.Alerts[i]
		since := ""
		if !a.Since.IsZero() {
			since = " (for " + span(s.Now.Sub(a.Since)) + ")"
		}
		// An excerpt of the configuration, whose caret needs its place, follows in lines
		// of its own.
		text, excerpt, _ := strings.Cut(a.Text, "\n")
		line("%s: %s: %s%s", strings.ToUpper(a.Level), a.Part, printable(text), since)
		for more := range strings.Lines(excerpt) {
			line("%s", printable(strings.TrimSuffix(more, "\n")))
		}
	}
	if s.LastRun == string(crash.Crashed) {
		line("The last run was ended by a defect: the stack is in data_dir (crash-….txt); please report it.")
	}
	line("")
	line("INPUT\tKIND\tPARSER\tLINES/S\tREAD\tRECORDS\tUNKNOWN\tSOURCES\tLAG\tLAST LINE")
	for i := range s.Inputs {
		in := &s.Inputs[i]
		line("%s\t%s\t%s\t%.1f\t%d\t%d\t%s\t%s\t%s\t%s", in.Name, in.Kind, in.Parser, in.Rate, in.Lines.Read, in.Records,
			share(in.UnparsedShare), sources(in.Sources), lag(in.LagBytes), ago(s.Now, in.LastLine))
	}
	line("")
	line("OUTPUT\tKIND\tNEXT BATCH\tWAITING\tOLDEST\tLAST ACKNOWLEDGED\tQUARANTINE\tSKIPPED\tSTATE")
	for i := range s.Outputs {
		o := &s.Outputs[i]
		line("%s\t%s\t%d\t%d\t%s\t%s\t%d\t%s\t%s", o.Name, o.Kind, o.Next, o.Waiting, ago(s.Now, o.Oldest), ago(s.Now, o.LastAcknowledged), o.Quarantined, skipped(o), outputState(o))
	}
	if len(s.Models) > 0 {
		line("")
		line("MODEL\tVERSION\tDIGEST\tEVIDENCE\tSINCE")
		for i := range s.Models {
			m := &s.Models[i]
			line("%s\t%s\t%s\t%s\t%s", printable(m.Name), printable(orDash(strings.Join(strings.Fields(m.ID+" "+m.Version+" "+m.Revision), " "))),
				orDash(shortDigest(m.Digest)), m.Basis, ago(s.Now, m.Since))
		}
	}
	b := &s.Buffer
	line("")
	line("buffer  %s of %s on disk, %d sealed batches wait, %s not sealed yet", sizeText(b.UsedBytes), sizeText(b.MaxBytes), b.Batches, sizeText(b.OpenBytes))
	if b.LastSeal.Kind != "" {
		next := "not due: the log is closed"
		if !b.LastSeal.NextBy.IsZero() {
			next = "next due " + ago(s.Now, b.LastSeal.NextBy)
		}
		line("seals   epoch %d, batch %d (%s) %s, %s", s.Epoch, b.LastSeal.Batch, b.LastSeal.Kind, ago(s.Now, b.LastSeal.Sealed), next)
	}
	line("config  %s, generation %d", s.Config.Digest, s.Config.Generation)
	return w.Flush()
}

// skipped is what a copy did not get; evidence skips nothing.
func skipped(o *admin.Output) string {
	switch {
	case o.Rejected > 0:
		return fmt.Sprintf("%d, %d records", o.Skipped, o.Rejected)
	case o.BestEffort:
		return fmt.Sprint(o.Skipped)
	}
	return "-"
}

func outputState(o *admin.Output) string {
	switch {
	case o.Stopped:
		return "stopped"
	case o.Error != "":
		return "failing"
	}
	return "ok"
}

func sources(n *int) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}

func lag(bytes *int64) string {
	if bytes == nil {
		return "-"
	}
	return sizeText(*bytes)
}

func share(part float64) string {
	switch {
	case part == 0:
		return "0 %"
	case part < 0.001:
		return "<0.1 %"
	}
	return fmt.Sprintf("%.1f %%", 100*part)
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// shortDigest keeps what tells digests apart on a screen.
func shortDigest(digest string) string {
	algorithm, hex, ok := strings.Cut(digest, ":")
	if !ok || len(hex) <= 12 {
		return digest
	}
	return algorithm + ":" + hex[:12] + "…"
}

func ago(now, at time.Time) string {
	switch {
	case at.IsZero():
		return "-"
	case at.After(now):
		return "in " + span(at.Sub(now))
	}
	return span(now.Sub(at)) + " ago"
}

// span is a time for people: two units at most.
func span(d time.Duration) string {
	switch s := int64(d.Round(time.Second) / time.Second); {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%dm", s/3600, s%3600/60)
	default:
		return fmt.Sprintf("%dd%dh", s/86400, s%86400/3600)
	}
}

func sizeText(bytes int64) string {
	size, unit := float64(bytes), 0
	for size >= 1024 && unit < 4 {
		size, unit = size/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", size, [...]string{"B", "KiB", "MiB", "GiB", "TiB"}[unit])
}

func newReload() *cobra.Command {
	cmd := &cobra.Command{
		Use: "reload", Short: "Have the running agent load its configuration again", Args: cobra.NoArgs,
		Long: `The agent checks the new configuration completely and only then changes to it.
One that is refused changes nothing: the old one runs on, and this command says
why. SIGHUP does the same without an answer.`,
		Example: `  auditail reload --config /etc/auditail/auditail.toml`,
	}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := newClient(cmd.Context(), *path, io.Discard) // the agent itself says what is wrong
		if err != nil {
			return err
		}
		answer, err := client.Reload(cmd.Context())
		if err != nil {
			return err
		}
		if answer.Error != "" {
			// Lines and all: the excerpt shows the place.
			fmt.Fprintf(cmd.ErrOrStderr(), "auditail: the configuration is refused; the one before runs on: %s\n", answer.Error)
			return errReported
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "generation %d runs\n", answer.Generation)
		return err
	}
	return cmd
}
