//go:build unix

package crash

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// stderrFD is where the runtime writes its last words.
const stderrFD = 2

// apart keeps the watcher out of the group that a terminal interrupts.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// divert lets the runtime write into pipe, and returns another way to what
// standard error was.
func divert(stderr io.Writer, pipe *os.File) (own io.Writer, restore func() error, err error) {
	kept, err := unix.FcntlInt(stderrFD, unix.F_DUPFD_CLOEXEC, stderrFD+1)
	if err != nil {
		return nil, nil, fmt.Errorf("keep standard error: %w", err)
	}
	file := os.NewFile(uintptr(kept), os.Stderr.Name())
	raw, err := pipe.SyscallConn()
	if err == nil {
		failed := raw.Control(func(fd uintptr) { err = unix.Dup2(int(fd), stderrFD) })
		if err == nil {
			err = failed
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("divert standard error: %w", err)
	}
	// Whoever still writes to the old standard error meets a blocking pipe with a
	// reader: nothing is lost but the order.
	own = stderr
	if stderr == io.Writer(os.Stderr) {
		own = file
	}
	return own, func() error {
		if err := unix.Dup2(kept, stderrFD); err != nil {
			return fmt.Errorf("give standard error back: %w", err)
		}
		return nil
	}, nil
}
