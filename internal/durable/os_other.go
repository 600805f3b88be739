//go:build !windows

package durable

import (
	"errors"
	"os"
)

// Rename implements FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// SyncDir implements FS.
func (OS) SyncDir(name string) error {
	d, err := os.Open(name) //nolint:gosec // names come from configuration
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
