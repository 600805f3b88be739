//go:build !windows

package service

import (
	"context"
	"io"
)

// Run runs a program that the service manager of Windows started, and returns
// its exit code; elsewhere, and when it was started by a person, it does nothing.
func Run(string, []string, func(ctx context.Context, stderr io.Writer) int) (code int, done bool) {
	return 0, false
}

// awaitReady has nothing to wait for: systemd says that a service is started when
// it is ready, and launchd knows of no such state.
func awaitReady(string) error { return nil }
