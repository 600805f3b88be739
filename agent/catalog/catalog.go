// Package catalog says which exact model version stands behind a name.
//
// Its promises: every model.* record names the evidence for its version
// (model.basis); stronger evidence is never overridden by weaker; evidence
// counts only for the time that it covers, so that a line read late never gets
// today's version; and where there is none the record says so instead of
// guessing. No record is dropped for it, and none waits longer than one
// question to a server takes ([probe.Timeout]).
//
// A [Store] gathers the evidence for all inputs: it asks servers, looks at
// weights and remembers, and publishes what it knows as immutable views. The
// [Catalog] of each input completes records from the newest view, without locks
// and without allocating.
//
// model.ref is made from provider, id, version, revision, digest, adapter and
// config (see [audit.Model.Ref]), not from the name: one version has one reference
// under all its aliases. It follows that names of which nothing but, say, a
// version is known share a reference when that is the same. Whoever groups records
// by model.ref should group by model.name too where model.id is absent.
package catalog

import (
	"bytes"
	"math"
	"sync/atomic"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/internal/probe"
)

// Entry is what the configuration says about a model name.
type Entry struct {
	Input       string // empty: every input
	Name        string // empty: every name that the server of Probe serves
	Provider    string
	ID          string
	Version     string
	Revision    string
	Digest      string
	Adapter     string
	Config      string
	Sensitivity string
	Owner       string
	Ticket      string // under which the version was approved

	Weights string         // file or folder that the server loads
	Probe   probe.Question // of the server; without Target.Kind there is none to ask
}

func (e *Entry) asks() bool { return e.Probe.Target.Kind != "" }

func (e *Entry) layer() layer {
	return layer{basis: Declared, facts: factsOf(e.ID, e.Version, e.Revision, e.Digest, e.Adapter, e.Config)}
}

// Seen is when a line was read and, where its input knows, the earliest time
// at which it can have been written: the zero time says that nobody knows.
type Seen struct{ At, NotBefore time.Time }

// Catalog answers for one input. It is not safe for concurrent use.
type Catalog struct {
	input    string
	provider string // of records that carry none and whose model is not declared
	view     atomic.Pointer[view]
	store    *Store // nil: what is declared is all there is
	data     *dataVersions
	refs     map[string]string
	key      []byte
	scratch  merged
	banners  map[string]*bannerState
	notes    notes
	sights   *sights // of a catalog with a store
}

// UnknownProvider stands in model.provider when neither the line nor the
// configuration names one.
const UnknownProvider = "unknown"

// maxRefs bounds the cache of references: log lines choose what is in it.
const maxRefs = 1024

// New returns the catalog of an input that knows what is declared and nothing
// else. Entries that name the input come before those for all inputs.
func New(entries []Entry, input, provider string) *Catalog {
	c := &Catalog{input: input, provider: provider, refs: make(map[string]string), banners: make(map[string]*bannerState)}
	c.view.Store(declaredView(entries, input))
	return c
}

// Resolve completes model.* and api.server of a record whose event is model.*,
// and data of any. Call it, or Passed, once for each record of an entry, in their
// order, between Begin and Committed.
//
// A line that carries no model name belongs to the model that the configuration
// declares for its input, when that is only one, or else to the only one that
// its server serves.
func (c *Catalog) Resolve(r *audit.Record, seen Seen) {
	c.notes.next()
	if c.data != nil {
		c.data.complete(r)
	}
	if !bytes.HasPrefix(r.Text(audit.Event), []byte("model.")) {
		return
	}
	if c.isUnresolved(r) {
		// The parser knows that the call was to none of those served.
		c.finish(r, Unresolved, seen)
		return
	}
	low, high := int64(0), int64(0)
	if c.view.Load().timed {
		low, high = period(r, seen)
	}
	k := c.find(r, low, high)
	s, doubtful := k.at(low, high)
	doubtful = doubtful || s != nil && k.contested
	basis := c.combine(r, k, s)
	if doubtful {
		r.SetBool(audit.ModelAmbiguous, true)
	}
	c.finish(r, basis, seen)
	c.note(r, k, s, basis, low, high)
	if c.store != nil && isLoad(r.Text(audit.Event)) {
		c.store.nudge(c)
	}
}

// isLoad recognises events after which a server may serve something else.
func isLoad(event []byte) bool {
	return string(event) == "model.load" || string(event) == "model.unload"
}

func (c *Catalog) isUnresolved(r *audit.Record) bool {
	return string(r.Text(audit.ModelBasis)) == basisNames[Unresolved]
}

// period returns when the record's call happened, in Unix nanoseconds: one
// moment when the line says so, else what is known about when it was written.
func period(r *audit.Record, seen Seen) (low, high int64) {
	if text := r.Text(audit.Time); text != nil {
		var t time.Time
		if t.UnmarshalText(text) == nil {
			return t.UnixNano(), t.UnixNano()
		}
	}
	low = math.MinInt64
	if !seen.NotBefore.IsZero() {
		low = seen.NotBefore.UnixNano()
	}
	return low, seen.At.UnixNano()
}

// find returns what is known of the record's name; nil when it is nothing. At
// the first sight of a name it waits for one question to the servers.
func (c *Catalog) find(r *audit.Record, low, high int64) *known {
	name := r.Text(audit.ModelName)
	k := c.view.Load().find(name, low, high)
	if c.store == nil || k != nil && (len(k.spans) > 0 || !k.asks) || k == nil && len(name) == 0 && !c.view.Load().asksSingle {
		return k
	}
	// Looked up again even when there was nothing to ask: the answer to a question
	// that was under way may have come since the first look.
	c.store.sight(c)
	return c.view.Load().find(name, low, high)
}

// combine writes into the record what its own line, the span that covers it and
// the configuration say together, and returns the basis.
func (c *Catalog) combine(r *audit.Record, k *known, s *viewSpan) Basis {
	m := &c.scratch
	own, hasOwn := ownLayer(r)
	switch {
	case s != nil && !hasOwn:
		m = &s.merged
	case s != nil:
		*m = merged{}
		mixed(m, s.layers, &own)
	case k != nil && !hasOwn:
		m = &k.plain
	case k != nil:
		*m = merged{}
		mixed(m, []layer{k.layer}, &own)
	default:
		*m = merged{}
		m.add(&own)
	}
	if k != nil {
		k.describe(r, c.provider)
	}
	if s != nil && s.server != "" && !r.Has(audit.APIServer) {
		r.SetString(audit.APIServer, s.server)
		r.SetString(audit.APIServerVersion, s.version)
	}
	if m.basis == Unresolved {
		if version := datedName(r.Text(audit.ModelName)); version != nil {
			r.SetText(audit.ModelVersion, version)
			return Inferred
		}
	}
	for i, text := range m.facts {
		if text == nil {
			r.Clear(factFields[i])
		} else if !bytes.Equal(r.Text(factFields[i]), text) {
			r.SetText(factFields[i], text)
		}
	}
	return m.basis
}

// ownLayer is what the line and its log say themselves. A version without a
// basis was read off the line.
func ownLayer(r *audit.Record) (own layer, present bool) {
	for i, f := range factFields {
		own.facts[i] = r.Text(f)
		present = present || own.facts[i] != nil
	}
	own.basis = Log
	if given := r.Text(audit.ModelBasis); given != nil {
		own.basis = basisOf(given)
	}
	return own, present
}

// mixed merges layers, strongest first, with that of the line.
func mixed(m *merged, layers []layer, own *layer) {
	placed := false
	for i := range layers {
		if !placed && own.basis >= layers[i].basis {
			m.add(own)
			placed = true
		}
		m.add(&layers[i])
	}
	if !placed {
		m.add(own)
	}
}

// finish fills what every model.* record has.
func (c *Catalog) finish(r *audit.Record, basis Basis, seen Seen) {
	if !r.Has(audit.ModelProvider) {
		provider := c.provider
		if provider == "" {
			provider = UnknownProvider
		}
		r.SetString(audit.ModelProvider, provider)
	}
	if basis > Unresolved && !r.Has(audit.ModelName) {
		basis = Unresolved // a version of what nobody named says nothing about the call
	}
	r.SetString(audit.ModelBasis, basis.String())
	if basis == Unresolved {
		r.Clear(audit.ModelRef)
		r.Flag(audit.ModelUnresolved)
		return
	}
	c.setRef(r, basis, seen)
}

// setRef computes model.ref, once for each version seen.
func (c *Catalog) setRef(r *audit.Record, basis Basis, seen Seen) {
	c.key = append(append(c.key[:0], r.Text(audit.ModelProvider)...), 0)
	for _, f := range factFields {
		c.key = append(append(c.key, r.Text(f)...), 0)
	}
	ref, known := c.refs[string(c.key)]
	if !known {
		if len(c.refs) >= maxRefs {
			clear(c.refs)
		}
		own, _ := ownLayer(r)
		ref = own.facts.ref(string(r.Text(audit.ModelProvider)))
		c.refs[string(c.key)] = ref
		if c.store != nil {
			c.store.sighted(c, r, ref, basis, seen)
		}
	}
	r.SetString(audit.ModelRef, ref)
	if basis == Banner && c.store != nil {
		c.banner(r, ref, seen)
	}
}

// bannerState is which version a name had by the start banners of its log.
type bannerState struct {
	ref  string
	last int64 // time of its last record, Unix nanoseconds
}

// maxBanners bounds the names whose banners are remembered.
const maxBanners = 256

// banner remembers the version that the log's own banner gave to a name.
func (c *Catalog) banner(r *audit.Record, ref string, seen Seen) {
	name := r.Text(audit.ModelName)
	b := c.banners[string(name)]
	if b == nil {
		if len(c.banners) >= maxBanners {
			return
		}
		b = new(bannerState)
		c.banners[string(name)] = b
	}
	_, at := period(r, seen)
	b.ref, b.last = ref, max(b.last, at)
}

// datedName returns the date that ends a name such as gpt-4o-2024-08-06 or
// claude-3-5-sonnet-20241022: providers name exact versions so. Nil: it has none.
func datedName(name []byte) []byte {
	const long, short = len("2024-08-06"), len("20241022")
	if n := len(name); n > long+1 && name[n-long-1] == '-' && isDate(name[n-long:]) {
		return name[n-long:]
	} else if n > short+1 && name[n-short-1] == '-' && isDate(name[n-short:]) {
		return name[n-short:]
	}
	return nil
}

// isDate accepts 20YYMMDD and 20YY-MM-DD.
func isDate(text []byte) bool {
	var digits [8]byte
	n := 0
	for i, c := range text {
		switch {
		case c >= '0' && c <= '9' && n < len(digits):
			digits[n] = c
			n++
		case c == '-' && len(text) == len("2024-08-06") && (i == 4 || i == 7):
		default:
			return false
		}
	}
	if n != len(digits) || digits[0] != '2' || digits[1] != '0' {
		return false
	}
	month, day := (digits[4]-'0')*10+digits[5]-'0', (digits[6]-'0')*10+digits[7]-'0'
	return month >= 1 && month <= 12 && day >= 1 && day <= 31
}
