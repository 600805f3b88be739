//go:build !windows

package durable

import (
	"errors"
	"io/fs"
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

func openFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag, perm) //nolint:gosec // names come from configuration
}

func mkdir(name string, perm fs.FileMode) error { return os.Mkdir(name, perm) }
