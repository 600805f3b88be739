package main

import (
	"context"
	"fmt"

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
	c.RunE = o.look(func(c *cobra.Command, _ []string, config server.Config, d server.Deps) error {
		all, err := server.Agents(c.Context(), config, d)
		if err != nil {
			return err
		}
		return table(c, *asJSON, "LOG\tENROLLED\tEPOCH\tNEXT BATCH\tLAST SEALED\tNEXT BY\tSTATE", all, func(a *server.AgentStatus) string {
			return row(a.Log, clock(a.Enrolled), a.Epoch, a.NextBatch, clock(a.LastSealed), clock(a.NextBy), a.State)
		})
	})
	c.AddCommand(
		agentCommand("revoke AGENT", "Let an agent write no more, at once; its log stays", server.Revoke),
		agentCommand("restore AGENT", "Take a revocation back", server.Restore),
		agentTokenCommand(), agentAnchorCommand(),
	)
	return c
}

// agentCommand changes one enrolment or account.
func agentCommand(use, short string, change func(context.Context, server.Config, server.Deps, string) error) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1)}
	c.RunE = storeOptions(c).recorded(func(c *cobra.Command, args []string, config server.Config, d server.Deps) error {
		return change(c.Context(), config, d, args[0])
	})
	return c
}

func agentTokenCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "rotate AGENT", Short: "Give an agent another bearer token; the one it had ends at once", Args: cobra.ExactArgs(1),
		Long: `rotate replaces the bearer token. The signing key is rotated on the agent's host;
the server follows the rotate manifest that the old key signs. One that only
witnesses the log is told the new key with "auditail-server enroll --add-key".`,
	}
	o := storeOptions(c)
	tokenFile := c.Flags().String("token-file", "", "write the token to this new file, mode 0600, instead of standard output")
	c.RunE = o.recorded(func(c *cobra.Command, args []string, config server.Config, d server.Deps) error {
		token, err := server.NewToken(c.Context(), config, d, args[0], *tokenFile)
		if err == nil && *tokenFile == "" {
			_, err = fmt.Fprintln(c.OutOrStdout(), token)
		}
		return err
	})
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
	c.RunE = o.recorded(func(c *cobra.Command, args []string, config server.Config, d server.Deps) error {
		anchor, err := server.ParseAnchor(*at)
		if err != nil {
			return fmt.Errorf("anchor needs --at: %w", err)
		}
		return server.AddAnchor(c.Context(), config, d, args[0], anchor)
	})
	return c
}
