package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/server"
)

func witnessCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "witness --store DIR",
		Short: "Print the public key with which the server cosigns the logs' heads",
		Long: `witness prints the verifier key of the server's witness (C2SP cosignature/v1).
Auditors put it into their trust file or witness policy; agents need it to check
what add-checkpoint answers. The key is made when there is none yet.`,
		Args: cobra.NoArgs,
	}
	o := storeOptions(c)
	nameOptions(o)
	c.RunE = o.look(func(c *cobra.Command, _ []string, config server.Config, d server.Deps) error {
		key, err := server.WitnessKey(c.Context(), config, d)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.OutOrStdout(), key)
		return err
	})
	return c
}
