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

func accountsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "accounts --store DIR",
		Short: "List who may read the archive over HTTPS: auditors and admins",
		Long: `An auditor reads everything that is stored, an admin also sees the agents' state.
Neither can write. Every read of theirs is a store.access record in the server's
own signed log.`,
		Example: `  auditail-server accounts add jane --role auditor --expires 720h --store /srv/audit
  auditail-server accounts revoke jane --store /srv/audit`,
		Args: cobra.NoArgs,
	}
	o := storeOptions(c)
	asJSON := c.Flags().Bool("json", false, "print one JSON array")
	c.RunE = func(c *cobra.Command, _ []string) error {
		config, err := o.config()
		if err != nil {
			return err
		}
		all, err := server.Accounts(config, deps(c.ErrOrStderr(), slog.LevelInfo))
		if err != nil {
			return err
		}
		if *asJSON {
			e := json.NewEncoder(c.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(all)
		}
		w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tROLE\tCREATED\tEXPIRES\tREVOKED")
		for _, a := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", a.Name, a.Role, clock(a.Created), clock(a.Expires), clock(a.Revoked))
		}
		return w.Flush()
	}
	c.AddCommand(accountAddCommand(), agentCommand("revoke NAME", "End an account at once", server.RevokeAccount))
	return c
}

func accountAddCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "add NAME", Short: "Make an account, or give it another token, and print that", Args: cobra.ExactArgs(1),
		Long: "add prints a bearer token, once: only its SHA-256 is kept. An account that exists\ngets a new token, role and expiry, and its old token ends.",
	}
	o := storeOptions(c)
	role := c.Flags().String("role", string(server.Auditor), "auditor or admin")
	expires := c.Flags().Duration("expires", 0, "how long the token is good; 0 for ever")
	tokenFile := c.Flags().String("token-file", "", "write the token to this new file, mode 0600, instead of standard output")
	c.RunE = func(c *cobra.Command, args []string) error {
		config, err := o.config()
		if err != nil {
			return err
		}
		var until time.Time
		if *expires > 0 {
			until = time.Now().Add(*expires)
		}
		return printToken(c, *tokenFile, func() (string, error) {
			return server.AddAccount(config, deps(c.ErrOrStderr(), slog.LevelInfo), args[0], server.Role(*role), until)
		})
	}
	return c
}
