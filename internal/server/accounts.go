package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
)

// Role is what the holder of an account may do.
type Role string

// The roles beside that of an agent, which writes its own log and reads nothing else.
const (
	Auditor Role = "auditor" // reads everything that is stored; every read is recorded
	Admin   Role = "admin"   // an auditor who may also see the agents' state
)

// Account is somebody who reads.
type Account struct {
	Name    string    `json:"name"`
	Role    Role      `json:"role"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	Revoked time.Time `json:"revoked,omitzero"`

	TokenSHA256 string `json:"token_sha256,omitempty"`
}

// usable tells whether the account's token is good at a time.
func (a *Account) usable(now time.Time) bool {
	return a.Revoked.IsZero() && (a.Expires.IsZero() || now.Before(a.Expires))
}

func accountName(name string) string { return "accounts/" + name + registrySuffix }

// AddAccount makes an account and returns its bearer token, which exists nowhere
// else. An account that exists gets a new token, and its old one ends.
func AddAccount(ctx context.Context, c Config, d Deps, name string, role Role, expires time.Time) (token string, err error) {
	if !seal.ValidName(name) {
		return "", fmt.Errorf("account name %q: at most 63 of a-z, 0-9, dot, dash and underscore, beginning with a letter or digit", name)
	}
	if role != Auditor && role != Admin {
		return "", fmt.Errorf("role %q: the roles are %s and %s", role, Auditor, Admin)
	}
	p, err := openPlaces(ctx, c, d, true)
	if err != nil {
		return "", err
	}
	var before Account
	tag, err := readJSON(ctx, p.state, accountName(name), &before)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	token = newToken(accountToken, name)
	account := Account{
		Name: name, Role: role, Created: d.Now().UTC().Truncate(time.Second), Expires: expires.UTC(), TokenSHA256: tokenDigest(token).String(),
	}
	err = d.record(ctx, Event{Event: "auth.key", Detail: fmt.Sprintf("account %s of the role %s: a token was made", name, role)})
	if err == nil {
		err = swapJSON(ctx, p.state, accountName(name), tag, account)
	}
	if err != nil {
		return "", err
	}
	return token, nil
}

// Accounts lists the accounts, ordered by name, without their digests.
func Accounts(ctx context.Context, c Config, d Deps) ([]Account, error) {
	p, err := openPlaces(ctx, c, d, false)
	if err != nil {
		return nil, err
	}
	found, err := names(ctx, p.state, "accounts")
	if err != nil {
		return nil, err
	}
	accounts := make([]Account, 0, len(found))
	for _, name := range found {
		var a Account
		if _, err := readJSON(ctx, p.state, accountName(name), &a); err != nil {
			return nil, err
		}
		a.TokenSHA256 = ""
		accounts = append(accounts, a)
	}
	return accounts, nil
}

// RevokeAccount ends an account at once.
func RevokeAccount(ctx context.Context, c Config, d Deps, name string) error {
	p, err := openPlaces(ctx, c, d, false)
	if err != nil {
		return err
	}
	var a Account
	tag, err := readJSON(ctx, p.state, accountName(name), &a)
	if errors.Is(err, fs.ErrNotExist) || !seal.ValidName(name) {
		return fmt.Errorf("there is no account %q", name)
	}
	if err != nil {
		return err
	}
	if a.Revoked.IsZero() {
		a.Revoked = d.Now().UTC().Truncate(time.Second)
	}
	if err := d.record(ctx, Event{Event: "auth.key", Detail: fmt.Sprintf("account %s: revoked", name)}); err != nil {
		return err
	}
	return swapJSON(ctx, p.state, accountName(name), tag, a)
}

// account returns the account that a bearer token belongs to, or errUnknown.
func (p *places) account(ctx context.Context, token string, now time.Time) (*Account, error) {
	name, ok := tokenName(accountToken, token)
	if !ok {
		return nil, errUnknown
	}
	var a Account
	_, err := readJSON(ctx, p.state, accountName(name), &a)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errUnknown
	}
	if err != nil {
		return nil, err
	}
	digest, err := seal.ParseDigest(a.TokenSHA256)
	if err != nil {
		return nil, fmt.Errorf("read state %s: %w", accountName(name), err)
	}
	if !sameToken(token, digest) || !a.usable(now) {
		return nil, errUnknown
	}
	return &a, nil
}

// writeToken writes a token to a new file of mode 0600.
func writeToken(fsys durable.FS, name, token string) error {
	err := durable.CreateFile(fsys, name, []byte(token+"\n"), stateFileMode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("write token: %s exists; remove it or name another file", name)
	}
	if err != nil {
		return fmt.Errorf("write token: %w", err)
	}
	return nil
}
