package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/enrol"
	"github.com/auditail/auditail/seal"
)

const (
	enrollTimeout = 30 * time.Second
	maxCAFile     = 1 << 20
	maxTokenFile  = 4 << 10
)

func newEnroll() *cobra.Command {
	cmd := &cobra.Command{
		Use: "enroll --server URL --token TOKEN", Short: "Enrol this agent at an auditail-server with a one-time token", Args: cobra.NoArgs,
		Long: `Sends this agent's public key and proves that it holds the private one; the
signing key is made when there is none yet. The bearer token that the server gives
goes to --token-file, mode 0600, for [[outputs.http]] token. On success the
server's witness key is printed.

The one-time token comes from "auditail-server enroll --one-time". Without --token
it is read from standard input, where no other user sees it.`,
		Example: `  auditail enroll --server https://audit.example.com --token-file /etc/auditail/token < one-time`,
	}
	path := configFlag(cmd)
	server := cmd.Flags().String("server", "", "base URL of the server")
	token := cmd.Flags().String("token", "", "the one-time token")
	tokenFile := cmd.Flags().String("token-file", "", "where the bearer token goes (default: <data_dir>/token)")
	caFile := cmd.Flags().String("ca-file", "", "PEM file of the authorities to trust instead of the system's (default: ca_file of the output with this URL)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(*path)
		if err != nil {
			return err
		}
		if err := checkServerURL(*server); err != nil {
			return err
		}
		if *tokenFile == "" {
			*tokenFile = filepath.Join(cfg.Agent.DataDir, "token")
		}
		if *token == "" {
			text, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxTokenFile))
			if err != nil {
				return fmt.Errorf("read the one-time token: %w", err)
			}
			*token = strings.TrimSpace(string(text))
		}
		if *caFile == "" {
			*caFile = caFileOf(cfg, *server)
		}
		client, err := enrollClient(*caFile)
		if err != nil {
			return err
		}
		fsys := durable.OS{}
		key, _, err := newSigningKey(fsys, cfg).Make()
		if err != nil {
			return err
		}
		log := seal.Log{Organization: cfg.Agent.Organization, Agent: cfg.Agent.ID}
		request, err := enrol.NewRequest(*token, log, key)
		if err != nil {
			return err
		}
		answer, err := enrol.Do(cmd.Context(), client, *server, request)
		if err != nil {
			return err
		}
		if err := durable.WriteFile(fsys, *tokenFile, []byte(answer.Token+"\n"), 0o600); err != nil {
			return fmt.Errorf("keep the bearer token: %w; enrol again with the same one-time token", err)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "enrolled %s\ntoken    %s\nwitness  %s\n", log, *tokenFile, answer.Witness)
		return err
	}
	return cmd
}

// checkServerURL refuses to send a token over a network in the clear.
func checkServerURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return errors.New("enroll needs --server: the base URL of an auditail-server")
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("--server %q is not an https URL", text)
	case u.Scheme == "http" && u.Hostname() != "localhost" && !net.ParseIP(u.Hostname()).IsLoopback():
		return fmt.Errorf("--server %s: plain HTTP is for loopback addresses only, the token would be readable on the way; use https", text)
	}
	return nil
}

// caFileOf returns the authorities that the output to the same server trusts.
func caFileOf(cfg *config.Config, server string) string {
	for _, o := range cfg.Outputs.HTTP {
		if strings.TrimSuffix(o.URL, "/") == strings.TrimSuffix(server, "/") {
			return o.CAFile
		}
	}
	return ""
}

func enrollClient(caFile string) (*http.Client, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := durable.ReadFile(durable.OS{}, caFile, maxCAFile)
		if err != nil {
			return nil, fmt.Errorf("read --ca-file: %w", err)
		}
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca-file %s holds no certificate in PEM", caFile)
		}
	}
	return &http.Client{
		Timeout:       enrollTimeout,
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: settings},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}
