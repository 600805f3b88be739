package main

import (
	"bufio"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/server"
	"github.com/auditail/auditail/seal"
)

func enrollCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "enroll --store DIR --key VKEY|FILE",
		Short: "Let an agent write its log, and print its bearer token",
		Long: `enroll takes the public key of an agent, which "auditail keys show --format
vkey" prints there, and gives the token with which the agent may write its own
log and no other. The token goes to standard output, once: only its SHA-256 is
kept. A running server knows the agent at once.`,
		Example: `  auditail-server enroll --store /srv/audit --key gpu-07.vkey --token-file gpu-07.token`,
		Args:    cobra.NoArgs,
	}
	o := storeOptions(c)
	key := c.Flags().String("key", "", "the agent's verifier key, <organization>/<agent>+<hash>+<base64>, or a file that holds it")
	tokenFile := c.Flags().String("token-file", "", "write the token to this new file, mode 0600, instead of standard output")
	c.RunE = func(c *cobra.Command, _ []string) error {
		config, err := o.config()
		if err != nil {
			return err
		}
		log, public, err := readKey(*key)
		if err != nil {
			return err
		}
		token, err := server.Enrol(config, deps(c.ErrOrStderr(), slog.LevelInfo), log, public, *tokenFile)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.ErrOrStderr(), "enrolled %s\n", log)
		if *tokenFile == "" {
			fmt.Fprintln(c.OutOrStdout(), token)
		}
		return nil
	}
	return c
}

const maxKeyFile = 64 << 10

// readKey reads a verifier key that was given itself or as a file, in which
// empty lines and those that start with # do not count.
func readKey(given string) (seal.Log, ed25519.PublicKey, error) {
	if given == "" {
		return seal.Log{}, nil, errors.New(`enroll needs --key: a verifier key or its file; "auditail keys show --format vkey" prints it`)
	}
	log, key, parseErr := server.ParseKey(given)
	if parseErr == nil {
		return log, key, nil
	}
	data, err := durable.ReadFile(durable.OS{}, given, maxKeyFile)
	if err != nil {
		return log, nil, fmt.Errorf("%w; and as a file: %w", parseErr, err)
	}
	var found []string
	for lines := bufio.NewScanner(strings.NewReader(string(data))); lines.Scan(); {
		if line := strings.TrimSpace(lines.Text()); line != "" && !strings.HasPrefix(line, "#") {
			found = append(found, line)
		}
	}
	if len(found) != 1 {
		return log, nil, fmt.Errorf("key file %s holds %d keys; enroll takes one", given, len(found))
	}
	return server.ParseKey(found[0])
}
