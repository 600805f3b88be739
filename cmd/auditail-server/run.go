package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/server"
)

func runCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "run --store DIR",
		Short: "Receive and store batches until SIGTERM",
		Example: `  auditail-server run --store /srv/audit
  auditail-server run --store /srv/audit --listen :8443 --tls-cert server.pem --tls-key server.key
  auditail-server run --config /etc/auditail/auditail-server.toml`,
		Args: cobra.NoArgs,
	}
	o := listenOptions(c)
	verbose := c.Flags().Bool("verbose", false, "log every stored object")
	c.RunE = func(c *cobra.Command, _ []string) error {
		config, err := o.config()
		if err != nil {
			return err
		}
		level := slog.LevelInfo
		if *verbose {
			level = slog.LevelDebug
		}
		// The port first: a second server over the same state must not clean up
		// what the first is receiving.
		l, err := server.Listen(c.Context(), config)
		if err != nil {
			return err
		}
		s, err := server.New(config, deps(c.ErrOrStderr(), level))
		if err != nil {
			l.Close()
			return err
		}
		return s.Run(c.Context(), l)
	}
	return c
}
