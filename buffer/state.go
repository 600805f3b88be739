package buffer

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/keys"
	"github.com/auditail/auditail/seal"
)

// sealState is what sealing the next batch needs of the ones before it. It is
// replaced as a whole, and only once the batch it describes is complete.
type sealState struct {
	Log           string            `json:"log"`
	Epoch         int               `json:"epoch"`
	Next          uint64            `json:"next"`     // batch number
	Previous      string            `json:"previous"` // digest of the manifest of batch Next-1
	Records       uint64            `json:"records"`  // of the epoch so far
	Seq           uint64            `json:"seq"`      // agent.seq behind the newest sealed record
	SealedThrough map[string]uint64 `json:"sealed_through"`
	TreeSize      uint64            `json:"tree_size"`
	Frontier      []string          `json:"frontier"` // base64, see seal.Tree
	Sealed        time.Time         `json:"sealed"`
	Closed        bool              `json:"closed"`           // the newest batch is of kind close
	Opened        *Fork             `json:"opened,omitempty"` // why the epoch follows another; nil: it is the first
	Ends          map[int]uint64    `json:"ends,omitempty"`   // epochs that were left: what lies behind was sealed again
	Again         *again            `json:"again,omitempty"`  // what is to be sealed again in this epoch

	Identity    string `json:"identity,omitempty"`    // base64 of the public key that signs the next batch
	Predecessor string `json:"predecessor,omitempty"` // the one before the rotation of this epoch
	Rotated     uint64 `json:"rotated,omitempty"`     // batch of that rotation
}

const maxStateFile = 16 << 20

func statePath(dir string) string { return filepath.Join(dir, "seal.json") }

// Begun tells whether a log was begun in a folder: its next batches need the key
// that signed the last one.
func Begun(fsys durable.FS, dir string) bool {
	_, err := fsys.Stat(statePath(dir))
	return err == nil
}

func (b *Buffer) statePath() string  { return statePath(b.dir) }
func (b *Buffer) intentPath() string { return filepath.Join(b.dir, "intent.json") }

func (b *Buffer) ratchetPath(batch uint64) string {
	return filepath.Join(b.dir, "ratchet", fmt.Sprintf("%012d.key", batch))
}

func (s *sealState) origin(log seal.Log) seal.Origin { return seal.Origin{Log: log, Epoch: s.Epoch} }

func (s *sealState) tree() (seal.Tree, error) {
	frontier := make([]seal.Hash, len(s.Frontier))
	for i, text := range s.Frontier {
		if err := frontier[i].UnmarshalJSON([]byte(`"` + text + `"`)); err != nil {
			return seal.Tree{}, fmt.Errorf("frontier hash %q: %w", text, err)
		}
	}
	return seal.NewTree(s.TreeSize, frontier)
}

func (s *sealState) setTree(t *seal.Tree) {
	s.TreeSize, s.Frontier = t.Size(), nil
	for _, h := range t.Frontier() {
		s.Frontier = append(s.Frontier, h.String())
	}
}

// loadState reads the state; the zero state of a new folder.
func (b *Buffer) loadState() error {
	data, err := durable.ReadFile(b.fs, b.statePath(), maxStateFile)
	if errors.Is(err, fs.ErrNotExist) {
		b.state = sealState{Log: b.cfg.Log.String(), Epoch: 1, SealedThrough: make(map[string]uint64)}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read seal state: %w", err)
	}
	if err := json.Unmarshal(data, &b.state); err != nil {
		return fmt.Errorf("read seal state %s: %w", b.statePath(), err)
	}
	if b.state.SealedThrough == nil {
		b.state.SealedThrough = make(map[string]uint64)
	}
	if b.state.Log != b.cfg.Log.String() {
		return fmt.Errorf("this folder holds the log %s, but the configuration names %s: set agent.organization and agent.id back, or use another data_dir", b.state.Log, b.cfg.Log)
	}
	return nil
}

func (b *Buffer) saveState(s *sealState) error {
	data, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(b.fs, b.statePath(), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write seal state: %w", err)
	}
	return nil
}

// intent is what the next batch will be, down to the byte. Once it is durable,
// every crash ends in the manifest it holds.
type intent struct {
	Manifest      string `json:"manifest"` // text
	SealedThrough uint64 `json:"sealed_through,omitempty"`
	Seq           uint64 `json:"seq,omitempty"`
	Again         uint64 `json:"again,omitempty"` // sealed again: the number behind the one it had
}

func (b *Buffer) loadIntent() (*intent, error) {
	data, err := durable.ReadFile(b.fs, b.intentPath(), maxStateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no intent is the normal case
	}
	if err != nil {
		return nil, fmt.Errorf("read intent: %w", err)
	}
	in := new(intent)
	if err := json.Unmarshal(data, in); err != nil {
		return nil, fmt.Errorf("read intent %s: %w", b.intentPath(), err)
	}
	return in, nil
}

func (b *Buffer) saveIntent(in *intent) error {
	data, err := json.Marshal(in)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(b.fs, b.intentPath(), data, 0o600); err != nil {
		return fmt.Errorf("write intent: %w", err)
	}
	return nil
}

// saveRatchet makes the one-time key of a batch durable. A key that a crash left
// behind before an intent named it is replaced.
func (b *Buffer) saveRatchet(batch uint64, key ed25519.PrivateKey) error {
	data := []byte(hex.EncodeToString(key.Seed()) + "\n")
	if err := durable.WriteFile(b.fs, b.ratchetPath(batch), data, 0o600); err != nil {
		return fmt.Errorf("write ratchet key %d: %w", batch, err)
	}
	return nil
}

func (b *Buffer) loadRatchet(batch uint64) (ed25519.PrivateKey, error) {
	data, err := durable.ReadFile(b.fs, b.ratchetPath(batch), 1024)
	if err != nil {
		return nil, fmt.Errorf("read ratchet key %d: %w", batch, err)
	}
	seed, err := hex.DecodeString(string(data[:max(0, len(data)-1)]))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("read ratchet key %d: %s is not a key", batch, b.ratchetPath(batch))
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// sweepRatchet erases what a crash left of keys that nobody signs with any more.
func (b *Buffer) sweepRatchet() error {
	entries, err := b.fs.ReadDir(filepath.Join(b.dir, "ratchet"))
	if err != nil {
		return fmt.Errorf("list ratchet keys: %w", err)
	}
	for _, e := range entries {
		var number uint64
		if _, err := fmt.Sscanf(e.Name(), "%d.key", &number); err != nil || e.Name() != filepath.Base(b.ratchetPath(number)) || number == b.state.Next {
			continue
		}
		if err := b.eraseRatchet(number); err != nil {
			return err
		}
	}
	return nil
}

// eraseRatchet overwrites and removes a used key. Overwriting in place is the
// most a program can do; a copy-on-write file system or an SSD may keep the
// old block, which is why the ratchet is a second line and witnesses are the first.
func (b *Buffer) eraseRatchet(batch uint64) error {
	if err := keys.Erase(b.fs, b.ratchetPath(batch)); err != nil {
		return fmt.Errorf("erase ratchet key %d: %w", batch, err)
	}
	return nil
}
