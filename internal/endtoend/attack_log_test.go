package endtoend

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/auditail/auditail/seal"
)

// replayAttacks put in what others sealed.
func replayAttacks() []attack {
	// instead puts another archive in the place of this one, as agentID.
	instead := func(which string) func(*root) {
		return func(r *root) {
			other := r.others[which]
			if err := errors.Join(os.RemoveAll(r.dir), os.CopyFS(r.dir, os.DirFS(other.folder))); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	// batch puts batch 1 of another archive in the place of one of this.
	batch := func(which, id string) func(*root) {
		return func(r *root) {
			other := seal.Origin{Log: seal.Log{Agent: id}, Epoch: 1}
			for _, path := range []func(seal.Origin) string{
				func(o seal.Origin) string { return o.ManifestPath(1) }, func(o seal.Origin) string { return o.SignaturePath(1) },
			} {
				data, err := os.ReadFile(filepath.Join(r.others[which].folder, path(other)))
				if err != nil {
					r.t.Fatal(err)
				}
				r.write(path(r.origin()), data)
			}
		}
	}
	stranger := []string{"checkpoint-invalid", "checkpoint-missing", "identity-wrong", "signature-wrong", "sshsig-wrong"}
	return []attack{
		{name: "a batch of another tenant", do: batch("tenant", agentID), want: []string{"batch-misplaced", "payload-unnamed"}, notices: unchecked},
		{name: "a batch of another agent", do: batch("neighbour", "gpu-08"), want: []string{"batch-misplaced", "payload-unnamed"}, notices: unchecked},
		{
			name: "a batch of an agent of the same name", do: batch("impostor", agentID),
			want:    append([]string{"payload-digest", "ratchet-wrong", "records-broken"}, unsigned...),
			notices: []string{"time-backwards"},
		},
		{name: "the archive of another tenant in this one's place", do: instead("tenant"), want: []string{
			"batch-misplaced", "checkpoint-invalid", "checkpoint-missing", "identity-wrong", "payload-unnamed",
		}},
		{name: "the archive of an agent of the same name in this one's place", do: instead("impostor"), want: stranger},
		{name: "the archive of another agent in this one's place", do: instead("neighbour"), want: []string{"key-unknown", "log-absent"}},
		{
			name: "the archive of another tenant, who is trusted too, in this one's place", do: instead("tenant"),
			arguments: func(e *evidence) []string {
				mine, other := e.site.file("trust"), e.others["tenant"]
				e.site.write("both", string(mine)+string(other.site.file("trust")))
				return []string{"--trust", e.site.path("both")}
			},
			want: []string{"log-absent"},
		},
		{name: "another agent's name", do: func(r *root) { r.rename("seals/"+agentID, "seals/gpu-08") }, want: []string{"key-unknown", "log-absent", "payload-unnamed"}},
	}
}

// tailAttacks cut the end off.
func tailAttacks() []attack {
	size := func(e *evidence) []string { return []string{"--expect-size", fmt.Sprint(e.last + 1)} }
	until := func(*evidence) []string {
		return []string{"--until", time.Now().Add(24 * time.Hour).Format(time.RFC3339)}
	}
	earlier := func(r *root) { r.cut(r.earlier()) }
	return []attack{
		{name: "the last batch gone, its checkpoint left", do: func(r *root) {
			r.remove(r.batch(r.last)...)
			_ = os.Remove(r.path(r.origin().CheckpointPath(r.last))) // there may be none
		}, want: []string{"checkpoint-ahead", "checkpoint-missing"}},
		{name: "the last batch gone, its checkpoint too", do: func(r *root) {
			r.cut(r.last)
			_ = os.Remove(r.path(r.origin().CheckpointPath(r.last)))
		}, want: []string{"checkpoint-missing"}},
		{name: "cut at a checkpoint, size expected", do: earlier, arguments: size, want: []string{"expected-size"}},
		{name: "cut at a checkpoint, end expected", do: earlier, arguments: until, want: []string{"silent-end"}},
		{name: "cut at a close, size expected", do: func(r *root) { r.cut(r.closed + 1) }, arguments: size, want: []string{"expected-size"}},
		{name: "the last checkpoint gone", do: func(r *root) { r.remove(r.origin().CheckpointPath(r.last + 1)) }, want: []string{"checkpoint-missing"}},
		{name: "an old checkpoint left alone", do: func(r *root) { r.unsign("checkpoint", r.earlier()+1) }, want: []string{"checkpoint-missing"}},
		{name: "no checkpoint left", do: func(r *root) { r.unsign("checkpoint", 0) }, want: []string{"checkpoint-missing"}},
		{name: "the checkpoint of a longer log", do: func(r *root) {
			r.write(r.origin().CheckpointPath(r.last+2), r.read(r.origin().CheckpointPath(r.last+1)))
		}, want: []string{"checkpoint-invalid"}},
		{name: "the checkpoint of an empty log", do: func(r *root) {
			r.write(r.origin().CheckpointPath(0), r.read(r.origin().CheckpointPath(r.last+1)))
		}, want: []string{"unknown-file"}},
	}
}

// witnessAttacks are those that a witness sees, and those on what it signed.
func witnessAttacks() []attack {
	policy := func(e *evidence) []string { return []string{"--policy", e.policy} }
	file := func(r *root, size uint64) string { return r.origin().CosignaturePath(size, r.witness) }
	return []attack{
		{name: "cut at a checkpoint, its cosignatures left", do: func(r *root) {
			kept := r.read(file(r, r.last+1))
			r.cut(r.earlier())
			r.unsign("cosignature", r.earlier()) // whether the witness was asked for this head in time is chance
			r.write(file(r, r.last+1), kept)
		}, arguments: policy, want: []string{"cosignature-ahead", "quorum-missing"}},
		{name: "the last cosignature gone", do: func(r *root) { r.remove(file(r, r.last+1)) }, arguments: policy, want: []string{"quorum-missing"}},
		{name: "no cosignature left", do: func(r *root) { r.unsign("cosignature", 0) }, arguments: policy, want: []string{"quorum-missing"}},
		{name: "a byte of a cosignature", do: func(r *root) { r.flip(file(r, r.last+1), -20) }, arguments: policy, want: []string{"cosignature-wrong", "quorum-missing"}},
		{name: "the cosignature of a shorter log for this one", do: func(r *root) {
			r.write(file(r, r.last+2), r.read(file(r, r.last+1)))
			r.cosign(r.earlier(), r.last+1)
		}, arguments: policy, want: []string{"cosignature-ahead", "cosignature-wrong", "quorum-missing"}},
		{name: "a cosignature by a key that is not the witness's", do: func(r *root) { r.cosign(r.last+1, r.last+1) }, arguments: policy, want: []string{"cosignature-wrong", "quorum-missing"}},
		{name: "a cosignature by a witness that nobody knows", do: func(r *root) {
			r.write(r.origin().CosignatureFile(r.last+1, "0badcafe"), []byte("— nobody AAAA\n"))
		}, arguments: policy, notices: []string{"cosignature-unchecked"}},
		{name: "two cosignatures in one file", do: func(r *root) {
			r.write(file(r, r.last+1), slices.Concat(r.read(file(r, r.last+1)), r.read(file(r, r.last+1))))
		}, arguments: policy, want: []string{"cosignature-wrong", "quorum-missing"}},
		{name: "the past sealed again with the stolen keys, before a witness", do: func(r *root) {
			m := *r.chat[2]
			m.Boot = "another"
			r.forge(&m, r.ratchet(r.t))
			r.sign(r.origin(), r.last+1)
		}, arguments: policy, want: []string{"chain-broken", "checkpoint-root", "cosignature-wrong", "quorum-missing", "ratchet-wrong", "witnessed-wrong"}},
	}
}

// cosign puts a cosignature of a made-up key over the log of a size in the place of
// the witness's over another.
func (r *root) cosign(size, place uint64) {
	r.t.Helper()
	tree := r.tree(r.origin(), size)
	c := seal.Checkpoint{Origin: r.origin(), Size: size, Root: tree.Root()}
	line, err := seal.Cosign(&c, r.witness.Name, key("w"), time.Now())
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(r.origin().CosignaturePath(place, r.witness), line)
}

// keyAttacks are those of a thief who owns the host: the identity key, and the
// one-time key of the next batch.
func keyAttacks() []attack {
	return []attack{
		{name: "the past sealed again with the stolen keys", do: func(r *root) {
			m := *r.chat[2]
			m.Boot = "another"
			r.forge(&m, r.ratchet(r.t))
			r.sign(r.origin(), r.last+1)
		}, want: []string{"chain-broken", "checkpoint-root", "ratchet-wrong", "witnessed-wrong"}},
		{name: "a record taken out of the last batch, which is sealed again with the stolen keys", do: func(r *root) {
			m := *r.chat[len(r.chat)-1]
			lines := r.lines(&m)
			lines = append(slices.Delete(lines, 0, 1), []byte("\n"))
			m.RecordsTo--
			m.Plain = int64(len(bytes.Join(lines, nil)))
			var tree seal.Tree
			for _, line := range lines[:len(lines)-1] {
				tree.Add(seal.LeafHash(bytes.TrimSuffix(line, []byte("\n"))))
			}
			m.Root = tree.Root()
			payload := compress(r.t, bytes.Join(lines, nil))
			m.Payload = seal.DigestOf(payload)
			r.write(m.PayloadPath, payload)
			r.forge(&m, r.ratchet(r.t))
			r.cut(m.Batch + 1)
			r.sign(r.origin(), m.Batch+1)
		}, want: []string{"ratchet-wrong"}},
		{name: "the tail cut, and another one sealed with the stolen keys", do: func(r *root) {
			at := r.closed
			r.cut(at)
			m := *r.sealed(at)
			m.Ratchet = public(key("a"))
			r.forge(&m, r.ratchet(r.t))
			r.sign(r.origin(), at+1)
		}, want: []string{"ratchet-wrong"}},
		{name: "the tail cut, and the log continued in a new epoch", do: func(r *root) {
			r.cut(r.closed)
			_ = os.Remove(r.path(r.origin().CheckpointPath(r.closed)))
			r.continued(r.closed, r.identity(r.t, r.closed))
		}, want: []string{"checkpoint-missing", "epoch-not-closed"}},
		{name: "the tail cut at a checkpoint, and the log continued in a new epoch", do: func(r *root) {
			r.cut(r.earlier())
			r.continued(r.earlier(), r.identity(r.t, 0))
		}, want: []string{"epoch-not-closed"}},
		{name: "the tail cut behind a close, and the log continued in a new epoch", do: func(r *root) {
			r.cut(r.closed + 1)
			r.continued(r.closed+1, r.identity(r.t, r.last))
		}, want: []string{"epoch-after-close"}},
		{name: "the log goes on in the same epoch with the stolen keys", do: func(r *root) {
			// The future is the thief's: nothing is wrong with it, and nothing of the past was changed.
			r.forge(r.next(seal.Close), r.ratchet(r.t))
			r.sign(r.origin(), r.last+2)
		}},
		{name: "the log goes on without the one-time key", do: func(r *root) {
			r.forge(r.next(seal.Heartbeat), key("a"))
			r.sign(r.origin(), r.last+2)
		}, want: []string{"ratchet-wrong"}},
		{name: "signed by another key", do: func(r *root) {
			r.forgeBy(r.chat[2], key("x"), key("y"))
		}, want: unsigned},
		{name: "another identity key", do: func(r *root) {
			r.write(r.origin().IdentityPath(), seal.IdentityFile(r.origin().Log, public(key("x"))))
		}, want: []string{"identity-wrong"}},
		{name: "a key that the auditor does not know", do: func(*root) {}, arguments: func(e *evidence) []string {
			e.site.write("unknown", seal.VKey(e.origin().Log.String(), public(key("x")))+"\n")
			return []string{"--trust", e.site.path("unknown")}
		}, want: []string{"checkpoint-invalid", "checkpoint-missing", "identity-wrong", "signature-wrong", "sshsig-wrong"}},
		{name: "a key that the auditor has revoked", do: func(*root) {}, arguments: func(e *evidence) []string {
			e.site.write("revoked", "# gpu-07: revoked\n"+string(e.others["neighbour"].site.file("trust")))
			return []string{"--trust", e.site.path("revoked")}
		}, want: []string{"key-unknown", "log-absent"}},
	}
}

// continued opens epoch 2 as an agent would whose state was set back, and closes it.
func (r *root) continued(size uint64, identity ed25519.PrivateKey) {
	tree := r.tree(r.origin(), size)
	m := *r.sealed(0)
	previous, now := m.Origin, r.sealed(size-1).Sealed // whoever goes on keeps to the time
	m.Opened, m.Sealed, m.NextBy = now, now, now.Add(time.Minute)
	m.Origin.Epoch = 2
	m.Reason = seal.Succession{Cause: seal.SuccessionRollback, Previous: previous, Size: size, Root: tree.Root()}.String()
	m.Previous = seal.IdentityDigest(m.Origin.Log, public(identity))
	m.Ratchet = public(key("a"))
	r.write(m.Origin.IdentityPath(), seal.IdentityFile(m.Origin.Log, public(identity)))
	r.forgeBy(&m, identity, nil)
	end := m
	end.Batch, end.Kind, end.Reason, end.NextBy, end.Ratchet = 1, seal.Close, "", time.Time{}, public(key("b"))
	end.Previous = seal.DigestOf(r.read(m.Origin.ManifestPath(0)))
	r.forgeBy(&end, identity, key("a"))
	r.signBy(m.Origin, 2, identity)
}

// rotationAttacks are those of who has a key that was rotated out, or wants to rotate
// one in.
func rotationAttacks() []attack {
	old := func(r *root) ed25519.PrivateKey { return r.identity(r.t, 0) }
	rotate := func(r *root, to ed25519.PrivateKey) *seal.Manifest {
		m := r.next(seal.Rotate)
		m.Successor = public(to)
		return m
	}
	return []attack{
		{name: "the old key goes on behind the rotation", do: func(r *root) {
			r.forgeBy(r.next(seal.Close), old(r), r.ratchet(r.t))
			r.signBy(r.origin(), r.last+2, old(r))
		}, want: []string{"checkpoint-invalid", "checkpoint-missing", "signature-wrong", "sshsig-wrong"}},
		{name: "the old key signs a checkpoint behind the rotation", do: func(r *root) {
			r.signBy(r.origin(), r.last+1, old(r))
		}, want: []string{"checkpoint-invalid", "checkpoint-missing"}},
		{name: "the old key opens a new epoch", do: func(r *root) { r.continued(r.last+1, old(r)) }, want: []string{
			"checkpoint-invalid", "checkpoint-missing", "epoch-after-close", "identity-retired", "signature-wrong", "sshsig-wrong",
		}},
		{name: "the old key signs in another one again", do: func(r *root) {
			m := rotate(r, key("thief"))
			file, err := seal.SignRotation(m, old(r), r.ratchet(r.t), key("thief"))
			if err != nil {
				r.t.Fatal(err)
			}
			r.place(m, file, old(r))
			r.signBy(r.origin(), r.last+2, key("thief"))
		}, want: []string{"checkpoint-invalid", "checkpoint-missing", "signature-wrong", "sshsig-wrong"}},
		{name: "a key signed in that nobody holds", do: func(r *root) {
			m, identity := rotate(r, key("somebody")), r.identity(r.t, r.last)
			file, err := seal.SignRotation(m, identity, r.ratchet(r.t), key("somebody"))
			if err != nil {
				r.t.Fatal(err)
			}
			at := bytes.LastIndex(file, []byte("— "))
			line, _, _ := bytes.Cut(file[bytes.Index(file, []byte("— ")):], []byte("\n"))
			r.place(m, slices.Concat(file[:at], line, []byte("\n")), identity) // its own once more
			r.sign(r.origin(), r.last+2)
		}, want: []string{"signature-wrong"}},
		{name: "the rotation taken out", do: func(r *root) { r.remove(r.batch(r.rotated)...) }, want: []string{
			"batch-missing", "checkpoint-invalid", "checkpoint-missing", "signature-wrong", "sshsig-wrong",
		}},
		{name: "the rotation signed in another key", do: func(r *root) {
			name := r.manifest(r.rotated)
			mine := strings.Fields(string(r.read(name)))
			at := slices.Index(mine, "rotate")
			r.write(name, bytes.Replace(r.read(name), []byte(mine[at+1]), []byte("AAAA"+mine[at+1][4:]), 1))
		}, want: []string{"chain-broken", "checkpoint-invalid", "checkpoint-missing", "signature-wrong", "sshsig-wrong"}},
	}
}
