package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io"
	"os"

	"github.com/auditail/auditail/seal"
)

func publicKey(key ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(key[ed25519.SeedSize:]) // RFC 8032: a private key ends in its public half
}

func digestFile(path string) (seal.Digest, error) {
	f, err := os.Open(path) //nolint:gosec // our own program
	if err != nil {
		return seal.Digest{}, err
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return seal.Digest{}, err
	}
	return seal.Digest(h.Sum(nil)), nil
}
