//go:build !unix

package service

import "errors"

// Become does nothing: there is no systemd.
func (u Unit) Become() error { return errors.ErrUnsupported }
