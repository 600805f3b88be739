package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/keys"
	"github.com/auditail/auditail/seal"
)

func newKeys() *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys", Short: "Make, show and escrow the agent's keys", Args: cobra.NoArgs,
		Example: `  auditail keys init
  auditail keys show --format vkey > trust.txt              for auditail-verify and auditail-server
  auditail keys show --format allowed-signers > signers     for ssh-keygen -Y verify`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newKeysExport(), newKeysFingerprint(), newKeysInit(), newKeysRotate(), newKeysShow())
	return cmd
}

func newKeysInit() *cobra.Command {
	cmd := &cobra.Command{
		Use: "init", Short: "Make the signing key and the capture key where they are absent", Args: cobra.NoArgs,
		Long: `The agent makes missing keys at its first start; init does it before, so that the
public key can be enrolled first. Keys that exist are left as they are.`,
	}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(*path)
		if err != nil {
			return err
		}
		signing := newSigningKey(durable.OS{}, cfg)
		_, made, err := signing.Make()
		if err != nil {
			return err
		}
		if _, err := loadCaptureKeys(durable.OS{}, cfg); err != nil {
			return err
		}
		key, err := signing.Public()
		if err != nil {
			return err
		}
		verb := "already there"
		if made {
			verb = "made"
		}
		log := seal.Log{Organization: cfg.Agent.Organization, Agent: cfg.Agent.ID}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "signing key %s: %s\ncapture key: %s\n%s\n", verb, signing, cfg.Capture.HMACKey, seal.VKey(log.String(), key))
		return err
	}
	return cmd
}

func newKeysShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show", Short: "Print the public signing key", Args: cobra.NoArgs,
		Long: `Formats:
  vkey             C2SP verifier key: auditail-verify --trust, auditail-server enroll
  allowed-signers  a line for ssh-keygen -Y verify -f
  pem              PKIX public key`,
	}
	path := configFlag(cmd)
	format := cmd.Flags().String("format", "vkey", "vkey, allowed-signers or pem")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(*path)
		if err != nil {
			return err
		}
		key, err := newSigningKey(durable.OS{}, cfg).Public()
		if errors.Is(err, fs.ErrNotExist) {
			return noSigningKey(cfg)
		}
		if err != nil {
			return err
		}
		return showKey(cmd.OutOrStdout(), *format, seal.Log{Organization: cfg.Agent.Organization, Agent: cfg.Agent.ID}, key)
	}
	return cmd
}

func showKey(w io.Writer, format string, log seal.Log, key []byte) error {
	var text string
	switch format {
	case "vkey":
		text = seal.VKey(log.String(), key) + "\n"
	case "allowed-signers":
		text = seal.AllowedSigner(log, key) + "\n"
	case "pem":
		encoded, err := keys.PublicPEM(key)
		if err != nil {
			return err
		}
		text = string(encoded)
	default:
		return fmt.Errorf("unknown format %q: use vkey, allowed-signers or pem", format)
	}
	_, err := io.WriteString(w, text)
	return err
}
