package buffer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
)

// An epoch ends when its log may not go on: a destination or witness is ahead of
// it, or other bytes stand under the name of a batch. What no output acknowledged
// is then sealed again in a new epoch, from the same payload files; nothing else
// of the old epoch changes. All of it is done by recovery, so that there is one
// way through it whatever crashes: Supersede writes down why and fails the
// buffer, and the next Open or Reopen finds the note.

// Fork says why an epoch may not go on, and where that was found.
type Fork struct {
	Cause    string    `json:"cause"`    // seal.SuccessionRollback or seal.SuccessionFork
	Previous int       `json:"previous"` // the epoch that was found there,
	Size     uint64    `json:"size"`     // the size of its log
	Root     seal.Hash `json:"root"`     // and its root
	Found    string    `json:"found"`    // name of the output or witness
	// Left is the epoch that was at hand, Again how many of its data batches were
	// sealed again. The buffer fills both.
	Left  int    `json:"left"`
	Again uint64 `json:"again"`
}

// ErrSuperseded is what a buffer fails with whose epoch may not go on: opened
// again, it goes on in the next one.
var ErrSuperseded = errors.New("the epoch may not go on")

// again is a run of batches of an epoch that was left; those from Next to End
// wait to be sealed again.
type again struct {
	Epoch int    `json:"epoch"`
	Next  uint64 `json:"next"`
	End   uint64 `json:"end"`
}

// left tells whether a batch lies behind the end of an epoch that was left, and
// whether it waits to be sealed again.
func (s *sealState) left(epoch int, number uint64) (left, waits bool) {
	end, known := s.Ends[epoch]
	left = known && number >= end
	return left, left && s.Again != nil && s.Again.Epoch == epoch && s.Again.Next <= number && number < s.Again.End
}

func (b *Buffer) supersedePath() string { return filepath.Join(b.dir, "supersede.json") }

// Epoch returns the number of the epoch at hand.
func (b *Buffer) Epoch() int { return b.epoch }

// Supersede ends the epoch at hand for good and fails the buffer with
// ErrSuperseded. When it is called twice, the first reason counts.
func (b *Buffer) Supersede(f Fork) error {
	b.superseding.Lock()
	defer b.superseding.Unlock()
	if b.superseded {
		return nil
	}
	f.Left = b.epoch
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if err := b.keepState(func() error { return durable.WriteFile(b.fs, b.supersedePath(), data, 0o600) }); err != nil {
		return b.failed(fmt.Errorf("note the end of epoch %04d: %w", b.epoch, err))
	}
	b.superseded = true
	b.fail(ErrSuperseded)
	return nil
}

// recoverEpoch brings the epoch at hand to where batches can be sealed: opened,
// with everything in it that has to be sealed again; and leaves it for the next
// one when it may not go on.
func (b *Buffer) recoverEpoch() error {
	for {
		if b.state.Next == 0 {
			if err := b.openEpoch(); err != nil {
				return err
			}
		}
		if err := b.sealAgain(); err != nil {
			return err
		}
		if left, err := b.leaveEpoch(); err != nil || !left {
			return err
		}
	}
}

func (b *Buffer) openEpoch() error {
	reason := seal.OpenFirst
	if f := b.state.Opened; f != nil {
		reason = seal.Succession{
			Cause: f.Cause, Previous: seal.Origin{Log: b.cfg.Log, Epoch: f.Previous}, Size: f.Size, Root: f.Root,
		}.String()
	}
	return b.sealEmpty(seal.Open, reason)
}

// leaveEpoch carries out the note of Supersede, if there is one. The new state
// is the step: before it the epoch at hand is the old one, behind it the new.
func (b *Buffer) leaveEpoch() (left bool, err error) {
	data, err := durable.ReadFile(b.fs, b.supersedePath(), maxStateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	f := new(Fork)
	if err == nil {
		err = json.Unmarshal(data, f)
	}
	if err != nil {
		return false, fmt.Errorf("read the end of epoch %04d: %w", b.state.Epoch, err)
	}
	if left = f.Left == b.state.Epoch; left {
		if err := b.beginEpoch(f); err != nil {
			return false, err
		}
	}
	if err := removeIfThere(b.fs, b.supersedePath()); err != nil {
		return false, fmt.Errorf("remove the note of an epoch's end: %w", err)
	}
	return left, nil
}

func (b *Buffer) beginEpoch(f *Fork) error {
	number := max(f.Left, f.Previous) + 1
	if number > seal.MaxEpoch {
		return fmt.Errorf("epoch %d is the last there can be: begin anew with another agent id and an empty data_dir", seal.MaxEpoch)
	}
	end := uint64(0)                                  // what lies behind no output acknowledged
	for _, output := range b.current.Load().Outputs { // a copy is no evidence
		if c := b.cursors[output]; c.Epoch == f.Left {
			end = max(end, c.Next)
		}
	}
	old := b.state
	for n := end; n < old.Next; n++ {
		switch _, err := b.fs.Stat(b.spoolPath(f.Left, n, seal.PayloadSuffix)); {
		case err == nil:
			f.Again++
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("look for the payload of batch %d: %w", n, err)
		}
	}
	state := sealState{
		Log: old.Log, Epoch: number, Seq: old.Seq, SealedThrough: old.SealedThrough, Sealed: old.Sealed, Opened: f,
		Identity: old.Identity, Ends: maps.Clone(old.Ends), Again: &again{Epoch: f.Left, Next: end, End: old.Next},
	}
	if state.Ends == nil {
		state.Ends = make(map[int]uint64)
	}
	state.Ends[f.Left] = end
	if old.Predecessor != "" && old.Rotated >= end {
		state.Identity = old.Predecessor // nobody was told of the key that follows: it is signed in again
	}
	if err := b.saveState(&state); err != nil {
		return err
	}
	b.log.Error("ALARM: the log may not go on in this epoch; what no output acknowledged is sealed again in the next one",
		"cause", f.Cause, "found", f.Found, "epoch", f.Left, "size", f.Size, "next_epoch", number, "sealed_again", f.Again)
	b.state = state
	kept := b.sealed[:0]
	for _, s := range b.sealed {
		if left, _ := state.left(s.epoch, s.number); left {
			b.disk -= s.size
			continue
		}
		kept = append(kept, s)
	}
	b.sealed = kept
	if err := removeIfThere(b.fs, b.treePath(f.Left)); err != nil {
		return fmt.Errorf("remove tree hashes: %w", err)
	}
	return b.eraseRatchet(old.Next)
}

// sealAgain seals in the epoch at hand what no output acknowledged of the one
// before: data batches, in their order. The rest (heartbeats and the like) said
// something about an epoch that is over.
func (b *Buffer) sealAgain() error {
	for b.state.Again != nil {
		a := *b.state.Again
		for a.Next < a.End {
			_, err := b.fs.Stat(b.spoolPath(a.Epoch, a.Next, seal.PayloadSuffix))
			if err == nil {
				break
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("look for the payload of batch %d: %w", a.Next, err)
			}
			a.Next++
		}
		if a.Next == a.End {
			state := b.state
			state.Again = nil
			if err := b.saveState(&state); err != nil {
				return err
			}
			b.state = state
			return b.sweepEpoch(a)
		}
		if err := b.sealOneAgain(a); err != nil {
			return fmt.Errorf("seal batch %d of epoch %04d again: %w", a.Next, a.Epoch, err)
		}
	}
	return nil
}

// sealOneAgain gives the payload of a batch a second name and seals it under
// that: records, counts and root are those that were sealed before.
func (b *Buffer) sealOneAgain(a again) error {
	file, err := durable.ReadFile(b.fs, b.spoolPath(a.Epoch, a.Next, seal.ManifestSuffix), seal.MaxManifestFile)
	if err != nil {
		return err
	}
	text, err := seal.SplitNote(file)
	if err != nil {
		return err
	}
	before, err := seal.ParseText(text)
	if err != nil {
		return err
	}
	m := b.manifest(seal.Data)
	m.Stream, m.Opened, m.Run = before.Stream, before.Opened, before.Run
	m.RecordsTo = m.RecordsFrom + before.RecordsTo - before.RecordsFrom
	m.Root, m.Plain, m.Lines, m.Payload = before.Root, before.Plain, before.Lines, before.Payload
	m.KeepUntil = m.Sealed.Add(b.term(m.Stream))
	m.PayloadPath = m.Origin.PayloadPath(m.Stream, m.Opened, m.Batch)
	name := b.spoolPath(m.Origin.Epoch, m.Batch, seal.PayloadSuffix)
	err = b.untilSpace(0, func() error {
		if err := removeIfThere(b.fs, name); err != nil { // of a crash behind the link
			return err
		}
		if err := b.fs.Link(b.spoolPath(a.Epoch, a.Next, seal.PayloadSuffix), name); err != nil {
			return err
		}
		return b.fs.SyncDir(filepath.Dir(name))
	})
	if err != nil {
		return fmt.Errorf("name payload: %w", err)
	}
	if err := b.finish(m, intent{Again: a.Next + 1}); err != nil {
		return err
	}
	return b.removeSpooled(a.Epoch, a.Next)
}

// sweepEpoch removes what is left in the spool of batches that were sealed again.
func (b *Buffer) sweepEpoch(a again) error {
	for n := b.state.Ends[a.Epoch]; n < a.End; n++ {
		if err := b.removeSpooled(a.Epoch, n); err != nil {
			return fmt.Errorf("remove batch %d of epoch %04d from the spool: %w", n, a.Epoch, err)
		}
	}
	return nil
}
