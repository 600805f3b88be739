package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/auditail/auditail/seal"
)

// maxForks is how many pieces of evidence are kept of one agent. One proves it;
// the rest is for whoever looks into it.
const maxForks = 16

const forksFolder = "forks/"

// keepFork keeps the bytes that contradict the store, named by their digest, and
// returns that name; "" when enough, or these very bytes, are kept already.
func (p *places) keepFork(ctx context.Context, agent string, data []byte) (string, error) {
	name := forksFolder + agent + "/" + seal.DigestOf(data).String()
	n, err := p.countForks(ctx, agent)
	if err != nil || n >= maxForks {
		return "", err
	}
	err = p.state.write(ctx, name, data, time.Time{})
	if errors.Is(err, fs.ErrExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("keep fork: %w", err)
	}
	return name, nil
}

// countForks returns how many contradictions of an agent are kept.
func (p *places) countForks(ctx context.Context, agent string) (int, error) {
	found, err := p.state.list(ctx, forksFolder+agent+"/", "", maxListed)
	if err != nil {
		return 0, fmt.Errorf("count forks: %w", err)
	}
	return len(found), nil
}
