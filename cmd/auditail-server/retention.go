package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/server"
)

// operatorSuffix names the log of what is done on the command line, beside that
// of a server that runs.
const operatorSuffix = ".operator"

// withJournal runs work with a signed log for what it does, which is sealed with
// close when it returns.
func withJournal(ctx context.Context, config server.Config, d server.Deps, work func(server.Deps) error) (err error) {
	config.ID += operatorSuffix
	dir, unlock, err := waitForOwn(ctx, config, d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	own := newJournal()
	run, err := own.start(ctx, config, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	logging, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- run(logging) }()
	d.Journal = own
	err = work(d)
	stop()
	return errors.Join(err, <-done)
}

// Another command holds the operator's log for about as long as it runs.
const (
	ownTries = 300
	ownPause = 100 * time.Millisecond
)

// waitForOwn is lockOwn, which waits until other commands are done.
func waitForOwn(ctx context.Context, config server.Config, d server.Deps) (dir string, unlock func() error, err error) {
	tick := time.NewTicker(ownPause)
	defer tick.Stop()
	for range ownTries {
		dir, unlock, err = lockOwn(config, d)
		if !errors.Is(err, durable.ErrLocked) {
			return dir, unlock, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", nil, ctx.Err()
		}
	}
	return "", nil, err
}

func retentionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "retention",
		Short: "Remove payloads whose term is over; set and lift legal holds",
		Long: `A batch says under its signature until when it is to be kept: the term of its
class when it was sealed. retention apply removes payloads behind that time, never
seals, and records each as store.purge in a signed log first (auditail-server log
--id <id>.operator tells where). auditail-verify then reports them as expired; a
payload that is missing earlier is a violation.`,
		Example: `  auditail-server retention apply --store /srv/audit --dry-run
  auditail-server retention hold case-17 --reason "letter of 3 May" --service chat --store /srv/audit`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(retentionApply(), retentionHold(), retentionLift(), retentionHolds())
	return c
}

func retentionApply() *cobra.Command {
	c := &cobra.Command{Use: "apply", Short: "Remove the payloads whose term is over", Args: cobra.NoArgs}
	o := storeOptions(c)
	dryRun := c.Flags().Bool("dry-run", false, "only count")
	asJSON := c.Flags().Bool("json", false, "print one JSON object")
	c.RunE = o.recorded(func(c *cobra.Command, _ []string, config server.Config, d server.Deps) error {
		done, err := server.ApplyRetention(c.Context(), config, d, *dryRun)
		if *asJSON {
			return errors.Join(err, json.NewEncoder(c.OutOrStdout()).Encode(done))
		}
		verb := "removed"
		if *dryRun {
			verb = "would remove"
		}
		fmt.Fprintf(c.OutOrStdout(), "%s %d payloads, %d bytes; %d are under a legal hold, %d are within their term, %d have no manifest\n",
			verb, done.Removed, done.Bytes, done.Held, done.Kept, done.Unknown)
		return err
	})
	return c
}

func retentionHold() *cobra.Command {
	c := &cobra.Command{Use: "hold NAME --reason TEXT", Short: "Keep payloads beyond their term until the hold is lifted", Args: cobra.ExactArgs(1)}
	o := storeOptions(c)
	var h server.Hold
	c.Flags().StringVar(&h.Agent, "agent", "", "only of this agent")
	c.Flags().StringVar(&h.Service, "service", "", "only of this service")
	c.Flags().StringVar(&h.Class, "class", "", "only of this retention class")
	c.Flags().StringVar(&h.Reason, "reason", "", "why; it is recorded")
	c.RunE = o.recorded(func(c *cobra.Command, args []string, config server.Config, d server.Deps) error {
		h.Name = args[0]
		return server.SetHold(c.Context(), config, d, h)
	})
	return c
}

func retentionLift() *cobra.Command {
	return agentCommand("lift NAME", "End a legal hold", server.LiftHold)
}

func retentionHolds() *cobra.Command {
	c := &cobra.Command{Use: "holds", Short: "List the legal holds", Args: cobra.NoArgs}
	c.RunE = storeOptions(c).look(func(c *cobra.Command, _ []string, config server.Config, d server.Deps) error {
		all, err := server.Holds(c.Context(), config, d)
		if err != nil {
			return err
		}
		return table(c, false, "NAME\tSET\tAGENT\tSERVICE\tCLASS\tREASON", all, func(h *server.Hold) string {
			return row(h.Name, clock(h.Set), h.Agent, h.Service, h.Class, h.Reason)
		})
	})
	return c
}
