package archive_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// memory is an archive in memory. Paths with a nil content are not regular files.
type memory map[string][]byte

func (m memory) List(ctx context.Context, found func(archive.Entry) error) error {
	for path, content := range m { // in any order: the verifier's must not depend on it
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := found(archive.Entry{Path: path, Size: int64(len(content)), Regular: content != nil}); err != nil {
			return err
		}
	}
	return nil
}

func (m memory) Open(ctx context.Context, path string) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	content, ok := m[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	if content == nil {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

// verify returns every finding as "level code path".
func verify(t *testing.T, files map[string][]byte, o archive.Options) ([]string, archive.Report) {
	t.Helper()
	var found []string
	if o.Now.IsZero() {
		o.Now = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) // behind all that the tests seal
	}
	o.Found = func(f archive.Finding) {
		found = append(found, fmt.Sprintf("%s %s %s", f.Level, f.Code, f.Path))
		if f.What == "" || strings.Contains(f.String(), "\n") {
			t.Errorf("finding is not one line: %q", f)
		}
	}
	report, err := archive.Verify(t.Context(), memory(files), o)
	if err != nil {
		t.Fatal(err)
	}
	violations := 0
	for _, f := range found {
		if strings.HasPrefix(f, "violation ") {
			violations++
		}
	}
	if int(report.Violations) != violations || int(report.Notices) != len(found)-violations { //nolint:gosec // small
		t.Errorf("the report counts %d violations and %d notices of %q", report.Violations, report.Notices, found)
	}
	return found, report
}

func trust(epochs ...*sealtest.Epoch) archive.Trust {
	trust := make(archive.Trust)
	for _, e := range epochs {
		trust[e.Origin.Log] = []ed25519.PublicKey{e.PublicKey()}
	}
	return trust
}

// build returns an epoch of eight batches that verifies: three of them data in
// two streams, with a gap and unparsed lines, closed, under one checkpoint in
// the middle and one at the end.
func build(t *testing.T, c sealtest.Config) *sealtest.Epoch {
	t.Helper()
	e := sealtest.New(t, c)
	tools := seal.Stream{Environment: "prod", Service: "tools", Class: "legal"}
	e.Open()
	e.Data(sealtest.Chat(), e.Records(20))
	e.Heartbeat()
	e.Data(tools, e.Records(5), sealtest.WithCoverage(sealtest.Range{Source: "tools", Generation: "t1", To: 700, Lines: 5}))
	e.Checkpoint()
	e.Data(sealtest.Chat(), append(e.Records(10), e.Unparsed(2), e.Gap("tools", "t1", 700, 900)),
		sealtest.WithLines(seal.Lines{Read: 14, Recorded: 10, Unparsed: 2, Ignored: 1, Held: 1}))
	e.Data(tools, e.Records(1), sealtest.WithCoverage(
		sealtest.Range{Source: "tools", Generation: "t1", From: 900, To: 1000, Lines: 1},
	))
	e.Heartbeat()
	e.Close()
	e.Checkpoint()
	return e
}

const theGap = "notice gap records/env=prod/svc=chat/class=standard/day=2026-11-20/collector=gpu-07/0001-000000000004.ndjson.zst"

func TestVerifySoundArchive(t *testing.T) {
	e := build(t, sealtest.Config{})
	found, report := verify(t, e.Files, archive.Options{Trust: trust(e)})
	if diff := cmp.Diff([]string{theGap}, found); diff != "" {
		t.Error(diff)
	}
	_, root := e.Head()
	want := archive.Report{
		Agents: 1, Epochs: 1, Batches: 8, Payloads: 4, Records: 42,
		Heads: []archive.Head{{Origin: e.Origin.String(), Size: 8, Root: root.String()}},
		Lines: archive.Counts{Read: 40, Recorded: 36, Unparsed: 2, Ignored: 1, Held: 1},
		First: e.Batches[0].Manifest.Opened, Last: e.Batches[7].Manifest.Sealed, Until: e.Batches[7].Manifest.Sealed,
		Notices: 1,
	}
	for _, content := range e.Files {
		want.Bytes += int64(len(content))
	}
	for _, b := range e.Batches {
		want.PlainBytes += b.Manifest.Plain
	}
	if diff := cmp.Diff(want, report); diff != "" {
		t.Error(diff)
	}
}

// A tampering changes a copy of the sound archive's files, or builds another.
type tampering struct {
	name    string
	change  func(t *testing.T, files map[string][]byte, e *sealtest.Epoch)
	options func(o *archive.Options, e *sealtest.Epoch)
	want    []string // "level code path", paths shortened; beside theGap
}

func manifest(n int) string   { return fmt.Sprintf("seals/gpu-07/0001/%012d.manifest", n) }
func signature(n int) string  { return manifest(n) + ".sig" }
func checkpoint(n int) string { return fmt.Sprintf("seals/gpu-07/0001/checkpoint/%012d", n) }

const (
	payload1 = "records/env=prod/svc=chat/class=standard/day=2026-11-20/collector=gpu-07/0001-000000000001.ndjson.zst"
	payload3 = "records/env=prod/svc=tools/class=legal/day=2026-11-20/collector=gpu-07/0001-000000000003.ndjson.zst"
	payload4 = "records/env=prod/svc=chat/class=standard/day=2026-11-20/collector=gpu-07/0001-000000000004.ndjson.zst"
)

// swapText changes a text file and fails when there is nothing to change.
func swapText(t *testing.T, files map[string][]byte, path, from, to string) {
	t.Helper()
	changed := bytes.Replace(files[path], []byte(from), []byte(to), 1)
	if bytes.Equal(changed, files[path]) {
		t.Fatalf("%s has no %q", path, from)
	}
	files[path] = changed
}

// drop removes a batch with all its files.
func drop(files map[string][]byte, e *sealtest.Epoch, n int) {
	for _, o := range e.Batches[n].Objects {
		delete(files, o.Path)
	}
}

func tamperings() []tampering {
	return []tampering{
		{
			name:   "a byte of a payload",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) { f[payload1] = flip(f[payload1], 100) },
			want:   []string{"violation payload-digest " + payload1, "violation payload-encoding " + payload1},
		},
		{
			name: "a byte of a manifest's counts",
			change: func(t *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				swapText(t, f, manifest(1), "lines 20 20 0 0 0", "lines 19 19 0 0 0")
			},
			want: []string{
				"violation signature-wrong " + manifest(1), "violation sshsig-wrong " + signature(1),
				"violation chain-broken " + manifest(2),
				"violation checkpoint-root " + checkpoint(4), "violation checkpoint-root " + checkpoint(8),
				"violation checkpoint-missing " + checkpoint(8),
			},
		},
		{
			name: "a manifest that is none",
			change: func(t *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				swapText(t, f, manifest(2), "kind heartbeat", "kind  heartbeat")
			},
			want: []string{
				"violation manifest-invalid " + manifest(2), "notice checkpoint-unchecked seals/gpu-07/0001/checkpoint",
			},
		},
		{
			name: "a signature line twice",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				lines := bytes.SplitAfter(f[manifest(7)], []byte("\n"))
				f[manifest(7)] = append(bytes.Clone(f[manifest(7)]), lines[len(lines)-2]...)
			},
			want: []string{
				"violation manifest-invalid " + manifest(7), "violation checkpoint-root " + checkpoint(8),
				"violation sshsig-wrong " + signature(7), "violation checkpoint-missing " + checkpoint(8),
			},
		},
		{
			name: "a byte of an SSH signature",
			change: func(t *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				f[signature(2)] = flip(f[signature(2)], 60)
			},
			want: []string{"violation sshsig-wrong " + signature(2)},
		},
		{
			name:   "the SSH signature of another batch",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) { f[signature(2)] = f[signature(1)] },
			want:   []string{"violation sshsig-wrong " + signature(2)},
		},
		{
			name:   "no SSH signature",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) { delete(f, signature(5)) },
			want:   []string{"violation sshsig-missing " + signature(5)},
		},
		{
			name: "a byte of a checkpoint",
			change: func(t *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				swapText(t, f, checkpoint(4), "\n4\n", "\n3\n")
			},
			want: []string{"violation checkpoint-invalid " + checkpoint(4)},
		},
		{
			name:   "the checkpoint of another size",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) { f[checkpoint(8)] = f[checkpoint(4)] },
			want:   []string{"violation checkpoint-invalid " + checkpoint(8), "violation checkpoint-missing " + checkpoint(8)},
		},
		{
			name:   "the last checkpoint gone",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) { delete(f, checkpoint(8)) },
			want:   []string{"violation checkpoint-missing " + checkpoint(8)},
		},
		{
			name: "all checkpoints gone",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				delete(f, checkpoint(4))
				delete(f, checkpoint(8))
			},
			want: []string{"violation checkpoint-missing " + checkpoint(8)},
		},
		{
			name:   "a batch dropped",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) { drop(f, e, 3) },
			want: []string{
				"violation batch-missing " + manifest(3), "notice checkpoint-unchecked seals/gpu-07/0001/checkpoint",
			},
		},
		{
			name:   "only a manifest dropped",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) { delete(f, manifest(3)) },
			want: []string{
				"violation batch-missing " + manifest(3), "notice checkpoint-unchecked seals/gpu-07/0001/checkpoint",
				"violation sshsig-stray " + signature(3), "violation payload-unnamed " + payload3,
			},
		},
		{
			name: "a batch with a number far away",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				f["seals/gpu-07/0001/999999999999.manifest"] = f[manifest(7)]
			},
			want: append(slices.Collect(func(yield func(string) bool) {
				for n := 8; n < 1008 && yield("violation batch-missing "+manifest(n)); n++ {
				}
			}), "violation batches-missing "+manifest(1008), "violation batch-misplaced seals/gpu-07/0001/999999999999.manifest",
				"violation checkpoint-missing seals/gpu-07/0001/checkpoint/1000000000000"),
		},
		{
			name: "two batches swapped",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				f[manifest(1)], f[manifest(2)] = f[manifest(2)], f[manifest(1)]
				f[signature(1)], f[signature(2)] = f[signature(2)], f[signature(1)]
			},
			want: []string{
				"violation batch-misplaced " + manifest(1), "violation batch-misplaced " + manifest(2),
				"notice checkpoint-unchecked seals/gpu-07/0001/checkpoint", "violation payload-unnamed " + payload1,
			},
		},
		{
			name: "a batch repeated",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				f[manifest(8)], f[signature(8)] = f[manifest(7)], f[signature(7)]
			},
			want: []string{"violation batch-misplaced " + manifest(8), "violation checkpoint-missing " + checkpoint(9)},
		},
		{
			name: "a payload swapped for another",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				f[payload1] = f[payload4]
			},
			want: []string{"violation payload-digest " + payload1, "violation payload-size " + payload1},
		},
		{
			name:   "a payload gone",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) { delete(f, payload1) },
			want:   []string{"violation payload-missing " + payload1},
		},
		{
			name:   "a payload gone, its term over",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) { delete(f, payload1) },
			options: func(o *archive.Options, e *sealtest.Epoch) {
				o.Until = e.Batches[1].Manifest.KeepUntil
			},
			want: []string{"notice payload-expired " + payload1},
		},
		{
			name: "a truncated payload",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				f[payload1] = f[payload1][:len(f[payload1])-9]
			},
			want: []string{"violation payload-digest " + payload1, "violation payload-encoding " + payload1},
		},
		{
			name: "a recompressed payload",
			change: func(t *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				f[payload1] = append(f[payload1], sealtest.Compress(t, []byte{})...)
			},
			want: []string{"violation payload-digest " + payload1},
		},
		{
			name: "a zip bomb",
			change: func(t *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				f[payload1] = sealtest.Compress(t, make([]byte, 100<<20))
			},
			want: []string{"violation payload-digest " + payload1, "violation payload-size " + payload1},
		},
		{
			name: "extra files",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				f["seals/gpu-07/0001/notes.txt"] = []byte("x")
				f[manifest(8)+".ABCDEFGHIJ.tmp"] = []byte("x")
				f["records/env=prod/evil.ndjson.zst"] = []byte("x")
				f["records/env=prod/svc=chat/class=standard/day=2026-11-20/collector=gpu-07/0001-000000000002.ndjson.zst"] = []byte("x")
				f["records/env=dev/svc=chat/class=standard/day=2026-11-20/collector=gpu-07/0001-000000000001.ndjson.zst"] = f[payload1]
				f["README"] = []byte("x")
			},
			want: []string{
				"violation payload-unnamed records/env=dev/svc=chat/class=standard/day=2026-11-20/collector=gpu-07/0001-000000000001.ndjson.zst",
				"violation payload-unnamed records/env=prod/svc=chat/class=standard/day=2026-11-20/collector=gpu-07/0001-000000000002.ndjson.zst",
				"notice outside-file README", "violation unknown-file records/env=prod/evil.ndjson.zst",
				"notice temporary-file " + manifest(8) + ".ABCDEFGHIJ.tmp", "violation unknown-file seals/gpu-07/0001/notes.txt",
			},
		},
		{
			name: "a link in place of a payload",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				f[payload1] = nil
			},
			want: []string{"violation unreadable " + payload1, "violation not-regular " + payload1},
		},
		{
			name: "an SSH signature wrapped anew",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				body := bytes.ReplaceAll(f[signature(2)], []byte("\n"), nil)
				body = bytes.Replace(body, []byte("SIGNATURE-----U"), []byte("SIGNATURE-----\nU"), 1)
				f[signature(2)] = append(bytes.Replace(body, []byte("-----END"), []byte("\n-----END"), 1), '\n')
			},
			want: []string{"violation sshsig-wrong " + signature(2)},
		},
		{
			name: "the checkpoint of an empty log",
			change: func(t *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				f[checkpoint(0)] = sealtest.New(t, sealtest.Config{}).Checkpoint().File
			},
			want: []string{"violation unknown-file " + checkpoint(0)},
		},
		{
			name: "tail cut, checkpoint left, size expected",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				drop(f, e, 6)
				drop(f, e, 7)
			},
			options: func(o *archive.Options, e *sealtest.Epoch) { o.ExpectSize = []archive.Bound{{N: 8}} },
			want: []string{
				"violation checkpoint-ahead " + checkpoint(8), "violation checkpoint-missing " + checkpoint(6),
				"violation expected-size seals/gpu-07/0001",
			},
		},
		{
			name: "tail cut cleanly behind a checkpoint, size expected",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				for n := 4; n < 8; n++ {
					drop(f, e, n)
				}
				delete(f, checkpoint(8))
			},
			options: func(o *archive.Options, e *sealtest.Epoch) { o.ExpectSize = []archive.Bound{{Origin: e.Origin, N: 8}} },
			want:    []string{"violation expected-size seals/gpu-07/0001"},
		},
		{
			name: "tail cut cleanly behind a checkpoint, end expected",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				for n := 4; n < 8; n++ {
					drop(f, e, n)
				}
				delete(f, checkpoint(8))
			},
			options: func(o *archive.Options, e *sealtest.Epoch) { o.Until = e.Now.Add(time.Hour) },
			want:    []string{"violation silent-end " + manifest(3)},
		},
		{
			name: "no identity key",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				delete(f, "seals/gpu-07/0001/identity.vkey")
			},
			want: []string{"violation identity-missing seals/gpu-07/0001/identity.vkey"},
		},
		{
			name: "another identity key",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				f["seals/gpu-07/0001/identity.vkey"] = seal.IdentityFile(e.Origin.Log, sealtest.Key("x").Public().(ed25519.PublicKey))
			},
			want: []string{"violation identity-wrong seals/gpu-07/0001/identity.vkey"},
		},
		{
			name:   "no trusted key",
			change: func(*testing.T, map[string][]byte, *sealtest.Epoch) {},
			options: func(o *archive.Options, _ *sealtest.Epoch) {
				log := seal.Log{Organization: "audit.example.com/acme", Agent: "gpu-08"}
				o.Trust = archive.Trust{log: {sealtest.Key("x").Public().(ed25519.PublicKey)}}
			},
			want: []string{"violation key-unknown seals/gpu-07", "violation log-absent seals/gpu-08"},
		},
		{
			name: "seals gone",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				maps.DeleteFunc(f, func(path string, _ []byte) bool { return strings.HasPrefix(path, "seals/") })
			},
			want: []string{
				"violation no-seals seals",
				"violation payload-unnamed " + payload1, "violation payload-unnamed " + payload4,
				"violation payload-unnamed " + payload3,
				"violation payload-unnamed " + strings.Replace(payload3, "0003.", "0005.", 1),
				"violation log-absent seals/gpu-07",
			},
		},
		{
			name: "the log begins in the middle",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				drop(f, e, 0)
				drop(f, e, 1)
				f["seals/gpu-07/0001/identity.vkey"] = seal.IdentityFile(e.Origin.Log, e.PublicKey())
			},
			want: []string{"violation batch-missing " + manifest(0), "violation batch-missing " + manifest(1), "notice checkpoint-unchecked seals/gpu-07/0001/checkpoint"},
		},
		{
			name: "the log begins in the middle, as asked for",
			change: func(_ *testing.T, f map[string][]byte, e *sealtest.Epoch) {
				drop(f, e, 0)
				drop(f, e, 1)
				f["seals/gpu-07/0001/identity.vkey"] = seal.IdentityFile(e.Origin.Log, e.PublicKey())
			},
			options: func(o *archive.Options, e *sealtest.Epoch) { o.From = []archive.Bound{{N: 2}} },
			want:    []string{"notice started-at " + manifest(2), "notice checkpoint-unchecked seals/gpu-07/0001/checkpoint"},
		},
	}
}

func TestTampering(t *testing.T) {
	for _, test := range tamperings() {
		t.Run(test.name, func(t *testing.T) {
			e := build(t, sealtest.Config{})
			files := maps.Clone(e.Files)
			test.change(t, files, e)
			o := archive.Options{Trust: trust(e)}
			if test.options != nil {
				test.options(&o, e)
			}
			found, _ := verify(t, files, o)
			found = slices.DeleteFunc(found, func(f string) bool { return f == theGap })
			if diff := cmp.Diff(test.want, found); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// broken is an archive on a disk that fails for some files.
type broken struct {
	memory
	fails map[string]error
}

func (b broken) Open(ctx context.Context, path string) (io.ReadCloser, error) {
	if fault, ok := b.fails[path]; ok {
		return io.NopCloser(failing{fault}), nil
	}
	return b.memory.Open(ctx, path)
}

// What can not be read was not verified: a finding, never a pass.
func TestUnreadableFiles(t *testing.T) {
	e := build(t, sealtest.Config{})
	fault := errors.New("input/output error")
	for path := range e.Files {
		t.Run(path, func(t *testing.T) {
			var found []string
			_, err := archive.Verify(t.Context(), broken{memory(e.Files), map[string]error{path: fault}}, archive.Options{
				Trust: trust(e), Found: func(f archive.Finding) {
					if f.Level == archive.Violation && f.Path == path && strings.Contains(f.What, fault.Error()) {
						found = append(found, string(f.Code))
					}
				},
			})
			if err != nil || len(found) != 1 {
				t.Errorf("findings about it: %q, %v", found, err)
			}
		})
	}
}

// A listing that fails is no empty archive.
func TestListingThatFails(t *testing.T) {
	fault := errors.New("input/output error")
	report, err := archive.Verify(t.Context(), unlisted{fault}, archive.Options{Found: func(archive.Finding) {}})
	if !errors.Is(err, fault) {
		t.Errorf("report %+v, error %v", report, err)
	}
}

type unlisted struct{ err error }

func (u unlisted) List(context.Context, func(archive.Entry) error) error { return u.err }

func (u unlisted) Open(context.Context, string) (io.ReadCloser, error) { return nil, u.err }
