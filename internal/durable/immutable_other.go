//go:build !linux

package durable

import (
	"errors"
	"fmt"
)

// SetImmutable fails: this system has no immutable attribute that auditail knows.
func (OS) SetImmutable(name string) error {
	return fmt.Errorf("set the immutable attribute of %s: %w", name, errors.ErrUnsupported)
}
