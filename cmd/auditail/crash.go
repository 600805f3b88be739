package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/crash"
	"github.com/auditail/auditail/internal/durable"
)

// crashWatch is the command that `auditail run` starts beside itself.
const crashWatch = "crash-watch"

// newCrashWatch is the watcher's side of crash.Watch; nobody else calls it.
func newCrashWatch() *cobra.Command {
	return &cobra.Command{
		Use: crashWatch + " DATA_DIR", Short: "Wait for the end of an agent and keep the stack of a crash",
		Args: cobra.ExactArgs(1), Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			crash.IgnoreSignals()
			return crash.Report(durable.OS{}, args[0], cmd.InOrStdin(), cmd.ErrOrStderr(), time.Now)
		},
	}
}
