package seal

import (
	"fmt"
	"strconv"
	"strings"
)

// Succession is why an epoch follows another without its agent's intent: the
// state on the host was older than what a destination or witness holds
// (rollback), or two agents wrote under one name (fork).
type Succession struct {
	Cause    string // SuccessionRollback or SuccessionFork
	Previous Origin // the epoch that was left
	Size     uint64 // of the log that was found there,
	Root     Hash   // and its root
}

// The causes.
const (
	SuccessionRollback = "rollback"
	SuccessionFork     = "fork"
)

// String returns the reason of an open manifest.
func (s Succession) String() string {
	return fmt.Sprintf("%s %s %d %s", s.Cause, s.Previous, s.Size, s.Root)
}

// ParseSuccession parses the reason of an open manifest that is not OpenFirst.
func ParseSuccession(reason string) (Succession, error) {
	words := strings.Split(reason, " ")
	if len(words) != 4 || words[0] != SuccessionRollback && words[0] != SuccessionFork {
		return Succession{}, fmt.Errorf("reason %q is neither first nor <rollback or fork> <previous origin> <remote size> <remote root>", reason)
	}
	s := Succession{Cause: words[0]}
	var err error
	if s.Previous, err = ParseOrigin(words[1]); err != nil {
		return Succession{}, fmt.Errorf("reason %q: %w", reason, err)
	}
	if s.Size, err = strconv.ParseUint(words[2], 10, 63); err != nil {
		return Succession{}, fmt.Errorf("reason %q: the remote size: %w", reason, err)
	}
	if s.Root, err = parseHash(words[3]); err != nil {
		return Succession{}, fmt.Errorf("reason %q: the remote root: %w", reason, err)
	}
	if s.String() != reason {
		return Succession{}, fmt.Errorf("reason %q is not in canonical form", reason)
	}
	return s, nil
}
