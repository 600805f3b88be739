// Package enrol is how an agent makes itself known to auditail-server with a
// one-time token: it sends its public key, and proves that it holds the private
// one. What it gets back is the bearer token with which it writes its own log.
//
// POST {base}/v1/enroll takes a Request as JSON and answers 200 with a Response,
// or a problem document: 401 the token is unknown, expired or was used for
// another key; 403 it is not for this log; 409 the agent's name is taken; 422 the
// proof does not verify. A repeat with the same key, because the answer was lost,
// gets another bearer token, and the first one ends.
package enrol

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/auditail/auditail/internal/wire"
	"github.com/auditail/auditail/seal"
)

// Path is where requests go, below the server's base URL.
const Path = "/v1/enroll"

// MaxBody is the most bytes that a request or an answer has.
const MaxBody = 16 << 10

// Request is what the agent sends.
type Request struct {
	Token string `json:"token"` // the one-time token
	Key   string `json:"key"`   // C2SP verifier key under the name <organization>/<agent>
	Proof string `json:"proof"` // base64 of the Ed25519 signature over message
}

// Response is what an enrolled agent gets.
type Response struct {
	Token   string `json:"token"`             // the bearer token
	Witness string `json:"witness,omitempty"` // C2SP verifier key of the server's witness
}

// message is what the agent signs. Its first line is that of no manifest and no
// checkpoint, and it holds for one token only.
func message(token, vkey string) []byte {
	return fmt.Appendf(nil, "auditail/enroll@v1\n%x\n%s\n", sha256.Sum256([]byte(token)), vkey)
}

// NewRequest signs a request.
func NewRequest(token string, log seal.Log, key crypto.Signer) (*Request, error) {
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("enrol: the identity key is not an Ed25519 key")
	}
	vkey := seal.VKey(log.String(), public)
	signature, err := key.Sign(nil, message(token, vkey), crypto.Hash(0))
	if err != nil {
		return nil, fmt.Errorf("enrol: prove possession of the key: %w", err)
	}
	return &Request{Token: token, Key: vkey, Proof: base64.StdEncoding.EncodeToString(signature)}, nil
}

// ErrProof tells that the sender does not hold the key that it sent.
var ErrProof = errors.New("the proof of possession does not verify")

// Verify checks the proof with the public key that was parsed from r.Key.
func (r *Request) Verify(key ed25519.PublicKey) error {
	signature, err := base64.StdEncoding.Strict().DecodeString(r.Proof)
	if err != nil || len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, message(r.Token, r.Key), signature) {
		return ErrProof
	}
	return nil
}

// Do sends a request to the server at a base URL.
func Do(ctx context.Context, client *http.Client, base string, r *Request) (*Response, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("enrol: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(base, "/")+Path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("enrol: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return nil, fmt.Errorf("enrol: %w; give the certificate of your own authority with --ca-file", err)
	}
	if err != nil {
		return nil, fmt.Errorf("enrol: %w", wire.ConnectionFault(err).Err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, MaxBody))
	if err != nil {
		return nil, fmt.Errorf("enrol: read the answer: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		var problem struct {
			Detail string `json:"detail"`
		}
		if json.Unmarshal(data, &problem) != nil || problem.Detail == "" {
			problem.Detail = "is this the URL of an auditail-server, with https where it has TLS?"
		}
		return nil, fmt.Errorf("enrol: the server answered %s: %s", answer.Status, problem.Detail)
	}
	var response Response
	if err := json.Unmarshal(data, &response); err != nil || response.Token == "" {
		return nil, errors.New("enrol: the answer holds no token: is this the URL of an auditail-server?")
	}
	return &response, nil
}
