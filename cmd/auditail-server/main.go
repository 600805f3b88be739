// Command auditail-server is the central receiver: it verifies what agents send
// and stores it write-once. See package internal/server.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/crash"
	"github.com/auditail/auditail/internal/manpage"
	"github.com/auditail/auditail/internal/service"
	"github.com/auditail/auditail/internal/version"
)

func main() {
	code, done := service.Run("auditail-server", os.Args[1:], func(ctx context.Context, stderr io.Writer) int {
		return run(ctx, os.Args[1:], stderr, stderr)
	})
	if !done {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code = run(ctx, os.Args[1:], os.Stdout, os.Stderr)
		stop()
	}
	os.Exit(code)
}

// run executes a command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:   "auditail-server",
		Short: "Receive signed audit batches, verify them, and store them write-once",
		Long: `auditail-server receives the signed batches of auditail agents over HTTPS.
It verifies signatures, chain, digests and roots before it stores anything, and
never changes what is stored. Only agents that were enrolled may write, each
into its own log.`,
		Version:       version.String(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(runCommand(), enrollCommand(), agentsCommand(), accountsCommand(), retentionCommand(), checkCommand(), witnessCommand(), logCommand(), serviceCommand(), crash.Command("auditail-server", "with that file and the log before it"), manpage.Command(8), versionCommand())
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(stderr, "auditail-server: %v\n", err)
		return 1
	}
	return 0
}
