package crash

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/durable"
)

// CommandName is the command that a watched program starts beside itself: the first
// of the arguments of [Watch], before "--" and the folder.
const CommandName = "crash-watch"

// Command is the watcher's side of [Watch]; nobody else calls it. It names the
// program as people know it, and says what goes with a report of the defect.
func Command(program, report string) *cobra.Command {
	return &cobra.Command{
		Use: CommandName + " DIR", Short: "Wait for the end of the program and keep the stack of a crash",
		Args: cobra.ExactArgs(1), Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			IgnoreSignals()
			reporter := Reporter{Program: program, Report: report, FS: durable.OS{}, Dir: args[0], Now: time.Now}
			return reporter.Run(cmd.InOrStdin(), cmd.ErrOrStderr())
		},
	}
}
