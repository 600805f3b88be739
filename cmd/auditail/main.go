// Command auditail is the agent: it reads logs, makes audit records of them,
// seals these in signed batches and ships the batches.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/auditail/auditail/internal/service"
)

func main() {
	code, done := service.Run("auditail", os.Args[1:], func(ctx context.Context, stderr io.Writer) int {
		return execute(ctx, os.Args[1:], os.Stdin, stderr, stderr)
	})
	if !done {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop) // a second signal ends the process at once; the next start recovers
		code = execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
		stop()
	}
	os.Exit(code)
}
