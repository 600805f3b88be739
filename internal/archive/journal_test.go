package archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/auditail/auditail/internal/archive"
	"github.com/auditail/auditail/seal/sealtest"
)

// journalled verifies with a journal; stop, when set, ends it after so many findings
// and steps of progress.
func journalled(t *testing.T, files map[string][]byte, e *sealtest.Epoch, name string, steps int) (found []string, err error) {
	t.Helper()
	j, err := archive.OpenJournal(name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err = archive.Verify(ctx, memory(files), archive.Options{
		Trust: trust(e), Journal: j, Workers: 1, Now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
		Found: func(f archive.Finding) { found = append(found, fmt.Sprintf("%s %s %s", f.Level, f.Code, f.Path)) },
		Progress: func(int64, int64) {
			if steps--; steps == 0 {
				cancel()
			}
		},
	})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return found, err
}

// A verification that goes on finds what one that was never interrupted finds,
// wherever it was interrupted.
func TestJournal(t *testing.T) {
	e := build(t, sealtest.Config{})
	for steps := 1; steps <= 4; steps++ {
		name := filepath.Join(t.TempDir(), "journal")
		if _, err := journalled(t, e.Files, e, name, steps); err == nil {
			t.Fatalf("not interrupted after %d payloads", steps)
		}
		for range 2 {
			found, err := journalled(t, e.Files, e, name, 0)
			if diff := cmp.Diff([]string{theGap}, found); diff != "" || err != nil {
				t.Errorf("interrupted after %d payloads: %v\n%s", steps, err, diff)
			}
		}
	}
}

// What the journal saves is unpacking: the second run reads the files and little more.
func TestJournalIsUsed(t *testing.T) {
	e := build(t, sealtest.Config{})
	name := filepath.Join(t.TempDir(), "journal")
	if _, err := journalled(t, e.Files, e, name, 0); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil || bytes.Count(data, []byte("\n")) != 4 {
		t.Fatalf("the journal of four payloads: %v\n%s", err, data)
	}
	if _, err := journalled(t, e.Files, e, name, 0); err != nil {
		t.Fatal(err)
	}
	again, err := os.ReadFile(name)
	if err != nil || len(bytes.TrimSpace(again)) != len(bytes.TrimSpace(data)) {
		t.Errorf("known payloads were checked again: %v\n%s", err, again)
	}
}

// Whoever changes the archive after a payload went into the journal is found out
// as if there were none.
func TestJournalOfAnArchiveThatWasChangedSince(t *testing.T) {
	for _, test := range tamperings() {
		t.Run(test.name, func(t *testing.T) {
			e := build(t, sealtest.Config{})
			name := filepath.Join(t.TempDir(), "journal")
			if _, err := journalled(t, e.Files, e, name, 0); err != nil {
				t.Fatal(err)
			}
			files := maps.Clone(e.Files)
			test.change(t, files, e)
			o := archive.Options{Trust: trust(e)}
			if test.options != nil {
				test.options(&o, e)
			}
			want, _ := verify(t, files, o)
			j, err := archive.OpenJournal(name)
			if err != nil {
				t.Fatal(err)
			}
			o.Journal = j
			found, _ := verify(t, files, o)
			if diff := cmp.Diff(want, found); diff != "" {
				t.Error(diff)
			}
			if err := j.Remove(); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the journal is still there: %v", err)
			}
		})
	}
}

// A journal that was damaged, cut or written by somebody else is not believed.
func TestJournalThatIsNone(t *testing.T) {
	e := build(t, sealtest.Config{})
	files := maps.Clone(e.Files)
	name := filepath.Join(t.TempDir(), "journal")
	if _, err := journalled(t, files, e, name, 0); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for what, data := range map[string][]byte{
		"a torn line":     sound[:len(sound)-40],
		"a changed byte":  flip(sound, len(sound)/2),
		"another order":   append(bytes.Clone(sound[len(sound)/2:]), sound...),
		"something else":  []byte("hello\n\x00\n"),
		"without the sum": bytes.ReplaceAll(sound, []byte(" {"), []byte("0 {")),
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		found, err := journalled(t, files, e, name, 0)
		if diff := cmp.Diff([]string{theGap}, found); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", what, err, diff)
		}
	}
	if err := os.Chmod(name, 0o622); err != nil { //nolint:gosec // what is tested
		t.Fatal(err)
	}
	if _, err := archive.OpenJournal(name); err == nil || !strings.Contains(err.Error(), "others than you may write it") {
		t.Errorf("a journal for everybody: %v", err)
	}
	if _, err := archive.OpenJournal(t.TempDir()); err == nil {
		t.Error("a folder is a journal")
	}
}

// endless is an archive one of whose files never ends.
type endless struct {
	memory
	path string
	read *atomic.Int64
}

func (e endless) Open(ctx context.Context, path string) (io.ReadCloser, error) {
	f, err := e.memory.Open(ctx, path)
	if err != nil || path != e.path {
		return f, err
	}
	return io.NopCloser(io.TeeReader(f, countTo{e.read})), nil
}

type countTo struct{ n *atomic.Int64 }

func (c countTo) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// What a manifest that nobody signed says of a payload's size is not believed: the
// payload is not unpacked, whatever it holds.
func TestPayloadThatNobodyVouchesFor(t *testing.T) {
	e := build(t, sealtest.Config{})
	swapText(t, e.Files, manifest(1), fmt.Sprintf("plain %d", e.Batches[1].Manifest.Plain), "plain 999999999999999")
	e.Files[payload1] = sealtest.Compress(t, make([]byte, 64<<20))
	var read atomic.Int64
	var found []string
	report, err := archive.Verify(t.Context(), endless{memory(e.Files), payload1, &read}, archive.Options{
		Trust: trust(e), Found: func(f archive.Finding) {
			if f.Path == payload1 {
				found = append(found, string(f.Code))
			}
		},
	})
	if err != nil || report.PlainBytes > 1<<20 || read.Load() == 0 {
		t.Errorf("%d bytes unpacked of %d read, %v", report.PlainBytes, read.Load(), err)
	}
	if diff := cmp.Diff([]string{"payload-digest"}, found); diff != "" {
		t.Error(diff)
	}
}

// A payload is not expired because the archive says that it is late: its host's
// clock may have been set forward for that.
func TestTermByTheAuditorsClock(t *testing.T) {
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	e.Data(sealtest.Chat(), e.Records(2))
	e.Now = e.Now.Add(400 * 24 * time.Hour)
	e.Close()
	e.Checkpoint()
	delete(e.Files, payload1)
	silence := "notice silence " + manifest(2)
	for now, want := range map[time.Time][]string{
		e.Now.Add(-300 * 24 * time.Hour): {"violation payload-missing " + payload1, "notice time-ahead " + manifest(2), silence},
		e.Now:                            {"notice payload-expired " + payload1, silence},
	} {
		found, _ := verify(t, e.Files, archive.Options{Trust: trust(e), Now: now})
		if diff := cmp.Diff(want, found); diff != "" {
			t.Error(diff)
		}
	}
}

// An archive that begins behind a rotation verifies by the key that was signed in.
func TestFromBehindARotation(t *testing.T) {
	next := sealtest.Key("next")
	e := sealtest.New(t, sealtest.Config{})
	o := archive.Options{Trust: trust(e), From: []archive.Bound{{N: 3}}}
	o.Trust[e.Origin.Log] = append(o.Trust[e.Origin.Log], sealtest.New(t, sealtest.Config{Identity: next}).PublicKey())
	e.Open()
	e.Checkpoint()
	e.Rotate(next)
	e.Heartbeat()
	e.Data(sealtest.Chat(), e.Records(2))
	e.Close()
	e.Checkpoint()
	for n := range 3 {
		delete(e.Files, manifest(n))
		delete(e.Files, signature(n))
	}
	want := []string{"notice started-at " + manifest(3), "notice checkpoint-unchecked seals/gpu-07/0001/checkpoint"}
	found, _ := verify(t, e.Files, o)
	if diff := cmp.Diff(want, found); diff != "" {
		t.Error(diff)
	}
}

// Names without end cost no memory: neither those of agents that nobody trusts nor
// numbers that are no log's.
func TestInventoryIsBounded(t *testing.T) {
	e := build(t, sealtest.Config{})
	files := maps.Clone(e.Files)
	for i := range 3000 {
		files[fmt.Sprintf("seals/x%d/0001/identity.vkey", i)] = []byte("x")
	}
	found, _ := verify(t, files, archive.Options{Trust: trust(e)})
	unknown := 0
	for _, f := range found {
		if strings.HasPrefix(f, "violation key-unknown") {
			unknown++
		}
	}
	if unknown < 1000 || unknown > 2001 {
		t.Errorf("%d findings about 3000 agents", unknown)
	}
}
