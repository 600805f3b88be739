package main

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"

	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/keys"
)

// signingKey is where the key that signs the log is kept, and the one that is to
// follow it. Package keys says what another kind has to do.
type signingKey interface {
	fmt.Stringer
	// Load, Waiting and Adopt are those of agent.Keys: for who holds the lock of
	// data_dir.
	Load() (identity, successor crypto.Signer, err error)
	Waiting() bool
	Adopt() (told string, err error)
	// Public returns the key that is there; fs.ErrNotExist when there is none.
	Public() (ed25519.PublicKey, error)
	// Make returns the key and makes it where it is absent, if it can.
	Make() (key crypto.Signer, made bool, err error)
	// Rotate makes the key that is to follow, unless one waits.
	Rotate() (next ed25519.PublicKey, made bool, err error)
}

func newSigningKey(fsys durable.FS, cfg *config.Config) signingKey {
	if at := cfg.Agent.IdentityKey; at.Credential != "" {
		return credentialKey{current: at}
	}
	return fileKey{fs: fsys, path: cfg.Agent.IdentityKey.File}
}

// fileKey is the key in a file, and the one beside it that is to follow.
type fileKey struct {
	fs   durable.FS
	path string
}

func (k fileKey) String() string { return k.path }

func (k fileKey) Load() (identity, successor crypto.Signer, err error) {
	next, err := keys.LoadSuccessor(k.fs, k.path)
	if err != nil {
		return nil, nil, err
	}
	if next != nil {
		successor = next
	}
	identity, err = keys.LoadIdentity(k.fs, k.path)
	return identity, successor, err
}

func (k fileKey) Waiting() bool {
	_, err := k.fs.Stat(keys.SuccessorPath(k.path))
	return err == nil
}

func (k fileKey) Adopt() (string, error) {
	return "the identity key that was rotated out is erased", keys.Adopt(k.fs, k.path)
}

func (k fileKey) Public() (ed25519.PublicKey, error) {
	key, err := keys.LoadIdentity(k.fs, k.path)
	if err != nil {
		return nil, err
	}
	return publicKey(key), nil
}

func (k fileKey) Make() (crypto.Signer, bool, error) { return keys.LoadOrMakeIdentity(k.fs, k.path) }

func (k fileKey) Rotate() (ed25519.PublicKey, bool, error) {
	if owner, other := durable.OtherOwner(k.path); other {
		return nil, false, fmt.Errorf("%s belongs to user %d: run this as that user, with runuser or sudo -u, so that the agent can read the new key", k.path, owner)
	}
	key, made, err := keys.MakeSuccessor(k.fs, k.path)
	if err != nil {
		return nil, false, err
	}
	return publicKey(key), made, nil
}

// credentialKey is the key in a systemd credential, and in a second one, with
// .next behind the name, the key that is to follow. The agent makes and erases
// neither.
type credentialKey struct{ current config.Secret }

func (k credentialKey) next() config.Secret {
	return config.Secret{Credential: k.current.Credential + ".next"}
}

func (k credentialKey) String() string { return k.current.String() }

func (k credentialKey) read(from config.Secret) (ed25519.PrivateKey, error) {
	data, err := from.Resolve()
	if err != nil {
		return nil, err
	}
	return keys.ParseIdentity(data, from.String())
}

func (k credentialKey) Load() (identity, successor crypto.Signer, err error) {
	key, _, err := k.Make()
	if err != nil {
		return nil, nil, err
	}
	next, err := k.read(k.next())
	switch {
	case err == nil:
		return key, next, nil
	case errors.Is(err, fs.ErrNotExist):
		return key, nil, nil
	default:
		return nil, nil, err
	}
}

// Waiting is false: credentials do not change under a running service.
func (k credentialKey) Waiting() bool { return false }

func (k credentialKey) Adopt() (string, error) {
	return fmt.Sprintf("the new identity key is signed in: put it in the place of %s, take %s away, and destroy the old key", k.current, k.next()), nil
}

func (k credentialKey) Public() (ed25519.PublicKey, error) {
	key, err := k.read(k.current)
	if err != nil {
		return nil, err
	}
	return publicKey(key), nil
}

func (k credentialKey) Make() (crypto.Signer, bool, error) {
	key, err := k.read(k.current)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, fmt.Errorf("the signing key %s is not there, and auditail makes no credentials: make it with openssl genpkey -algorithm ed25519, keep it with systemd-creds encrypt --name=%s, and give it to the service with LoadCredentialEncrypted=%[2]s",
			k.current, k.current.Credential)
	}
	if err != nil {
		return nil, false, err
	}
	return key, false, nil
}

func (k credentialKey) Rotate() (ed25519.PublicKey, bool, error) {
	next := k.next().Credential
	return nil, false, fmt.Errorf("the signing key is the systemd %s, which auditail can not write: make the next one with openssl genpkey -algorithm ed25519, "+
		"give it to the service as the credential %s beside it and restart, and the agent signs it in; "+
		"once its log says so, give it as %s in the place of the old one, and restart", k.current, next, k.current.Credential)
}
