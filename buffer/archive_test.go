package buffer_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/seal"
)

// source is an input's log in the tests: lines numbered from 0, read by a parser
// that joins, ignores and does not know some of them.
type source struct {
	name   string
	stream seal.Stream
	total  int
}

const generation = "g"

// read returns the entry for the lines from (where resume says) to to, exclusive.
func (s source) read(resume buffer.Resume, to int) *buffer.Entry {
	from := s.at(resume)
	e := &buffer.Entry{Stream: s.stream, Input: s.name}
	held := string(resume.Parser)
	for line := from; line < to; line++ {
		e.Lines.Read++
		switch {
		case held != "":
			first, _ := strconv.Atoi(held) // written below
			held = ""
			e.Lines.Recorded += 2
			e.Records = s.appendRecord(e.Records, first, line)
		case line%11 == 5:
			e.Lines.Ignored++
		case line%11 == 7:
			e.Lines.Unparsed++
			e.Records = s.appendRecord(e.Records, line, line)
		case line%6 == 2 && line+1 < s.total:
			held = strconv.Itoa(line)
		default:
			e.Lines.Recorded++
			e.Records = s.appendRecord(e.Records, line, line)
		}
	}
	if held != "" {
		e.Lines.Held = 1
	}
	e.Parser = []byte(held)
	e.Ranges = []buffer.Range{{Generation: generation, Unit: "lines", From: int64(from), To: int64(to), Lines: int64(to - from)}}
	e.Positions = []buffer.Position{{Generation: generation, Token: strconv.AppendInt(nil, int64(to), 10)}}
	return e
}

// at returns the line that an input goes on with.
func (s source) at(resume buffer.Resume) int {
	for _, p := range resume.Positions {
		if n, err := strconv.Atoi(string(p.Token)); err == nil && p.Generation == generation {
			return n
		}
	}
	return 0
}

// after is what Resume answers once the entry is committed.
func after(e *buffer.Entry) buffer.Resume {
	return buffer.Resume{Positions: e.Positions, Parser: e.Parser, Held: e.Lines.Held}
}

func (s source) appendRecord(dst []byte, first, last int) []byte {
	// The padding does not compress, so that frames have more than one sector.
	pad := seal.DigestOf([]byte(s.name + strconv.Itoa(first)))
	return fmt.Appendf(dst, `{"event":"line","in":%q,"first":%d,"last":%d,"pad":"%s%s","agent":{"id":"gpu-07","seq":`+"\n", s.name, first, last, pad, pad)
}

// record is a record line as a reader of the archive sees it.
type record struct {
	Event string `json:"event"`
	In    string `json:"in"`
	First int    `json:"first"`
	Last  int    `json:"last"`
	Agent struct {
		Seq uint64 `json:"seq"`
	} `json:"agent"`
	Items []buffer.CoverageItem `json:"items"`
}

func coverage(dst []byte, c buffer.Coverage) []byte {
	items, err := json.Marshal(c.Items)
	if err != nil {
		panic(err) // plain structs always marshal
	}
	return fmt.Appendf(dst, `{"event":"coverage","items":%s,"agent":{"id":"gpu-07","seq":`, items)
}

// archive is what the outputs of the tests hold together, and what the tests
// know to be acknowledged. It checks every batch when it arrives.
type archive struct {
	mu sync.Mutex

	manifests [][]byte
	payloads  [][]byte
	chain     *seal.Chain
	acked     map[string]int  // lines of each source that Append acknowledged
	own       map[string]bool // records without a source: true when acknowledged, false when tried
	seen      map[string]int  // next line expected of each source
	ownSeen   map[string]int
	covered   map[string]int64
	shipped   map[string]uint64 // next batch of each output
	problems  []error
	sessions  int
}

func newArchive() *archive {
	return &archive{
		chain: seal.NewChain(seal.Origin{Log: config("").Log, Epoch: 1}, identity().Public().(ed25519.PublicKey)),
		acked: make(map[string]int), own: make(map[string]bool), seen: make(map[string]int), ownSeen: make(map[string]int),
		covered: make(map[string]int64), shipped: make(map[string]uint64),
	}
}

func (a *archive) clone() *archive {
	a.mu.Lock()
	defer a.mu.Unlock()
	return &archive{
		manifests: slices.Clip(a.manifests), payloads: slices.Clip(a.payloads), chain: a.chain.Clone(),
		acked: maps.Clone(a.acked), own: maps.Clone(a.own), seen: maps.Clone(a.seen), ownSeen: maps.Clone(a.ownSeen),
		covered: maps.Clone(a.covered), shipped: maps.Clone(a.shipped), problems: slices.Clip(a.problems), sessions: a.sessions,
	}
}

func (a *archive) problem(format string, args ...any) {
	a.problems = append(a.problems, fmt.Errorf(format, args...))
}

func (a *archive) acknowledged(source string, to int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.acked[source] = max(a.acked[source], to)
}

func (a *archive) ownRecord(id string, acknowledged bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.own[id] = acknowledged
}

// put takes a batch from an output. It returns an error when the batch can not
// be read; what is wrong with it goes to a.problems.
func (a *archive) put(output string, batch seal.Batch, decoder *zstd.Decoder) error {
	var payload []byte
	for _, o := range batch.Objects { // before a.mu: who watches the disk takes it inside the disk's lock
		data, err := readObject(o)
		if err != nil {
			return err
		}
		if o.Kind == seal.PayloadObject {
			payload = data
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	number := batch.Manifest.Batch
	if number > a.shipped[output] || number >= uint64(len(a.manifests)+1) {
		a.problem("output %s got batch %d, but %d is its next and %d are known", output, number, a.shipped[output], len(a.manifests))
		return nil
	}
	a.shipped[output] = max(a.shipped[output], number+1)
	if number < uint64(len(a.manifests)) {
		if !bytes.Equal(a.manifests[number], batch.ManifestFile) || !bytes.Equal(a.payloads[number], payload) {
			a.problem("batch %d has other bytes than were shipped before", number)
		}
		return nil
	}
	m, err := a.chain.Add(batch.ManifestFile)
	if err != nil {
		a.problem("batch %d: %w", number, err)
	}
	a.manifests = append(a.manifests, batch.ManifestFile)
	a.payloads = append(a.payloads, payload)
	if m != nil && m.Kind == seal.Data {
		a.checkPayload(m, payload, decoder)
	}
	return nil
}

func readObject(o seal.Object) ([]byte, error) {
	f, err := o.Open()
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if seal.DigestOf(data) != o.SHA256 || int64(len(data)) != o.Size {
		return nil, fmt.Errorf("object %s: digest or size differs", o.Path)
	}
	return data, nil
}

// checkPayload takes the records of a new batch.
func (a *archive) checkPayload(m *seal.Manifest, payload []byte, decoder *zstd.Decoder) {
	plain, err := decoder.DecodeAll(payload, nil)
	if err != nil || int64(len(plain)) != m.Plain {
		a.problem("batch %d: %d bytes of payload, the manifest says %d: %w", m.Batch, len(plain), m.Plain, err)
		return
	}
	var tree seal.Tree
	lines := strings.Split(strings.TrimSuffix(string(plain), "\n"), "\n")
	last := uint64(0)
	for i, text := range lines {
		tree.Add(seal.LeafHash([]byte(text)))
		var r record
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			a.problem("batch %d record %d: %w", m.Batch, i, err)
			return
		}
		if i > 0 && r.Agent.Seq <= last {
			a.problem("batch %d record %d: agent.seq %d behind %d", m.Batch, i, r.Agent.Seq, last)
		}
		last = r.Agent.Seq
		a.take(m, i == len(lines)-1, &r)
	}
	if tree.Root() != m.Root || tree.Size() != m.RecordsTo-m.RecordsFrom {
		a.problem("batch %d: root or number of records differ", m.Batch)
	}
}

func (a *archive) take(m *seal.Manifest, isLast bool, r *record) {
	if isLast != (r.Event == "coverage") {
		a.problem("batch %d: the coverage record is not the last one", m.Batch)
	}
	switch r.Event {
	case "coverage":
		lines := int64(0)
		for _, item := range r.Items {
			if a.covered[item.Input] != item.From {
				a.problem("batch %d: coverage of %s goes from %d to %d, but %d is next", m.Batch, item.Input, item.From, item.To, a.covered[item.Input])
			}
			a.covered[item.Input] = item.To
			lines += item.Lines
		}
		if lines != int64(m.Lines.Read) { //nolint:gosec // a small count
			a.problem("batch %d: coverage of %d lines, the manifest has %d", m.Batch, lines, m.Lines.Read)
		}
	case "own":
		a.ownSeen[r.In]++
	case "line":
		next := nextRecorded(a.seen[r.In])
		if r.First != next {
			a.problem("batch %d: line %d of %s, but line %d is next", m.Batch, r.First, r.In, next)
		}
		a.seen[r.In] = r.Last + 1
	default:
		a.problem("batch %d: event %q", m.Batch, r.Event)
	}
}

// nextRecorded skips the lines that source.read ignores.
func nextRecorded(line int) int {
	for line%11 == 5 {
		line++
	}
	return line
}

// complete checks, behind a clean end, that nothing is missing.
func (a *archive) complete(sources []source, outputs []string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range sources {
		if nextRecorded(a.seen[s.name]) != nextRecorded(s.total) {
			a.problem("source %s: the archive ends behind line %d of %d", s.name, a.seen[s.name], s.total)
		}
		if a.covered[s.name] != int64(s.total) {
			a.problem("source %s: covered to %d of %d", s.name, a.covered[s.name], s.total)
		}
	}
	for id, acknowledged := range a.own {
		if n := a.ownSeen[id]; n > 1 || acknowledged && n == 0 {
			a.problem("record %s: %d times in the archive, acknowledged %t", id, n, acknowledged)
		}
	}
	for _, o := range outputs {
		if a.shipped[o] != uint64(len(a.manifests)) {
			a.problem("output %s has %d of %d batches", o, a.shipped[o], len(a.manifests))
		}
	}
	return errors.Join(a.problems...)
}

// ship takes batches to an output until the buffer ends, or until there is none
// waiting when it is not to wait. What can not be read is tried again, as a
// shipper does.
func (a *archive) ship(ctx context.Context, b *buffer.Buffer, output string, decoder *zstd.Decoder, wait bool) error {
	for tries := 0; wait || b.Pending(output) > 0; {
		batch, err := b.Next(ctx, output)
		if errors.Is(err, buffer.ErrClosed) {
			return nil
		}
		if err == nil {
			err = a.put(output, batch, decoder)
		}
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if tries++; tries < 5 && b.Err() == nil {
				continue
			}
			return fmt.Errorf("ship to %s: %w", output, err)
		}
		if err := b.Acknowledge(output, batch); err != nil {
			return fmt.Errorf("acknowledge of %s: %w", output, err)
		}
	}
	return nil
}

// ownEntry is an entry of one record that belongs to no input.
func ownEntry(id string) *buffer.Entry {
	open := fmt.Appendf(nil, `{"event":"own","in":%q,"agent":{"id":"gpu-07","seq":`, id)
	return &buffer.Entry{Stream: ownStream, Records: append(open, '\n')}
}
