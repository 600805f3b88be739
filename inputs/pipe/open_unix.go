//go:build unix

package pipe

import (
	"errors"
	"os"
	"syscall"
)

// errNoPipe is wrapped when the path is something else.
var errNoPipe = errors.New("not a named pipe (make one with mkfifo)")

// openPipe opens the reading end without waiting for a writer.
func openPipe(name string) (*os.File, error) {
	// Looked at first, because opening a device can have effects.
	if err := mustBePipe(os.Stat(name)); err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := mustBePipe(file.Stat()); err != nil {
		file.Close()
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return file, nil
}

func mustBePipe(info os.FileInfo, err error) error {
	var path *os.PathError
	switch {
	case errors.As(err, &path):
		return path.Err
	case err != nil:
		return err
	case info.Mode().Type() != os.ModeNamedPipe:
		return errNoPipe
	}
	return nil
}
