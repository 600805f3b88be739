package archive

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/auditail/auditail/seal"
)

// plan finds out whose logs lie in the archive, in which epochs and under which
// of the trusted keys, and what the auditor expects of each.
func (v *verifier) plan(ctx context.Context) error {
	if !v.inventory.seals {
		v.emit(Finding{Level: Violation, Code: NoSeals, Path: "seals", What: "nothing is sealed here: no record of this archive can be verified"})
	}
	for _, name := range slices.Sorted(maps.Keys(v.inventory.untrusted)) {
		v.emit(Finding{
			Level: Violation, Code: KeyUnknown, Path: "seals/" + name,
			What: fmt.Sprintf("the trust file has no key named <organization>/%s: nothing of this agent was verified", name),
		})
	}
	for _, name := range v.inventory.names() {
		logs := v.options.Trust.logs(name)
		numbers := v.inventory.sealed(name)
		if len(numbers) == 0 {
			continue // only payloads: unnamed reports them
		}
		a := &agent{coverage: newCoverage(), held: make(map[seal.Stream]uint64)}
		a.log = v.chooseLog(ctx, logs, numbers[0])
		a.keys = v.options.Trust[a.log]
		for _, number := range numbers {
			origin := seal.Origin{Log: a.log, Epoch: number}
			a.epochs = append(a.epochs, &epoch{
				origin: origin, files: v.inventory.epoch(origin.Agent, number), roots: make(map[uint64]seal.Hash),
			})
		}
		for _, e := range a.epochs {
			v.planSuccession(ctx, a, e)
		}
		v.agents = append(v.agents, a)
		v.report.Epochs += len(a.epochs)
	}
	v.report.Agents = len(v.agents)
	if err := v.expect(); err != nil {
		return err
	}
	return v.planEnd(ctx)
}

// chooseLog decides between trusted logs of the same agent name in different
// organizations: the archive's paths do not name the organization.
func (v *verifier) chooseLog(ctx context.Context, logs []seal.Log, number int) seal.Log {
	if len(logs) == 1 {
		return logs[0]
	}
	file, err := v.readSmall(ctx, seal.Origin{Log: logs[0], Epoch: number}.IdentityPath())
	if err != nil {
		return logs[0]
	}
	for _, log := range logs {
		if bytes.HasPrefix(file, []byte(log.String()+"+")) {
			return log
		}
	}
	return logs[0]
}

// planSuccession notes which heads of earlier epochs this one says it follows, so
// that the walk over them keeps these.
func (v *verifier) planSuccession(ctx context.Context, a *agent, e *epoch) {
	file, err := v.readSmall(ctx, e.origin.ManifestPath(0))
	if err != nil {
		return
	}
	m, err := parseManifest(file)
	if err != nil {
		return
	}
	s, err := seal.ParseSuccession(m.Reason)
	if err != nil {
		return
	}
	if before := a.epoch(s.Previous); before != nil {
		before.roots[s.Size] = seal.Hash{}
		if s.Size == 0 {
			before.roots[0] = seal.EmptyRoot()
		}
	}
}

// epoch returns the epoch of an origin, nil when it is not here.
func (a *agent) epoch(origin seal.Origin) *epoch {
	for _, e := range a.epochs {
		if e.origin == origin {
			return e
		}
	}
	return nil
}

// identity chooses the key of an epoch among those that the auditor trusts, and
// those that rotations made of them: identity.vkey only says which of them it is.
func (v *verifier) identity(ctx context.Context, a *agent, e *epoch) ed25519.PublicKey {
	file, err := v.readSmall(ctx, e.origin.IdentityPath())
	for _, key := range a.keys {
		if err == nil && bytes.Equal(file, seal.IdentityFile(e.origin.Log, key)) {
			return key
		}
	}
	e.unidentified = true
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.violation(IdentityMissing, e.origin.IdentityPath(), "the key that opened the epoch is not there")
	case err != nil:
		e.violation(Unreadable, e.origin.IdentityPath(), "%v", err)
	case v.retired(a, e, file):
		e.violation(IdentityRetired, e.origin.IdentityPath(), "is the file of a key that was rotated out before: it may not open an epoch any more")
	default:
		e.violation(IdentityWrong, e.origin.IdentityPath(), "is not the file of a key that the trust file names for %s", e.origin.Log)
	}
	return v.keyByTrial(ctx, e, a.keys)
}

// retired tells whether the file of an identity is that of a trusted key which
// a rotation took the trust from.
func (v *verifier) retired(a *agent, e *epoch, file []byte) bool {
	return slices.ContainsFunc(v.options.Trust[a.log], func(key ed25519.PublicKey) bool {
		return bytes.Equal(file, seal.IdentityFile(e.origin.Log, key))
	})
}

// rotate takes the trust from a key and gives it to the one that it signed in.
func (a *agent) rotate(from, to ed25519.PublicKey) {
	a.keys = slices.DeleteFunc(slices.Clone(a.keys), func(key ed25519.PublicKey) bool { return key.Equal(from) || key.Equal(to) })
	a.keys = append(a.keys, to)
}

// keyByTrial returns the key that signed the first manifest that is there of an
// epoch; the first key when none did, so that all signatures fail.
func (v *verifier) keyByTrial(ctx context.Context, e *epoch, keys []ed25519.PublicKey) ed25519.PublicKey {
	if first, ok := e.files.manifests.next(0); ok {
		if file, err := v.readSmall(ctx, e.origin.ManifestPath(first)); err == nil {
			for _, key := range keys {
				if m, err := seal.NewChain(e.origin, key).Resume(file); m != nil && err == nil {
					return key
				}
			}
		}
	}
	return keys[0]
}

func (e *epoch) violation(code Code, path, format string, args ...any) {
	e.findings = append(e.findings, Finding{Level: Violation, Code: code, Path: path, What: fmt.Sprintf(format, args...)})
}

// expect applies what the auditor expects to the epochs that are there, and
// reports those that are not.
func (v *verifier) expect() error {
	for _, bound := range v.options.ExpectSize {
		e, err := v.bounded(bound, "expected size", func(a *agent) *epoch { return a.epochs[len(a.epochs)-1] })
		switch {
		case err != nil:
			return err
		case e != nil:
			e.expected = max(e.expected, bound.N)
		case bound.N > 0:
			path := "seals"
			if bound.Origin != (seal.Origin{}) {
				path = bound.Origin.SealsPath()
			}
			v.emit(Finding{Level: Violation, Code: ExpectedSize, Path: path, What: fmt.Sprintf("expected at least %d manifests, found none", bound.N)})
		}
	}
	for _, bound := range v.options.From {
		e, err := v.bounded(bound, "first batch", func(a *agent) *epoch { return a.epochs[0] })
		if err != nil {
			return err
		}
		if e != nil {
			e.from = bound.N
		}
	}
	for _, a := range v.agents {
		next := 1
		if a.epochs[0].from > 0 {
			next = a.epochs[0].origin.Epoch // the archive begins in the middle, says the auditor
		}
		for _, e := range a.epochs {
			for ; next < e.origin.Epoch; next++ {
				missing := seal.Origin{Log: a.log, Epoch: next}
				e.violation(EpochMissing, missing.SealsPath(), "epoch %04d follows, but this one is not there", e.origin.Epoch)
			}
			next++
		}
	}
	return nil
}

// bounded returns the epoch that a bound is about, nil when it is not here.
func (v *verifier) bounded(b Bound, what string, only func(*agent) *epoch) (*epoch, error) {
	if b.Origin == (seal.Origin{}) {
		if len(v.agents) == 0 {
			return nil, nil // that none is there is reported
		}
		if len(v.agents) != 1 {
			return nil, fmt.Errorf("%w: the %s %d does not say of which log, and the archive holds those of %d agents; write <organization>/<agent>/<epoch>=%d",
				ErrUsage, what, b.N, len(v.agents), b.N)
		}
		return only(v.agents[0]), nil
	}
	if len(v.options.Trust[b.Origin.Log]) == 0 {
		return nil, fmt.Errorf("%w: the trust file has no key for %s, of which the %s is given", ErrUsage, b.Origin.Log, what)
	}
	for _, a := range v.agents {
		for _, e := range a.epochs {
			if e.origin == b.Origin {
				return e, nil
			}
		}
	}
	return nil, nil
}

// planEnd sets the expected end. Without one from the auditor it is the time at
// which the last manifests say that they were sealed; the walk finds out
// whether that is signed.
func (v *verifier) planEnd(ctx context.Context) error {
	v.report.Until, v.report.UntilGiven = v.options.Until, !v.options.Until.IsZero()
	if v.report.UntilGiven {
		return nil
	}
	for _, a := range v.agents {
		e := a.epochs[len(a.epochs)-1]
		last, ok := e.files.manifests.last()
		if !ok {
			continue
		}
		file, err := v.readSmall(ctx, e.origin.ManifestPath(last))
		if err != nil {
			continue // reported when its turn comes
		}
		m, err := parseManifest(file)
		if err == nil && m.Sealed.After(v.report.Until) {
			v.report.Until = m.Sealed
		}
	}
	return ctx.Err()
}

// absent reports trusted logs that are not in the archive.
func (v *verifier) absent() []Finding {
	var findings []Finding
	here := make(map[seal.Log]bool)
	for _, a := range v.agents {
		here[a.log] = true
	}
	for log := range maps.Keys(v.options.Trust) {
		if !here[log] {
			findings = append(findings, Finding{
				Level: Violation, Code: LogAbsent, Path: "seals/" + log.Agent,
				What: fmt.Sprintf("the trust file names %s, but the archive holds no log of it: all of it may have been deleted", log),
			})
		}
	}
	slices.SortFunc(findings, func(a, b Finding) int { return strings.Compare(a.String(), b.String()) })
	return findings
}

// unmet reports accepted incidents that did not happen.
func (v *verifier) unmet() []Finding {
	var findings []Finding
	for incident := range maps.Keys(v.options.Accepted) {
		if !v.accepted[incident] {
			findings = append(findings, Finding{
				Level: Notice, Code: AcceptedButNotFound, Path: incident.Path,
				What: fmt.Sprintf("a finding %q was accepted beforehand, but there is none", incident.Code),
			})
		}
	}
	slices.SortFunc(findings, func(a, b Finding) int { return strings.Compare(a.String(), b.String()) })
	return findings
}
