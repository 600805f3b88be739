package archive

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/auditail/auditail/seal"
)

// Options say what the auditor knows and expects.
type Options struct {
	// Trust holds the keys that agents may have sealed with.
	Trust Trust
	// Policy says which witnesses have to have cosigned the heads of the logs.
	Policy Policy
	// ExpectSize says how many manifests an epoch's log must have at least. An
	// entry without origin is for the newest epoch of the only agent.
	ExpectSize []Bound
	// From is the first batch that must be there, of logs that this archive
	// received from the middle on; by default 0. An entry without origin is for
	// the first epoch of the only agent.
	From []Bound
	// Until is the expected end: by then an agent must have closed its log or
	// promised its next batch for later. Zero: the last sealed time found.
	Until time.Time
	// LeastTerm is for how long every payload has to be kept, from its sealing on.
	LeastTerm time.Duration
	// Now is the auditor's clock, by which a term must be over before a payload
	// may be gone, unless Until is given; zero for time.Now.
	Now time.Time
	// Accepted incidents are reported as notices.
	Accepted Accepted
	// Workers check payloads at a time; by default one for each processor, at
	// most maxWorkers.
	Workers int
	// Journal, when set, keeps how far the verification came; see [Journal].
	Journal *Journal
	// Survey, when set, is filled with what the archive says of itself. All payloads
	// are read then, also those that the Journal knows.
	Survey *Survey
	// Found is called with every finding in an order that depends on the
	// archive alone. Required.
	Found func(Finding)
	// Progress, when set, is called with bytes checked and bytes in all.
	Progress func(done, total int64)
}

// Bound is a number of batches of a log.
type Bound struct {
	Origin seal.Origin // zero: of the only agent
	N      uint64
}

// maxWorkers bounds memory: each worker may hold a zstd window of 8 MiB. Four check
// about as fast as a disk reads.
const maxWorkers = 4

// Counts are lines by what became of them.
type Counts struct {
	Read     uint64 `json:"read"`
	Recorded uint64 `json:"recorded"`
	Unparsed uint64 `json:"unparsed"`
	Ignored  uint64 `json:"ignored"`
	Held     uint64 `json:"held"` // still, at the end
}

// Report sums up what was verified. It counts what the manifests say.
type Report struct {
	Agents     int       `json:"agents"`
	Epochs     int       `json:"epochs"`
	Batches    uint64    `json:"batches"`
	Payloads   uint64    `json:"payloads"` // that were there and read
	Records    uint64    `json:"records"`
	Lines      Counts    `json:"lines"`
	Bytes      int64     `json:"bytes"`       // of the archive's files
	PlainBytes int64     `json:"plain_bytes"` // of the payloads, uncompressed
	First      time.Time `json:"first,omitzero"`
	Last       time.Time `json:"last,omitzero"`
	Heads      []Head    `json:"heads,omitempty"` // of every epoch, in order
	Until      time.Time `json:"until,omitzero"`
	UntilGiven bool      `json:"until_given"` // by the auditor; otherwise the archive's own last sealed time
	Violations uint64    `json:"violations"`
	Notices    uint64    `json:"notices"`
}

// Head is where a log ends in the archive. Whoever notes it can expect that size
// the next time.
type Head struct {
	Origin string `json:"origin"`
	Size   uint64 `json:"size"`           // manifests
	Root   string `json:"root,omitempty"` // "" when not all manifests are here
}

// Errors of Verify: the check could not be made at all.
var (
	ErrNoArchive = errors.New("no archive: neither seals nor records lie there")
	ErrUsage     = errors.New("wrong use")
)

// Verify checks a whole archive. Everything it finds goes to o.Found; an error
// means that the check could not be made to its end, and nothing may be
// concluded from the findings so far.
func Verify(ctx context.Context, source Source, o Options) (Report, error) {
	inv, err := takeInventory(ctx, source, o.Trust)
	if err != nil {
		return Report{}, err
	}
	if !inv.seals && !inv.records {
		return Report{}, ErrNoArchive
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	v := &verifier{source: source, options: o, inventory: inv, accepted: make(map[Incident]bool)}
	v.report.Bytes = inv.bytes
	if o.Survey != nil {
		v.surveyor = newSurveyor(o.Survey)
	}
	if err := v.plan(ctx); err != nil {
		return Report{}, err
	}
	if err := v.run(ctx); err != nil {
		return v.report, err
	}
	return v.report, v.finish(ctx)
}

type verifier struct {
	source    Source
	options   Options
	inventory *inventory
	agents    []*agent
	accepted  map[Incident]bool
	report    Report
	surveyor  *surveyor // nil without Options.Survey
	done      int64     // bytes checked
	large     sync.Mutex
}

// agent is the state of one agent's verification. plan fills the first part,
// the producer owns the second, the consumer the third.
type agent struct {
	log    seal.Log
	epochs []*epoch

	keys []ed25519.PublicKey // that may open an epoch now: the trusted ones, and what rotations made of them
	last *seal.Manifest      // the newest that was walked over

	coverage coverage
	held     map[seal.Stream]uint64
}

type epoch struct {
	origin   seal.Origin
	files    *epochFiles
	findings []Finding // about its number and identity
	from     uint64    // first batch that must be there
	expected uint64    // manifests that must be there at least
	surveyed bool      // a signed manifest of it was taken into the survey
	// unidentified tells that identity.vkey is not the file of a trusted key.
	unidentified bool
	whole        bool // the walk saw every manifest, so that it knows the roots
	head         Head
	roots        map[uint64]seal.Hash // of the log at the sizes that later epochs name; zero until the walk comes by
}

// run checks every epoch of every agent: a producer walks the manifests one
// after the other, workers check signatures and payloads of several at a time,
// and the consumer (here) takes the results in the producer's order.
func (v *verifier) run(ctx context.Context) error {
	workers := v.options.Workers
	if workers <= 0 {
		workers = min(runtime.GOMAXPROCS(0), maxWorkers)
	}
	checkers := make([]*PayloadChecker, workers)
	for i := range checkers {
		var err error
		if checkers[i], err = NewPayloadChecker(); err != nil {
			return err
		}
	}
	// Each step may hold what the records of a batch say: few are under way.
	ordered := make(chan *step, 2*workers)
	work := make(chan *step, workers)
	var group sync.WaitGroup
	defer group.Wait()
	ctx, cancel := context.WithCancel(ctx) // of the workers alone: what follows them goes on
	defer cancel()
	for _, checker := range checkers {
		group.Go(func() {
			defer checker.Close()
			for s := range work {
				s.check(ctx, v, checker)
				close(s.done)
			}
		})
	}
	group.Go(func() {
		defer close(ordered)
		defer close(work)
		p := producer{verifier: v, ordered: ordered, work: work}
		p.all(ctx)
	})
	for s := range ordered {
		if s.done != nil {
			select {
			case <-s.done:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		v.take(ctx, s)
	}
	return ctx.Err()
}

// step is one manifest, or findings that stand between two manifests.
type step struct {
	agent    *agent
	epoch    *epoch
	findings []Finding
	manifest *seal.Manifest // nil when it does not parse
	proven   bool           // the manifest's signatures verify
	doubt    bool           // batches are missing here, or can not be read
	file     []byte
	key      ed25519.PublicKey // that the manifest has to be signed by
	done     chan struct{}     // nil without work for a worker

	known    *journalEntry // of an earlier run
	sound    bool          // the payload was checked and has no violation
	present  bool          // the payload lies where the manifest says
	unread   bool          // something lies there that can not be read
	summary  PayloadSummary
	contents *contents
	tallies  *tallies // of the records, for a survey
}

// take folds a step into report and state, in order.
func (v *verifier) take(ctx context.Context, s *step) {
	v.emit(s.findings...)
	if s.doubt {
		s.agent.coverage.doubts++
	}
	m := s.manifest
	if m == nil {
		return
	}
	v.count(s.agent, m)
	if v.surveyor != nil && s.proven {
		v.surveyor.take(s)
	}
	if m.Kind != seal.Data {
		return
	}
	if s.present || s.unread {
		s.epoch.files.found.add(m.Batch)
	}
	if s.present {
		v.report.Payloads++
		v.report.PlainBytes += s.summary.Plain
		v.done += s.summary.Bytes
	}
	if !s.summary.Proven || !s.proven {
		s.agent.coverage.doubts++
	} else {
		v.cover(ctx, s)
	}
	if s.sound && !s.contents.spilled && v.options.Journal != nil {
		v.options.Journal.add(s)
	}
	if v.options.Progress != nil {
		v.options.Progress(v.done, v.inventory.bytes)
	}
}

// cover joins what the batch read to what came before.
func (v *verifier) cover(ctx context.Context, s *step) {
	spans, err := s.spans(ctx, v)
	if err != nil {
		s.agent.coverage.doubts++
		v.emit(Finding{Level: Violation, Code: CoverageInvalid, Path: s.manifest.PayloadPath, What: err.Error()})
		return
	}
	v.emit(s.agent.coverage.join(s.manifest.PayloadPath, spans)...)
}

func (v *verifier) count(a *agent, m *seal.Manifest) {
	r := &v.report
	r.Batches++
	r.Records = saturating(r.Records, m.RecordsTo-m.RecordsFrom)
	r.Lines.Read = saturating(r.Lines.Read, m.Lines.Read)
	r.Lines.Recorded = saturating(r.Lines.Recorded, m.Lines.Recorded)
	r.Lines.Unparsed = saturating(r.Lines.Unparsed, m.Lines.Unparsed)
	r.Lines.Ignored = saturating(r.Lines.Ignored, m.Lines.Ignored)
	if m.Kind == seal.Data {
		a.held[m.Stream] = m.Lines.Held
	}
	if r.First.IsZero() || m.Opened.Before(r.First) {
		r.First = m.Opened
	}
	if m.Sealed.After(r.Last) {
		r.Last = m.Sealed
	}
}

// emit reports findings, accepted ones as notices.
func (v *verifier) emit(findings ...Finding) {
	for _, f := range findings {
		incident := Incident{Code: f.Code, Path: f.Path}
		if f.Level == Violation && f.Code.acceptable() && v.options.Accepted[incident] {
			v.accepted[incident] = true
			f.Level, f.What = Notice, "accepted: "+f.What
		}
		if f.Level == Violation {
			v.report.Violations++
		} else {
			v.report.Notices++
		}
		v.options.Found(f)
	}
}

// finish reports what only shows once everything was seen.
func (v *verifier) finish(ctx context.Context) error {
	for _, a := range v.agents {
		for _, e := range a.epochs {
			v.report.Heads = append(v.report.Heads, e.head)
		}
		for _, n := range a.held {
			v.report.Lines.Held = saturating(v.report.Lines.Held, n)
		}
		v.emit(v.end(a)...)
	}
	unnamed, err := v.unnamed(ctx)
	if err != nil {
		return err
	}
	v.emit(unnamed...)
	v.emit(v.inventory.strays.sorted()...)
	v.emit(v.absent()...)
	v.emit(v.unmet()...)
	if v.surveyor != nil {
		v.surveyor.finish(v)
	}
	return nil
}

// end says whether an agent's log ends before the expected end.
func (v *verifier) end(a *agent) []Finding {
	if a.last == nil || a.last.Kind == seal.Close || !a.last.NextBy.Before(v.report.Until) {
		return nil
	}
	level := Notice
	if v.report.UntilGiven {
		level = Violation
	}
	return []Finding{{
		Level: level, Code: SilentEnd, Path: a.last.Origin.ManifestPath(a.last.Batch),
		What: fmt.Sprintf("the log ends here without close; the next batch was due by %s, before the expected end %s",
			formatTime(a.last.NextBy), formatTime(v.report.Until)),
	}}
}

// readSmall reads a manifest, signature, key or checkpoint.
func (v *verifier) readSmall(ctx context.Context, path string) ([]byte, error) {
	f, err := v.source.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, seal.MaxManifestFile+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if len(data) > seal.MaxManifestFile {
		return nil, fmt.Errorf("file has more than %d bytes", seal.MaxManifestFile)
	}
	return data, nil
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
