package seal

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Proof shows that one record was sealed, to whoever trusts the agent's key and
// has nothing of the archive. It holds of the other records of the batch only
// hashes, which their salt keeps from being guessed.
//
// Its file is a C2SP transparency log proof (tlog-proof@v1) of the batch's
// manifest in the agent's log; the record, its path in the batch and the manifest
// stand in the extra data.
type Proof struct {
	Record []byte // the line without LF
	Index  uint64 // of the record in its batch, below Leaves
	Leaves uint64 // records of the batch
	Path   []Hash // from the record to the root in the manifest

	Manifest []byte // the file
	Batch    uint64 // of the manifest in the log
	LogPath  []Hash // from the manifest to the root in the checkpoint

	Checkpoint   []byte   // the file, the log's signature only
	Cosignatures [][]byte // of the checkpoint: signature lines with LF
}

const (
	proofHeader       = "c2sp.org/tlog-proof@v1"
	recordProofHeader = "auditail/record-proof@v1"
)

// MaxProof is the most bytes that the file of a proof may have: a record of 16
// MiB in base64, paths and signed notes.
const MaxProof = 24 << 20

// Text returns the file of the proof.
func (p *Proof) Text() []byte {
	var extra bytes.Buffer
	fmt.Fprintf(&extra, "%s\nrecord %d %d\n", recordProofHeader, p.Index, p.Leaves)
	for _, h := range p.Path {
		fmt.Fprintf(&extra, "%s\n", h)
	}
	fmt.Fprintf(&extra, "\n%s\n%s", p.Record, p.Manifest)

	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nextra %s\nindex %d\n", proofHeader, base64.StdEncoding.EncodeToString(extra.Bytes()), p.Batch)
	for _, h := range p.LogPath {
		fmt.Fprintf(&b, "%s\n", h)
	}
	b.WriteByte('\n')
	b.Write(p.Checkpoint)
	for _, line := range p.Cosignatures {
		b.Write(line)
	}
	return b.Bytes()
}

// ParseProof parses what Text returns, and nothing else.
func ParseProof(file []byte) (*Proof, error) {
	if len(file) > MaxProof {
		return nil, fmt.Errorf("the proof has more than %d bytes", MaxProof)
	}
	p := new(Proof)
	r := textParser{rest: string(file)}
	if header := r.next(); r.err == nil && header != proofHeader {
		r.fail("expected %q", proofHeader)
	}
	extra, err := base64.StdEncoding.Strict().DecodeString(r.text("extra"))
	if err != nil {
		r.fail("the extra data is not base64: %v", err)
	}
	p.Batch = r.uint(r.text("index"))
	p.LogPath = r.path()
	if r.err != nil {
		return nil, fmt.Errorf("proof line %d: %w", r.line, r.err)
	}
	if err := p.parseNote([]byte(r.rest)); err != nil {
		return nil, fmt.Errorf("proof: %w", err)
	}
	if err := p.parseExtra(extra); err != nil {
		return nil, fmt.Errorf("proof: extra data: %w", err)
	}
	if !bytes.Equal(p.Text(), file) {
		return nil, errors.New("the proof is not in canonical form")
	}
	return p, nil
}

// path reads the hashes up to an empty line.
func (p *textParser) path() []Hash {
	var path []Hash
	for {
		line := p.next()
		if p.err != nil || line == "" {
			return path
		}
		if len(path) == 63 { // no tree of 2^63 leaves has more
			p.fail("the path has more than 63 hashes")
			return nil
		}
		path = append(path, p.hash(line))
	}
}

// parseNote cuts the cosigned checkpoint into the log's part and the witnesses'.
func (p *Proof) parseNote(note []byte) error {
	text, err := SplitNote(note)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	lines := bytes.SplitAfter(note[len(text)+1:], []byte("\n"))
	if len(lines) < 2 {
		return errors.New("checkpoint: it has no signature")
	}
	p.Checkpoint = note[:len(text)+1+len(lines[0])]
	p.Cosignatures = lines[1 : len(lines)-1] // behind the last LF is nothing
	return nil
}

func (p *Proof) parseExtra(extra []byte) error {
	r := textParser{rest: string(extra)}
	if header := r.next(); r.err == nil && header != recordProofHeader {
		r.fail("expected %q", recordProofHeader)
	}
	numbers := r.words("record", 2)
	p.Index, p.Leaves = r.uint(numbers[0]), r.uint(numbers[1])
	p.Path = r.path()
	p.Record = []byte(r.next())
	if r.err != nil {
		return fmt.Errorf("line %d: %w", r.line, r.err)
	}
	p.Manifest = []byte(r.rest)
	return nil
}

// Proven is what a proof shows.
type Proven struct {
	Manifest   *Manifest
	Checkpoint Checkpoint
	Cosigned   map[string]time.Time // when which witness, by WitnessKey.String, saw the checkpoint
}

// ErrProof tells that a proof does not show what it says.
var ErrProof = errors.New("the proof does not verify")

// Verify checks the proof with the identity keys that the auditor trusts for the
// log, of which one has to have signed manifest and checkpoint, and looks for
// cosignatures of the witnesses. An error wraps ErrProof.
func (p *Proof) Verify(trusted []ed25519.PublicKey, witnesses []WitnessKey) (*Proven, error) {
	proven, err := p.verify(trusted, witnesses)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProof, err)
	}
	return proven, nil
}

func (p *Proof) verify(trusted []ed25519.PublicKey, witnesses []WitnessKey) (*Proven, error) {
	m, err := p.verifyManifest(trusted)
	if err != nil {
		return nil, err
	}
	c, err := p.verifyCheckpoint(trusted)
	switch {
	case err != nil:
		return nil, err
	case c.Origin != m.Origin:
		return nil, fmt.Errorf("the checkpoint is of %s, the manifest of %s", c.Origin, m.Origin)
	case m.Batch != p.Batch:
		return nil, fmt.Errorf("the manifest of batch %d is said to be leaf %d", m.Batch, p.Batch)
	case m.RecordsTo-m.RecordsFrom != p.Leaves:
		return nil, fmt.Errorf("the batch has %d records, the proof is for one of %d", m.RecordsTo-m.RecordsFrom, p.Leaves)
	}
	if err := checkPath(p.Path, p.Leaves, m.Root, p.Index, LeafHash(p.Record)); err != nil {
		return nil, fmt.Errorf("the record is not record %d of the batch: %w", p.Index, err)
	}
	if err := checkPath(p.LogPath, c.Size, c.Root, p.Batch, LeafHash(p.Manifest)); err != nil {
		return nil, fmt.Errorf("the manifest is not leaf %d of the log: %w", p.Batch, err)
	}
	proven := &Proven{Manifest: m, Checkpoint: c, Cosigned: make(map[string]time.Time)}
	for _, line := range p.Cosignatures {
		for _, witness := range witnesses {
			if at, err := VerifyCosignature(line, &c, witness); err == nil {
				proven.Cosigned[witness.String()] = at
			}
		}
	}
	return proven, nil
}

// verifyManifest finds the trusted key that signed the manifest. What ties it to
// the one before can not be checked here; the path to the checkpoint stands for it.
func (p *Proof) verifyManifest(trusted []ed25519.PublicKey) (*Manifest, error) {
	err := errors.New("no key is trusted for this log")
	for _, key := range trusted {
		var m *Manifest
		if m, err = verifyManifest(p.Manifest, key, nil, false); err == nil {
			if m.Kind != Data {
				return nil, fmt.Errorf("a batch of kind %s has no records", m.Kind)
			}
			return m, nil
		}
	}
	return nil, err
}

func (p *Proof) verifyCheckpoint(trusted []ed25519.PublicKey) (Checkpoint, error) {
	err := errors.New("no key is trusted for this log")
	for _, key := range trusted {
		var c Checkpoint
		if c, err = VerifyCheckpoint(p.Checkpoint, key); err == nil {
			return c, nil
		}
	}
	return Checkpoint{}, err
}

// checkPath checks an audit path (RFC 6962, section 2.1.1).
func checkPath(path []Hash, size uint64, root Hash, index uint64, leaf Hash) error {
	if size > math.MaxInt64 || index >= size {
		return fmt.Errorf("leaf %d of a tree of %d", index, size)
	}
	return tlog.CheckRecord(slices.Clone(path), int64(size), root, int64(index), leaf) //nolint:gosec // checked above
}

// Origin returns the log that the proof says it is of, before anything is
// verified: whoever verifies looks up the keys for it.
func (p *Proof) Origin() (Origin, error) {
	line, _, _ := strings.Cut(string(p.Checkpoint), "\n")
	return ParseOrigin(line)
}

// ProofName is what the file of a record's proof is called.
func ProofName(id string) string { return id + ".tlog-proof" }
