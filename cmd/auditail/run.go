package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/agent"
	"github.com/auditail/auditail/internal/admin"
	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/crash"
	"github.com/auditail/auditail/internal/sdnotify"
	"github.com/auditail/auditail/internal/selflog"
	"github.com/auditail/auditail/internal/version"
)

func newRun() *cobra.Command {
	cmd := &cobra.Command{
		Use: "run", Short: "Run the agent in the foreground", Args: cobra.NoArgs,
		Long: `Runs until SIGTERM or SIGINT, then stops within 10 s: what was read is sealed,
and what the outputs have not taken by then ships at the next start.

With --once it reads what the file inputs hold now (an unterminated last line
counts), seals, ships and stops. It exits with 1 when an output did not take
everything within --timeout; the data is kept.

Exit codes: 0 stopped as asked; 1 with the reason on standard error; 2 stopped by
a defect: the line on standard error names the file with the stack, and the next
start recovers.`,
		Example: `  auditail run --config /etc/auditail/auditail.toml
  auditail run --once --timeout 5m`,
	}
	path := configFlag(cmd)
	once := cmd.Flags().Bool("once", false, "read what is there, ship it, stop")
	timeout := cmd.Flags().Duration("timeout", 5*time.Minute, "with --once: how long the outputs may take")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if cmd.Flags().Changed("timeout") && !*once {
			return errors.New("--timeout goes with --once")
		}
		cfg, err := config.Load(*path)
		if err != nil {
			return err
		}
		memoryLimit(cfg)
		stderr := cmd.ErrOrStderr()
		watcher, unwatched := crash.Watch(stderr, crash.CommandName, "--", cfg.Agent.DataDir)
		if unwatched == nil {
			stderr = watcher.Stderr()
			defer func() { err = errors.Join(err, watcher.Stop()) }()
		}
		self := selflog.New(time.Now)
		log := slog.New(self.Handler(newLogger(cfg.Log, stderr).Handler()))
		if unwatched != nil {
			log.Warn("a crash would not be written down", "error", unwatched)
		}
		for _, w := range cfg.Warnings {
			log.Warn(w) //nolint:sloglint // the sentence is the configuration's
		}
		setup, err := prepare(cmd.Context(), cfg, log)
		if err != nil {
			return err
		}
		setup.selfLog = self.Newest
		setup.begin()
		log.Info("starting", "version", version.String(), "log", setup.config.Log.String(), "data_dir", cfg.Agent.DataDir)
		err = runAgent(cmd.Context(), setup, *path, *once, *timeout)
		if err = errors.Join(err, setup.close()); err != nil {
			return err
		}
		log.Info("stopped")
		return nil
	}
	return cmd
}

// memoryLimit keeps the garbage collector inside promise 11 of the README. A limit that
// the operator set (GOMEMLIMIT) stays.
func memoryLimit(cfg *config.Config) {
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return
	}
	// The rest of 64 MiB + 6 × max_line is what the collector does not see (program
	// text) and what it has not yet given back.
	const base = 36 << 20
	debug.SetMemoryLimit(base + 5*longestLine(cfg))
}

func runAgent(ctx context.Context, s *setup, path string, once bool, timeout time.Duration) error {
	a, err := agent.New(ctx, s.config, s.deps)
	if err != nil {
		return err
	}
	if !once {
		return runServed(ctx, a, s, path)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("--timeout %s is over", timeout))
	defer cancel()
	return a.RunOnce(ctx)
}

// runServed runs the agent with the endpoint of those who operate it. An agent
// that can not be asked still does its work.
func runServed(ctx context.Context, a *agent.Agent, s *setup, path string) error {
	notifier := sdnotify.ForProcess(ctx)
	reloads := newReloader(path, s, a, notifier)
	status := func() admin.Status {
		now := a.Status()
		now.LastRun = string(s.run.Last)
		return now
	}
	server, err := admin.Listen(ctx, s.admin, admin.Deps{Log: s.deps.Log, Status: status, Reload: reloads.Reload, Tap: s.deps.Taps, SelfLog: s.selfLog})
	if err != nil {
		s.deps.Log.ErrorContext(ctx, "the agent runs, but can not be asked everywhere it should", "error", err)
	}
	s.deps.Log.InfoContext(ctx, "status and metrics", "addresses", server.Addresses())
	beside, stop := context.WithCancel(ctx)
	var ended sync.WaitGroup
	ended.Go(func() { reloads.run(beside) })
	ended.Go(func() {
		w := supervisor{notifier: notifier, status: status, log: s.deps.Log, now: time.Now}
		w.run(beside)
	})
	err = a.Run(ctx)
	stop()
	ended.Wait()
	return errors.Join(err, server.Close())
}
