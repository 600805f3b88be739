package seal

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
)

// SSHNamespace is the namespace of the SSHSIG over a manifest file.
const SSHNamespace = "auditail-manifest"

const (
	sshMagic  = "SSHSIG"
	sshKey    = "ssh-ed25519"
	sshHash   = "sha512"
	sshBegin  = "-----BEGIN SSH SIGNATURE-----\n"
	sshEnd    = "-----END SSH SIGNATURE-----\n"
	sshColumn = 70 // as ssh-keygen wraps
)

// SSHSign returns the armored SSHSIG (OpenSSH PROTOCOL.sshsig) over message in
// SSHNamespace, as `ssh-keygen -Y sign` makes it.
func SSHSign(message []byte, key crypto.Signer) ([]byte, error) {
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("ssh signature: the key is not an Ed25519 key")
	}
	signature, err := key.Sign(nil, sshSigned(message), crypto.Hash(0))
	if err != nil {
		return nil, fmt.Errorf("ssh signature: %w", err)
	}
	return sshArmor(sshBlob(public, signature)), nil
}

func sshArmor(blob []byte) []byte {
	encoded := base64.StdEncoding.EncodeToString(blob)
	var b bytes.Buffer
	b.WriteString(sshBegin)
	for len(encoded) > sshColumn {
		b.WriteString(encoded[:sshColumn] + "\n")
		encoded = encoded[sshColumn:]
	}
	b.WriteString(encoded + "\n" + sshEnd)
	return b.Bytes()
}

// SSHVerify checks that armored is, byte for byte, the signature that SSHSign and
// `ssh-keygen -Y sign` make over message with the private half of key: a file that
// can be changed without a finding is no evidence.
func SSHVerify(message, armored []byte, key ed25519.PublicKey) error {
	body, begins := bytes.CutPrefix(armored, []byte(sshBegin))
	body, ends := bytes.CutSuffix(body, []byte(sshEnd))
	if !begins || !ends {
		return errors.New("ssh signature: not an armored SSH signature")
	}
	blob, err := base64.StdEncoding.DecodeString(string(bytes.ReplaceAll(body, []byte("\n"), nil)))
	if err != nil {
		return fmt.Errorf("ssh signature: %w", err)
	}
	if len(blob) < ed25519.SignatureSize {
		return errors.New("ssh signature: too short")
	}
	signature := blob[len(blob)-ed25519.SignatureSize:]
	if !bytes.Equal(blob, sshBlob(key, signature)) {
		return errors.New("ssh signature: made by another key, in another namespace or of another form")
	}
	if !ed25519.Verify(key, sshSigned(message), signature) {
		return errors.New("ssh signature does not verify")
	}
	if !bytes.Equal(armored, sshArmor(blob)) {
		return errors.New("ssh signature: the armor was written anew")
	}
	return nil
}

// sshSigned is what the key signs: magic, namespace, reserved, hash name, hash.
func sshSigned(message []byte) []byte {
	hash := sha512.Sum512(message)
	b := []byte(sshMagic)
	b = sshString(b, []byte(SSHNamespace))
	b = sshString(b, nil)
	b = sshString(b, []byte(sshHash))
	return sshString(b, hash[:])
}

func sshBlob(key ed25519.PublicKey, signature []byte) []byte {
	b := []byte(sshMagic)
	b = binary.BigEndian.AppendUint32(b, 1) // version
	b = sshString(b, SSHPublicKey(key))
	b = sshString(b, []byte(SSHNamespace))
	b = sshString(b, nil)
	b = sshString(b, []byte(sshHash))
	return sshString(b, sshString(sshString(nil, []byte(sshKey)), signature))
}

// SSHPublicKey returns the wire form of an Ed25519 key (RFC 8709, section 4),
// whose base64 stands in authorized_keys and allowed_signers files.
func SSHPublicKey(key ed25519.PublicKey) []byte {
	return sshString(sshString(nil, []byte(sshKey)), key)
}

// AllowedSigner returns the line of an allowed_signers file (ssh-keygen(1))
// under which the manifests of a log verify.
func AllowedSigner(log Log, key ed25519.PublicKey) string {
	return fmt.Sprintf("%s namespaces=%q %s %s", log, SSHNamespace, sshKey, base64.StdEncoding.EncodeToString(SSHPublicKey(key)))
}

func sshString(b, s []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...) //nolint:gosec // short by construction
}
