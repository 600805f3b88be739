package buffer_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
)

var stream = seal.Stream{Environment: "test", Service: "chat", Class: "standard"}

func identity() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
}

func config(dir string) buffer.Config {
	return buffer.Config{
		Dir: dir, MaxDisk: 1 << 30, BatchSize: 8 << 20, BatchAge: time.Hour, Heartbeat: time.Hour,
		Log: seal.Log{Organization: "audit.example.com/acme", Agent: "gpu-07"}, Retention: map[string]time.Duration{"standard": 24 * time.Hour},
		Outputs: []string{"a", "b"},
	}
}

func deps(fsys durable.FS) buffer.Deps {
	return buffer.Deps{
		FS: fsys, Log: slog.New(slog.DiscardHandler), Now: time.Now, Identity: identity(),
		Run:  seal.Run{Schema: audit.SchemaID, SchemaDigest: seal.DigestOf([]byte("schema")), Version: "test", Binary: seal.DigestOf([]byte("binary")), Config: seal.DigestOf([]byte("config"))},
		Boot: func() (string, uint64) { return "boot", 1 },
		Coverage: func(dst []byte, c buffer.Coverage) []byte {
			return fmt.Appendf(dst, `{"event":"agent.coverage","items":%d,"agent":{"id":"gpu-07","seq":`, len(c.Items))
		},
	}
}

// entry makes an entry of n one-record lines that begins at line from.
func entry(from, n int) *buffer.Entry {
	e := &buffer.Entry{Stream: stream, Input: "in", Lines: seal.Lines{Read: uint64(n), Recorded: uint64(n)}}
	for i := range n {
		e.Records = fmt.Appendf(e.Records, `{"line":%d,"agent":{"id":"gpu-07","seq":`+"\n", from+i)
	}
	e.Ranges = []buffer.Range{{Generation: "g", Unit: "bytes", From: int64(from), To: int64(from + n), Lines: int64(n)}}
	e.Positions = []buffer.Position{{Generation: "g", Token: fmt.Appendf(nil, "%d", from+n)}}
	return e
}

func TestSealedBatchesVerify(t *testing.T) {
	dir := t.TempDir()
	ctx := context.Background()
	b, err := buffer.Open(config(dir), deps(durable.OS{}))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := b.Append(ctx, entry(i*100, 100)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Shut(ctx, true); err != nil {
		t.Fatal(err)
	}
	chain := seal.NewChain(seal.Origin{Log: config(dir).Log, Epoch: 1}, identity().Public().(ed25519.PublicKey))
	var kinds []seal.Kind
	var lines []byte
	for {
		batch, err := b.Next(ctx, "a")
		if errors.Is(err, buffer.ErrClosed) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		m, err := chain.Add(batch.ManifestFile)
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, m.Kind)
		if m.Kind == seal.Data {
			f, err := batch.Objects[0].Open()
			if err != nil {
				t.Fatal(err)
			}
			z, err := zstd.NewReader(f)
			if err != nil {
				t.Fatal(err)
			}
			if lines, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
			z.Close()
			f.Close()
		}
		if err := b.Acknowledge("a", batch); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(kinds) != "[open data close]" {
		t.Fatalf("kinds %v", kinds)
	}
	var tree seal.Tree
	got := bytes.Split(bytes.TrimSuffix(lines, []byte("\n")), []byte("\n"))
	for _, line := range got {
		tree.Add(seal.LeafHash(line))
	}
	if len(got) != 1001 {
		t.Fatalf("%d records", len(got))
	}
	b, err = buffer.Open(config(dir), deps(durable.OS{}))
	if err != nil {
		t.Fatal(err)
	}
	r := b.Resume("in")
	if len(r.Positions) != 1 || string(r.Positions[0].Token) != "1000" {
		t.Fatalf("resume %+v", r)
	}
	if err := b.Shut(ctx, true); err != nil {
		t.Fatal(err)
	}
}
