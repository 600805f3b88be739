//go:build !linux

package durable

import (
	"errors"
	"os"
)

// allocate leaves it to the caller to write the space full.
func allocate(*os.File, int64) error { return errors.ErrUnsupported }
