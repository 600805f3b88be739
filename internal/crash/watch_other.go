//go:build !unix

package crash

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"syscall"
)

func apart() *syscall.SysProcAttr { return nil }

// divert lets the runtime write into pipe as well as to standard error.
func divert(stderr io.Writer, pipe *os.File) (own io.Writer, restore func() error, err error) {
	if err := debug.SetCrashOutput(pipe, debug.CrashOptions{}); err != nil {
		return nil, nil, fmt.Errorf("name where crashes are written: %w", err)
	}
	return stderr, func() error { return debug.SetCrashOutput(nil, debug.CrashOptions{}) }, nil
}
