package seal

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// MaxManifestText is the most bytes the text of a manifest may have.
const MaxManifestText = 4096

// MaxManifestFile is the most bytes a manifest with its signatures may have.
const MaxManifestFile = MaxManifestText + 2048

// MaxSilence is the most time that a manifest may give the agent until the next
// one: twice the longest heartbeat that can be configured.
const MaxSilence = 48 * time.Hour

// maxBatch is the highest number that the twelve digits of a path can hold.
const maxBatch = 999_999_999_999

const manifestHeader = "auditail/manifest@v1"

// Kind says what a batch is for.
type Kind string

// The kinds. Only Data has a payload.
const (
	Data      Kind = "data"
	Heartbeat Kind = "heartbeat"
	Open      Kind = "open"
	Rotate    Kind = "rotate"
	Close     Kind = "close"
)

// OpenFirst is the reason of the first epoch's open manifest; see [Succession]
// for those of the others.
const OpenFirst = "first"

// Digest is the SHA-256 of a file. Its String is lower-case hex.
type Digest [sha256.Size]byte

// DigestOf returns the digest of data.
func DigestOf(data []byte) Digest { return sha256.Sum256(data) }

// String returns lower-case hex, the form of coreutils checksum lines.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ParseDigest parses what Digest.String returns.
func ParseDigest(s string) (d Digest, err error) {
	if len(s) != 2*len(d) || strings.ToLower(s) != s {
		return d, fmt.Errorf("digest %q is not 64 lower-case hex digits", s)
	}
	if _, err = hex.Decode(d[:], []byte(s)); err != nil {
		return d, fmt.Errorf("digest %q: %w", s, err)
	}
	return d, nil
}

// Lines counts what became of the physical lines of a batch (promise 5 of the README):
// held before + Read = Recorded + Unparsed + Ignored + Held, per stream.
type Lines struct {
	Read, Recorded, Unparsed, Ignored uint64
	Held                              uint64 // waiting for the rest of a record when the batch was cut
}

// Run is what appended a batch: the same for all its records.
type Run struct {
	Schema       string // id of the record format
	SchemaDigest Digest
	Version      string // of the agent; no spaces
	Binary       Digest
	Config       Digest // of the effective configuration
}

// Manifest is the signed text of a batch.
type Manifest struct {
	Origin        Origin
	Batch         uint64 // leaf index in the origin's log
	Kind          Kind
	Reason        string            // of kind open
	Successor     ed25519.PublicKey // of kind rotate: the identity key from the next batch on
	Stream        Stream            // zero without a payload
	RecordsFrom   uint64            // of this epoch, cumulative, half-open, in batch order
	RecordsTo     uint64
	Root          Hash  // of the record lines
	Plain         int64 // bytes of the uncompressed payload
	Lines         Lines
	Opened        time.Time
	Sealed        time.Time
	NextBy        time.Time // zero for none: kind close
	KeepUntil     time.Time // zero for none: no payload
	Boot          string    // boot id, "-" where the system has none
	Uptime        uint64    // seconds
	Run           Run
	WitnessedSize uint64
	WitnessedRoot Hash
	Ratchet       ed25519.PublicKey // of the next batch
	Payload       Digest            // with PayloadPath
	PayloadPath   string            // empty without a payload
	Previous      Digest            // of the previous manifest; of identity.vkey for kind open
}

// PreviousPath is the file that Previous is the digest of.
func (m *Manifest) PreviousPath() string {
	if m.Batch == 0 {
		return m.Origin.IdentityPath()
	}
	return m.Origin.ManifestPath(m.Batch - 1)
}

// Text returns the text that is signed. It is a pure function of m.
func (m *Manifest) Text() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("manifest %d of %s: %w", m.Batch, m.Origin, err)
	}
	var b bytes.Buffer
	kind := string(m.Kind)
	switch m.Kind {
	case Open:
		kind += " " + m.Reason
	case Rotate:
		kind += " " + base64.StdEncoding.EncodeToString(m.Successor)
	case Data, Heartbeat, Close:
	}
	fmt.Fprintf(&b, "%s\norigin %s\nbatch %d\nkind %s\nstream %s\n", manifestHeader, m.Origin, m.Batch, kind, m.Stream)
	fmt.Fprintf(&b, "records %d %d\nroot %s\nplain %d\n", m.RecordsFrom, m.RecordsTo, m.Root, m.Plain)
	fmt.Fprintf(&b, "lines %d %d %d %d %d\n", m.Lines.Read, m.Lines.Recorded, m.Lines.Unparsed, m.Lines.Ignored, m.Lines.Held)
	fmt.Fprintf(&b, "opened %s\nsealed %s\nnext-by %s\nkeep-until %s\n",
		formatTime(m.Opened), formatTime(m.Sealed), formatTime(m.NextBy), formatTime(m.KeepUntil))
	fmt.Fprintf(&b, "boot %s %d\n", m.Boot, m.Uptime)
	fmt.Fprintf(&b, "schema %s sha256:%s\nagent %s sha256:%s\nconfig sha256:%s\n",
		m.Run.Schema, m.Run.SchemaDigest, m.Run.Version, m.Run.Binary, m.Run.Config)
	fmt.Fprintf(&b, "witnessed %d %s\nratchet %s\n", m.WitnessedSize, m.WitnessedRoot, base64.StdEncoding.EncodeToString(m.Ratchet))
	if m.PayloadPath != "" {
		fmt.Fprintf(&b, "%s  %s\n", m.Payload, m.PayloadPath)
	}
	fmt.Fprintf(&b, "%s  %s\n", m.Previous, m.PreviousPath())
	if b.Len() > MaxManifestText {
		return nil, fmt.Errorf("manifest %d of %s: text has %d bytes, at most %d fit", m.Batch, m.Origin, b.Len(), MaxManifestText)
	}
	return b.Bytes(), nil
}

// firstYear is the first of which a manifest can be.
const firstYear = 1970

// check holds the rules that one manifest must satisfy by itself.
func (m *Manifest) check() error {
	switch m.Kind {
	case Data:
		return m.checkData()
	case Open, Heartbeat, Rotate, Close:
	default:
		return fmt.Errorf("unknown kind %q", m.Kind)
	}
	switch {
	case (m.Kind == Open) != (m.Batch == 0):
		return fmt.Errorf("batch %d has kind %s: an epoch opens with batch 0 and only there", m.Batch, m.Kind)
	case (m.Kind == Open) != (m.Reason != ""):
		return fmt.Errorf("kind %s with reason %q", m.Kind, m.Reason)
	case m.Kind == Rotate && CheckPublicKey(m.Successor) != nil:
		return fmt.Errorf("the key that follows: %w", CheckPublicKey(m.Successor))
	case m.Kind != Rotate && m.Successor != nil:
		return fmt.Errorf("kind %s names a key that follows", m.Kind)
	case !m.Stream.IsZero() || m.PayloadPath != "" || m.Plain != 0 || m.RecordsFrom != m.RecordsTo ||
		m.Root != EmptyRoot() || m.Lines != Lines{} || !m.KeepUntil.IsZero():
		return fmt.Errorf("kind %s carries no payload, but the manifest describes one", m.Kind)
	case (m.Kind == Close) != m.NextBy.IsZero():
		return fmt.Errorf("kind %s with next-by %s", m.Kind, formatTime(m.NextBy))
	}
	return m.checkCommon()
}

func (m *Manifest) checkData() error {
	switch {
	case m.Batch == 0:
		return fmt.Errorf("batch 0 has kind data: an epoch opens with kind open")
	case !ValidName(m.Stream.Environment) || !ValidName(m.Stream.Service) || !ValidName(m.Stream.Class):
		return fmt.Errorf("stream %q: every part must match %s", m.Stream, name)
	case m.PayloadPath != m.Origin.PayloadPath(m.Stream, m.Opened, m.Batch):
		return fmt.Errorf("payload path %q is not that of the batch", m.PayloadPath)
	case m.RecordsTo <= m.RecordsFrom || m.Plain <= 0:
		return fmt.Errorf("a data batch without records")
	case m.KeepUntil.IsZero() || m.NextBy.IsZero():
		return fmt.Errorf("a data batch needs next-by and keep-until")
	}
	return m.checkCommon()
}

func (m *Manifest) checkCommon() error {
	if o, err := ParseOrigin(m.Origin.String()); err != nil || o != m.Origin {
		return fmt.Errorf("origin %q is none", m.Origin)
	}
	if m.Batch > maxBatch {
		return fmt.Errorf("batch %d: paths have room for numbers up to %d", m.Batch, uint64(maxBatch))
	}
	for what, word := range map[string]string{"boot": m.Boot, "schema": m.Run.Schema, "agent version": m.Run.Version} {
		if word == "" || strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fmt.Errorf("%s %q is not one word of printable ASCII", what, word)
		}
	}
	if m.Kind == Open && strings.ContainsFunc(m.Reason, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Errorf("reason %q is not printable ASCII", m.Reason)
	}
	if err := CheckPublicKey(m.Ratchet); err != nil {
		return fmt.Errorf("ratchet: %w", err)
	}
	// Programs that read these times differ in what they take for earlier years.
	if m.Opened.Year() < firstYear || m.Sealed.Year() < firstYear {
		return fmt.Errorf("opened %s and sealed %s must be of the years from %d on", formatTime(m.Opened), formatTime(m.Sealed), firstYear)
	}
	if m.WitnessedSize == 0 && m.WitnessedRoot != EmptyRoot() {
		return fmt.Errorf("witnessed 0 with a root that is not that of the empty tree")
	}
	// Both are reckoned from sealed: whatever the clock of the host does, no agent
	// promises its next batch, or a term, for a time that is over.
	if !m.NextBy.IsZero() && m.NextBy.Before(m.Sealed) || !m.KeepUntil.IsZero() && m.KeepUntil.Before(m.Sealed) {
		return fmt.Errorf("next-by %s and keep-until %s must not lie before sealed %s", formatTime(m.NextBy), formatTime(m.KeepUntil), formatTime(m.Sealed))
	}
	// Nobody could tell a log that was stopped from one that may be silent for years.
	if m.NextBy.After(m.Sealed.Add(MaxSilence)) {
		return fmt.Errorf("next-by %s lies more than %s after sealed %s", formatTime(m.NextBy), MaxSilence, formatTime(m.Sealed))
	}
	if m.Plain < 0 {
		return fmt.Errorf("plain %d is negative", m.Plain)
	}
	return nil
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// ParseText parses the text of a manifest. It accepts exactly what Text
// returns: unknown, repeated, reordered and differently spaced lines are errors.
func ParseText(text []byte) (*Manifest, error) {
	if len(text) > MaxManifestText {
		return nil, fmt.Errorf("manifest text has more than %d bytes", MaxManifestText)
	}
	p := textParser{rest: string(text)}
	m := p.manifest()
	if p.err != nil {
		return nil, fmt.Errorf("manifest line %d: %w", p.line, p.err)
	}
	again, err := m.Text()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, text) {
		return nil, fmt.Errorf("manifest %d of %s is not in canonical form", m.Batch, m.Origin)
	}
	return m, nil
}

// textParser reads a manifest line by line; after the first error it returns zeros.
type textParser struct {
	rest string
	line int
	err  error
}

func (p *textParser) manifest() *Manifest {
	m := new(Manifest)
	if header := p.next(); p.err == nil && header != manifestHeader {
		p.fail("expected %q, found %q", manifestHeader, header)
	}
	m.Origin = p.origin(p.words("origin", 1)[0])
	m.Batch = p.uint(p.words("batch", 1)[0])
	kind, argument, _ := strings.Cut(p.text("kind"), " ")
	if m.Kind = Kind(kind); m.Kind == Rotate {
		m.Successor = p.key(argument)
	} else {
		m.Reason = argument
	}
	if stream := strings.Split(p.text("stream"), " "); len(stream) == 3 {
		m.Stream = Stream{Environment: stream[0], Service: stream[1], Class: stream[2]}
	}
	records := p.words("records", 2)
	m.RecordsFrom, m.RecordsTo = p.uint(records[0]), p.uint(records[1])
	m.Root = p.hash(p.words("root", 1)[0])
	m.Plain = int64(p.uint(p.words("plain", 1)[0])) //nolint:gosec // a negative result is refused by check
	lines := p.words("lines", 5)
	m.Lines = Lines{
		Read: p.uint(lines[0]), Recorded: p.uint(lines[1]), Unparsed: p.uint(lines[2]),
		Ignored: p.uint(lines[3]), Held: p.uint(lines[4]),
	}
	m.Opened, m.Sealed = p.time("opened"), p.time("sealed")
	m.NextBy, m.KeepUntil = p.time("next-by"), p.time("keep-until")
	boot := p.words("boot", 2)
	m.Boot, m.Uptime = boot[0], p.uint(boot[1])
	schema := p.words("schema", 2)
	m.Run.Schema, m.Run.SchemaDigest = schema[0], p.prefixedDigest(schema[1])
	agent := p.words("agent", 2)
	m.Run.Version, m.Run.Binary = agent[0], p.prefixedDigest(agent[1])
	m.Run.Config = p.prefixedDigest(p.words("config", 1)[0])
	witnessed := p.words("witnessed", 2)
	m.WitnessedSize, m.WitnessedRoot = p.uint(witnessed[0]), p.hash(witnessed[1])
	m.Ratchet = p.key(p.words("ratchet", 1)[0])
	if m.Kind == Data {
		m.Payload, m.PayloadPath = p.checksum()
	}
	previous, path := p.checksum()
	m.Previous = previous
	if p.err == nil && path != m.PreviousPath() {
		p.fail("expected the checksum of %s, found that of %q", m.PreviousPath(), path)
	}
	if p.err == nil && p.rest != "" {
		p.line++
		p.fail("unexpected text after the last line")
	}
	return m
}

func (p *textParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

func (p *textParser) next() string {
	if p.err != nil {
		return ""
	}
	p.line++
	line, rest, found := strings.Cut(p.rest, "\n")
	if !found {
		p.fail("the text ends in the middle of a line")
	}
	p.rest = rest
	return line
}

// text returns what follows the key on the next line.
func (p *textParser) text(key string) string {
	line := p.next()
	value, ok := strings.CutPrefix(line, key+" ")
	if p.err == nil && !ok {
		p.fail("expected %q, found %q", key+" …", line)
	}
	return value
}

// words is text split at single spaces; it always returns n words.
func (p *textParser) words(key string, n int) []string {
	words := strings.Split(p.text(key), " ")
	if len(words) != n {
		p.fail("%s takes %d words, found %d", key, n, len(words))
		return make([]string, n)
	}
	return words
}

func (p *textParser) uint(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 63)
	if p.err == nil && err != nil {
		p.fail("number %q: %w", s, err)
	}
	return n
}

func (p *textParser) origin(s string) Origin {
	o, err := ParseOrigin(s)
	if p.err == nil && err != nil {
		p.err = err
	}
	return o
}

func (p *textParser) hash(s string) Hash {
	h, err := parseHash(s)
	if p.err == nil && err != nil {
		p.err = err
	}
	return h
}

func (p *textParser) key(s string) ed25519.PublicKey {
	h, err := parseHash(s) // a public key has the size of a hash
	if p.err == nil && err != nil {
		p.err = err
	}
	return h[:]
}

func (p *textParser) time(key string) time.Time {
	s := p.text(key)
	if p.err != nil || s == "-" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		p.fail("%s: %w", key, err)
	}
	return t.UTC()
}

func (p *textParser) prefixedDigest(s string) Digest {
	digits, ok := strings.CutPrefix(s, "sha256:")
	d, err := ParseDigest(digits)
	if p.err == nil && (!ok || err != nil) {
		p.fail("%q is not sha256:<64 hex digits>", s)
	}
	return d
}

// checksum parses a coreutils line: digest, two spaces, path.
func (p *textParser) checksum() (Digest, string) {
	line := p.next()
	digits, path, ok := strings.Cut(line, "  ")
	d, err := ParseDigest(digits)
	if p.err == nil && (!ok || err != nil) {
		p.fail("expected a checksum line, found %q", line)
	}
	return d, path
}

func parseHash(s string) (h Hash, err error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) != len(h) {
		return h, fmt.Errorf("%q is not the base64 of 32 bytes", s)
	}
	copy(h[:], raw)
	return h, nil
}
