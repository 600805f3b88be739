package config

import (
	"fmt"
	"io/fs"

	"github.com/auditail/auditail/internal/durable/access"
)

// checkConfigMode refuses a file or directory that others could have written.
func checkConfigMode(path string, _ fs.FileInfo) error {
	_, write, err := access.Others(path)
	if err == nil && write {
		err = fmt.Errorf("%s: is writable by others; run %s", path, access.Mend(path))
	}
	return err
}

// checkSecretMode refuses a file that others can read or write.
func checkSecretMode(path string, _ fs.FileInfo) error {
	read, write, err := access.Others(path)
	switch {
	case err != nil:
		return err
	case write:
		return fmt.Errorf("%s: is writable by others; run %s", path, access.Mend(path))
	case read:
		return fmt.Errorf("%s: is readable by others; run %s", path, access.Mend(path))
	default:
		return nil
	}
}
