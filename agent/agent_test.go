package agent_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/agent"
	"github.com/auditail/auditail/agent/capture"
	"github.com/auditail/auditail/agent/capture/keyed"
	"github.com/auditail/auditail/agent/catalog"
	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/internal/clocktest"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/seal"
)

var captureKey = keyed.Key{ID: "2026-11", Secret: []byte("0123456789abcdef")}

// words is an input that has lines to give, each once: its position is how many
// it gave.
type words struct {
	lines []string
	joins int // physical lines that each line stands for; 0 is 1
	gaps  []inputs.Gap
	err   error // ends Run
}

func (w *words) Scan(ctx context.Context, resume []inputs.Position, to inputs.Appender) error {
	from := 0
	for _, at := range resume {
		if _, err := fmt.Sscan(string(at.Token), &from); err != nil {
			return err
		}
	}
	c := inputs.Chunk{Gaps: w.gaps, Positions: []inputs.Position{{Generation: "g", Token: fmt.Append(nil, len(w.lines))}}}
	for i := from; i < len(w.lines); i++ {
		c.Lines = append(c.Lines, inputs.Line{
			Source: "words", Path: "/log", Generation: "g", Offset: int64(i * 10), Size: 10, Data: []byte(w.lines[i]), Seen: time.Now(),
			Physical: w.joins,
		})
	}
	c.Ranges = []inputs.Range{{Generation: "g", Unit: inputs.UnitBytes, From: int64(from * 10), To: int64(len(w.lines) * 10), Lines: int64(len(c.Lines))}}
	return to.Append(ctx, c)
}

func (w *words) Run(ctx context.Context, resume []inputs.Position, to inputs.Appender) error {
	if err := w.Scan(ctx, resume, to); err != nil || w.err != nil {
		return errors.Join(err, w.err)
	}
	<-ctx.Done()
	return nil
}

// verdicts is a parser told by the line what to do: record, ignore, hold (until
// the next record), lie (about its count); anything else is unparsed.
type verdicts struct{ held []parsers.Ref }

func (v *verdicts) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	switch word, _, _ := strings.Cut(string(line.Data), " "); word {
	case "record":
		return v.draft(dst), parsers.Outcome{Verdict: parsers.Recorded}, nil
	case "ignore":
		return dst, parsers.Outcome{Verdict: parsers.Ignored, Rule: "told"}, nil
	case "hold":
		v.held = append(v.held, line.Ref())
		return dst, parsers.Outcome{Verdict: parsers.Held}, nil
	case "lie":
		return dst, parsers.Outcome{Verdict: parsers.Held}, nil
	}
	return dst, parsers.Outcome{}, nil
}

func (v *verdicts) draft(dst []parsers.Draft) []parsers.Draft {
	dst, d := parsers.Next(dst)
	d.Record.SetString(audit.Event, "model.inference")
	d.Record.SetString(audit.APIOperation, "chat")
	d.Input.Text, d.Input.Parts = append(d.Input.Text, "prompt"...), 1
	d.Held = append(d.Held, v.held...)
	v.held = nil
	return dst
}

func (v *verdicts) Flush(now time.Time, dst []parsers.Draft) ([]parsers.Draft, int) {
	if !now.IsZero() || len(v.held) == 0 {
		return dst, 0
	}
	return v.draft(dst), 0
}

func (v *verdicts) Held() (lines int) {
	for _, ref := range v.held {
		lines += ref.Lines
	}
	return lines
}
func (v *verdicts) Snapshot() []byte { b, _ := json.Marshal(v.held); return b }
func (v *verdicts) Restore(b []byte) error {
	if bytes.HasPrefix(b, []byte("another version")) {
		return errors.New("another version")
	}
	v.held = nil
	if len(b) == 0 {
		return nil
	}
	return json.Unmarshal(b, &v.held)
}

// unreadable is verdicts whose next version can not read its state.
type unreadable struct{ verdicts }

func (u *unreadable) Snapshot() []byte { return []byte("another version") }

// place is an output in memory.
type place struct {
	mu      sync.Mutex
	files   map[string][]byte
	refuse  func(seal.Object) error
	blocked bool
}

func (p *place) Ship(ctx context.Context, b seal.Batch) (seal.Receipt, error) {
	if p.blocked {
		<-ctx.Done()
		return seal.Receipt{}, ctx.Err()
	}
	for _, o := range b.Objects {
		if p.refuse != nil {
			if err := p.refuse(o); err != nil {
				return seal.Receipt{}, &outputs.ObjectError{Kind: o.Kind, Path: o.Path, Err: err}
			}
		}
		f, err := o.Open()
		if err != nil {
			return seal.Receipt{}, err
		}
		data, err := io.ReadAll(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return seal.Receipt{}, err
		}
		p.mu.Lock()
		p.files[o.Path] = data
		p.mu.Unlock()
	}
	return seal.Receipt{Origin: b.Manifest.Origin, Batch: b.Manifest.Batch, Stored: len(b.Objects)}, nil
}

func (p *place) Publish(_ context.Context, c seal.Checkpoint) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files[c.Path()] = c.File
	return nil
}
func (p *place) Close() error { return nil }

// all returns what is there now.
func (p *place) all() map[string][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.files)
}

// host is an agent's disk and configuration over several runs.
type host struct {
	t       *testing.T
	dir     string
	input   *words
	source  inputs.Input // instead of input, when not nil
	parser  parsers.Parser
	outputs map[string]*place
	copy    string                      // name of the output that is best effort
	wrap    func(*place) outputs.Output // when not nil, what an output is shown to the agent as
	disk    durable.FS
	log     strings.Builder
	store   *catalog.Store // nil: the catalog knows nothing
	clock   clocktest.Clock
}

func newHost(t *testing.T, lines ...string) *host {
	return &host{
		t: t, dir: t.TempDir(), input: &words{lines: lines}, parser: new(verdicts), disk: durable.OS{},
		outputs: map[string]*place{"a": {files: make(map[string][]byte)}},
	}
}

var origin = seal.Origin{Log: seal.Log{Organization: "example.com", Agent: "gpu-07"}, Epoch: 1}

func identity() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)) }

func (h *host) agent() *agent.Agent {
	h.t.Helper()
	policy, err := capture.New(capture.Config{Default: capture.Hashed, Unparsed: capture.Hashed}, captureKey, "log")
	if err != nil {
		h.t.Fatal(err)
	}
	digest := seal.DigestOf(nil)
	cfg := agent.Config{
		Log: origin.Log, Environment: "test", Host: agent.Host{ID: "h-1", Name: "host"},
		Run: seal.Run{Schema: audit.SchemaID, SchemaDigest: digest, Version: "test", Binary: digest, Config: digest},
		Buffer: buffer.Config{
			Dir: filepath.Join(h.dir, "buffer"), MaxDisk: 1 << 30, BatchSize: 1 << 20, BatchAge: 10 * time.Second,
			Heartbeat: time.Minute, Retention: map[string]time.Duration{"standard": time.Hour},
		},
		Inputs: []agent.Input{{
			Name: "words", Service: "chat", Retention: "standard", Input: h.input, Parser: h.parser, ParserName: "verdicts/1",
			Policy: policy, Catalog: catalog.New(nil, "words", "p"),
		}},
	}
	if h.source != nil {
		cfg.Inputs[0].Input = h.source
	}
	if h.store != nil {
		cfg.Catalog, cfg.Inputs[0].Catalog = h.store, h.store.Input("words", "p")
	}
	for _, name := range []string{"a", "b"} {
		if p := h.outputs[name]; p != nil {
			output := agent.Output{Name: name, Output: p, BestEffort: name == h.copy}
			if h.wrap != nil {
				output.Output = h.wrap(p)
			}
			cfg.Outputs = append(cfg.Outputs, output)
		}
	}
	a, err := agent.New(h.t.Context(), cfg, agent.Deps{FS: h.disk, Log: slog.New(slog.NewTextHandler(&h.log, nil)), Now: h.clock.Now, Identity: identity()})
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

func (h *host) once() error {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	return h.agent().RunOnce(ctx)
}

// shipped checks the chain of manifests at an output and returns them with all
// records, by event.
func (h *host) shipped(name string) ([]*seal.Manifest, map[string][]map[string]any) {
	h.t.Helper()
	files := h.outputs[name].all()
	chain := seal.NewChain(origin, identity().Public().(ed25519.PublicKey))
	var manifests []*seal.Manifest
	records := make(map[string][]map[string]any)
	for {
		file := files[origin.ManifestPath(chain.Next())]
		if file == nil {
			return manifests, records
		}
		m, err := chain.Add(file)
		if err != nil && !errors.Is(err, seal.ErrTime) {
			h.t.Fatal(err)
		}
		manifests = append(manifests, m)
		if payload := files[m.PayloadPath]; payload != nil {
			h.decode(payload, records)
		}
	}
}

func (h *host) decode(payload []byte, records map[string][]map[string]any) {
	h.t.Helper()
	z, err := zstd.NewReader(bytes.NewReader(payload), zstd.WithDecoderConcurrency(1))
	if err != nil {
		h.t.Fatal(err)
	}
	defer z.Close()
	for lines := bufio.NewScanner(z); lines.Scan(); {
		if err := audit.Validate(lines.Bytes()); err != nil {
			h.t.Errorf("%v\n%s", err, lines.Bytes())
		}
		var r map[string]any
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			h.t.Fatal(err)
		}
		event, _ := r["event"].(string)
		records[event] = append(records[event], r)
	}
}

func total(manifests []*seal.Manifest) (l seal.Lines) {
	for _, m := range manifests {
		l.Read += m.Lines.Read
		l.Recorded += m.Lines.Recorded
		l.Unparsed += m.Lines.Unparsed
		l.Ignored += m.Lines.Ignored
	}
	return l
}

// Promise 5: each line is counted once, whatever becomes of it.
func TestEveryLineIsAccountedFor(t *testing.T) {
	h := newHost(t, "record", "ignore", "what is", "hold", "hold", "this", "record", "ignore", "hold")
	if err := h.once(); err != nil {
		t.Fatal(err)
	}
	manifests, records := h.shipped("a")
	if got, want := total(manifests), (seal.Lines{Read: 9, Recorded: 5, Unparsed: 2, Ignored: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if n := len(records["model.inference"]); n != 3 {
		t.Errorf("%d records, want 3: one by itself, one of three lines, one flushed", n)
	}
	if len(records["agent.start"]) != 1 || len(records["agent.stop"]) != 1 {
		t.Errorf("start and stop: %v", records)
	}
	if len(records["agent.unparsed"]) != 1 {
		t.Fatalf("%d agent.unparsed records", len(records["agent.unparsed"]))
	}
	mac := hmac.New(sha256.New, captureKey.Secret)
	mac.Write([]byte("what is\nthis\n"))
	loss, _ := records["agent.unparsed"][0]["loss"].(map[string]any)
	want := map[string]any{
		"generation": "g", "from": 20.0, "to": 60.0, "bytes": 20.0, "lines": 2.0, "cause": "unparsed",
		"hmac": "hmac-sha256:2026-11:" + hex.EncodeToString(mac.Sum(nil)),
	}
	if fmt.Sprint(loss) != fmt.Sprint(want) {
		t.Errorf("loss %v, want %v", loss, want)
	}
}

// A line that the input joined counts for each of its physical lines.
func TestJoinedLinesAreAccountedFor(t *testing.T) {
	h := newHost(t, "record", "ignore", "what is", "hold", "record", "hold")
	h.input.joins = 3
	if err := h.once(); err != nil {
		t.Fatal(err)
	}
	manifests, _ := h.shipped("a")
	if got, want := total(manifests), (seal.Lines{Read: 18, Recorded: 12, Unparsed: 3, Ignored: 3}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Held lines are part of the commit: a stop in between neither loses nor repeats them.
func TestHeldAcrossAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, "record", "hold")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.agent().Run(ctx) }()
		<-time.After(time.Second) // the bubble's: until all has come to rest
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		h.parser = new(verdicts)
		h.input.lines = append(h.input.lines, "record")
		if err := h.once(); err != nil {
			t.Fatal(err)
		}
		manifests, records := h.shipped("a")
		if got, want := total(manifests), (seal.Lines{Read: 3, Recorded: 3}); got != want || len(records["model.inference"]) != 2 {
			t.Errorf("%+v with %d records, want %+v with 2", got, len(records["model.inference"]), want)
		}
	})
}

// What a newer version can not join any more is unparsed, and the count still holds.
func TestHeldStateUnreadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, "record", "hold", "hold")
		h.parser = new(unreadable)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.agent().Run(ctx) }()
		<-time.After(time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		h.parser = new(verdicts)
		if err := h.once(); err != nil {
			t.Fatal(err)
		}
		manifests, records := h.shipped("a")
		if got, want := total(manifests), (seal.Lines{Read: 3, Recorded: 1, Unparsed: 2}); got != want || len(records["agent.unparsed"]) != 1 {
			t.Errorf("%+v with %v, want %+v", got, records["agent.unparsed"], want)
		}
	})
}

func TestParserThatLosesCount(t *testing.T) {
	err := newHost(t, "record", "lie").once()
	if err == nil || !strings.Contains(err.Error(), "input words: parser verdicts/1 lost count of lines") {
		t.Errorf("error %v", err)
	}
}

func TestGapRecords(t *testing.T) {
	h := newHost(t, "record")
	h.input.gaps = []inputs.Gap{
		{Generation: "g", Path: "/log", From: 10, To: 90, Cause: inputs.CauseTruncated},
		{Generation: "g", Path: "/log", From: 90, To: 100, Cause: inputs.CauseStartEnd},
		{Generation: "g", Path: "/log", From: 100, To: 100, Cause: inputs.CauseTruncated},
	}
	if err := h.once(); err != nil {
		t.Fatal(err)
	}
	_, records := h.shipped("a")
	gaps := records["agent.gap"]
	if source := records["agent.source"]; len(source) != 1 || source[0]["reason"] != "shrank" {
		t.Errorf("a loss that nobody can measure: %v", source)
	}
	if len(gaps) != 2 || gaps[0]["outcome"] != "failed" || gaps[0]["reason"] != "truncated" || gaps[1]["outcome"] != "success" {
		t.Fatalf("%v", gaps)
	}
	if got := fmt.Sprint(gaps[0]["loss"]); got != "map[bytes:80 cause:truncated from:10 generation:g to:90]" {
		t.Error(got)
	}
}

// Promise 3: a payload that is refused for good is kept, and its manifest ships.
func TestPayloadQuarantined(t *testing.T) {
	h := newHost(t, "record")
	h.outputs["a"].refuse = func(o seal.Object) error {
		if o.Kind == seal.PayloadObject && strings.Contains(o.Path, "svc=chat") {
			return fmt.Errorf("too large: %w", outputs.ErrPermanent)
		}
		return nil
	}
	if err := h.once(); err != nil {
		t.Fatal(err)
	}
	manifests, _ := h.shipped("a")
	for _, m := range manifests {
		if m.Stream.Service != "chat" {
			continue
		}
		kept, err := durable.ReadFile(durable.OS{}, filepath.Join(h.dir, "buffer", "quarantine", "a-"+filepath.Base(m.PayloadPath)), 1<<20)
		if err != nil || seal.DigestOf(kept) != m.Payload {
			t.Errorf("quarantine: %v", err)
		}
	}
	if len(manifests) != 4 || !strings.Contains(h.log.String(), "ALARM") {
		t.Errorf("%d manifests\n%s", len(manifests), h.log.String())
	}
}

// Promise 3: a manifest refused for good stops that output alone; nothing is
// discarded.
func TestOneOutputStops(t *testing.T) {
	h := newHost(t, "record")
	h.outputs["b"] = &place{files: make(map[string][]byte), refuse: func(o seal.Object) error {
		if o.Kind == seal.ManifestObject {
			return outputs.ErrPermanent
		}
		return nil
	}}
	err := h.once()
	if err == nil || !strings.Contains(err.Error(), "output b did not take everything: 4 batches wait") {
		t.Errorf("error %v", err)
	}
	if manifests, _ := h.shipped("a"); len(manifests) != 4 || !strings.Contains(h.log.String(), "ALARM") {
		t.Errorf("the other output has %d manifests\n%s", len(manifests), h.log.String())
	}
	h.outputs["b"].refuse = nil // mended
	if err := h.once(); err != nil {
		t.Fatal(err)
	}
	a, _ := h.shipped("a")
	b, _ := h.shipped("b")
	if len(a) != len(b) || total(a) != total(b) {
		t.Errorf("a has %d batches, b %d", len(a), len(b))
	}
}

// Promise 4: other bytes under a name end the epoch; the next one has what no
// output held, and an alarm.
func TestForkedOutput(t *testing.T) {
	h := newHost(t, "record", "record")
	h.outputs["b"] = &place{files: make(map[string][]byte), refuse: func(o seal.Object) error {
		if o.Kind == seal.ManifestObject && strings.Contains(o.Path, "/0001/") {
			return outputs.ErrFork
		}
		return nil
	}}
	if err := h.once(); err != nil {
		t.Fatalf("%v\n%s", err, h.log.String())
	}
	first, records := h.shipped("a")
	if got, want := total(first), (seal.Lines{Read: 2, Recorded: 2}); len(first) > 1 && got != want {
		t.Errorf("epoch 1: %+v, want %+v", got, want)
	}
	if len(records["alert.raise"]) > 0 {
		t.Error("the alarm is in the epoch that was left")
	}
	next := origin
	next.Epoch = 2
	for _, name := range []string{"a", "b"} {
		chain := seal.NewChain(next, identity().Public().(ed25519.PublicKey))
		for file := h.outputs[name].files[next.ManifestPath(0)]; file != nil; file = h.outputs[name].files[next.ManifestPath(chain.Next())] {
			if _, err := chain.Add(file); err != nil {
				t.Fatalf("output %s: %v", name, err)
			}
		}
		if last := chain.Last(); last == nil || last.Kind != seal.Close {
			t.Fatalf("output %s: epoch 2 ends with %+v\n%s", name, last, h.log.String())
		}
	}
	if !strings.Contains(h.log.String(), "ALARM: the log may not go on in this epoch") {
		t.Error(h.log.String())
	}
}

// An output that is away does not hold up a stop, and loses nothing by it.
func TestStopWhileAnOutputIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, "record", "record")
		h.outputs["a"].blocked = true
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.agent().Run(ctx) }()
		<-time.After(time.Second)
		stopped := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(stopped); took > 10*time.Second {
			t.Errorf("the stop took %s", took)
		}
		h.outputs["a"].blocked = false
		if err := h.once(); err != nil {
			t.Fatal(err)
		}
		manifests, _ := h.shipped("a")
		if got, want := total(manifests), (seal.Lines{Read: 2, Recorded: 2}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}

// An agent that is stopped while it starts stops cleanly, and has said that it
// started, and with which key its log begins: nobody asks for that a second time.
func TestStopDuringTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := h.agent().Run(ctx); err != nil {
			t.Fatal(err)
		}
		_, records := h.shipped("a")
		for _, event := range []string{"agent.start", "agent.key", "agent.stop"} {
			if n := len(records[event]); n != 1 {
				t.Errorf("%d records %s, want 1", n, event)
			}
		}
	})
}

// An input that can not go on stops the agent, with the reason, and cleanly.
func TestInputFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, "record")
		h.input.err = errors.New("the source is gone")
		err := h.agent().Run(t.Context())
		if err == nil || err.Error() != "input words: the source is gone" {
			t.Errorf("error %v", err)
		}
		manifests, _ := h.shipped("a")
		if len(manifests) == 0 || manifests[len(manifests)-1].Kind != seal.Close {
			t.Error("the log does not end with close")
		}
	})
}

// Promise 7: with nothing to ship the agent still says that it is there.
func TestHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.agent().Run(ctx) }()
		<-time.After(5*time.Minute + 30*time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		manifests, _ := h.shipped("a")
		beats := 0
		for i, m := range manifests {
			if m.Kind == seal.Heartbeat {
				beats++
			}
			if i > 0 && m.Sealed.After(manifests[i-1].NextBy) {
				t.Errorf("batch %d was sealed %s, due %s", m.Batch, m.Sealed, manifests[i-1].NextBy)
			}
		}
		if beats != 5 {
			t.Errorf("%d heartbeats in five minutes", beats)
		}
	})
}
