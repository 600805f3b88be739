package archive

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/auditail/auditail/seal"
)

// producer walks over the manifests in order. What ties one to the next is
// checked here; what can be checked by itself goes to the workers.
type producer struct {
	*verifier
	ordered chan<- *step
	work    chan<- *step
}

func (p *producer) all(ctx context.Context) {
	for _, a := range p.agents {
		for i, e := range a.epochs {
			w := walk{producer: p, agent: a, epoch: e, chain: seal.NewChain(e.origin, p.identity(ctx, a, e))}
			w.opening(ctx, i)
			w.manifests(ctx)
			if last := w.chain.Last(); last != nil {
				a.last = last
			}
		}
	}
}

// send hands a step on, to a worker first when it has work for one. It gives up
// when the verification ends.
func (p *producer) send(ctx context.Context, s *step) {
	if s.done != nil {
		select {
		case p.work <- s:
		case <-ctx.Done():
			return
		}
	}
	select {
	case p.ordered <- s:
	case <-ctx.Done():
	}
}

// walk is the way through one epoch.
type walk struct {
	*producer
	agent *agent
	epoch *epoch
	chain *seal.Chain
	// loose tells that the next manifest can not be tied to the one before: there
	// is a hole, or the archive begins here.
	loose      bool
	witness    witnesses
	checkpoint uint64 // size from which on checkpoints were not looked at
	signed     uint64 // size of the last checkpoint that verifies
	untold     bool   // a checkpoint's root could not be compared
	follows    bool   // the last manifest that was walked over is of the epoch before this one
}

func (w *walk) finding(level Level, code Code, path, format string, args ...any) Finding {
	return Finding{Level: level, Code: code, Path: path, What: fmt.Sprintf(format, args...)}
}

// opening reports what stands between this epoch and the one before it.
func (w *walk) opening(ctx context.Context, i int) {
	s := &step{agent: w.agent, epoch: w.epoch, findings: w.epoch.findings}
	// Where the archive begins in the middle, what was read before is unknown.
	s.doubt = i == 0 && (w.epoch.from > 0 || w.epoch.origin.Epoch > 1)
	if before := w.agent.last; i > 0 && before != nil {
		w.follows = before.Origin.Epoch+1 == w.epoch.origin.Epoch
		path := before.Origin.ManifestPath(before.Batch)
		if before.Kind != seal.Close {
			s.findings = append(s.findings, w.finding(Violation, EpochNotClosed, path,
				"epoch %04d follows, but this one ends here without close: what was sealed behind it may have been cut off",
				w.epoch.origin.Epoch))
		} else {
			// An agent goes on in the epoch that it closed. Who holds the identity key
			// could cut a log behind any close, and go on in a new epoch.
			s.findings = append(s.findings, w.finding(Violation, EpochAfterClose, path,
				"epoch %04d follows, but an agent goes on in the epoch that it closed: what was sealed behind this close may have been cut off",
				w.epoch.origin.Epoch))
		}
	}
	w.send(ctx, s)
}

func (w *walk) manifests(ctx context.Context) {
	files := &w.epoch.files.manifests
	next := w.epoch.from
	if first, ok := files.next(0); ok {
		next = min(next, first)
	}
	if w.loose = next > 0 && files.size > 0; w.loose {
		// The key that opened the epoch may have been rotated out by then.
		w.chain = seal.NewChain(w.epoch.origin, w.keyByTrial(ctx, w.epoch, append(slices.Clone(w.agent.keys), w.options.Trust[w.agent.log]...)))
		w.send(ctx, &step{agent: w.agent, epoch: w.epoch, findings: []Finding{w.finding(Notice, StartedAt, w.epoch.origin.ManifestPath(next),
			"verified from batch %d on, %s: what ties it to the batches before can not be checked", next, w.asked(next))}})
	}
	for n, ok := files.next(next); ok && ctx.Err() == nil; n, ok = files.next(n + 1) {
		if n > next {
			w.missing(ctx, next, n-1)
		}
		s := w.manifest(ctx, n)
		w.checkpoints(ctx, s, n+1)
		w.cosignatures(ctx, s, n+1)
		w.witnessed(s)
		w.send(ctx, s)
		next = n + 1
	}
	s := &step{agent: w.agent, epoch: w.epoch}
	switch {
	case files.size == 0:
		w.missing(ctx, next, next)
		next = 0
	case w.epoch.from >= next:
		s.findings = append(s.findings, w.finding(Violation, BatchMissing, w.epoch.origin.ManifestPath(w.epoch.from),
			"the first batch that must be there, as given, is not there: the log ends behind batch %d", next-1))
	}
	w.end(ctx, s, next)
	w.epoch.whole = w.chain.Whole() && !w.loose
	w.epoch.head = Head{Origin: w.epoch.origin.String(), Size: next}
	if tree := w.chain.Tree(); w.epoch.whole && tree.Size() == next {
		w.epoch.head.Root = tree.Root().String()
	}
	w.send(ctx, s)
}

// asked says of the batch that an archive begins with how that fits what the auditor gave.
func (w *walk) asked(first uint64) string {
	if first < w.epoch.from {
		return fmt.Sprintf("where the archive begins, though batch %d was asked for", w.epoch.from)
	}
	return "as asked for"
}

// maxHole is how many missing manifests in a row are reported one by one.
const maxHole = 1000

// missing reports the manifests of batches from to to. Each is a finding of its
// own, so that accepting one does not accept a hole that grew since.
func (w *walk) missing(ctx context.Context, from, to uint64) {
	w.loose = true
	s := &step{agent: w.agent, epoch: w.epoch, doubt: true}
	for n := from; n <= to; n++ {
		path := w.epoch.origin.ManifestPath(n)
		if n-from == maxHole {
			s.findings = append(s.findings, w.finding(Violation, BatchesMissing, path, "this manifest and those up to batch %d are not there", to))
			break
		}
		s.findings = append(s.findings, w.finding(Violation, BatchMissing, path, "the manifest is not there"))
	}
	w.send(ctx, s)
}

// manifest reads manifest n and ties it to the one before.
func (w *walk) manifest(ctx context.Context, n uint64) *step {
	path := w.epoch.origin.ManifestPath(n)
	s := &step{agent: w.agent, epoch: w.epoch}
	refuse := func(code Code, format string, args ...any) *step {
		s.findings = append(s.findings, w.finding(Violation, code, path, format, args...))
		s.doubt, w.loose = true, true
		return s
	}
	file, err := w.readSmall(ctx, path)
	if err != nil {
		return refuse(Unreadable, "%v", err)
	}
	m, err := parseManifest(file)
	switch {
	case err != nil:
		return refuse(ManifestInvalid, "%v", err)
	case m.Origin != w.epoch.origin:
		return refuse(BatchMisplaced, "this is batch %d of %s", m.Batch, m.Origin)
	case m.Batch != n:
		return refuse(BatchMisplaced, "this is the manifest of batch %d", m.Batch)
	}
	before := w.chain.Last()
	if n == 0 && w.follows {
		before = w.agent.last // an agent keeps its time over epochs
		if m.Sealed.Before(before.Sealed) {
			s.findings = append(s.findings, w.finding(Notice, TimeBackwards, path, "time runs backwards: sealed %s, the last of the epoch before %s",
				formatTime(m.Sealed), formatTime(before.Sealed)))
		}
	}
	s.key = w.chain.Identity()
	if w.loose {
		before = nil
		_, err = w.chain.Resume(file)
		s.proven = err == nil
		w.problem(s, path, err)
	} else {
		_, err = w.chain.Add(file)
		s.proven = true
		for _, problem := range parts(err) {
			if n == 0 && w.epoch.unidentified && errors.Is(problem, seal.ErrChain) {
				continue // which file it names was told already: not that of the key it is checked with
			}
			s.proven = w.problem(s, path, problem) && s.proven
		}
	}
	if now := w.chain.Identity(); !now.Equal(s.key) {
		w.agent.rotate(s.key, now)
	}
	w.loose = false
	w.keepRoot()
	s.manifest, s.file, s.done = m, file, make(chan struct{})
	if m.Kind == seal.Data && w.options.Journal != nil && w.surveyor == nil {
		s.known = w.options.Journal.find(m, seal.DigestOf(file))
	}
	w.story(s, path, before)
	return s
}

func parseManifest(file []byte) (*seal.Manifest, error) {
	text, err := seal.SplitNote(file)
	if err != nil {
		return nil, err
	}
	return seal.ParseText(text)
}

// parts returns the errors that errors.Join joined.
func parts(err error) []error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return joined.Unwrap()
	}
	return nil
}

// problem reports what the chain found. It tells whether the manifest itself is
// still beyond doubt.
func (w *walk) problem(s *step, path string, err error) bool {
	if err == nil {
		return true
	}
	level, code, sound := Violation, ManifestInvalid, false
	switch {
	case errors.Is(err, seal.ErrSignature):
		code = SignatureWrong
	case errors.Is(err, seal.ErrRatchet):
		code = RatchetWrong
	case errors.Is(err, seal.ErrChain):
		code, sound = ChainBroken, true
	case errors.Is(err, seal.ErrRecords):
		code, sound = RecordsBroken, true
	case errors.Is(err, seal.ErrLines):
		code, sound = LinesBroken, true
	case errors.Is(err, seal.ErrTime):
		level, code, sound = Notice, TimeBackwards, true
	}
	s.findings = append(s.findings, w.finding(level, code, path, "%s", strings.ReplaceAll(err.Error(), "\n", "; ")))
	return sound
}

// clockSkew is how far the clock of an agent may be ahead of the auditor's.
const clockSkew = 5 * time.Minute

// story reports what the manifest says that an auditor should know.
func (w *walk) story(s *step, path string, before *seal.Manifest) {
	m := s.manifest
	if m.Opened.After(m.Sealed) {
		s.findings = append(s.findings, w.finding(Notice, TimeBackwards, path, "time runs backwards: opened %s, sealed %s", formatTime(m.Opened), formatTime(m.Sealed)))
	}
	if m.Sealed.After(w.options.Now.Add(clockSkew)) {
		s.findings = append(s.findings, w.finding(Notice, TimeAhead, path, "sealed %s, which is not yet by the clock of this machine", formatTime(m.Sealed)))
	}
	if before != nil && !before.NextBy.IsZero() && m.Sealed.After(before.NextBy) {
		s.findings = append(s.findings, w.finding(Notice, Silence, path, "silence: sealed %s, but due by %s; the chain goes on unbroken",
			formatTime(m.Sealed), formatTime(before.NextBy)))
	}
	if term := m.KeepUntil.Sub(m.Sealed); m.Kind == seal.Data && term < w.options.LeastTerm {
		s.findings = append(s.findings, w.finding(Violation, TermShort, path, "its records are to be kept for %s from sealing on, but %s are asked for", term, w.options.LeastTerm))
	}
	switch {
	case m.Kind == seal.Rotate && s.proven:
		s.findings = append(s.findings, w.finding(Notice, KeyRotated, path, "from here on the key %s signs for %s, and the one before no more",
			seal.VKey(m.Origin.Log.String(), m.Successor), m.Origin.Log))
	case m.Kind == seal.Open:
		w.reason(s, path)
	}
}

// keepRoot keeps the root of the log where a later epoch says that it followed.
func (w *walk) keepRoot() {
	tree := w.chain.Tree()
	if _, asked := w.epoch.roots[tree.Size()]; asked && w.chain.Whole() {
		w.epoch.roots[tree.Size()] = tree.Root()
	}
}

// reason compares why an epoch says that it opened with what lies here.
func (w *walk) reason(s *step, path string) {
	m := s.manifest
	wrong := func(format string, args ...any) {
		s.findings = append(s.findings, w.finding(Violation, OpenReason, path, format, args...))
	}
	if (m.Reason == seal.OpenFirst) != (m.Origin.Epoch == 1) {
		wrong("epoch %04d opens with the reason %q", m.Origin.Epoch, m.Reason)
		return
	}
	if m.Reason == seal.OpenFirst {
		return
	}
	succession, err := seal.ParseSuccession(m.Reason)
	switch {
	case err != nil:
		wrong("%v", err)
	case succession.Previous.Log != m.Origin.Log || succession.Previous.Epoch >= m.Origin.Epoch:
		wrong("epoch %04d says that it follows %s", m.Origin.Epoch, succession.Previous)
	default:
		before := w.agent.epoch(succession.Previous)
		if before == nil || !before.whole {
			return // what is missing there is reported, or was not asked for
		}
		switch root := before.roots[succession.Size]; root {
		case succession.Root:
		case seal.Hash{}:
			wrong("epoch %04d says that %s had %d manifests elsewhere; here they are not all", m.Origin.Epoch, succession.Previous, succession.Size)
		default:
			wrong("epoch %04d says that %s had the root %s elsewhere at %d manifests; here it has %s: the log was forked",
				m.Origin.Epoch, succession.Previous, succession.Root, succession.Size, root)
		}
	}
}

// checkpoints checks the checkpoints of the sizes up to size, which the log has
// now. What they find goes to s.
func (w *walk) checkpoints(ctx context.Context, s *step, size uint64) {
	for at, ok := w.epoch.files.checkpoints.next(w.checkpoint); ok && at <= size; at, ok = w.epoch.files.checkpoints.next(at + 1) {
		w.checkpoint = at + 1
		c, err := w.readCheckpoint(ctx, at)
		if err != nil && !w.chain.Whole() {
			// Of before the archive begins, or of before a hole with a rotation in it.
			for _, key := range w.options.Trust[w.agent.log] {
				if earlier, again := w.readCheckpointBy(ctx, at, key); again == nil && !key.Equal(w.chain.Identity()) {
					c, err = earlier, nil
				}
			}
		}
		path := w.epoch.origin.CheckpointPath(at)
		tree := w.chain.Tree()
		switch {
		case err != nil:
			s.findings = append(s.findings, w.finding(Violation, CheckpointInvalid, path, "%v", err))
		case !w.chain.Whole() || w.loose || tree.Size() != at:
			w.signed, w.untold = at, true
		case tree.Root() != c.Root:
			s.findings = append(s.findings, w.finding(Violation, CheckpointRoot, path,
				"signs the root %s, but the manifests have %s: other manifests were signed than lie here", c.Root, tree.Root()))
		default:
			w.signed = at
		}
	}
}

func (w *walk) readCheckpoint(ctx context.Context, size uint64) (seal.Checkpoint, error) {
	return w.readCheckpointBy(ctx, size, w.chain.Identity())
}

func (w *walk) readCheckpointBy(ctx context.Context, size uint64, key ed25519.PublicKey) (seal.Checkpoint, error) {
	file, err := w.readSmall(ctx, w.epoch.origin.CheckpointPath(size))
	if err != nil {
		return seal.Checkpoint{}, err
	}
	c, err := seal.VerifyCheckpoint(file, key)
	if err == nil && (c.Origin != w.epoch.origin || c.Size != size) {
		err = fmt.Errorf("this is the checkpoint of %d batches of %s", c.Size, c.Origin)
	}
	return c, err
}

// end reports what shows at the end of the epoch: size manifests were there.
func (w *walk) end(ctx context.Context, s *step, size uint64) {
	add := func(level Level, code Code, path, format string, args ...any) {
		s.findings = append(s.findings, w.finding(level, code, path, format, args...))
	}
	ahead := w.ahead(ctx, s, size)
	origin, files := w.epoch.origin, w.epoch.files
	if ahead > 0 {
		add(Violation, CheckpointAhead, origin.CheckpointPath(ahead), "signs %d manifests, but the log ends behind %d: the tail was cut off", ahead, size)
	}
	if w.signed < size {
		add(Violation, CheckpointMissing, origin.CheckpointPath(size), "the last %d of %d manifests stand under no signed checkpoint", size-w.signed, size)
	}
	if w.untold {
		add(Notice, CheckpointUnchecked, origin.SealsPath()+"/checkpoint", "signatures verify, but without all manifests from batch 0 on the roots can not be compared")
	}
	if size < w.epoch.expected {
		add(Violation, ExpectedSize, origin.SealsPath(), "the log has %d manifests, but at least %d are expected: the tail was cut off", size, w.epoch.expected)
	}
	var stray list
	for n, ok := files.signatures.next(0); ok; n, ok = files.signatures.next(n + 1) {
		if !files.manifests.has(n) {
			stray.add(w.finding(Violation, SSHSignatureStray, origin.SignaturePath(n), "the signature of a manifest that is not there"))
		}
	}
	s.findings = append(s.findings, stray.sorted()...)
	w.witnessEnd(s, size)
}

// ahead checks the checkpoints beyond the log's end and returns the largest
// size that one of them signs, 0 without any.
func (w *walk) ahead(ctx context.Context, s *step, size uint64) (largest uint64) {
	var wrong list
	for at, ok := w.epoch.files.checkpoints.next(max(w.checkpoint, size+1)); ok && ctx.Err() == nil; at, ok = w.epoch.files.checkpoints.next(at + 1) {
		if _, err := w.readCheckpoint(ctx, at); err != nil {
			wrong.add(w.finding(Violation, CheckpointInvalid, w.epoch.origin.CheckpointPath(at), "%v", err))
			continue
		}
		largest = at
	}
	s.findings = append(s.findings, wrong.sorted()...)
	return largest
}
