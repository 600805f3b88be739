package main

import (
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
	c.RunE = o.look(func(c *cobra.Command, _ []string, config server.Config, d server.Deps) error {
		all, err := server.Accounts(c.Context(), config, d)
		if err != nil {
			return err
		}
		return table(c, *asJSON, "NAME\tROLE\tCREATED\tEXPIRES\tREVOKED", all, func(a *server.Account) string {
			return row(a.Name, a.Role, clock(a.Created), clock(a.Expires), clock(a.Revoked))
		})
	})
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
	c.RunE = o.recorded(func(c *cobra.Command, args []string, config server.Config, d server.Deps) error {
		var until time.Time
		if *expires > 0 {
			until = time.Now().Add(*expires)
		}
		return printToken(c, *tokenFile, func() (string, error) {
			return server.AddAccount(c.Context(), config, d, args[0], server.Role(*role), until)
		})
	})
	return c
}
