// Package sealtest builds sealed logs for tests: epochs with real keys, real
// zstd payloads that end in a coverage record, real manifests, signatures and
// checkpoints. What it builds by itself verifies; an [Option] makes the one
// thing wrong that a test is about.
package sealtest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/note"

	"github.com/auditail/auditail/seal"
)

// Config says whose epoch is built. The zero value is epoch 1 of agent gpu-07
// of audit.example.com/acme.
type Config struct {
	Organization string
	Agent        string
	Epoch        int
	Identity     ed25519.PrivateKey // default: derived from the log's name
	Start        time.Time          // default: 2026-11-20T08:00:00Z
	Reason       string             // of the open manifest; default: first
}

// Chat is the stream that most tests need.
func Chat() seal.Stream {
	return seal.Stream{Environment: "prod", Service: "chat", Class: "standard"}
}

// Epoch builds the batches of one epoch one after the other. Mistakes in its
// use fail the test. It is not safe for concurrent use.
type Epoch struct {
	Origin   seal.Origin
	Identity ed25519.PrivateKey
	// Now is the time of the next seal. Every batch moves it on by 10 s.
	Now time.Time
	// Files holds what was built, by archive path. Tests may change it before
	// Write. Epochs made by NextEpoch share it.
	Files map[string][]byte
	// Batches holds the batches in order.
	Batches []seal.Batch

	t         testing.TB
	reason    string
	next      uint64
	previous  seal.Digest
	records   uint64
	seq       uint64
	positions map[string]uint64 // end of what was covered, by "source generation"
	tree      seal.Tree
}

// New returns an epoch without batches; the first is made by Open.
func New(t testing.TB, c Config) *Epoch {
	t.Helper()
	if c.Organization == "" {
		c.Organization = "audit.example.com/acme"
	}
	if c.Agent == "" {
		c.Agent = "gpu-07"
	}
	if c.Epoch == 0 {
		c.Epoch = 1
	}
	if c.Start.IsZero() {
		c.Start = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	}
	if c.Reason == "" {
		c.Reason = seal.OpenFirst
	}
	log := seal.Log{Organization: c.Organization, Agent: c.Agent}
	if c.Identity == nil {
		c.Identity = Key("identity of " + log.String())
	}
	return &Epoch{
		Origin: seal.Origin{Log: log, Epoch: c.Epoch}, Identity: c.Identity, Now: c.Start,
		Files: make(map[string][]byte), t: t, reason: c.Reason,
		positions: make(map[string]uint64),
	}
}

// Key returns the Ed25519 key that belongs to a seed: the same key every time.
func Key(seed string) ed25519.PrivateKey {
	sum := sha256.Sum256([]byte(seed))
	return ed25519.NewKeyFromSeed(sum[:])
}

// PublicKey returns the identity key.
func (e *Epoch) PublicKey() ed25519.PublicKey {
	return public(e.Identity)
}

func public(key ed25519.PrivateKey) ed25519.PublicKey {
	return key.Public().(ed25519.PublicKey) //nolint:errcheck // the standard library's promise
}

// Trust returns the line of a trust file for the identity key, with LF.
func (e *Epoch) Trust() string { return seal.VKey(e.Origin.Log.String(), e.PublicKey()) + "\n" }

// NextEpoch returns the epoch that follows, with the given reason ("rollback …",
// "fork …") and the same identity, files, time and read positions.
func (e *Epoch) NextEpoch(reason string) *Epoch {
	e.t.Helper()
	n := New(e.t, Config{
		Organization: e.Origin.Organization, Agent: e.Origin.Agent, Epoch: e.Origin.Epoch + 1,
		Identity: e.Identity, Start: e.Now, Reason: reason,
	})
	n.Files, n.positions, n.seq = e.Files, maps.Clone(e.positions), e.seq
	return n
}

// Range is what a batch read of one source generation, half-open.
type Range struct {
	Source, Generation string
	Unit               string // default: bytes
	From, To           uint64
	Lines              uint64
}

// draft is a batch on its way to being sealed.
type draft struct {
	coverage  []Range
	uncovered bool
	lines     *seal.Lines
	manifest  []func(*seal.Manifest)
	payload   func([]byte) []byte
	text      func(string) string
	identity  ed25519.PrivateKey
	ratchet   ed25519.PrivateKey
	sshsig    ed25519.PrivateKey
	successor ed25519.PrivateKey
}

// Option makes a batch differ from the one that Epoch would build by itself.
type Option func(*draft)

// WithCoverage gives the ranges of the coverage record. The default is that the
// source "vllm", generation "g1", read one line of 100 bytes for every line read.
func WithCoverage(ranges ...Range) Option { return func(d *draft) { d.coverage = ranges } }

// WithoutCoverage leaves the coverage record out.
func WithoutCoverage() Option { return func(d *draft) { d.uncovered = true } }

// WithLines gives the line counts. The default is that every record is one line.
func WithLines(l seal.Lines) Option { return func(d *draft) { d.lines = &l } }

// WithManifest changes the complete manifest before it is signed.
func WithManifest(change func(*seal.Manifest)) Option {
	return func(d *draft) { d.manifest = append(d.manifest, change) }
}

// WithPayload replaces the payload file before its digest is taken.
func WithPayload(change func(file []byte) []byte) Option {
	return func(d *draft) { d.payload = change }
}

// WithText changes the text of the manifest before it is signed, into one that seal
// would not sign.
func WithText(change func(text string) string) Option {
	return func(d *draft) { d.text = change }
}

// SignedBy signs manifest and SSHSIG with another identity key.
func SignedBy(key ed25519.PrivateKey) Option {
	return func(d *draft) { d.identity, d.sshsig = key, key }
}

// SSHSignedBy makes the SSHSIG with another key.
func SSHSignedBy(key ed25519.PrivateKey) Option { return func(d *draft) { d.sshsig = key } }

// RatchetedBy signs with another one-time key than the previous manifest named.
func RatchetedBy(key ed25519.PrivateKey) Option { return func(d *draft) { d.ratchet = key } }

// Open seals batch 0.
func (e *Epoch) Open(options ...Option) seal.Batch {
	e.t.Helper()
	m := e.manifest(seal.Open)
	m.Reason = e.reason
	m.Previous = seal.IdentityDigest(e.Origin.Log, e.PublicKey())
	return e.seal(m, nil, options)
}

// Heartbeat seals a batch without payload.
func (e *Epoch) Heartbeat(options ...Option) seal.Batch {
	e.t.Helper()
	return e.seal(e.manifest(seal.Heartbeat), nil, options)
}

// Close seals the batch that says that nothing more is due.
func (e *Epoch) Close(options ...Option) seal.Batch {
	e.t.Helper()
	m := e.manifest(seal.Close)
	m.NextBy = time.Time{}
	return e.seal(m, nil, options)
}

// Rotate seals the batch that signs in another identity key, which signs from
// then on.
func (e *Epoch) Rotate(successor ed25519.PrivateKey, options ...Option) seal.Batch {
	e.t.Helper()
	m := e.manifest(seal.Rotate)
	m.Successor = public(successor)
	b := e.seal(m, nil, append(options, func(d *draft) { d.successor = successor }))
	e.Identity = successor
	return b
}

// Data seals a batch of record lines (without LF), to which it appends the
// coverage record. The lines are best made by Record or Records.
func (e *Epoch) Data(stream seal.Stream, records [][]byte, options ...Option) seal.Batch {
	e.t.Helper()
	d := apply(options)
	m := e.manifest(seal.Data)
	m.Stream = stream
	n := uint64(len(records))
	m.Lines = seal.Lines{Read: n, Recorded: n}
	if d.lines != nil {
		m.Lines = *d.lines
	}
	if !d.uncovered {
		if d.coverage == nil {
			at := e.positions["vllm g1"]
			d.coverage = []Range{{Source: "vllm", Generation: "g1", From: at, To: at + 100*m.Lines.Read, Lines: m.Lines.Read}}
		}
		for _, r := range d.coverage {
			e.positions[r.Source+" "+r.Generation] = r.To
		}
		records = append(slices.Clone(records), e.Record("agent.coverage", `"coverage":`+coverageJSON(d.coverage)))
	}
	var plain []byte
	var tree seal.Tree
	for _, record := range records {
		tree.Add(seal.LeafHash(record))
		plain = append(append(plain, record...), '\n')
	}
	m.RecordsTo = m.RecordsFrom + tree.Size()
	m.Root, m.Plain = tree.Root(), int64(len(plain))
	m.KeepUntil = m.Sealed.Add(184 * 24 * time.Hour)
	payload := Compress(e.t, plain)
	if d.payload != nil {
		payload = d.payload(payload)
	}
	m.Payload, m.PayloadPath = seal.DigestOf(payload), e.Origin.PayloadPath(stream, m.Opened, m.Batch)
	return e.seal(m, payload, options)
}

// Record returns a valid record line of an event. members, which may be empty,
// are further top-level members: `"loss":{…}`.
func (e *Epoch) Record(event, members string) []byte {
	e.seq++
	if members != "" {
		members += ","
	}
	id := sha256.Sum256([]byte(e.Origin.String() + strconv.FormatUint(e.seq, 10)))
	at := e.Now.UTC().Format(time.RFC3339Nano)
	return fmt.Appendf(nil, `{"schema_version":1,"id":"%s","time":"%s","time_basis":"source","observed_time":"%s",`+
		`"event":"%s","action":"observe","outcome":"success","severity":1,"retention":"standard",`+
		`"actor":{"type":"unknown","basis":"none","verified":false},"service":"chat","environment":"prod",`+
		`"host":{"id":"h-0c8d3c02d3a0","name":"gpu-07.fra"},"source":{"id":"vllm"},%s"salt":"AAAAAAAAAAA",`+
		`"agent":{"id":"%s","seq":%d}}`, base32Like(id), at, at, event, members, e.Origin.Agent, e.seq)
}

// base32Like spells the first 26 bytes of a hash in the alphabet of record ids.
func base32Like(sum [sha256.Size]byte) string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567"
	id := make([]byte, 26)
	for i := range id {
		id[i] = alphabet[sum[i]&31]
	}
	return string(id)
}

// Records returns n records of calls to a model.
func (e *Epoch) Records(n int) [][]byte {
	records := make([][]byte, n)
	for i := range records {
		records[i] = e.Record("model.inference", `"model":{"name":"llama-3-8b","provider":"vllm","basis":"unresolved"},`+
			`"api":{"method":"POST","path":"/v1/chat/completions","status":200,"operation":"chat"}`)
	}
	return records
}

// Gap returns an agent.gap record: bytes of a generation that nobody can read any more.
func (e *Epoch) Gap(source, generation string, from, to uint64) []byte {
	record := e.Record("agent.gap", fmt.Sprintf(`"loss":{"generation":"%s","from":%d,"to":%d,"bytes":%d,"cause":"truncated"}`,
		generation, from, to, to-from))
	e.positions[source+" "+generation] = to
	return bytes.Replace(record, []byte(`"source":{"id":"vllm"}`), []byte(`"source":{"id":"`+source+`"}`), 1)
}

// Unparsed returns an agent.unparsed record of lines that no parser knew.
func (e *Epoch) Unparsed(lines uint64) []byte {
	return e.Record("agent.unparsed", fmt.Sprintf(`"loss":{"generation":"g1","from":0,"to":%d,"bytes":%d,"lines":%d,`+
		`"hmac":"hmac-sha256:2026-11:%064x"}`, 100*lines, 100*lines, lines, 0))
}

// Head returns size and root of the log as it is now.
func (e *Epoch) Head() (size uint64, root seal.Hash) { return e.tree.Size(), e.tree.Root() }

// Checkpoint signs the head of the log as it is now.
func (e *Epoch) Checkpoint() seal.Checkpoint {
	e.t.Helper()
	c, err := seal.SignCheckpoint(e.Origin, &e.tree, e.Identity)
	if err != nil {
		e.t.Fatal(err)
	}
	e.Files[c.Path()] = c.File
	return c
}

// Write writes Files below dir.
func (e *Epoch) Write(dir string) {
	e.t.Helper()
	for path, content := range e.Files {
		name := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			e.t.Fatal(err)
		}
		if err := os.WriteFile(name, content, 0o600); err != nil {
			e.t.Fatal(err)
		}
	}
}

// Compress returns a zstd file, each part a frame of its own.
func Compress(t testing.TB, parts ...[]byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	var file []byte
	for _, part := range parts {
		file = w.EncodeAll(part, file)
	}
	return file
}

func apply(options []Option) *draft {
	d := new(draft)
	for _, o := range options {
		o(d)
	}
	return d
}

// ratchetKey is the one-time key of the nth batch that is built, whatever
// number an option gives it.
func (e *Epoch) ratchetKey(n int) ed25519.PrivateKey {
	return Key(fmt.Sprintf("ratchet of %s batch %d", e.Origin, n))
}

func (e *Epoch) manifest(kind seal.Kind) *seal.Manifest {
	return &seal.Manifest{
		Origin: e.Origin, Batch: e.next, Kind: kind,
		RecordsFrom: e.records, RecordsTo: e.records, Root: seal.EmptyRoot(),
		Opened: e.Now.Add(-5 * time.Second), Sealed: e.Now, NextBy: e.Now.Add(2 * time.Minute),
		Boot: "3f0c1d9e-5a4b-4f3e-9f1d-2f6f1a0c7b11", Uptime: 4242,
		Run: seal.Run{
			Schema: "auditail/record@v1", SchemaDigest: seal.DigestOf([]byte("schema")),
			Version: "0.1.0", Binary: seal.DigestOf([]byte("binary")), Config: seal.DigestOf([]byte("config")),
		},
		WitnessedRoot: seal.EmptyRoot(),
		Ratchet:       public(e.ratchetKey(len(e.Batches) + 1)),
		Previous:      e.previous,
	}
}

// seal signs the manifest, keeps the batch and moves on behind it.
func (e *Epoch) seal(m *seal.Manifest, payload []byte, options []Option) seal.Batch {
	e.t.Helper()
	d := apply(options)
	if d.identity == nil {
		d.identity = e.Identity
	}
	if d.sshsig == nil {
		d.sshsig = e.Identity
	}
	if d.ratchet == nil {
		d.ratchet = e.ratchetKey(len(e.Batches))
	}
	for _, change := range d.manifest {
		change(m)
	}
	var file []byte
	var err error
	if m.Kind == seal.Rotate {
		file, err = seal.SignRotation(m, d.identity, d.ratchet, d.successor)
	} else {
		file, err = seal.SignManifest(m, d.identity, d.ratchet)
	}
	if err == nil && d.text != nil {
		file, err = signText(m, d)
	}
	if err != nil {
		e.t.Fatal(err)
	}
	signature, err := seal.SSHSign(file, d.sshsig)
	if err != nil {
		e.t.Fatal(err)
	}
	b := seal.Batch{Manifest: m, ManifestFile: file}
	if payload != nil {
		b.Objects = append(b.Objects, e.object(seal.PayloadObject, m.PayloadPath, payload))
	}
	if m.Kind == seal.Open {
		b.Objects = append(b.Objects, e.object(seal.IdentityObject, m.Origin.IdentityPath(), seal.IdentityFile(m.Origin.Log, e.PublicKey())))
	}
	b.Objects = append(b.Objects,
		e.object(seal.ManifestObject, m.Origin.ManifestPath(m.Batch), file),
		e.object(seal.SignatureObject, m.Origin.SignaturePath(m.Batch), signature))
	e.Batches = append(e.Batches, b)
	e.next, e.previous, e.records = m.Batch+1, seal.DigestOf(file), m.RecordsTo
	e.tree.Add(seal.LeafHash(file))
	e.Now = e.Now.Add(10 * time.Second)
	return b
}

// signText signs the changed text of a manifest.
func signText(m *seal.Manifest, d *draft) ([]byte, error) {
	text, err := m.Text()
	if err != nil {
		return nil, err
	}
	identity, err := seal.NewSigner(m.Origin.String(), d.identity)
	if err != nil {
		return nil, err
	}
	ratchet, err := seal.NewSigner(m.Origin.RatchetName(), d.ratchet)
	if err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: d.text(string(text))}, identity, ratchet)
}

func (e *Epoch) object(kind seal.ObjectKind, path string, content []byte) seal.Object {
	e.Files[path] = content
	return seal.Object{
		Kind: kind, Path: path, Size: int64(len(content)), SHA256: seal.DigestOf(content),
		Open: func() (io.ReadSeekCloser, error) { return file{bytes.NewReader(content)}, nil },
	}
}

type file struct{ *bytes.Reader }

func (file) Close() error { return nil }

func coverageJSON(ranges []Range) string {
	b := []byte{'['}
	for i, r := range ranges {
		if i > 0 {
			b = append(b, ',')
		}
		if r.Unit == "" {
			r.Unit = "bytes"
		}
		b = fmt.Appendf(b, `{"source":"%s","generation":"%s","unit":"%s","from":%d,"to":%d,"lines":%d}`,
			r.Source, r.Generation, r.Unit, r.From, r.To, r.Lines)
	}
	return string(append(b, ']'))
}

// Plain returns the record lines of a payload file.
func Plain(t testing.TB, payload []byte) []byte {
	t.Helper()
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	plain, err := r.DecodeAll(payload, nil)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}
