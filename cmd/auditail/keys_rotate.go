package main

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/keys"
	"github.com/auditail/auditail/seal"
)

func newKeysRotate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rotate", Short: "Rotate the signing key, or with --capture the capture key", Args: cobra.NoArgs,
		Long: `Makes the signing key that is to follow. The agent signs it in with a batch of kind
rotate, which the present key and the new one sign both: within half a minute when
it runs, else at its next start. Auditors and receivers that trust the present key
trust the new one from that batch on, and need not be told. The present key is
erased once an output holds that batch.

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
	file := keys.IdentityPath(cfg.Agent.DataDir)
	if owner, other := otherOwner(file); other {
		return fmt.Errorf("%s belongs to user %d: run this as that user, with runuser or sudo -u, so that the agent can read the new key", file, owner)
	}
	key, made, err := keys.MakeSuccessor(durable.OS{}, file)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no signing key in %s yet: run auditail keys init", cfg.Agent.DataDir)
	}
	if err != nil {
		return err
	}
	verb := "was asked for before"
	if made {
		verb = "is made"
	}
	log := seal.Log{Organization: cfg.Agent.Organization, Agent: cfg.Agent.ID}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "the next signing key %s: the agent signs it in within half a minute when it runs, else at its next start\n%s\n",
		verb, seal.VKey(log.String(), publicKey(key)))
	return err
}

// fileKeys are the identity key in a file, and the one beside it that is to follow.
type fileKeys struct {
	fs   durable.FS
	path string
}

func (k fileKeys) Load() (identity, successor crypto.Signer, err error) {
	next, err := keys.LoadSuccessor(k.fs, k.path)
	if err != nil {
		return nil, nil, err
	}
	if next != nil {
		successor = next
	}
	identity, err = keys.LoadIdentity(k.fs, k.path)
	return identity, successor, err
}

func (k fileKeys) Waiting() bool {
	_, err := k.fs.Stat(keys.SuccessorPath(k.path))
	return err == nil
}

func (k fileKeys) Adopt() error { return keys.Adopt(k.fs, k.path) }
