package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxSecret bounds the file of a secret.
const maxSecret = 64 << 10

// Secret names where a secret lies. Exactly one field is set, or none when the
// configuration names no secret.
type Secret struct {
	File       string `toml:"file"`       // absolute path
	Env        string `toml:"env"`        // environment variable
	Credential string `toml:"credential"` // systemd credential
}

// IsZero tells whether no secret is named.
func (s Secret) IsZero() bool { return s == Secret{} }

// String names the place of the secret, never the secret.
func (s Secret) String() string {
	switch {
	case s.File != "":
		return "file " + s.File
	case s.Env != "":
		return "environment variable " + s.Env
	case s.Credential != "":
		return "credential " + s.Credential
	default:
		return "no secret"
	}
}

// Resolve reads the secret without one line end after it. A file that others
// can read, or that the group or others can write, is refused. A file that does
// not exist is an fs.ErrNotExist. The caller owns the bytes.
func (s Secret) Resolve() ([]byte, error) {
	var data []byte
	var err error
	switch {
	case s.File != "":
		data, err = readOwn(s.File, maxSecret, checkSecretMode)
	case s.Credential != "":
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return nil, fmt.Errorf("read %s: $CREDENTIALS_DIRECTORY is not set; add LoadCredential=%s:… to the service", s, s.Credential)
		}
		data, err = readOwn(filepath.Join(dir, s.Credential), maxSecret, checkSecretMode)
	case s.Env != "":
		value, set := os.LookupEnv(s.Env)
		if !set {
			return nil, fmt.Errorf("read secret: %s is not set", s)
		}
		data = []byte(value)
	default:
		return nil, errors.New("read secret: none is configured")
	}
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	data = bytes.TrimSuffix(data, []byte("\n"))
	data = bytes.TrimSuffix(data, []byte("\r"))
	if len(data) == 0 {
		return nil, fmt.Errorf("read secret: %s is empty", s)
	}
	return data, nil
}

var errNotRegular = errors.New("is not a regular file")

// readOwn reads a regular file of at most limit bytes after check has agreed to
// its mode. Mode and content are those of the same file: what is checked is the
// open descriptor.
func readOwn(path string, limit int64, check func(path string, info fs.FileInfo) error) ([]byte, error) {
	info, err := os.Stat(path) // opening a named pipe would wait for a writer
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w", path, errNotRegular)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return nil, err
	}
	if err := check(path, info); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: is larger than %s", path, Size(limit))
	}
	return data, nil
}
