package main

import (
	"bufio"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/server"
	"github.com/auditail/auditail/seal"
)

func enrollCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "enroll --store DIR (--key VKEY|FILE [--add-key] | --one-time)",
		Short: "Let an agent write its log, and print its bearer token",
		Long: `enroll takes the public key of an agent, which "auditail keys show --format
vkey" prints there, and gives the token with which the agent may write its own
log and no other. The token goes to standard output, once: only its SHA-256 is
kept. A running server knows the agent at once.

With --one-time there is no key yet: what is printed lets one agent enrol itself
before it expires, with "auditail enroll --server URL --token T" on its host.

With --add-key the key is a further one of an agent that is enrolled: a server that
receives the agent's batches learns of "auditail keys rotate" from them, one that is
only its witness must be told the new key. From the first head that is signed with it
on, the keys before it are refused; until then both are good. The token stays.

A log begins with the first manifest of its first epoch. For an agent that wrote
elsewhere before, --start any takes it from wherever it goes on, and --start
0001/42 from that epoch and batch on.`,
		Example: `  auditail-server enroll --store /srv/audit --key gpu-07.vkey --token-file gpu-07.token
  auditail-server enroll --store /srv/audit --one-time --agent gpu-08 --expires 1h
  auditail-server enroll --store /srv/audit --add-key --key gpu-07.new.vkey`,
		Args: cobra.NoArgs,
	}
	o := storeOptions(c)
	key := c.Flags().String("key", "", "the agent's verifier key, <organization>/<agent>+<hash>+<base64>, or a file that holds it")
	tokenFile := c.Flags().String("token-file", "", "write the token to this new file, mode 0600, instead of standard output")
	start := c.Flags().String("start", "", `where the log may begin: "any", or <epoch>/<batch>; default: with its first epoch`)
	once := c.Flags().Bool("one-time", false, "print a token with which one agent enrols itself")
	add := c.Flags().Bool("add-key", false, "with --key: a further key of an agent that is enrolled, for a server that is only its witness")
	var who server.OneTime
	c.Flags().StringVar(&who.Agent, "agent", "", "with --one-time: only for this agent id")
	c.Flags().StringVar(&who.Organization, "for-organization", "", "with --one-time: only for agents of this organization")
	expires := c.Flags().Duration("expires", time.Hour, "with --one-time: how long the token is good")
	c.MarkFlagsMutuallyExclusive("key", "one-time")
	for _, other := range []string{"one-time", "start", "token-file"} {
		c.MarkFlagsMutuallyExclusive("add-key", other)
	}
	c.RunE = o.recorded(func(c *cobra.Command, _ []string, config server.Config, d server.Deps) error {
		if *once {
			who.Start, who.Expires = *start, time.Now().Add(*expires)
			return printToken(c, *tokenFile, func() (string, error) {
				return server.NewOneTime(c.Context(), config, d, who)
			})
		}
		log, public, err := readKey(*key)
		if err != nil {
			return err
		}
		if *add {
			if err := server.AddKey(c.Context(), config, d, log, public); err != nil {
				return err
			}
			fmt.Fprintf(c.ErrOrStderr(), "added a key of %s\n", log)
			return nil
		}
		token, err := server.Enrol(c.Context(), config, d, log, public, *start, *tokenFile)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.ErrOrStderr(), "enrolled %s\n", log)
		if *tokenFile == "" {
			fmt.Fprintln(c.OutOrStdout(), token)
		}
		return nil
	})
	return c
}

// printToken prints a token, or writes it to a new file.
func printToken(c *cobra.Command, file string, token func() (string, error)) error {
	text, err := token()
	if err != nil {
		return err
	}
	if file != "" {
		return durable.CreateFile(durable.OS{}, file, []byte(text+"\n"), 0o600)
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), text)
	return err
}

const maxKeyFile = 64 << 10

// readKey reads a verifier key that was given itself or as a file, in which
// empty lines and those that start with # do not count.
func readKey(given string) (seal.Log, ed25519.PublicKey, error) {
	if given == "" {
		return seal.Log{}, nil, errors.New(`enroll needs --key, a verifier key or its file, or --one-time; "auditail keys show --format vkey" prints it`)
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
