package keys

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/auditail/auditail/internal/durable"
)

// A rotation of the identity key takes three steps, and may stop behind any:
//
//  1. MakeSuccessor writes the key that follows beside the identity.
//  2. The agent signs it in: a manifest of kind rotate, signed by both keys.
//  3. Once that manifest is where auditors find it, Adopt puts the key that
//     follows in the place of the identity and erases the one before.

// SuccessorPath is where the key lies that follows an identity key.
func SuccessorPath(identity string) string { return sibling(identity, "next") }

// retiredPath is a second name of the identity key while it is replaced: once it
// is there, Adopt is to be carried out.
func retiredPath(identity string) string { return sibling(identity, "retired") }

func sibling(identity, what string) string {
	extension := filepath.Ext(identity)
	return strings.TrimSuffix(identity, extension) + "." + what + extension
}

// MakeSuccessor makes the key that is to follow the identity key, unless one waits
// already.
func MakeSuccessor(fsys durable.FS, identity string) (key ed25519.PrivateKey, made bool, err error) {
	if _, err := LoadIdentity(fsys, identity); err != nil {
		return nil, false, err
	}
	key, err = LoadIdentity(fsys, SuccessorPath(identity))
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	if _, key, err = ed25519.GenerateKey(rand.Reader); err == nil {
		err = createKey(fsys, SuccessorPath(identity), key)
	}
	if err != nil {
		return nil, false, fmt.Errorf("make the next identity key: %w", err)
	}
	return key, true, nil
}

// LoadSuccessor reads the key that is to follow; nil when there is none. It
// completes an Adopt that was interrupted, so only who holds the data_dir's lock
// may call it, and must before it reads the identity.
func LoadSuccessor(fsys durable.FS, identity string) (ed25519.PrivateKey, error) {
	if _, err := fsys.Stat(retiredPath(identity)); err == nil {
		if err := Adopt(fsys, identity); err != nil {
			return nil, err
		}
	}
	key, err := LoadIdentity(fsys, SuccessorPath(identity))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no rotation is the normal case
	}
	return key, err
}

// Adopt replaces the identity key by the one that follows and erases it. Called
// again behind a crash at any point, it ends in the same; the identity's name
// always holds one of the two keys.
func Adopt(fsys durable.FS, identity string) error {
	folder, next, retired := filepath.Dir(identity), SuccessorPath(identity), retiredPath(identity)
	_, err := fsys.Stat(next)
	switch {
	case err == nil:
		if err = fsys.Link(identity, retired); err == nil || errors.Is(err, fs.ErrExist) {
			err = fsys.SyncDir(folder)
		}
		if err == nil {
			err = fsys.Rename(next, identity)
		}
		if err == nil {
			err = fsys.SyncDir(folder)
		}
	case errors.Is(err, fs.ErrNotExist):
		err = fsys.SyncDir(folder) // the rename may be in the kernel's cache only
	}
	if err != nil {
		return fmt.Errorf("put the next identity key in the place of %s: %w", identity, err)
	}
	if err := Erase(fsys, retired); err != nil {
		return fmt.Errorf("erase the identity key before: %w", err)
	}
	return nil
}

// Erase overwrites a key file with zero bytes and removes it; a file that is not
// there is erased. Overwriting in place is the most that a program can do: a
// copy-on-write file system, a snapshot, a journal of data or an SSD may keep the
// old block.
func Erase(fsys durable.FS, path string) error {
	f, err := fsys.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(make([]byte, info.Size()), 0)
	}
	if err == nil {
		err = f.Sync() // the removal need not be durable: what comes back is zeros
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fsys.Remove(path)
	}
	return err
}
