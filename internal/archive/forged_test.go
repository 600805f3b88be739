package archive_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/auditail/auditail/internal/archive"
	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// chatPayload is the path of a data batch in the chat stream of epoch 1.
func chatPayload(n int) string {
	return strings.Replace(payload1, "0001.ndjson", fmt.Sprintf("%04d.ndjson", n), 1)
}

// ranges is one range of source vllm.
func ranges(generation string, from, to, lines uint64) sealtest.Option {
	return sealtest.WithCoverage(sealtest.Range{Source: "vllm", Generation: generation, From: from, To: to, Lines: lines})
}

// What whoever holds the identity key, but not the erased one-time keys, can
// make, and what a faulty agent would seal.
func TestForgedLogs(t *testing.T) {
	stranger := sealtest.Key("stranger")
	tests := []struct {
		name    string
		build   func(e *sealtest.Epoch)
		options func(*archive.Options)
		want    []string
	}{
		{
			name: "signed by a key that is not trusted",
			build: func(e *sealtest.Epoch) {
				e.Open()
				e.Data(sealtest.Chat(), e.Records(2), sealtest.SignedBy(stranger))
				e.Close()
				e.Checkpoint()
			},
			want: []string{"violation signature-wrong " + manifest(1), "violation sshsig-wrong " + signature(1)},
		},
		{
			name: "signed again with the identity key, the one-time key being gone",
			build: func(e *sealtest.Epoch) {
				e.Open()
				e.Data(sealtest.Chat(), e.Records(2), sealtest.RatchetedBy(stranger))
				e.Close()
				e.Checkpoint()
			},
			want: []string{"violation ratchet-wrong " + manifest(1)},
		},
		{
			name: "an epoch opened by a stranger",
			build: func(e *sealtest.Epoch) {
				e.Open(sealtest.SignedBy(stranger))
				e.Close()
				e.Checkpoint()
			},
			want: []string{"violation signature-wrong " + manifest(0), "violation sshsig-wrong " + signature(0)},
		},
		{
			name: "closed, then continued",
			build: func(e *sealtest.Epoch) {
				e.Open()
				e.Close()
				e.Now = e.Now.Add(30 * 24 * time.Hour)
				e.Data(sealtest.Chat(), e.Records(1))
				e.Close()
				e.Checkpoint()
			},
		},
		{
			name: "a silence that the chain bridges",
			build: func(e *sealtest.Epoch) {
				e.Open()
				e.Now = e.Now.Add(time.Hour)
				e.Heartbeat()
				e.Close()
				e.Checkpoint()
			},
			want: []string{"notice silence " + manifest(1)},
		},
		{
			name: "a clock set back",
			build: func(e *sealtest.Epoch) {
				e.Open()
				e.Now = e.Now.Add(-time.Hour)
				e.Close()
				e.Checkpoint()
			},
			want: []string{"notice time-backwards " + manifest(1)},
		},
		{
			name: "a log that ends without close before the expected end",
			build: func(e *sealtest.Epoch) {
				e.Open()
				e.Checkpoint()
			},
			options: func(o *archive.Options) { o.Until = time.Date(2026, 11, 20, 8, 2, 0, 1, time.UTC) },
			want:    []string{"violation silent-end " + manifest(0)},
		},
		{
			name: "a log that ends without close, its next batch not due yet",
			build: func(e *sealtest.Epoch) {
				e.Open()
				e.Checkpoint()
			},
			options: func(o *archive.Options) { o.Until = time.Date(2026, 11, 20, 8, 2, 0, 0, time.UTC) },
		},
		{
			name: "counts that do not continue",
			build: func(e *sealtest.Epoch) {
				e.Open()
				e.Data(sealtest.Chat(), e.Records(1))
				e.Data(sealtest.Chat(), e.Records(1), sealtest.WithManifest(func(m *seal.Manifest) {
					m.RecordsFrom++
					m.RecordsTo++
				}))
				e.Data(sealtest.Chat(), e.Records(1), sealtest.WithLines(seal.Lines{Read: 1}))
				e.Close()
				e.Checkpoint()
			},
			want: []string{"violation records-broken " + manifest(2), "violation lines-broken " + manifest(3)},
		},
		{
			name: "a root of other records",
			build: func(e *sealtest.Epoch) {
				e.Open()
				e.Data(sealtest.Chat(), e.Records(1), sealtest.WithManifest(func(m *seal.Manifest) { m.Root = seal.LeafHash(nil) }))
				e.Data(sealtest.Chat(), e.Records(1), sealtest.WithManifest(func(m *seal.Manifest) { m.RecordsTo++ }))
				e.Data(sealtest.Chat(), e.Records(1), sealtest.WithManifest(func(m *seal.Manifest) { m.Plain-- }))
				e.Close()
				e.Checkpoint()
			},
			want: []string{
				"violation payload-root " + chatPayload(1), "violation payload-records " + chatPayload(2),
				"violation payload-size " + chatPayload(3),
			},
		},
		{
			name: "records out of turn, or another agent's",
			build: func(e *sealtest.Epoch) {
				e.Open()
				records := e.Records(4)
				slices.Reverse(records)
				e.Data(sealtest.Chat(), records)
				records = e.Records(4)
				for i := range 3 {
					records[i] = bytes.Replace(records[i], []byte(`{"id":"gpu-07","seq"`), []byte(`{"id":"gpu-08","seq"`), 1)
				}
				e.Data(sealtest.Chat(), records)
				e.Close()
				e.Checkpoint()
			},
			want: []string{
				"violation record-order " + chatPayload(1), "violation record-order " + chatPayload(1),
				"violation record-form " + chatPayload(2), "violation record-form " + chatPayload(2),
			},
		},
		{
			name: "reading not accounted for",
			build: func(e *sealtest.Epoch) {
				e.Open()
				e.Data(sealtest.Chat(), e.Records(1), sealtest.WithoutCoverage())
				e.Data(sealtest.Chat(), e.Records(1), ranges("g1", 0, 100, 2))
				e.Data(sealtest.Chat(), e.Records(1), ranges("g1", 200, 100, 1))
				e.Data(sealtest.Chat(), append(e.Records(1), e.Unparsed(1)), ranges("g1", 100, 200, 1))
				e.Data(sealtest.Chat(), append([][]byte{e.Record("agent.coverage", `"coverage":[]`)}, e.Records(1)...), ranges("g1", 200, 400, 2))
				e.Close()
				e.Checkpoint()
			},
			want: []string{
				"violation coverage-missing " + chatPayload(1),
				"violation coverage-lines " + chatPayload(2),
				"violation coverage-invalid " + chatPayload(3), "violation coverage-lines " + chatPayload(3),
				"violation coverage-lines " + chatPayload(4), "violation unparsed-lines " + chatPayload(4),
				"violation coverage-invalid " + chatPayload(5),
			},
		},
		{
			name: "holes and overlaps",
			build: func(e *sealtest.Epoch) {
				e.Open()
				e.Data(sealtest.Chat(), e.Records(1), ranges("g1", 10, 100, 1)) // begins behind 0
				e.Data(sealtest.Chat(), e.Records(1), ranges("g1", 150, 200, 1))
				e.Data(sealtest.Chat(), e.Records(1), ranges("g1", 190, 300, 1))
				e.Data(sealtest.Chat(), e.Records(1), ranges("g2", 0, 300, 1))
				e.Data(sealtest.Chat(), e.Records(1), ranges("g1", 300, 400, 1))
				e.Data(sealtest.Chat(), e.Records(1), sealtest.WithCoverage(
					sealtest.Range{Source: "vllm", Generation: "g2", Unit: "lines", From: 300, To: 301, Lines: 1},
				))
				e.Close()
				e.Checkpoint()
			},
			want: []string{
				"violation coverage-hole " + chatPayload(1), "violation coverage-hole " + chatPayload(2),
				"violation coverage-overlap " + chatPayload(3), "violation coverage-invalid " + chatPayload(6),
			},
		},
		{
			name: "a term that the host cut short",
			build: func(e *sealtest.Epoch) {
				e.Open()
				e.Data(sealtest.Chat(), e.Records(1), sealtest.WithManifest(func(m *seal.Manifest) { m.KeepUntil = m.Sealed }))
				e.Data(sealtest.Chat(), e.Records(1))
				delete(e.Files, chatPayload(1))
				e.Close()
				e.Checkpoint()
			},
			options: func(o *archive.Options) { o.LeastTerm = 184 * 24 * time.Hour },
			want:    []string{"violation term-short " + manifest(1), "notice payload-expired " + chatPayload(1)},
		},
		{
			name: "signed gaps fill holes",
			build: func(e *sealtest.Epoch) {
				e.Open()
				one := seal.Lines{Read: 1, Recorded: 1}
				e.Data(sealtest.Chat(), append(e.Records(1), e.Gap("vllm", "g1", 0, 10)), ranges("g1", 10, 100, 1), sealtest.WithLines(one))
				e.Data(sealtest.Chat(), append([][]byte{e.Gap("vllm", "g1", 100, 150)}, e.Records(1)...), sealtest.WithLines(one), sealtest.WithCoverage(
					sealtest.Range{Source: "vllm", Generation: "g1", From: 150, To: 160, Lines: 1},
				))
				e.Close()
				e.Checkpoint()
			},
			want: []string{"notice gap " + chatPayload(1), "notice gap " + chatPayload(2)},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := sealtest.New(t, sealtest.Config{})
			test.build(e)
			o := archive.Options{Trust: trust(e)}
			if test.options != nil {
				test.options(&o)
			}
			found, _ := verify(t, e.Files, o)
			if diff := cmp.Diff(test.want, found); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A proof is of one record: that others have its id is told.
func TestProveARecordWhoseIDIsRepeated(t *testing.T) {
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	records := e.Records(3)
	at := bytes.Index(records[0], []byte(`"id":"`)) + len(`"id":"`)
	copy(records[2][at:at+26], records[0][at:])
	e.Data(sealtest.Chat(), records)
	e.Checkpoint()
	for n, want := range []int{2, 0} {
		repeated := 0
		proof, err := archive.Prove(t.Context(), memory(e.Files), archive.ProveOptions{
			Trust: trust(e), ID: string(records[n][at : at+26]), Repeated: func(records int) { repeated = records },
		})
		if err != nil || proof.Index != uint64(n) || repeated != want { //nolint:gosec // small
			t.Errorf("record %d: %d times, %v", n, repeated, err)
		}
	}
}

func TestEpochs(t *testing.T) {
	const rollback = "rollback" // as it was
	const log = "audit.example.com/acme/gpu-07/"
	const opening2 = "seals/gpu-07/0002/000000000000.manifest"
	second := func(t *testing.T, reason string, finish func(*sealtest.Epoch)) *sealtest.Epoch {
		first := sealtest.New(t, sealtest.Config{})
		first.Open()
		first.Data(sealtest.Chat(), first.Records(3))
		finish(first)
		first.Checkpoint()
		if reason == rollback {
			size, root := first.Head()
			reason = seal.Succession{Cause: seal.SuccessionRollback, Previous: first.Origin, Size: size, Root: root}.String()
		}
		e := first.NextEpoch(reason)
		e.Open()
		e.Data(sealtest.Chat(), e.Records(3))
		e.Close()
		e.Checkpoint()
		return e
	}
	const afterClose = "violation epoch-after-close seals/gpu-07/0001/000000000002.manifest"
	closed := func(e *sealtest.Epoch) { e.Close() }
	open := func(*sealtest.Epoch) {}
	tests := []struct {
		name    string
		reason  string
		finish  func(*sealtest.Epoch)
		change  func(files map[string][]byte)
		options archive.Options
		want    []string
	}{
		{name: "behind a close", reason: rollback, finish: closed, want: []string{afterClose}},
		{
			name: "behind a close, accepted", reason: rollback, finish: closed,
			options: archive.Options{Accepted: archive.Accepted{{Code: archive.EpochAfterClose, Path: manifest(2)}: true}},
			want:    []string{"notice epoch-after-close " + manifest(2)},
		},
		{name: "without close", reason: rollback, finish: open, want: []string{"violation epoch-not-closed " + manifest(1)}},
		{
			name: "without close, accepted", reason: rollback, finish: open,
			options: archive.Options{Accepted: archive.Accepted{
				{Code: archive.EpochNotClosed, Path: manifest(1)}: true,
				{Code: archive.EpochNotClosed, Path: manifest(0)}: true, // an end that was another,
			}},
			want: []string{"notice epoch-not-closed " + manifest(1), "notice accepted-but-not-found " + manifest(0)},
		},
		{name: "first for the second time", reason: seal.OpenFirst, finish: closed, want: []string{afterClose, "violation open-reason " + opening2}},
		{name: "reasons that are none", reason: "restored", finish: closed, want: []string{afterClose, "violation open-reason " + opening2}},
		{
			name: "behind another log", reason: "rollback " + strings.Replace(log, "gpu-07", "gpu-08", 1) + "0001 2 " + seal.EmptyRoot().String(),
			finish: closed, want: []string{afterClose, "violation open-reason " + opening2},
		},
		{
			name: "behind an epoch that follows", reason: "rollback " + log + "0002 2 " + seal.EmptyRoot().String(),
			finish: closed, want: []string{afterClose, "violation open-reason " + opening2},
		},
		{
			name: "behind another tree", reason: "fork " + log + "0001 2 " + seal.EmptyRoot().String(),
			finish: closed, want: []string{afterClose, "violation open-reason " + opening2},
		},
		{
			name: "behind more than is here", reason: "rollback " + log + "0001 7 " + seal.EmptyRoot().String(),
			finish: closed, want: []string{afterClose, "violation open-reason " + opening2},
		},
		{
			name: "the first one gone", reason: rollback, finish: closed,
			change: func(files map[string][]byte) {
				maps.DeleteFunc(files, func(path string, _ []byte) bool {
					return strings.HasPrefix(path, "seals/gpu-07/0001/") || strings.Contains(path, "/0001-")
				})
			},
			want: []string{"violation epoch-missing seals/gpu-07/0001"},
		},
		{
			name: "the first one checked from its middle on", reason: "rollback " + log + "0001 1 " + seal.EmptyRoot().String(), finish: closed,
			options: archive.Options{From: []archive.Bound{{N: 1}}},
			change: func(files map[string][]byte) {
				delete(files, manifest(0))
				delete(files, signature(0))
			},
			want: []string{"notice started-at " + manifest(1), "notice checkpoint-unchecked seals/gpu-07/0001/checkpoint", afterClose},
		},
		{
			name: "the seals of the first one gone", reason: rollback, finish: closed,
			change: func(files map[string][]byte) {
				maps.DeleteFunc(files, func(path string, _ []byte) bool { return strings.HasPrefix(path, "seals/gpu-07/0001/") })
			},
			want: []string{"violation epoch-missing seals/gpu-07/0001", "violation payload-unnamed " + payload1},
		},
		{
			name: "a batch of the first replayed in the second", reason: rollback, finish: closed,
			change: func(files map[string][]byte) {
				for _, suffix := range []string{".manifest", ".manifest.sig"} {
					files["seals/gpu-07/0002/000000000001"+suffix] = files["seals/gpu-07/0001/000000000001"+suffix]
				}
			},
			want: []string{
				afterClose,
				"violation batch-misplaced seals/gpu-07/0002/000000000001.manifest",
				"notice checkpoint-unchecked seals/gpu-07/0002/checkpoint",
				"violation payload-unnamed records/env=prod/svc=chat/class=standard/day=2026-11-20/collector=gpu-07/0002-000000000001.ndjson.zst",
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := second(t, test.reason, test.finish)
			if test.change != nil {
				test.change(e.Files)
			}
			test.options.Trust = trust(e)
			found, _ := verify(t, e.Files, test.options)
			if diff := cmp.Diff(test.want, found); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A rotation takes the trust from one key and gives it to another, in this epoch
// and in all that follow.
func TestRotation(t *testing.T) {
	next, stranger := sealtest.Key("next"), sealtest.Key("stranger")
	identity2 := "seals/gpu-07/0002/identity.vkey"
	for _, test := range []struct {
		name   string
		build  func(e *sealtest.Epoch)
		trust  []ed25519.PrivateKey // beside the first key
		change func(files map[string][]byte)
		want   []string
	}{
		{
			name: "and everything after it",
			build: func(e *sealtest.Epoch) {
				e.Open()
				e.Data(sealtest.Chat(), e.Records(2))
				e.Checkpoint()
				e.Rotate(next)
				e.Checkpoint()
				e.Data(sealtest.Chat(), e.Records(2))
				e.Close()
				e.Checkpoint()
			},
			want: []string{"notice key-rotated " + manifest(2)},
		},
		{
			name: "the old key goes on",
			build: func(e *sealtest.Epoch) {
				old := e.Identity
				e.Open()
				e.Rotate(next)
				e.Data(sealtest.Chat(), e.Records(2), sealtest.SignedBy(old))
				e.Close()
				e.Checkpoint()
			},
			want: []string{
				"notice key-rotated " + manifest(1), "violation signature-wrong " + manifest(2), "violation sshsig-wrong " + signature(2),
			},
		},
		{
			name: "the old key signs the head",
			build: func(e *sealtest.Epoch) {
				old := e.Identity
				e.Open()
				e.Rotate(next)
				e.Close()
				e.Identity = old
				e.Checkpoint()
			},
			want: []string{
				"notice key-rotated " + manifest(1),
				"violation checkpoint-invalid seals/gpu-07/0001/checkpoint/000000000003",
				"violation checkpoint-missing seals/gpu-07/0001/checkpoint/000000000003",
			},
		},
		{
			name: "a rotation that the old key did not sign",
			build: func(e *sealtest.Epoch) {
				e.Open()
				e.Rotate(next, sealtest.SignedBy(stranger))
				e.Close()
				e.Checkpoint()
			},
			want: []string{
				"violation signature-wrong " + manifest(1), "violation sshsig-wrong " + signature(1),
				"violation signature-wrong " + manifest(2), "violation checkpoint-invalid seals/gpu-07/0001/checkpoint/000000000003",
				"violation sshsig-wrong " + signature(2),
				"violation checkpoint-missing seals/gpu-07/0001/checkpoint/000000000003",
			},
		},
		{
			name: "a rotation that the new key did not sign",
			build: func(e *sealtest.Epoch) {
				e.Open()
				old := e.Identity
				e.Rotate(next)
				e.Identity = old
				e.Checkpoint()
			},
			change: func(files map[string][]byte) {
				file := files[manifest(1)]
				at := bytes.LastIndex(bytes.TrimSuffix(file, []byte("\n")), []byte("\n"))
				last := file[at+1:]
				signature := bytes.Clone(last)
				signature[len(signature)-20] ^= 1 // another base64 digit
				files[manifest(1)] = append(bytes.Clone(file[:at+1]), signature...)
			},
			want: []string{
				"violation signature-wrong " + manifest(1), "violation checkpoint-root seals/gpu-07/0001/checkpoint/000000000002",
				"violation sshsig-wrong " + signature(1),
				"violation checkpoint-missing seals/gpu-07/0001/checkpoint/000000000002",
			},
		},
		{
			name: "an epoch under the new key",
			build: func(e *sealtest.Epoch) {
				e.Open()
				e.Rotate(next)
				e.Close()
				e.Checkpoint()
				size, root := e.Head()
				n := e.NextEpoch(seal.Succession{Cause: seal.SuccessionFork, Previous: e.Origin, Size: size, Root: root}.String())
				n.Open()
				n.Close()
				n.Checkpoint()
			},
			want: []string{"notice key-rotated " + manifest(1), "violation epoch-after-close " + manifest(2)},
		},
		{
			name: "an epoch under the old key",
			build: func(e *sealtest.Epoch) {
				old := e.Identity
				e.Open()
				e.Rotate(next)
				e.Close()
				e.Checkpoint()
				size, root := e.Head()
				e.Identity = old
				n := e.NextEpoch(seal.Succession{Cause: seal.SuccessionRollback, Previous: e.Origin, Size: size, Root: root}.String())
				n.Open()
				n.Close()
				n.Checkpoint()
			},
			trust: []ed25519.PrivateKey{next},
			want: []string{
				"notice key-rotated " + manifest(1), "violation identity-retired " + identity2, "violation epoch-after-close " + manifest(2),
				"violation signature-wrong seals/gpu-07/0002/000000000000.manifest",
				"violation sshsig-wrong seals/gpu-07/0002/000000000000.manifest.sig",
				"violation signature-wrong seals/gpu-07/0002/000000000001.manifest",
				"violation checkpoint-invalid seals/gpu-07/0002/checkpoint/000000000002",
				"violation sshsig-wrong seals/gpu-07/0002/000000000001.manifest.sig",
				"violation checkpoint-missing seals/gpu-07/0002/checkpoint/000000000002",
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := sealtest.New(t, sealtest.Config{})
			o := archive.Options{Trust: trust(e)}
			test.build(e)
			for _, key := range test.trust {
				o.Trust[e.Origin.Log] = append(o.Trust[e.Origin.Log], key.Public().(ed25519.PublicKey))
			}
			if test.change != nil {
				test.change(e.Files)
			}
			found, _ := verify(t, e.Files, o)
			if diff := cmp.Diff(test.want, found); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Two agents in one archive: neither's findings touch the other's, and a log
// can not be passed off as the other's.
func TestTwoAgents(t *testing.T) {
	one, two := build(t, sealtest.Config{}), build(t, sealtest.Config{Agent: "gpu-08"})
	files := maps.Clone(one.Files)
	maps.Copy(files, two.Files)
	other := strings.Replace(theGap, "gpu-07", "gpu-08", 1)
	found, report := verify(t, files, archive.Options{Trust: trust(one, two)})
	if diff := cmp.Diff([]string{theGap, other}, found); diff != "" || report.Agents != 2 || report.Batches != 16 {
		t.Errorf("%+v\n%s", report, diff)
	}

	for path, content := range one.Files {
		files[strings.ReplaceAll(path, "gpu-07", "gpu-08")] = content
	}
	found, _ = verify(t, files, archive.Options{Trust: trust(one, two)})
	for n := range 8 {
		want := "violation batch-misplaced " + strings.Replace(manifest(n), "gpu-07", "gpu-08", 1)
		if !slices.Contains(found, want) {
			t.Errorf("no %q in %q", want, found)
		}
	}
}

// The same agent name in two organizations, and two keys of one log: the
// auditor's trust decides, identity.vkey only chooses.
func TestChoiceOfKey(t *testing.T) {
	e := build(t, sealtest.Config{Organization: "beta.example.com"})
	keys := archive.Trust{
		{Organization: "alpha.example.com", Agent: "gpu-07"}: {sealtest.Key("a").Public().(ed25519.PublicKey)},
		e.Origin.Log: {sealtest.Key("old").Public().(ed25519.PublicKey), e.PublicKey()},
	}
	found, _ := verify(t, e.Files, archive.Options{Trust: keys})
	if diff := cmp.Diff([]string{theGap, "violation log-absent seals/gpu-07"}, found); diff != "" {
		t.Error(diff)
	}
}

func TestFindingsAreTheSameEveryTime(t *testing.T) {
	e := build(t, sealtest.Config{})
	for path, content := range maps.Clone(e.Files) {
		if strings.HasPrefix(path, "records/") {
			e.Files[path] = flip(content, len(content)/2)
			e.Files[path+".x"] = content
		}
	}
	first, _ := verify(t, e.Files, archive.Options{Trust: trust(e), Workers: 4})
	for range 20 {
		again, _ := verify(t, e.Files, archive.Options{Trust: trust(e), Workers: 4})
		if diff := cmp.Diff(first, again); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	e := build(t, sealtest.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	_, err := archive.Verify(ctx, memory(e.Files), archive.Options{Trust: trust(e), Found: func(archive.Finding) { cancel() }})
	if err == nil {
		t.Error("an interrupted verification has a result")
	}
}

// What an archive can make the verifier say has a bound, and says so.
func TestFindingsAreBounded(t *testing.T) {
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	records := make([][]byte, 1500)
	for i := range records {
		records[i] = e.Gap("vllm", "g1", uint64(i), uint64(i+1)) //nolint:gosec // small
	}
	e.Data(sealtest.Chat(), records, sealtest.WithLines(seal.Lines{}), ranges("g1", 1500, 1500, 0))
	for i := range records {
		records[i] = e.Record("agent.gap", `"loss":{"generation":"g1","from":2,"to":1}`)
	}
	e.Data(sealtest.Chat(), records, sealtest.WithLines(seal.Lines{}), ranges("g1", 1500, 1500, 0))
	e.Close()
	e.Checkpoint()
	for i := range 1500 {
		e.Files[fmt.Sprintf("seals/gpu-07/0001/x%d", i)] = []byte("x")
		e.Files[fmt.Sprintf("x%d", i)] = []byte("x")
	}
	found, report := verify(t, e.Files, archive.Options{Trust: trust(e)})
	counts := make(map[string]int)
	for _, f := range found {
		level, rest, _ := strings.Cut(f, " ")
		code, _, _ := strings.Cut(rest, " ")
		counts[level+" "+code]++
	}
	if strays := counts["violation unknown-file"] + counts["notice outside-file"] + counts["notice unknown-file"]; strays < 1001 || strays > 1002 || counts["violation unknown-file"] == 0 {
		t.Errorf("%d findings about 3000 foreign files", strays)
	}
	if counts["notice gap"] != 1001 || counts["violation coverage-invalid"] != 1001 || report.Violations < 1002 {
		t.Errorf("findings: %v", counts)
	}
}

// Bounds that do not say of which log, or name one that nobody trusts, are
// mistakes of the auditor, not findings.
func TestBoundsThatFitNothing(t *testing.T) {
	one, two := build(t, sealtest.Config{}), build(t, sealtest.Config{Agent: "gpu-08"})
	files := maps.Clone(one.Files)
	maps.Copy(files, two.Files)
	stranger := sealtest.New(t, sealtest.Config{Agent: "gpu-09"}).Origin
	for _, o := range []archive.Options{
		{ExpectSize: []archive.Bound{{N: 8}}},
		{From: []archive.Bound{{N: 8}}},
		{ExpectSize: []archive.Bound{{Origin: stranger, N: 8}}},
		{From: []archive.Bound{{Origin: stranger, N: 1}}},
	} {
		o.Trust, o.Found = trust(one, two), func(archive.Finding) {}
		if _, err := archive.Verify(t.Context(), memory(files), o); !errors.Is(err, archive.ErrUsage) {
			t.Errorf("%+v: error is %v", o, err)
		}
	}
	later := one.Origin
	later.Epoch = 7
	found, _ := verify(t, files, archive.Options{Trust: trust(one, two), ExpectSize: []archive.Bound{{Origin: later, N: 1}, {Origin: two.Origin, N: 9}}})
	for _, want := range []string{"violation expected-size seals/gpu-07/0007", "violation expected-size seals/gpu-08/0001"} {
		if !slices.Contains(found, want) {
			t.Errorf("no %q in %q", want, found)
		}
	}
}

// TestWitness: heads that witnesses saw, and what a policy makes of those they
// did not see.
func TestWitness(t *testing.T) {
	key := sealtest.Key("witness")
	witness := seal.WitnessKey{Name: "witness.example.com", Public: key.Public().(ed25519.PublicKey)}
	policy, err := archive.ParsePolicy(strings.NewReader("witness w " + witness.String() + "\nquorum w\n"))
	if err != nil {
		t.Fatal(err)
	}
	cosign := func(e *sealtest.Epoch, c seal.Checkpoint) {
		line, err := seal.Cosign(&c, witness.Name, key, e.Now)
		if err != nil {
			t.Fatal(err)
		}
		e.Files[e.Origin.CosignaturePath(c.Size, witness)] = line
	}
	head := func(e *sealtest.Epoch) seal.Checkpoint {
		size, root := e.Head()
		return seal.Checkpoint{Origin: e.Origin, Size: size, Root: root}
	}
	cosignature := func(size int) string {
		return fmt.Sprintf("seals/gpu-07/0001/cosignature/%012d-%s", size, witness.ID())
	}
	names := func(c seal.Checkpoint) sealtest.Option {
		return sealtest.WithManifest(func(m *seal.Manifest) { m.WitnessedSize, m.WitnessedRoot = c.Size, c.Root })
	}
	for _, test := range []struct {
		name    string
		build   func(e *sealtest.Epoch)
		lenient bool // no policy
		want    []string
	}{
		{name: "every head", build: func(e *sealtest.Epoch) {
			e.Open()
			cosign(e, head(e))
			e.Heartbeat(names(head(e)))
			e.Heartbeat()
			e.Close()
			cosign(e, e.Checkpoint())
		}},
		{name: "not the last one", want: []string{"violation quorum-missing seals/gpu-07/0001/checkpoint/000000000002"}, build: func(e *sealtest.Epoch) {
			e.Open()
			cosign(e, e.Checkpoint())
			e.Close()
			e.Checkpoint()
		}},
		{name: "a policy that nobody gave", lenient: true, want: []string{"notice cosignature-unchecked seals/gpu-07/0001/cosignature"}, build: func(e *sealtest.Epoch) {
			e.Open()
			e.Close()
			cosign(e, e.Checkpoint())
		}},
		{
			name: "another tree",
			want: []string{"violation cosignature-wrong " + cosignature(2), "violation quorum-missing seals/gpu-07/0001/checkpoint/000000000002"},
			build: func(e *sealtest.Epoch) {
				e.Open()
				e.Close()
				c := e.Checkpoint()
				c.Root = seal.EmptyRoot()
				cosign(e, c)
			},
		},
		{
			name: "more than is there",
			want: []string{"violation cosignature-ahead " + cosignature(9)},
			build: func(e *sealtest.Epoch) {
				e.Open()
				e.Close()
				c := e.Checkpoint()
				cosign(e, c)
				c.Size = 9
				cosign(e, c)
			},
		},
		{
			name: "heads that manifests made up",
			want: []string{"violation witnessed-wrong " + manifest(1), "violation witnessed-wrong " + manifest(2)},
			build: func(e *sealtest.Epoch) {
				e.Open()
				e.Heartbeat(names(seal.Checkpoint{Size: 1, Root: seal.EmptyRoot()}))
				e.Close(names(seal.Checkpoint{Size: 3, Root: seal.EmptyRoot()}))
				cosign(e, e.Checkpoint())
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := sealtest.New(t, sealtest.Config{})
			test.build(e)
			o := archive.Options{Trust: trust(e)}
			if !test.lenient {
				o.Policy = policy
			}
			found, _ := verify(t, e.Files, o)
			if diff := cmp.Diff(test.want, found); diff != "" {
				t.Error(diff)
			}
		})
	}
}
