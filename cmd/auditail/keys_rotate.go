package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
)

func newKeysRotate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rotate", Short: "Rotate the signing key, or with --capture the capture key", Args: cobra.NoArgs,
		Long: `Makes the signing key that is to follow. The agent signs it in with a batch of kind
rotate, which the present key and the new one sign both: within half a minute when
it runs, else at its next start. Auditors and receivers that trust the present key
trust the new one from that batch on, and need not be told. The present key is
erased once an output holds that batch. A key that is a systemd credential can not
be written from here: the command then says what to do.

With --capture it adds a new key to the file of the capture key. From the agent's
next start on, new keyed hashes and pseudonyms are made with it; their text names
the key. The older keys stay in the file, for auditors: escrow it again with
"auditail keys export".`,
		Example: `  auditail keys rotate
  auditail keys rotate --capture && systemctl restart auditail`,
	}
	path := configFlag(cmd)
	ofCapture := cmd.Flags().Bool("capture", false, "the capture key")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(*path)
		if err != nil {
			return err
		}
		if *ofCapture {
			return rotateCaptureKey(cmd, cfg)
		}
		return rotateIdentity(cmd, cfg)
	}
	return cmd
}

func rotateIdentity(cmd *cobra.Command, cfg *config.Config) error {
	key, made, err := newSigningKey(durable.OS{}, cfg).Rotate()
	if errors.Is(err, fs.ErrNotExist) {
		return noSigningKey(cfg)
	}
	if err != nil {
		return err
	}
	verb := "was asked for before"
	if made {
		verb = "is made"
	}
	log := seal.Log{Organization: cfg.Agent.Organization, Agent: cfg.Agent.ID}
	cmd.PrintErrf("the next signing key %s: the agent signs it in within half a minute when it runs, else at its next start\n", verb)
	_, err = fmt.Fprintln(cmd.OutOrStdout(), seal.VKey(log.String(), key)) // alone, for a file
	return err
}

func noSigningKey(cfg *config.Config) error {
	return fmt.Errorf("there is no signing key in %s yet: run auditail keys init", cfg.Agent.IdentityKey)
}
