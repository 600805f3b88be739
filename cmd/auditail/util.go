package main

import "crypto/ed25519"

func publicKey(key ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(key[ed25519.SeedSize:]) // RFC 8032: a private key ends in its public half
}
