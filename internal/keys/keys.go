// Package keys keeps the agent's identity key: an Ed25519 key in PKCS #8 PEM,
// made on first start, mode 0600, never sent anywhere.
//
// # Keys elsewhere
//
// Everything that signs takes a [crypto.Signer], so the key need not be in a
// file, nor in this process: a KMS, a TPM or a PKCS #11 token fits the same seam.
// It is agent.Keys, whose Load returns the signer; cmd/auditail chooses it from
// the configuration, and a kind of key is one more type there. Of the signer is
// asked:
//
//   - Public returns an ed25519.PublicKey at once, from memory, and always the same.
//   - Sign signs the message itself, with opts of crypto.Hash(0): Ed25519 as in
//     RFC 8032, not Ed25519ph. (AWS KMS: ED25519_SHA_512 with MessageType RAW;
//     PKCS #11: CKM_EDDSA without parameters; Vault transit: ed25519, not
//     prehashed. TPM 2.0 chips seldom have the curve: seal the PEM file to the
//     TPM with systemd-creds and give it as a credential.)
//   - It may sign the same message again after a crash. The two signatures need
//     not be the same bytes: none leaves the host before the batch is complete.
//   - Messages are at most 4 KiB (a manifest's text), 300 bytes or less otherwise.
//     A batch takes three signatures: manifest, SSHSIG, checkpoint.
//
// Nothing is asked of its speed or health. The buffer puts a [Guard] around it: a
// call that hangs is left alone after a few seconds, an error or a signature that
// does not verify is the same as no answer, and the batch waits, with everything
// that it needs on the disk, until a later call succeeds. Reading goes on
// meanwhile, up to max_disk.
//
// The ratchet keys (package buffer) are made, used once and erased on the host;
// they are not for this seam.
package keys

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/durable/access"
)

const (
	maxKeyFile = 16 << 10
	pemPrivate = "PRIVATE KEY"
	pemPublic  = "PUBLIC KEY"
)

// IdentityPath is where an agent's identity key lies.
func IdentityPath(dataDir string) string { return filepath.Join(dataDir, "keys", "identity.pem") }

// LoadIdentity reads the key. The error of an absent file is fs.ErrNotExist.
func LoadIdentity(fsys durable.FS, path string) (ed25519.PrivateKey, error) {
	if err := CheckMode(fsys, path); err != nil {
		return nil, err
	}
	data, err := durable.ReadFile(fsys, path, maxKeyFile)
	if err != nil {
		return nil, fmt.Errorf("read identity key: %w", err)
	}
	return ParseIdentity(data, path)
}

// ParseIdentity decodes the key; where is its place, for people.
func ParseIdentity(data []byte, where string) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != pemPrivate {
		return nil, fmt.Errorf("identity key %s is not a PEM file with a private key: restore it from a backup; a new key needs a new enrolment", where)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("identity key %s: %w", where, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("identity key %s is not an Ed25519 key: make one with openssl genpkey -algorithm ed25519", where)
	}
	return key, nil
}

// LoadOrMakeIdentity reads the key, or makes it when there is none.
func LoadOrMakeIdentity(fsys durable.FS, path string) (key ed25519.PrivateKey, made bool, err error) {
	key, err = LoadIdentity(fsys, path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	_, key, err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, false, fmt.Errorf("make identity key: %w", err)
	}
	if err := createKey(fsys, path, key); err != nil {
		return nil, false, fmt.Errorf("make identity key: %w", err)
	}
	return key, true, nil
}

func createKey(fsys durable.FS, path string, key ed25519.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return Create(fsys, path, pem.EncodeToMemory(&pem.Block{Type: pemPrivate, Bytes: der}))
}

// PublicPEM returns the public half in PEM.
func PublicPEM(key ed25519.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPublic, Bytes: der}), nil
}

// Create writes a secret to a new file of mode 0600 in a folder of mode 0700.
// It fails with fs.ErrExist when the file is there.
func Create(fsys durable.FS, path string, secret []byte) error {
	if err := fsys.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return durable.CreateFile(fsys, path, secret, 0o600)
}

// CheckMode refuses a key file that others than its owner can read or write.
func CheckMode(fsys durable.FS, path string) error {
	info, err := fsys.Stat(path)
	if err != nil {
		return fmt.Errorf("find key: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return fmt.Errorf("key %s has mode %04o, so others can use it: run chmod 600 %s, and make a new key if somebody did", path, mode, path)
	}
	read, write, err := access.Others(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it is not on this disk
	}
	if err == nil && (read || write) {
		err = fmt.Errorf("key %s can be used by others: run %s, and make a new key if somebody did", path, access.Mend(path))
	}
	return err
}
