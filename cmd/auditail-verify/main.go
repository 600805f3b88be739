// Command auditail-verify checks sealed archives on an auditor's machine: no
// network, no secret, no trust in the host that wrote them. See package
// internal/archive.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/manpage"
	"github.com/auditail/auditail/internal/version"
)

// Exit codes.
const (
	exitSound     = 0 // no violation
	exitViolation = 1
	exitUnchecked = 2 // could not check: nothing is known
)

// memoryLimit makes the garbage collector work harder before the promised
// 100 MiB are reached; it is no hard limit.
const memoryLimit = 64 << 20

func main() {
	debug.SetMemoryLimit(memoryLimit)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// errViolation is the outcome of a check that was made and found something. It
// has been reported when it is returned.
var errViolation = errors.New("the archive is not intact")

// run executes a command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:   "auditail-verify",
		Short: "Verify archives of signed audit batches",
		Long: `auditail-verify checks archives of signed audit batches offline, with the keys
that the auditor trusts. It exits with 0 when there is no violation, 1 when
there is one, and 2 when the check could not be made.`,
		Version: version.String(),
		Args:    cobra.NoArgs,
		// A script whose arguments got lost must not take help for a verdict.
		RunE: func(*cobra.Command, []string) error {
			return errors.New("no command given; `auditail-verify help` lists them")
		},
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(archiveCommand(), proveCommand(), proofCommand(), checkTextCommand(), reportCommand(), manpage.Command(1), versionCommand())
	switch err := root.ExecuteContext(ctx); {
	case err == nil:
		return exitSound
	case errors.Is(err, errViolation):
		return exitViolation
	default:
		fmt.Fprintf(stderr, "auditail-verify: %v\n", err)
		return exitUnchecked
	}
}
