package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/sdnotify"
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
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
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
		own := newJournal()
		d := deps(c.ErrOrStderr(), level)
		d.Journal = own
		dir, unlock, err := lockOwn(config, d)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		finish := beginRun(&d, c.ErrOrStderr(), level, dir)
		defer func() { err = errors.Join(err, finish(), unlock()) }()
		s, err := server.New(c.Context(), config, d)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		keepLog, err := own.start(c.Context(), config, dir, d.Logger)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		watched, unwatch := context.WithCancel(c.Context())
		var watching sync.WaitGroup
		watching.Go(func() {
			supervise(watched, sdnotify.ForProcess(watched), config, l.Addr(), d.Logger)
		})
		err = serve(c.Context(), s, l, keepLog)
		unwatch()
		watching.Wait()
		return err
	}
	return c
}

// serve runs the server, and its own log until the last request has ended. When
// one fails the other stops, too.
func serve(ctx context.Context, s *server.Server, l net.Listener, keepLog func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	logging, stopLog := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLog()
	done := make(chan error, 1)
	go func() {
		err := keepLog(logging)
		stop()
		done <- err
	}()
	err := s.Run(ctx, l)
	stopLog()
	return errors.Join(err, <-done)
}
