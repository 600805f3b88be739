package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/server"
)

func checkCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "check --store DIR",
		Short: "Tell whether run would work: store, registry, TLS files, port",
		Args:  cobra.NoArgs,
	}
	o := listenOptions(c)
	asJSON := c.Flags().Bool("json", false, "print one JSON array")
	c.RunE = o.look(func(c *cobra.Command, _ []string, config server.Config, d server.Deps) (err error) {
		findings := server.Check(c.Context(), config, d)
		good := true
		for _, f := range findings {
			good = good && f.OK
		}
		if *asJSON {
			e := json.NewEncoder(c.OutOrStdout())
			e.SetIndent("", "  ")
			err = e.Encode(findings)
		} else {
			for _, f := range findings {
				word := "ok   "
				if !f.OK {
					word = "WRONG"
				}
				fmt.Fprintf(c.OutOrStdout(), "%s  %-10s %s\n", word, f.What, f.Detail)
			}
		}
		if err == nil && !good {
			err = errors.New("run would not work; see the findings")
		}
		return err
	})
	return c
}
