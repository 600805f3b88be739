package archive

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/auditail/auditail/seal"
)

// witnesses is what the walk over an epoch knows of those who cosign its heads.
type witnesses struct {
	quorum   uint64               // size of the last head that a quorum cosigned
	untold   uint64               // cosignatures over trees that are not known here
	roots    map[uint64]seal.Hash // of the newest sizes, for what manifests say was cosigned
	oldest   uint64               // of roots
	seenSize uint64               // of the last head that a manifest named rightly
	seenRoot seal.Hash
	unplaced bool // a manifest names a head too old to be looked up
}

// keptRoots is how many sizes back a manifest may name a cosigned head: witnesses
// are asked at every ship round.
const keptRoots = 1 << 16

// cosignatures checks the cosignatures over the log as it is now, with size
// manifests.
func (w *walk) cosignatures(ctx context.Context, s *step, size uint64) {
	tree := w.chain.Tree()
	known := w.chain.Whole() && !w.loose && tree.Size() == size
	head := seal.Checkpoint{Origin: w.epoch.origin, Size: size, Root: tree.Root()}
	signed := make(map[uint32]bool)
	for _, witness := range w.options.Policy.Witnesses() {
		set := w.epoch.files.cosignatures[witness.ID()]
		if set == nil || !set.has(size) {
			continue
		}
		path := w.epoch.origin.CosignaturePath(size, witness)
		line, err := w.readSmall(ctx, path)
		switch {
		case err != nil:
			s.findings = append(s.findings, w.finding(Violation, Unreadable, path, "%v", err))
			continue
		case !known:
			w.witness.untold++
			continue
		}
		if _, err := seal.VerifyCosignature(line, &head, witness); err != nil {
			s.findings = append(s.findings, w.finding(Violation, CosignatureWrong, path, "%v: another tree was cosigned, or the file was changed", err))
			continue
		}
		signed[witness.Hash()] = true
	}
	if w.options.Policy.met(signed) {
		w.witness.quorum = size
	}
}

// witnessed compares the cosigned head that a manifest names with the log.
func (w *walk) witnessed(s *step) {
	k := &w.witness
	if k.roots == nil {
		k.roots = map[uint64]seal.Hash{0: seal.EmptyRoot()}
	}
	if m := s.manifest; m != nil && s.proven && (m.WitnessedSize != k.seenSize || m.WitnessedRoot != k.seenRoot) && m.WitnessedSize > 0 {
		path := w.epoch.origin.ManifestPath(m.Batch)
		switch root, kept := k.roots[m.WitnessedSize]; {
		case !kept && m.WitnessedSize <= m.Batch:
			k.unplaced = true
		case !kept:
			s.findings = append(s.findings, w.finding(Violation, WitnessedWrong, path,
				"names a cosigned head of %d manifests, but only %d come before it", m.WitnessedSize, m.Batch))
		case root != m.WitnessedRoot:
			s.findings = append(s.findings, w.finding(Violation, WitnessedWrong, path,
				"names the cosigned root %s of %d manifests, but they have %s", m.WitnessedRoot, m.WitnessedSize, root))
		default:
			k.seenSize, k.seenRoot = m.WitnessedSize, m.WitnessedRoot
		}
	}
	if !w.chain.Whole() || w.loose {
		clear(k.roots)
		return
	}
	tree := w.chain.Tree()
	k.roots[tree.Size()] = tree.Root()
	for ; len(k.roots) > keptRoots; k.oldest++ {
		delete(k.roots, k.oldest)
	}
}

// witnessEnd reports what shows at the end of an epoch of size manifests.
func (w *walk) witnessEnd(s *step, size uint64) {
	add := func(level Level, code Code, path, format string, args ...any) {
		s.findings = append(s.findings, w.finding(level, code, path, format, args...))
	}
	origin, files := w.epoch.origin, w.epoch.files
	folder := origin.SealsPath() + "/cosignature"
	foreign := maps.Clone(files.cosignatures)
	for _, witness := range w.options.Policy.Witnesses() {
		set := foreign[witness.ID()]
		delete(foreign, witness.ID())
		if set == nil {
			continue
		}
		for n, ok := set.next(0); ok && n <= size; n, ok = set.next(n + 1) {
			if !files.manifests.has(n - 1) { // the walk did not come by
				w.witness.untold++
			}
		}
		if last, _ := set.last(); last > size {
			add(Violation, CosignatureAhead, origin.CosignaturePath(last, witness),
				"the witness %s saw %d manifests, but the log ends behind %d: the tail was cut off", witness.Name, last, size)
		}
	}
	if w.options.Policy.Demands() && w.witness.quorum < size {
		add(Violation, QuorumMissing, origin.CheckpointPath(size), "the last %d of %d manifests stand under no head that the quorum of witnesses cosigned",
			size-w.witness.quorum, size)
	}
	if n := w.witness.untold; n > 0 {
		add(Notice, CosignatureUnchecked, folder, "%d cosignatures can not be compared: not all manifests from batch 0 on are here", n)
	}
	if w.witness.unplaced {
		add(Notice, CosignatureUnchecked, folder, "manifests name cosigned heads that are too old, or of manifests that are not here, to be compared")
	}
	for _, id := range slices.Sorted(maps.Keys(foreign)) {
		beyond := ""
		if last, _ := foreign[id].last(); last > size {
			beyond = fmt.Sprintf("; one is named after %d manifests, and the log ends behind %d: with --policy it proves that the tail was cut off, if it is genuine", last, size)
		}
		add(Notice, CosignatureUnchecked, folder, "%d cosignatures of a witness with the key id %s, which no policy names%s", foreign[id].size, id, beyond)
	}
}
