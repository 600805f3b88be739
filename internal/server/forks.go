package server

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
)

// maxForks is how many pieces of evidence are kept of one agent. One proves it;
// the rest is for whoever looks into it.
const maxForks = 16

func (p *places) forksOf(agent string) string { return filepath.Join(p.forks, agent) }

// keepFork keeps the bytes that contradict the store, named by their digest, and
// returns the file's name; "" when enough, or these very bytes, are kept already.
func (p *places) keepFork(agent string, data []byte) (string, error) {
	dir := p.forksOf(agent)
	if err := p.store.fs.MkdirAll(dir, stateDirMode); err != nil {
		return "", fmt.Errorf("keep fork: %w", err)
	}
	name := filepath.Join(dir, seal.DigestOf(data).String())
	if _, err := p.store.fs.Stat(name); err == nil {
		return "", nil
	}
	n, err := p.countForks(agent)
	if err != nil || n >= maxForks {
		return "", err
	}
	if err := durable.WriteFile(p.store.fs, name, data, stateFileMode); err != nil {
		return "", fmt.Errorf("keep fork: %w", err)
	}
	return name, nil
}

// countForks returns how many contradictions of an agent are kept.
func (p *places) countForks(agent string) (int, error) {
	entries, err := p.store.fs.ReadDir(p.forksOf(agent))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("count forks: %w", err)
	}
	return len(entries), nil
}
