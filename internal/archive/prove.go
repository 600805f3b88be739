package archive

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"regexp"
	"slices"
	"sort"

	"github.com/auditail/auditail/seal"
)

// ProveOptions say what to prove and to whom.
type ProveOptions struct {
	Trust Trust
	ID    string // of the record
	// Batch, when set, is where the record lies: nothing else is searched.
	Batch *Batch
	// Progress, when set, is called with bytes searched and bytes in all.
	Progress func(done, total int64)
	// Repeated, when set, is called with the number of records in the batch that have
	// this id, when it is not one: the proof is of the first.
	Repeated func(records int)
}

// Batch names a batch of the archive.
type Batch struct {
	Origin seal.Origin
	Number uint64
}

// Errors of Prove that callers tell apart.
var (
	ErrNoRecord = errors.New("no record with this id lies in the archive")
	ErrUnproven = errors.New("the archive does not prove the record")
)

var recordID = regexp.MustCompile(`^[a-z2-7]{26}$`)

// Prove searches an archive for a record and makes its proof, which verifies
// with the trusted keys. The archive is not verified beyond what the proof needs.
func Prove(ctx context.Context, source Source, o ProveOptions) (*seal.Proof, error) {
	if !recordID.MatchString(o.ID) {
		return nil, fmt.Errorf("%w: the id of a record has 26 characters of a-z and 2-7", ErrUsage)
	}
	r, err := newReader(ctx, source, o.Trust)
	if err != nil {
		return nil, err
	}
	defer r.checker.Close()
	p := &prover{reader: r, options: o}
	proof, origin, err := p.find(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.log(ctx, proof, origin); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnproven, err)
	}
	if _, err := proof.Verify(o.Trust[origin.Log], nil); err != nil {
		return nil, fmt.Errorf("%w: batch %d of %s: %w; after a rotation the trust file has to name the new key as well", ErrUnproven, proof.Batch, origin, err)
	}
	return proof, nil
}

// reader reads batches of an archive one by one, without verifying the whole of it.
type reader struct {
	*verifier
	trust   Trust
	checker *PayloadChecker // to be closed
}

func newReader(ctx context.Context, source Source, trust Trust) (*reader, error) {
	inv, err := takeInventory(ctx, source, trust)
	if err != nil {
		return nil, err
	}
	if !inv.seals {
		return nil, ErrNoArchive
	}
	checker, err := NewPayloadChecker()
	if err != nil {
		return nil, err
	}
	return &reader{verifier: &verifier{source: source, inventory: inv}, trust: trust, checker: checker}, nil
}

// origins are the epochs of the trusted logs that lie in the archive.
func (r *reader) origins() iter.Seq[seal.Origin] {
	return func(yield func(seal.Origin) bool) {
		for _, name := range r.inventory.names() {
			for _, log := range r.trust.logs(name) {
				for _, number := range r.inventory.sealed(name) {
					if !yield(seal.Origin{Log: log, Epoch: number}) {
						return
					}
				}
			}
		}
	}
}

type prover struct {
	*reader
	options ProveOptions
	done    int64
}

// find searches the payloads of all trusted logs for the record.
func (p *prover) find(ctx context.Context) (*seal.Proof, seal.Origin, error) {
	for origin := range p.origins() {
		if b := p.options.Batch; b != nil && b.Origin != origin {
			continue
		}
		proof, err := p.findIn(ctx, origin)
		if proof != nil || err != nil {
			return proof, origin, err
		}
	}
	return nil, seal.Origin{}, ErrNoRecord
}

func (p *prover) findIn(ctx context.Context, origin seal.Origin) (*seal.Proof, error) {
	files := &p.inventory.epoch(origin.Agent, origin.Epoch).manifests
	for n, ok := files.next(0); ok; n, ok = files.next(n + 1) {
		if b := p.options.Batch; b != nil && b.Number != n {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		file, err := p.readSmall(ctx, origin.ManifestPath(n))
		if err != nil {
			return nil, err
		}
		m, err := parseManifest(file)
		if err != nil || m.Origin != origin || m.Kind != seal.Data {
			continue // of another organization, or damaged: no proof can come of it
		}
		proof, err := p.search(ctx, m)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", m.PayloadPath, err)
		}
		if proof != nil {
			proof.Manifest, proof.Batch = file, n
			return proof, p.path(ctx, proof, m)
		}
	}
	return nil, nil
}

// search looks for the record in one payload. A payload that is gone or damaged
// may hold it no more than any other.
func (p *prover) search(ctx context.Context, m *seal.Manifest) (*seal.Proof, error) {
	needle := []byte(`"id":"` + p.options.ID + `"`)
	var proof *seal.Proof
	same := 0
	summary, err := p.payload(ctx, m, func(index uint64, line []byte) {
		if !bytes.Contains(line[:min(len(line), 128)], needle) {
			return
		}
		if same++; proof == nil {
			proof = &seal.Proof{Record: bytes.Clone(line), Index: index, Leaves: m.RecordsTo - m.RecordsFrom}
		}
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, errReadPayload):
		return nil, err
	}
	p.done += summary.Bytes
	if p.options.Progress != nil {
		p.options.Progress(p.done, p.inventory.bytes)
	}
	if same > 1 && p.options.Repeated != nil {
		p.options.Repeated(same)
	}
	return proof, nil
}

func (r *reader) payload(ctx context.Context, m *seal.Manifest, record func(uint64, []byte)) (PayloadSummary, error) {
	f, err := r.source.Open(ctx, m.PayloadPath)
	if err != nil {
		return PayloadSummary{}, err
	}
	summary, err := r.checker.Check(f, m, PayloadOptions{Record: record})
	return summary, errors.Join(err, f.Close())
}

// path computes the way from the record to the root of its batch.
func (p *prover) path(ctx context.Context, proof *seal.Proof, m *seal.Manifest) error {
	way := seal.NewProver(proof.Index, proof.Leaves)
	if _, err := p.payload(ctx, m, func(_ uint64, line []byte) { way.Add(seal.LeafHash(line)) }); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrUnproven, m.PayloadPath, err)
	}
	proof.Path, _ = way.Path()
	return nil
}

// log computes the way from the manifest to a checkpoint that the archive has of
// its log.
func (p *prover) log(ctx context.Context, proof *seal.Proof, origin seal.Origin) error {
	size, err := p.checkpoint(ctx, proof, origin)
	if err != nil {
		return err
	}
	way := seal.NewProver(proof.Batch, size)
	for n := range size {
		file, err := p.readSmall(ctx, origin.ManifestPath(n))
		if err != nil {
			return err
		}
		way.Add(seal.LeafHash(file))
	}
	proof.LogPath, _ = way.Path()
	proof.Cosignatures, err = p.cosignatures(ctx, origin, size)
	return err
}

// checkpoint puts the newest checkpoint into a proof that a trusted key signed, and
// returns its size. Behind a rotation that is the last one before, when the auditor
// trusts the earlier key alone.
func (p *prover) checkpoint(ctx context.Context, proof *seal.Proof, origin seal.Origin) (size uint64, err error) {
	var sizes []uint64
	set := &p.inventory.epoch(origin.Agent, origin.Epoch).checkpoints
	for at, ok := set.next(proof.Batch + 1); ok; at, ok = set.next(at + 1) {
		sizes = append(sizes, at)
	}
	if len(sizes) == 0 {
		return 0, fmt.Errorf("no checkpoint signs batch %d of %s yet", proof.Batch, origin)
	}
	trusted := func(at int) bool {
		file, readErr := p.readSmall(ctx, origin.CheckpointPath(sizes[at]))
		if readErr != nil {
			err = readErr
			return false
		}
		proof.Checkpoint = file
		return slices.ContainsFunc(p.options.Trust[origin.Log], func(key ed25519.PublicKey) bool {
			_, err := seal.VerifyCheckpoint(file, key)
			return err == nil
		})
	}
	at := len(sizes) - 1
	if !trusted(at) && err == nil {
		at = max(sort.Search(at, func(i int) bool { return !trusted(i) })-1, 0)
		trusted(at)
	}
	return sizes[at], err
}

// cosignatures returns what witnesses signed of a checkpoint, in the order of
// the files' names.
func (p *prover) cosignatures(ctx context.Context, origin seal.Origin, size uint64) ([][]byte, error) {
	sets := p.inventory.epoch(origin.Agent, origin.Epoch).cosignatures
	var lines [][]byte
	for _, id := range slices.Sorted(maps.Keys(sets)) {
		if !sets[id].has(size) {
			continue
		}
		file, err := p.readSmall(ctx, origin.CosignatureFile(size, id))
		if err != nil {
			return nil, err
		}
		line, err := seal.SplitCosignatures(file)
		if err != nil || len(line) != 1 {
			continue // damaged: the proof does without
		}
		lines = append(lines, line[0])
	}
	return lines, nil
}
