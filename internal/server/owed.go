package server

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
)

// A payload that was refused for good is owed: the agent keeps it in quarantine
// and ships its manifest nevertheless (promise 3 of the README). Only a refusal of
// its own lets the server take a manifest before its payload, and it must
// remember that across restarts, because the agent will not offer the payload
// again. It is settled when somebody has the payload sent again and it is taken.

func (p *places) owedOf(agent string) string { return filepath.Join(p.owed, agent) }

func (p *places) owedName(m *seal.Manifest) string {
	return filepath.Join(p.owedOf(m.Origin.Agent), fmt.Sprintf("%04d-%012d", m.Origin.Epoch, m.Batch))
}

// owe remembers durably that the payload of a manifest file was refused.
func (p *places) owe(m *seal.Manifest, file []byte) error {
	if err := p.store.fs.MkdirAll(p.owedOf(m.Origin.Agent), stateDirMode); err != nil {
		return fmt.Errorf("remember refusal: %w", err)
	}
	if err := durable.WriteFile(p.store.fs, p.owedName(m), []byte(seal.DigestOf(file).String()+"\n"), stateFileMode); err != nil {
		return fmt.Errorf("remember refusal: %w", err)
	}
	return nil
}

// isOwed tells whether the payload of exactly this manifest file was refused.
func (p *places) isOwed(m *seal.Manifest, file []byte) (bool, error) {
	have, err := durable.ReadFile(p.store.fs, p.owedName(m), maxSeal)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for refusal: %w", err)
	}
	return string(have) == seal.DigestOf(file).String()+"\n", nil
}

// settle forgets a refusal when the payload is stored after all.
func (p *places) settle(m *seal.Manifest) error {
	err := p.store.fs.Remove(p.owedName(m))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget refusal: %w", err)
	}
	return nil
}

// countOwed returns how many payloads of an agent were refused.
func (p *places) countOwed(agent string) (int, error) {
	entries, err := p.store.fs.ReadDir(p.owedOf(agent))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("count refusals: %w", err)
	}
	return len(entries), nil
}
