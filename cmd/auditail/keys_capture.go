package main

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/agent/capture"
	"github.com/auditail/auditail/agent/capture/keyed"
	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/durable"
)

func newKeysExport() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export --recipient age1…", Short: "Escrow the capture key, encrypted to an auditor", Args: cobra.NoArgs,
		Long: `Prints the capture keys, encrypted with age to the recipients. Whoever holds one of
the identities gets them back with "age --decrypt", and can then tell with
"auditail-verify check-text" whether a given text is the one behind a record. The
signing key is never exported.`,
		Example: `  auditail keys export --recipient age1… > capture.key.age
  age --decrypt -i auditor.key capture.key.age > capture.key     on the auditor's machine`,
	}
	path := configFlag(cmd)
	recipients := cmd.Flags().StringArray("recipient", nil, "recipient of age, as age-keygen shows it (required, may be repeated)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if len(*recipients) == 0 {
			return errors.New("--recipient is missing: the capture key leaves this host only encrypted to somebody, such as --recipient age1…")
		}
		cfg, err := config.Load(*path)
		if err != nil {
			return err
		}
		list, err := existingCaptureKeys(cfg)
		if err != nil {
			return err
		}
		sealed, err := capture.Encrypt(list.Marshal(), *recipients)
		if err != nil {
			return err
		}
		_, err = cmd.OutOrStdout().Write(sealed)
		return err
	}
	return cmd
}

func rotateCaptureKey(cmd *cobra.Command, cfg *config.Config) error {
	list, err := existingCaptureKeys(cfg)
	if err != nil {
		return err
	}
	file := cfg.Capture.HMACKey.File
	if file == "" {
		return fmt.Errorf("the capture key is in %s, which auditail can not write: make one with auditail keys init elsewhere and add its line at the end", cfg.Capture.HMACKey)
	}
	if owner, other := durable.OtherOwner(file); other {
		return fmt.Errorf("%s belongs to user %d: run this as that user, with runuser or sudo -u, so that the agent can read the new file", file, owner)
	}
	list = list.Rotate(time.Now())
	if err := durable.WriteFile(durable.OS{}, file, list.Marshal(), 0o600); err != nil {
		return fmt.Errorf("write the capture keys: %w", err)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "capture key %s added to %s\nit is used from the agent's next start on; escrow it with auditail keys export\n", list.Current().ID, file)
	return err
}

// existingCaptureKeys reads the capture keys and makes none.
func existingCaptureKeys(cfg *config.Config) (keyed.Keys, error) {
	list, err := readCaptureKeys(cfg.Capture.HMACKey)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no capture key in %s yet: run auditail keys init", cfg.Capture.HMACKey)
	}
	return list, err
}
