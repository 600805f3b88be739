package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/server"
)

func agentsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "agents --store DIR",
		Short: "List the enrolled agents and how far their logs have come",
		Args:  cobra.NoArgs,
	}
	o := storeOptions(c)
	asJSON := c.Flags().Bool("json", false, "print one JSON array")
	c.RunE = func(c *cobra.Command, _ []string) error {
		config, err := o.config()
		if err != nil {
			return err
		}
		all, err := server.Agents(config, deps(c.ErrOrStderr(), slog.LevelInfo))
		if err != nil {
			return err
		}
		if *asJSON {
			e := json.NewEncoder(c.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(all)
		}
		w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "LOG\tENROLLED\tEPOCH\tNEXT BATCH\tLAST SEALED\tNEXT BY\tSTATE")
		for _, a := range all {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", a.Log, clock(a.Enrolled), a.Epoch, a.NextBatch, clock(a.LastSealed), clock(a.NextBy), a.State)
		}
		return w.Flush()
	}
	c.AddCommand(
		agentCommand("revoke AGENT", "Let an agent write no more, at once; its log stays", server.Revoke),
		agentCommand("restore AGENT", "Take a revocation back", server.Restore),
		agentTokenCommand(), agentAnchorCommand(),
	)
	return c
}

// agentCommand changes one enrolment.
func agentCommand(use, short string, change func(server.Config, server.Deps, string) error) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1)}
	o := storeOptions(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		config, err := o.config()
		if err != nil {
			return err
		}
		return change(config, deps(c.ErrOrStderr(), slog.LevelInfo), args[0])
	}
	return c
}

func agentTokenCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "rotate AGENT", Short: "Give an agent another bearer token; the one it had ends at once", Args: cobra.ExactArgs(1),
		Long: `rotate replaces the bearer token. The signing key is rotated on the agent's host;
the server follows the rotate manifest that the old key signs.`,
	}
	o := storeOptions(c)
	tokenFile := c.Flags().String("token-file", "", "write the token to this new file, mode 0600, instead of standard output")
	c.RunE = func(c *cobra.Command, args []string) error {
		config, err := o.config()
		if err != nil {
			return err
		}
		token, err := server.NewToken(config, deps(c.ErrOrStderr(), slog.LevelInfo), args[0], *tokenFile)
		if err == nil && *tokenFile == "" {
			_, err = fmt.Fprintln(c.OutOrStdout(), token)
		}
		return err
	}
	return c
}

func agentAnchorCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "anchor AGENT --at EPOCH/BATCH", Short: "Let a log go on at a batch although what comes before is not stored", Args: cobra.ExactArgs(1),
		Long: `anchor ends a wait that nothing else can end: the store was restored from an older
copy, or the log began before the agent was enrolled here, and the agent does not
hold the missing batches any more. Auditors see the hole: auditail-verify reports
it unless they say where to begin (--from).`,
	}
	o := storeOptions(c)
	at := c.Flags().String("at", "", "epoch and batch, such as 0001/42")
	c.RunE = func(c *cobra.Command, args []string) error {
		config, err := o.config()
		if err != nil {
			return err
		}
		anchor, err := server.ParseAnchor(*at)
		if err != nil {
			return fmt.Errorf("anchor needs --at: %w", err)
		}
		return server.AddAnchor(config, deps(c.ErrOrStderr(), slog.LevelInfo), args[0], anchor)
	}
	return c
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
