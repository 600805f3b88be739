package catalog

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/internal/probe"
)

const (
	// refreshEvery is how often servers are asked and weights looked at.
	refreshEvery = time.Minute
	// grace is how long a version counts behind its last confirmation: one
	// answer may be missing, and the next one is on its way.
	grace = 2*refreshEvery + 10*time.Second
	// restMin is how long a server is left alone after a question, whatever
	// names the log makes up, and restShare how many times as long as it took.
	restMin   = 5 * time.Second
	restShare = 20

	maxSubjects = 1024
	maxOpen     = 1024 // names without a version whose records are remembered
	maxKnown    = 4096 // references and conflicts that were recorded
	maxPending  = 4096 // events that wait to be recorded
)

// Config comes from the user.
type Config struct {
	Entries []Entry
	Data    []Data
}

// Deps come from code.
type Deps struct {
	Log *slog.Logger
	Now func() time.Time
	// Ask asks a server; nil: over HTTP, as UserAgent.
	Ask       func(ctx context.Context, q probe.Question) (probe.Answer, error)
	UserAgent string
	// Listener finds the process behind a target; nil: as the system tells.
	Listener func(t probe.Target) probe.Process
	// Weights knows what lies in the files that the entries name; nil: nothing.
	Weights Weights
	// Addresses returns those of this host; nil: as the system tells.
	Addresses func() []netip.Addr
}

// Store gathers evidence for the catalogs of all inputs. Its methods are safe
// for concurrent use; Input is called before Run.
type Store struct {
	config   Config
	deps     Deps
	observes bool // there is something to ask or to look at
	targets  []*target
	asking   sync.WaitGroup
	wake     chan struct{} // something waits to be recorded
	ledger   ledger

	mu        sync.Mutex      // guards what follows
	ctx       context.Context //nolint:containedctx // of Run: questions at first sight end with it
	catalogs  []*Catalog
	subjects  map[subjectKey]*subject
	open      map[openKey]ranges
	refs      map[string]struct{}
	conflicts map[string]struct{}
	pending   []Event
	dirty     bool // the state is to be recorded
}

// subjectKey names a subject: a name as it is meant in the logs of one input,
// or of all (empty), by the server that serves it (empty: nobody knows).
type subjectKey struct{ scope, name, target string }

// openKey names what is asked for in the log of an input and has no version.
type openKey struct{ input, name string }

// subject is a name of which evidence is gathered.
type subject struct {
	subjectKey
	aliases  []string
	declared *Entry
	provider string // when the record has none
	single   bool   // its server serves nothing else
	timeline timeline
	recent   ranges // records of the newest span that are not confirmed yet
}

// target is a server with what it said.
type target struct {
	question probe.Question
	links    []link

	// Guarded by Store.mu.
	under    chan struct{} // closed when the question under way is answered; nil: none is
	next     time.Time     // not to be asked at the sight of a name before
	failing  bool
	answered bool
	process  probe.Process
	banner   time.Time // a server of one of its inputs printed its start banner
}

// link says whose names a target knows: those of an input, or of all.
type link struct {
	scope string
	entry *Entry // nil: every name that it lists
}

// NewStore returns a store that knows what is declared.
func NewStore(config Config, deps Deps) *Store {
	s := &Store{
		config: config, deps: deps, wake: make(chan struct{}, 1),
		subjects: make(map[subjectKey]*subject), open: make(map[openKey]ranges),
		refs: make(map[string]struct{}), conflicts: make(map[string]struct{}),
	}
	if deps.Ask == nil {
		s.deps.Ask = probe.New(probe.Config{UserAgent: deps.UserAgent, Called: s.called}).Ask
	}
	if deps.Listener == nil {
		s.deps.Listener = probe.Target.Listener
	}
	if deps.Addresses == nil {
		s.deps.Addresses = hostAddresses
	}
	s.ledger.agent = deps.UserAgent
	s.link()
	return s
}

// link finds the target of each entry: its own, or those that know every name
// of its input, or of all inputs.
func (s *Store) link() {
	byName := map[string]*target{}
	everything := map[string][]*target{} // by scope: those that know every name
	for i := range s.config.Entries {
		e := &s.config.Entries[i]
		s.observes = s.observes || e.asks() || e.Weights != ""
		if !e.asks() {
			continue
		}
		t := byName[e.Probe.Target.String()]
		if t == nil {
			t = &target{question: e.Probe}
			byName[e.Probe.Target.String()] = t
			s.targets = append(s.targets, t)
		}
		t.question.Remote = t.question.Remote || e.Probe.Remote
		if t.question.Token == nil {
			t.question.Token = e.Probe.Token
		}
		if e.Name == "" {
			t.links = append(t.links, link{scope: e.Input})
			everything[e.Input] = append(everything[e.Input], t)
			continue
		}
		t.links = append(t.links, link{scope: e.Input, entry: e})
		t.question.Names = append(t.question.Names, e.Name)
	}
	for i := range s.config.Entries {
		e := &s.config.Entries[i]
		if e.asks() {
			continue
		}
		targets := everything[e.Input]
		if len(targets) == 0 {
			targets = everything[""]
		}
		for _, t := range targets {
			t.links = append(t.links, link{scope: e.Input, entry: e})
			t.question.Names = append(t.question.Names, e.Name)
		}
	}
}

// served tells whether a server is asked for an entry.
func (s *Store) served(e *Entry) bool {
	return slices.ContainsFunc(s.targets, func(t *target) bool {
		return slices.ContainsFunc(t.links, func(l link) bool { return l.entry == e })
	})
}

// Input returns the catalog of an input.
func (s *Store) Input(name, provider string) *Catalog {
	c := New(s.config.Entries, name, provider)
	c.data = newDataVersions(s.config.Data, name)
	c.store = s
	s.mu.Lock()
	defer s.mu.Unlock()
	c.sights = &sights{}
	for _, t := range s.targets {
		if slices.ContainsFunc(t.links, func(l link) bool { return l.scope == name || l.scope == "" }) {
			c.sights.targets = append(c.sights.targets, t)
		}
	}
	c.sights.index = len(s.catalogs)
	s.catalogs = append(s.catalogs, c)
	s.publish(c)
	return c
}

// publish gives a catalog a new view of what is known. s.mu is held.
func (s *Store) publish(c *Catalog) {
	v := declaredView(s.config.Entries, c.input)
	for _, k := range v.names {
		k.asks = slices.ContainsFunc(c.sights.targets, func(t *target) bool {
			return slices.ContainsFunc(t.links, func(l link) bool { return l.entry == k.declared })
		})
	}
	v.asksSingle = slices.ContainsFunc(c.sights.targets, func(t *target) bool {
		return !t.answered && slices.ContainsFunc(t.links, func(l link) bool { return l.scope == c.input })
	})
	v.timed = s.observes || len(s.subjects) > 0
	for _, scope := range []string{c.input, ""} {
		for _, subject := range s.sorted() {
			if subject.scope == scope {
				v.add(subject, c.input)
			}
		}
	}
	c.view.Store(v)
}

// sorted returns the subjects of which something was seen, the latest first.
// s.mu is held.
func (s *Store) sorted() []*subject {
	var list []*subject
	for _, of := range s.subjects {
		if len(of.timeline.Spans) > 0 {
			list = append(list, of)
		}
	}
	slices.SortFunc(list, func(a, b *subject) int {
		return cmp.Or(b.newest().Compare(a.newest()), cmp.Compare(a.name, b.name), cmp.Compare(a.target, b.target))
	})
	return list
}

// add makes a subject known under its name and aliases. What is there already,
// from the input's own scope, stays.
func (v *view) add(of *subject, input string) {
	k := v.names[of.name]
	if k == nil {
		k = &known{name: of.name}
		if of.declared != nil {
			k.declared, k.layer = of.declared, of.declared.layer()
			k.plain = merge(k.layer)
		}
		v.names[of.name] = k
	}
	if k.subject != nil {
		// Several servers have the name: they should mean the same by it.
		ours, theirs := k.spans[0].merged, of.timeline.last().merged()
		current := !of.timeline.last().Ended && !k.subject.newest().After(of.newest().Add(grace))
		k.contested = k.contested || current && disagreement(&ours.facts, &theirs.facts) >= 0
		return
	}
	k.subject, k.provider = of, of.provider
	k.spans = viewSpans(&of.timeline, k.layer)
	for _, alias := range of.aliases {
		if v.names[alias] == nil {
			v.names[alias] = k
		}
	}
	if of.single && of.scope == input && (v.serving == nil || k.spans[0].confirmed > v.serving.spans[0].confirmed) {
		v.serving = k
	}
}

// Run asks and looks until ctx ends. It calls ready when questions at first sight
// have somebody to answer them. commit makes events durable, together with
// the state that Restore takes; it is called from one goroutine.
func (s *Store) Run(ctx context.Context, ready func(), commit func(ctx context.Context, events []Event, state []byte) error) {
	s.mu.Lock()
	s.ctx = ctx
	s.mu.Unlock()
	ready()
	if s.deps.Weights != nil {
		s.asking.Go(func() { s.deps.Weights.Run(ctx, s.weightsChanged) })
	}
	s.refresh()
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.leave()
			return
		case <-tick.C:
			s.refresh()
		case <-s.wake:
		}
		s.Flush(ctx, commit)
	}
}

// leave waits for questions under way, which end with Run's context. What hangs
// in a file system that does not answer is left behind.
func (s *Store) leave() {
	left := make(chan struct{})
	go func() {
		s.asking.Wait()
		close(left)
	}()
	limit := time.NewTimer(time.Second)
	defer limit.Stop()
	select {
	case <-left:
	case <-limit.C:
	}
}

// Flush records what waits.
func (s *Store) Flush(ctx context.Context, commit func(ctx context.Context, events []Event, state []byte) error) {
	s.mu.Lock()
	if !s.dirty {
		s.mu.Unlock()
		return
	}
	events, state := s.pending, s.state()
	s.pending, s.dirty = nil, false
	s.mu.Unlock()
	if err := commit(ctx, events, state); err != nil {
		if ctx.Err() == nil {
			s.deps.Log.WarnContext(ctx, "events of the model catalog could not be recorded, trying again", "error", err)
		}
		s.mu.Lock()
		s.pending, s.dirty = append(events, s.pending...), true
		s.mu.Unlock()
	}
}

// refresh asks all servers and takes in what is known of weights.
func (s *Store) refresh() {
	s.ledger.local(s.deps.Addresses())
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.targets {
		s.ask(t)
	}
	s.observeWeights()
}

// weightsChanged is called when something new is known of weights.
func (s *Store) weightsChanged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.targets {
		s.ask(t)
	}
	s.observeWeights()
}

// ask begins a question, unless one is under way. s.mu is held.
func (s *Store) ask(t *target) (answered <-chan struct{}) {
	if t.under != nil || s.ctx == nil || s.ctx.Err() != nil {
		return t.under
	}
	under := make(chan struct{})
	t.under = under
	ctx, began := s.ctx, s.deps.Now()
	s.asking.Go(func() {
		answer, err := s.deps.Ask(ctx, t.question)
		var process probe.Process
		if err == nil {
			process = s.deps.Listener(t.question.Target)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		t.under = nil
		defer close(under)
		if ctx.Err() != nil {
			return
		}
		now := s.deps.Now()
		s.answered(ctx, t, answer, process, err, began, now)
		rest := max(restMin, restShare*now.Sub(began))
		if err != nil {
			rest = refreshEvery
		}
		t.next = now.Add(rest)
	})
	return under
}

// answered takes in what a server said. s.mu is held.
func (s *Store) answered(ctx context.Context, t *target, answer probe.Answer, process probe.Process, err error, asked, now time.Time) {
	if err != nil {
		if !t.failing {
			s.deps.Log.WarnContext(ctx, "the model server does not tell what it serves; models count as unresolved, or as declared, when it stays so",
				"probe", t.question.Target.String(), "error", err)
		}
		t.failing = true
		return
	}
	if t.failing {
		s.deps.Log.InfoContext(ctx, "the model server tells again what it serves", "probe", t.question.Target.String())
	}
	if process.Identity == "" && !t.banner.IsZero() {
		process = probe.Process{Identity: "banner:" + t.banner.UTC().Format(time.RFC3339), First: t.banner, Last: t.banner}
	}
	t.failing, t.answered, t.process = false, true, process
	for _, l := range t.links {
		s.observe(t, l, answer, asked, now)
	}
	s.changed()
}

// changed publishes what is known and has it recorded. s.mu is held.
func (s *Store) changed() {
	s.dirty = true
	for _, c := range s.catalogs {
		s.publish(c)
		s.resolveOpen(c)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// noted takes in where records are that a later event may concern.
func (s *Store) noted(c *Catalog, list []note, first uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range list {
		n := &list[i]
		r := seqRange{First: first + uint64(n.first), Last: first + uint64(n.last), Low: n.low, High: n.high} //nolint:gosec // places in an entry
		if !n.open {
			n.subject.recent = n.subject.recent.add(r)
			continue
		}
		key := openKey{input: c.input, name: n.name}
		if n.subject != nil {
			key.name = n.subject.name
		}
		if _, there := s.open[key]; there || len(s.open) < maxOpen {
			s.open[key] = s.open[key].add(r)
		}
	}
}

// resolveOpen finds the records without a version that are covered by what is
// known now. s.mu is held.
func (s *Store) resolveOpen(c *Catalog) {
	v := c.view.Load()
	for key, list := range s.open {
		k := v.names[key.name]
		if key.input != c.input || k == nil || k.subject == nil || k.contested {
			continue
		}
		for i := range k.spans {
			span := &k.spans[i]
			var covered ranges
			covered, list = list.split(func(r seqRange) bool { return r.Low >= span.from && r.High <= span.confirmed })
			if len(covered) > 0 && span.merged.basis > Declared {
				s.emit(s.resolveEvent(k, span, covered))
			}
		}
		if s.open[key] = list; len(list) == 0 {
			delete(s.open, key)
		}
	}
}

// sighted is called when a reference stands in a record for the first time: the
// version is recorded, so that the trail itself says what it means.
func (s *Store) sighted(c *Catalog, r *audit.Record, ref string, basis Basis, seen Seen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.learn(s.refs, ref) {
		return
	}
	e := eventOf(r, ref, basis, s.deps.Now())
	if b := c.banners[string(r.Text(audit.ModelName))]; basis == Banner && b != nil && b.ref != ref {
		_, at := period(r, seen)
		e.update(b.ref, time.Unix(0, b.last), time.Unix(0, at))
	}
	s.emit(e)
	if k := c.view.Load().names[e.Name]; basis > Declared && k != nil {
		s.conflict(k, &e)
	}
	s.kick()
}

// learn adds to a set that is bounded; false when it is there already or full.
func (s *Store) learn(set map[string]struct{}, text string) bool {
	if _, known := set[text]; known || len(set) >= maxKnown {
		return false
	}
	set[text] = struct{}{}
	return true
}

func (s *Store) kick() {
	s.dirty = true
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// emit has an event recorded. s.mu is held.
func (s *Store) emit(e Event) {
	if len(s.pending) < maxPending {
		s.pending = append(s.pending, e)
	}
}
