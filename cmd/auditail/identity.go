package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/agent/capture/keyed"
	"github.com/auditail/auditail/agent/identity"
	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/parsers"
)

// newIdentities returns who is declared for an input.
func newIdentities(cfg *config.Config, input string) *identity.Map {
	var entries []identity.Entry
	for _, e := range cfg.Identity {
		entries = append(entries, identity.Entry{
			Input: e.Input, ID: e.ID, Name: e.Name, Type: e.Type, Roles: e.Roles,
			KeyIDs: e.KeyIDs, Users: e.Users, Addresses: prefixes(e.Addresses),
		})
	}
	var zones []identity.Zone
	for _, z := range cfg.Zone {
		zones = append(zones, identity.Zone{Name: z.Name, Addresses: prefixes(z.Addresses)})
	}
	return identity.New(entries, zones, input)
}

func prefixes(addresses []string) []netip.Prefix {
	var list []netip.Prefix
	for _, address := range addresses {
		list = append(list, config.Prefix(address))
	}
	return list
}

func newKeysFingerprint() *cobra.Command {
	cmd := &cobra.Command{
		Use: "fingerprint", Short: "Print the fingerprints of API keys", Args: cobra.NoArgs,
		Long: `Reads API keys from standard input, one a line, and prints for each the fingerprint
that records have in actor.key_id and that key_ids of [[identity]] takes. The
fingerprint depends on the capture key: after a rotation there is another one.`,
		Example: `  auditail keys fingerprint < api-key.txt`,
	}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(*path)
		if err != nil {
			return err
		}
		keys, err := loadCaptureKeys(durable.OS{}, cfg)
		if err != nil {
			return err
		}
		return fingerprint(cmd.InOrStdin(), cmd.OutOrStdout(), keyed.NewKeyIDs(keys.Current()))
	}
	return cmd
}

// fingerprint prints nothing of a key, also when it is none.
func fingerprint(from io.Reader, to io.Writer, ids *keyed.KeyIDs) error {
	parser := parsers.Config{KeyID: ids.Append}
	lines := bufio.NewScanner(from)
	for n := 1; lines.Scan(); n++ {
		id, ok := parser.Fingerprint(nil, lines.Bytes())
		if !ok {
			return fmt.Errorf("line %d is no API key: write the whole key, alone or as the value of an Authorization header", n)
		}
		if _, err := fmt.Fprintf(to, "%s\n", id); err != nil {
			return err
		}
	}
	if lines.Err() != nil {
		return errors.New("read keys: a line is too long")
	}
	return nil
}
