//go:build !unix

package pipe

import (
	"fmt"
	"os"
	"runtime"
)

// openPipe has nothing to open: a named pipe of this system is no file.
func openPipe(name string) (*os.File, error) {
	return nil, &os.PathError{Op: "open", Path: name, Err: fmt.Errorf("named pipes can not be read on %s", runtime.GOOS)}
}
