package seal

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// fieldPrime is 2^255-19 (RFC 8032, section 5.1), and smallOrder the y coordinates of
// the eight points whose order divides the cofactor, little-endian as in a public
// key. Both signs of x share a y.
const (
	fieldPrime = "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"
	orderOne   = "0100000000000000000000000000000000000000000000000000000000000000"
	orderTwo   = "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"
	orderFour  = "0000000000000000000000000000000000000000000000000000000000000000"
	orderEight = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"
	alsoEight  = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
)

var errSmallOrder = errors.New("the public key is of small order: anybody can sign for it")

// CheckPublicKey refuses what is no public key that signatures mean something for.
// Under a point of small order some "signature" fits a message without any secret, and
// a coordinate beyond the field is a second spelling of a key. RFC 8032 leaves both
// open and crypto/ed25519 takes them, so every key that comes from a file goes through
// here first.
func CheckPublicKey(key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("the public key has %d bytes, want %d", len(key), ed25519.PublicKeySize)
	}
	y := bytes.Clone(key)
	y[len(y)-1] &= 0x7f // the sign of x
	spelled := hex.EncodeToString(y)
	if slices.Contains([]string{orderOne, orderTwo, orderFour, orderEight, alsoEight}, spelled) {
		return errSmallOrder
	}
	slices.Reverse(y)
	prime, err := hex.DecodeString(fieldPrime)
	if err != nil {
		return err // a constant of this file is damaged
	}
	slices.Reverse(prime)
	if bytes.Compare(y, prime) >= 0 {
		return errors.New("the public key is not in canonical form (RFC 8032, section 5.1.3)")
	}
	return nil
}
