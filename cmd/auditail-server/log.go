package main

import (
	"crypto/ed25519"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/keys"
	"github.com/auditail/auditail/internal/server"
	"github.com/auditail/auditail/seal"
)

func logCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "log --store DIR",
		Short: "Tell where the server's own signed log lies, and its public key",
		Long: `The server keeps enrolments, refusals, forks, silence, purges and every read of an
auditor in a signed log of its own, made and archived as that of an agent. log
prints the verifier key for the trust file, behind a comment with the archive's
place: auditail-verify archive PLACE --trust FILE.`,
		Args: cobra.NoArgs,
	}
	o := storeOptions(c)
	nameOptions(o)
	c.RunE = o.look(func(c *cobra.Command, _ []string, config server.Config, d server.Deps) error {
		state, err := server.StateDir(config, d)
		if err != nil {
			return err
		}
		dir := ownDir(state, config.ID)
		key, _, err := keys.LoadOrMakeIdentity(durable.OS{}, keys.IdentityPath(dir))
		if err != nil {
			return err
		}
		public, _ := key.Public().(ed25519.PublicKey)
		log := seal.Log{Organization: config.Organization, Agent: config.ID}
		_, err = fmt.Fprintf(c.OutOrStdout(), "# %s\n%s\n", ownArchive(config, dir), seal.VKey(log.String(), public))
		return err
	})
	return c
}
