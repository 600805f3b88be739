package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/auditail/auditail/seal"
)

// A payload that was refused for good is owed: the agent keeps it in quarantine
// and ships its manifest nevertheless (promise 3 of the README). Only a refusal of
// its own lets the server take a manifest before its payload, and it must
// remember that across restarts, because the agent will not offer the payload
// again. It is settled when somebody has the payload sent again and it is taken.

const owedFolder = "owed/"

func owedName(o seal.Origin, batch uint64) string {
	return fmt.Sprintf("%s%s/%04d-%012d", owedFolder, o.Agent, o.Epoch, batch)
}

// owe remembers durably that the payload of a manifest file was refused.
func (p *places) owe(ctx context.Context, m *seal.Manifest, file []byte) error {
	if err := set(ctx, p.state, owedName(m.Origin, m.Batch), []byte(seal.DigestOf(file).String()+"\n")); err != nil {
		return fmt.Errorf("remember refusal: %w", err)
	}
	return nil
}

// isOwed tells whether the payload of exactly this manifest file was refused.
func (p *places) isOwed(ctx context.Context, m *seal.Manifest, file []byte) (bool, error) {
	have, _, err := p.state.read(ctx, owedName(m.Origin, m.Batch))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for refusal: %w", err)
	}
	return string(have) == seal.DigestOf(file).String()+"\n", nil
}

// countOwed returns how many payloads of a log were refused and are not stored.
func (p *places) countOwed(ctx context.Context, log seal.Log) (int, error) {
	found, err := p.state.list(ctx, owedFolder+log.Agent+"/", "", maxListed)
	if err != nil {
		return 0, fmt.Errorf("count refusals: %w", err)
	}
	owed := 0
	for _, o := range found {
		settled, err := p.settle(ctx, log, o.Path)
		if err != nil {
			return 0, fmt.Errorf("count refusals: %w", err)
		}
		if !settled {
			owed++
		}
	}
	return owed, nil
}

// settle forgets a refusal when the payload is stored after all.
func (p *places) settle(ctx context.Context, log seal.Log, name string) (settled bool, err error) {
	origin, batch := seal.Origin{Log: log}, uint64(0)
	if _, err := fmt.Sscanf(name[strings.LastIndexByte(name, '/')+1:], "%04d-%012d", &origin.Epoch, &batch); err != nil {
		return false, fmt.Errorf("%s is not the name of a refusal", name)
	}
	m, err := p.manifest(ctx, origin, batch)
	if errors.Is(err, fs.ErrNotExist) { // its manifest is on the way
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if ok, err := p.store.exists(ctx, m.PayloadPath); !ok || err != nil {
		return false, err
	}
	return true, p.state.remove(ctx, name)
}
