//go:build !windows

package service

import (
	"context"
	"io"
)

// Run runs a program that the service manager of Windows started, and returns
// its exit code; elsewhere, and when it was started by a person, it does nothing.
func Run(context.Context, string, func(ctx context.Context, stderr io.Writer) int) (code int, done bool) {
	return 0, false
}
