package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/config"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Write, show and explain configurations", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigInit(), newConfigShow(), newConfigSchema())
	return cmd
}

func newConfigShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show", Short: "Print the effective configuration", Args: cobra.NoArgs,
		Long: `Prints what the agent would run with: the file, conf.d beside it, and every
default, as TOML that means the same. A secret is shown as where it lies; its
value is not even read.`,
		Example: `  auditail config show --config auditail.toml
  auditail config show --json | jq .buffer`,
	}
	path := configFlag(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(*path)
		if err != nil {
			return err
		}
		return showConfig(cmd.OutOrStdout(), cfg, *asJSON)
	}
	return cmd
}

func showConfig(w io.Writer, cfg *config.Config, asJSON bool) error {
	var text bytes.Buffer
	if asJSON {
		if err := json.Indent(&text, cfg.JSON(), "", "  "); err != nil {
			return fmt.Errorf("write configuration: %w", err)
		}
		text.WriteByte('\n')
	} else {
		fmt.Fprintf(&text, "## The effective configuration, %s\n\n%s", cfg.Digest(), cfg.TOML())
	}
	_, err := w.Write(text.Bytes())
	return err
}

func newConfigSchema() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print a JSON Schema of the configuration file", Args: cobra.NoArgs,
		Long: `Prints a JSON Schema (2020-12) for editors: they complete keys, explain them and
mark what is misspelt. What one key means for another, auditail check says.`,
		Example: `  auditail config schema > auditail.schema.json
  first line of auditail.toml, for editors that use Taplo: #:schema ./auditail.schema.json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.Schema())
			return err
		},
	}
}
