package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditail/auditail/agent/catalog"
	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/internal/probe"
)

// world is a host with a model server, its log and a catalog, in the time of a
// synctest bubble. What the store commits gets agent.seq from the same counter
// as the records that use resolves.
type world struct {
	t       *testing.T
	store   *catalog.Store
	catalog *catalog.Catalog
	stop    context.CancelFunc
	ended   sync.WaitGroup
	log     journal

	mu       sync.Mutex
	seq      uint64
	answer   probe.Answer
	fail     error
	slow     time.Duration // until the server answers
	asked    int
	process  probe.Process
	weights  fakeWeights
	meantime func() // happens when the store next looks at the clock
	events   []map[string]string
	state    []byte
	refuse   error // of commits
}

// set changes what the store may be looking at.
func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// fakeWeights are files as a watcher would see them.
type fakeWeights struct {
	mu    sync.Mutex
	files map[string]catalog.WeightsState
}

func (f *fakeWeights) Run(ctx context.Context, _ func()) { <-ctx.Done() }

func (f *fakeWeights) Look(path string) catalog.WeightsState {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.files[path]
}

func (f *fakeWeights) set(path string, state catalog.WeightsState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.files == nil {
		f.files = map[string]catalog.WeightsState{}
	}
	f.files[path] = state
}

// journal is a log that may be read while it is written.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func newWorld(t *testing.T, entries ...catalog.Entry) *world {
	t.Helper()
	w := &world{t: t}
	w.answer = probe.Answer{Server: "vllm", Version: "0.11.0", Single: true, Models: []probe.Model{{Name: "llama", ID: "hf:meta/llama", Revision: rev1}}}
	w.open(entries)
	return w
}

const (
	rev1 = "1111111111111111111111111111111111111111"
	rev2 = "2222222222222222222222222222222222222222"
)

var asksVLLM = probe.Question{Target: probe.Target{Kind: probe.VLLM, Base: "http://127.0.0.1:8000"}}

func (w *world) open(entries []catalog.Entry) {
	w.store = catalog.NewStore(catalog.Config{Entries: entries}, catalog.Deps{
		Log: slog.New(slog.NewTextHandler(&w.log, nil)), Now: w.clock, UserAgent: "auditail/test", Weights: &w.weights,
		Ask: func(ctx context.Context, _ probe.Question) (probe.Answer, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.asked++
			slow := w.slow
			w.mu.Unlock()
			defer w.mu.Lock()
			ctx, cancel := context.WithTimeout(ctx, probe.Timeout)
			defer cancel()
			select {
			case <-time.After(slow):
			case <-ctx.Done():
				return probe.Answer{}, errors.New("no answer")
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			a := w.answer
			a.Models = slices.Clone(a.Models)
			return a, w.fail
		},
		Listener: func(probe.Target) probe.Process {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.process
		},
		Addresses: func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("10.0.0.7")} },
	})
	w.catalog = w.store.Input("vllm", "vllm")
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	meantime := w.meantime
	w.meantime = nil
	w.mu.Unlock()
	if meantime != nil {
		meantime()
	}
	return time.Now()
}

// start runs the store.
func (w *world) start() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	w.stop = cancel
	ready := make(chan struct{})
	w.ended.Go(func() { w.store.Run(ctx, func() { close(ready) }, w.commit) })
	<-ready
}

// end stops it cleanly.
func (w *world) end() {
	w.stop()
	w.ended.Wait()
	w.store.Flush(w.t.Context(), w.commit)
}

func (w *world) commit(_ context.Context, events []catalog.Event, state []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		return w.refuse
	}
	for i := range events {
		r := new(audit.Record)
		events[i].Fill(r)
		fields := map[string]string{"seq": fmt.Sprint(w.seq), "severity": fmt.Sprint(r.Int(audit.Severity))}
		w.seq++
		for _, f := range audit.Fields() {
			if kind := f.Def().Kind; kind == audit.KindInt || kind == audit.KindBool {
				continue
			}
			if text := r.Text(f); text != nil {
				fields[f.String()] = string(text)
			}
		}
		w.events = append(w.events, fields)
	}
	w.state = slices.Clone(state)
	return nil
}

// use resolves records of one entry that were logged at given times and commits
// them.
func (w *world) use(name string, at ...time.Time) []*audit.Record {
	w.t.Helper()
	w.catalog.Begin()
	var list []*audit.Record
	for _, t := range at {
		r := record()
		r.SetString(audit.ModelName, name)
		r.SetTime(audit.Time, t)
		w.catalog.Resolve(r, catalog.Seen{At: time.Now()})
		list = append(list, r)
	}
	w.mu.Lock()
	first := w.seq
	w.seq += uint64(len(at))
	w.mu.Unlock()
	w.catalog.Committed(w.catalog.Take(), first)
	return list
}

func (w *world) now(name string) *audit.Record { return w.use(name, time.Now())[0] }

// serves makes the server serve another revision.
func (w *world) serves(revision string, process probe.Process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer.Models[0].Revision, w.process = revision, process
}

// of returns the events of a kind.
func (w *world) of(event string) (list []map[string]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e["event"] == event {
			list = append(list, e)
		}
	}
	return list
}

func wantFields(t *testing.T, got map[string]string, fields ...string) {
	t.Helper()
	for _, pair := range fields {
		path, value, _ := strings.Cut(pair, "=")
		if got[path] != value {
			t.Errorf("%s is %q, want %q\n%v", path, got[path], value, got)
		}
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func proc(id string, start time.Time) probe.Process {
	return probe.Process{Identity: id, First: start, Last: start}
}

// At the first sight of a name the server is asked, and the record waits for it.
func TestFirstSight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, catalog.Entry{Input: "vllm", Probe: asksVLLM})
		w.set(func() { w.slow = time.Second })
		w.start()
		began := time.Now()
		r := w.now("llama")
		if took := time.Since(began); took != time.Second {
			t.Errorf("waited %s", took)
		}
		want(t, r, "model.basis=probe", "model.id=hf:meta/llama", "model.revision="+rev1, "model.provider=vllm", "api.server=vllm", "api.server_version=0.11.0")
		w.end()
		deploy := w.of("model.deploy")
		if len(deploy) != 1 {
			t.Fatalf("%d model.deploy: %v", len(deploy), deploy)
		}
		wantFields(t, deploy[0], "change.what=vllm/llama", "change.to="+string(r.Text(audit.ModelRef)), "model.ref="+string(r.Text(audit.ModelRef)),
			"model.basis=probe", "severity=1", `extra={"evidence":{"id":"probe","revision":"probe"}}`)
	})
}

// The answer that comes after a record looked for its name, and before it could
// ask, counts for it: no version is recorded as declared that was seen by then.
func TestAnswerInTheMeantime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, catalog.Entry{Input: "vllm", Name: "llama", ID: "hf:other/model", Probe: asksVLLM})
		w.set(func() { w.slow = time.Second })
		w.start()
		synctest.Wait() // asked at the start, not answered yet
		w.set(func() { w.meantime = func() { time.Sleep(1500 * time.Millisecond) } })
		want(t, w.now("llama"), "model.basis=probe", "model.id=hf:meta/llama")
		w.end()
		if n := len(w.of("model.deploy")); n != 1 || w.asked != 1 {
			t.Errorf("%d model.deploy, asked %d times", n, w.asked)
		}
	})
}

// No record waits longer for a server than one question may take, and a log
// that makes up names makes nobody wait again and again.
func TestNobodyWaitsLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, catalog.Entry{Input: "vllm", Probe: asksVLLM})
		w.set(func() { w.slow = time.Hour }) // it never answers
		w.start()
		longest, total := time.Duration(0), time.Duration(0)
		for i := range 10_000 {
			began := time.Now()
			r := w.now(fmt.Sprint("made-up-", i))
			took := time.Since(began)
			longest, total = max(longest, took), total+took
			want(t, r, "model.basis=unresolved", "model.ref=")
			time.Sleep(time.Millisecond)
		}
		if longest > probe.Timeout || total > 2*probe.Timeout {
			t.Errorf("one record waited %s, all together %s in 10 s", longest, total)
		}
		w.end()
		if lines := strings.Count(w.log.String(), "\n"); lines != 1 {
			t.Errorf("%d log lines:\n%s", lines, w.log.String())
		}
	})
}

// A server that answers, but slowly, is not asked for each name either.
func TestMadeUpNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, catalog.Entry{Input: "vllm", Probe: asksVLLM})
		w.set(func() { w.slow = 1900 * time.Millisecond })
		w.start()
		began := time.Now()
		for i := range 20_000 {
			w.now(fmt.Sprint("made-up-", i))
			time.Sleep(5 * time.Millisecond)
		}
		waited := time.Since(began) - 100*time.Second
		if w.asked > 6 || waited > 12*time.Second {
			t.Errorf("asked %d times in 100 s, waited %s", w.asked, waited)
		}
		w.end()
	})
}

// Records that were written without a version are named once it is known.
func TestResolveLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := newWorld(t, catalog.Entry{Input: "vllm", Probe: asksVLLM})
		w.set(func() { w.fail = errors.New("connection refused") })
		w.set(func() { w.process = proc("1:1", start) })
		w.start()
		time.Sleep(10 * time.Second)
		first := time.Now()
		want(t, w.now("llama"), "model.basis=unresolved")
		w.use("other", time.Now()) // seq 1: another name
		time.Sleep(time.Second)
		want(t, w.use("llama", time.Now(), time.Now())[1], "model.basis=unresolved") // seq 2, 3
		want(t, w.use("llama", start.Add(-time.Hour))[0], "model.basis=unresolved")  // seq 4: before the server
		w.set(func() { w.fail = nil })
		time.Sleep(time.Minute)
		w.end()
		resolved := w.of("model.resolve")
		if len(resolved) != 1 {
			t.Fatalf("%d model.resolve: %v", len(resolved), resolved)
		}
		wantFields(t, resolved[0], `change.seqs=["0","2-3"]`, "model.name=llama", "model.revision="+rev1, "change.what=vllm/llama",
			"change.after="+stamp(first), "change.to="+resolved[0]["model.ref"], "severity=1")
		if n := strings.Count(w.log.String(), "\n"); n != 2 {
			t.Errorf("%d log lines, want one when it fails and one when it answers:\n%s", n, w.log.String())
		}
	})
}

// A line read late never gets today's version.
func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := newWorld(t, catalog.Entry{Input: "vllm", Probe: asksVLLM}, catalog.Entry{Input: "vllm", Name: "declared", ID: "hf:x/declared"})
		w.set(func() { w.process = proc("1:1", start) })
		w.set(func() {
			w.answer.Models = append(w.answer.Models, probe.Model{Name: "declared", ID: "hf:x/declared", Revision: rev2})
		})
		time.Sleep(time.Hour)
		w.start()
		synctest.Wait()
		for _, test := range []struct {
			name string
			at   time.Time
			want string
		}{
			{"llama", start.Add(-time.Second), "unresolved"},      // before the server was started
			{"llama", start.Add(time.Minute), "probe"},            // it serves one version while it runs
			{"declared", start.Add(-time.Second), "declared"},     // what is declared has no time
			{"declared", start.Add(time.Minute), "probe"},         //
			{"llama", time.Now().Add(time.Hour), "unresolved"},    // a clock that is ahead
			{"llama", time.Now().Add(time.Second), "probe"},       //
			{"nobody", start.Add(time.Minute), "unresolved"},      //
			{"gpt-4o-2024-08-06", time.Now(), "inferred"},         // a name that is a version
			{"claude-3-5-sonnet-20241022", start, "inferred"},     //
			{"llama-20249999", time.Now(), "unresolved"},          // no date
			{"gpt-4o-2024-08-06-x", time.Now(), "unresolved"},     //
			{"20241022", time.Now(), "unresolved"},                //
			{"model-2024-0806", time.Now(), "unresolved"},         //
			{"declared", start.Add(-100 * time.Hour), "declared"}, //
		} {
			if r := w.use(test.name, test.at)[0]; string(r.Text(audit.ModelBasis)) != test.want {
				t.Errorf("%s at %s is %s, want %s", test.name, test.at, r.Text(audit.ModelBasis), test.want)
			}
		}
		// A line without a time is of the time between the last look and now.
		for _, test := range []struct {
			notBefore time.Time
			want      string
		}{{time.Time{}, "unresolved"}, {start.Add(-time.Second), "unresolved"}, {start.Add(time.Second), "probe"}} {
			r := record("model.name=llama")
			w.catalog.Begin()
			w.catalog.Resolve(r, catalog.Seen{At: time.Now(), NotBefore: test.notBefore})
			want(t, r, "model.basis="+test.want)
		}
		w.end()
	})
}

// The window of doubt: from the last confirmation of the old version to the
// first sight of the new one.
func TestUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, catalog.Entry{Input: "vllm", Name: "llama", Sensitivity: "internal", Owner: "ml", Probe: asksVLLM})
		w.start()
		synctest.Wait()
		began := time.Now()
		old := w.now("llama") // seq 0 …
		for range 11 {        // … 11, every 10 s, until 110 s
			time.Sleep(10 * time.Second)
			w.now("llama")
		}
		w.serves(rev2, probe.Process{})
		time.Sleep(5 * time.Second) // 115 s
		w.now("llama")              // seq 12
		time.Sleep(6 * time.Second) // 121 s: asked at 120 s
		synctest.Wait()
		now := w.now("llama")
		want(t, now, "model.revision="+rev2, "model.basis=probe", "model.sensitivity=internal", "model.owner=ml")
		if now.Has(audit.ModelAmbiguous) {
			t.Error("a new record is in doubt")
		}
		late := w.use("llama", began.Add(100*time.Second))[0]
		want(t, late, "model.revision="+rev1)
		if !late.Bool(audit.ModelAmbiguous) {
			t.Error("a late line of the window is not in doubt")
		}
		early := w.use("llama", began.Add(55*time.Second))[0]
		want(t, early, "model.revision="+rev1)
		if early.Has(audit.ModelAmbiguous) {
			t.Error("a late line of a confirmed time is in doubt")
		}
		w.end()
		update := w.of("model.update")
		if len(update) != 1 {
			t.Fatalf("%d model.update: %v", len(update), update)
		}
		wantFields(t, update[0], "change.from="+string(old.Text(audit.ModelRef)), "change.to="+string(now.Text(audit.ModelRef)),
			"change.after="+stamp(began.Add(time.Minute)), "change.before="+stamp(began.Add(2*time.Minute)), `change.seqs=["8-13"]`,
			"severity=4", "model.revision="+rev2, "model.owner=ml", "action=")
	})
}

// The start of the server's process inside the window narrows it.
func TestUpdateNarrowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := newWorld(t, catalog.Entry{Input: "vllm", Probe: asksVLLM})
		w.set(func() { w.process = proc("1:1", began) })
		w.start()
		time.Sleep(90 * time.Second)
		restarted := time.Now()
		w.serves(rev2, proc("2:2", restarted))
		time.Sleep(35 * time.Second)
		want(t, w.use("llama", restarted.Add(time.Second))[0], "model.revision="+rev2)
		doubtful := w.use("llama", restarted.Add(-time.Second))[0]
		if want(t, doubtful, "model.revision="+rev1); !doubtful.Bool(audit.ModelAmbiguous) {
			t.Error("not in doubt")
		}
		// Started again with the same version: nothing is in doubt.
		w.serves(rev2, proc("3:3", time.Now()))
		time.Sleep(2 * time.Minute)
		if r := w.use("llama", restarted.Add(40*time.Second))[0]; r.Has(audit.ModelAmbiguous) || string(r.Text(audit.ModelBasis)) != "probe" {
			t.Errorf("in doubt: %s", r.Append(nil, 0))
		}
		w.end()
		update := w.of("model.update")
		if len(update) != 1 {
			t.Fatalf("%d model.update: %v", len(update), update)
		}
		wantFields(t, update[0], "change.after="+stamp(began.Add(time.Minute)), "change.before="+stamp(restarted))
	})
}

// A change that the operator declared is no alarm.
func TestApprovedUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, catalog.Entry{Input: "vllm", Name: "llama", Revision: rev2, Ticket: "CHG-7", Probe: asksVLLM})
		w.start()
		synctest.Wait()
		w.serves(rev2, probe.Process{})
		time.Sleep(2 * time.Minute)
		w.end()
		conflict := w.of("model.conflict")
		if len(conflict) != 1 {
			t.Fatalf("%d model.conflict, want one for the version before: %v", len(conflict), conflict)
		}
		wantFields(t, conflict[0], "model.revision="+rev1, "severity=4", "change.to="+conflict[0]["model.ref"])
		if conflict[0]["change.from"] == conflict[0]["change.to"] {
			t.Error("declared and observed have one reference")
		}
		update := w.of("model.update")
		if len(update) != 1 {
			t.Fatalf("%v", update)
		}
		wantFields(t, update[0], "severity=2", "change.ticket=CHG-7")
	})
}

// What was declared, and cannot be true, does not lend its details.
func TestConflictLendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, catalog.Entry{Input: "vllm", Name: "llama", ID: "hf:other/model", Digest: digest('a'), Owner: "ml", Probe: asksVLLM})
		w.start()
		r := w.now("llama")
		want(t, r, "model.id=hf:meta/llama", "model.digest=", "model.basis=probe", "model.owner=ml")
		w.end()
		// After a restart the same disagreement is no news.
		state := w.state
		w.open([]catalog.Entry{{Input: "vllm", Name: "llama", ID: "hf:other/model", Digest: digest('a'), Owner: "ml", Probe: asksVLLM}})
		if err := w.store.Restore(state); err != nil {
			t.Fatal(err)
		}
		w.start()
		w.now("llama")
		w.end()
		if n := len(w.of("model.conflict")); n != 1 {
			t.Errorf("%d model.conflict", n)
		}
		if n := len(w.of("model.deploy")); n != 1 {
			t.Errorf("%d model.deploy", n)
		}
	})
}

func digest(c byte) string { return "sha256:" + strings.Repeat(string(c), 64) }

// A hash of the files is evidence only when they are what the process loaded.
func TestWeights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := newWorld(t, catalog.Entry{Input: "vllm", Name: "llama", Weights: "/models/llama", Probe: asksVLLM})
		w.set(func() { w.process = proc("1:1", start) })
		w.weights.set("/models/llama", catalog.WeightsState{Known: true, Digest: digest('a'), Changed: start.Add(-time.Hour), Revision: rev1})
		w.start()
		synctest.Wait()
		want(t, w.now("llama"), "model.basis=digest", "model.digest="+digest('a'), "model.revision="+rev1, "model.id=hf:meta/llama")

		// The files are replaced while the server runs: it goes on with what it loaded.
		time.Sleep(30 * time.Second)
		replaced := time.Now()
		w.weights.set("/models/llama", catalog.WeightsState{Known: true, Digest: digest('b'), Changed: replaced, Revision: rev1})
		time.Sleep(2 * time.Minute)
		want(t, w.now("llama"), "model.basis=digest", "model.digest="+digest('a'))

		// Then it is started anew.
		restarted := time.Now()
		w.serves(rev1, proc("2:2", restarted))
		time.Sleep(2 * time.Minute)
		want(t, w.now("llama"), "model.basis=digest", "model.digest="+digest('b'))
		want(t, w.use("llama", replaced.Add(time.Minute))[0], "model.digest="+digest('a'))
		w.end()
		update := w.of("model.update")
		if len(update) != 1 {
			t.Fatalf("%v", update)
		}
		wantFields(t, update[0], "model.digest="+digest('b'), "change.before="+stamp(restarted), "model.basis=digest",
			`extra={"evidence":{"id":"probe","revision":"probe","digest":"digest"}}`)
	})
}

// Weights that changed since the server was started are not what it serves, and
// where nobody knows when that was they are weaker evidence.
func TestWeightsOfUnknownProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, catalog.Entry{Input: "vllm", Name: "llama", Weights: "/models/llama", Probe: asksVLLM},
			catalog.Entry{Name: "offline", Weights: "/models/offline"})
		w.weights.set("/models/llama", catalog.WeightsState{Known: true, Digest: digest('a'), Changed: time.Now()})
		w.weights.set("/models/offline", catalog.WeightsState{Known: true, Digest: digest('c'), Claimed: "claimed-" + digest('c'), ID: "hf:x/offline", Revision: rev2, Changed: time.Now()})
		w.set(func() { w.process = proc("1:1", time.Now().Add(-time.Hour)) })
		w.start()
		synctest.Wait()
		want(t, w.now("llama"), "model.basis=probe", "model.digest=")
		want(t, w.now("offline"), "model.basis=manifest", "model.digest="+digest('c'), "model.id=hf:x/offline", "model.revision="+rev2)
		w.set(func() { w.process = probe.Process{} })
		time.Sleep(2 * time.Minute)
		r := w.now("llama")
		want(t, r, "model.basis=probe", "model.digest="+digest('a'))
		w.end()
	})
}

// Hashing takes its time; what it finds belongs to the whole life of the process.
func TestHashedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := newWorld(t, catalog.Entry{Input: "vllm", Name: "llama", Weights: "/models/llama", Probe: asksVLLM})
		w.set(func() { w.process = proc("1:1", start) })
		w.weights.set("/models/llama", catalog.WeightsState{Known: true, Pending: true, Changed: start.Add(-time.Hour)})
		w.start()
		synctest.Wait()
		want(t, w.now("llama"), "model.basis=probe", "model.digest=")
		time.Sleep(10 * time.Minute)
		w.weights.set("/models/llama", catalog.WeightsState{Known: true, Digest: digest('a'), Changed: start.Add(-time.Hour)})
		time.Sleep(2 * time.Minute)
		want(t, w.use("llama", start.Add(time.Second))[0], "model.basis=digest", "model.digest="+digest('a'))
		w.end()
		if n := len(w.of("model.deploy")); n != 2 {
			t.Errorf("%d model.deploy, want one for each reference", n)
		}
		if n := len(w.of("model.update")); n != 0 {
			t.Errorf("%d model.update: to know more is no change", n)
		}
	})
}

// A change that shows only when the new weights are hashed still has its window.
func TestChangeShownByHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := newWorld(t, catalog.Entry{Input: "vllm", Name: "llama", Weights: "/models/llama", Probe: asksVLLM})
		w.set(func() { w.process = proc("1:1", began) })
		w.weights.set("/models/llama", catalog.WeightsState{Known: true, Digest: digest('a'), Changed: began.Add(-time.Hour)})
		w.start()
		time.Sleep(70 * time.Second)
		w.now("llama") // seq 1, behind the deployment: not confirmed
		restarted := time.Now()
		w.weights.set("/models/llama", catalog.WeightsState{Known: true, Pending: true, Changed: restarted.Add(-time.Second)})
		w.serves(rev1, proc("2:2", restarted))
		time.Sleep(time.Minute) // another version is not known yet
		w.now("llama")
		w.weights.set("/models/llama", catalog.WeightsState{Known: true, Digest: digest('b'), Changed: restarted.Add(-time.Second)})
		time.Sleep(2 * time.Minute)
		w.end()
		update := w.of("model.update")
		if len(update) != 1 {
			t.Fatalf("%v", update)
		}
		wantFields(t, update[0], "change.after="+stamp(began.Add(time.Minute)), "change.before="+stamp(restarted), "model.digest="+digest('b'))
		if !strings.Contains(update[0]["change.seqs"], `"1`) {
			t.Errorf("seqs %s", update[0]["change.seqs"])
		}
	})
}

// A server that does not answer for long leaves its records without a version.
func TestServerGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := newWorld(t, catalog.Entry{Input: "vllm", Probe: asksVLLM})
		w.set(func() { w.process = proc("1:1", start) })
		w.start()
		synctest.Wait()
		w.set(func() { w.fail = errors.New("connection refused") })
		time.Sleep(time.Minute)
		want(t, w.now("llama"), "model.basis=probe") // one answer may be missing
		time.Sleep(9 * time.Minute)
		want(t, w.now("llama"), "model.basis=unresolved")
		w.set(func() { w.fail = nil })
		time.Sleep(time.Minute)
		synctest.Wait() // the question that is due at this instant is answered
		want(t, w.now("llama"), "model.basis=probe")
		w.end()
		if resolved := w.of("model.resolve"); len(resolved) != 1 || resolved[0]["change.seqs"] != `["2"]` {
			t.Errorf("%v", resolved)
		}
	})
}

// A model that is not served any more has no version from then on.
func TestUnlisted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := newWorld(t, catalog.Entry{Input: "vllm", Probe: asksVLLM})
		w.start()
		time.Sleep(30 * time.Second)
		models := w.answer.Models
		w.set(func() { w.answer.Models = nil })
		time.Sleep(2 * time.Minute)
		want(t, w.now("llama"), "model.basis=unresolved")
		want(t, w.use("llama", began)[0], "model.basis=probe")
		w.set(func() { w.answer.Models = models })
		time.Sleep(time.Minute)
		want(t, w.now("llama"), "model.basis=probe")
		w.end()
		if n := len(w.of("model.deploy")) + len(w.of("model.update")); n != 1 {
			t.Errorf("%d events, want the deployment alone", n)
		}
	})
}

// A line without a name means the only model that the server serves.
func TestOnlyModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, catalog.Entry{Input: "vllm", Probe: asksVLLM})
		w.start()
		synctest.Wait()
		want(t, w.now(""), "model.name=llama", "model.basis=probe")
		gateway := w.store.Input("gateway", "") // another log: its calls may go anywhere
		r := record()
		gateway.Begin()
		gateway.Resolve(r, catalog.Seen{At: time.Now(), NotBefore: time.Now()})
		want(t, r, "model.name=", "model.basis=unresolved", "api.server=")
		w.set(func() { w.answer.Models = append(w.answer.Models, probe.Model{Name: "second"}) })
		w.set(func() { w.answer.Single = false })
		time.Sleep(2 * time.Minute)
		want(t, w.now(""), "model.name=", "model.basis=unresolved")
		w.end()
	})
}

// Two servers that mean different versions by one name: each record is in doubt.
func TestContested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := probe.Question{Target: probe.Target{Kind: probe.VLLM, Base: "http://127.0.0.1:8001"}}
		w := newWorld(t)
		store := catalog.NewStore(catalog.Config{Entries: []catalog.Entry{{Probe: asksVLLM}, {Probe: second}}}, catalog.Deps{
			Log: slog.New(slog.DiscardHandler), Now: time.Now, Listener: func(probe.Target) probe.Process { return probe.Process{} },
			Ask: func(_ context.Context, q probe.Question) (probe.Answer, error) {
				revision := rev1
				if q.Target.Port() == 8001 {
					revision = rev2
				}
				return probe.Answer{Server: "vllm", Models: []probe.Model{{Name: "llama", Revision: revision}, {Name: "same", ID: "hf:a/b"}}}, nil
			},
		})
		w.store, w.catalog = store, store.Input("vllm", "vllm")
		w.start()
		synctest.Wait()
		if r := w.now("llama"); !r.Bool(audit.ModelAmbiguous) {
			t.Errorf("not in doubt: %s", r.Append(nil, 0))
		}
		if r := w.now("same"); r.Has(audit.ModelAmbiguous) {
			t.Error("in doubt, though both say the same")
		}
		time.Sleep(5 * time.Minute)
		w.end()
		if n := len(w.of("model.update")); n != 0 {
			t.Errorf("%d model.update", n)
		}
	})
}

// Evidence survives a restart: a line that was written while the agent was down
// gets the version that it was written under.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entries := []catalog.Entry{{Input: "vllm", Probe: asksVLLM}}
		start := time.Now()
		w := newWorld(t, entries...)
		w.set(func() { w.process = proc("1:1", start) })
		w.start()
		time.Sleep(time.Minute)
		w.set(func() { w.fail = errors.New("connection refused") })
		time.Sleep(5 * time.Minute)
		want(t, w.now("llama"), "model.basis=unresolved")
		open := w.seq - 1
		w.end()

		time.Sleep(time.Hour)
		restarted := time.Now()
		time.Sleep(time.Hour)
		w.set(func() { w.fail = nil })
		w.open(entries)
		if err := w.store.Restore(w.state); err != nil {
			t.Fatal(err)
		}
		// Before anybody was asked.
		want(t, w.use("llama", start.Add(30*time.Second))[0], "model.basis=probe", "model.revision="+rev1)
		w.serves(rev2, proc("2:2", restarted))
		w.start()
		synctest.Wait()
		want(t, w.use("llama", restarted.Add(time.Minute))[0], "model.revision="+rev2)
		doubtful := w.use("llama", restarted.Add(-time.Minute))[0]
		if want(t, doubtful, "model.revision="+rev1); !doubtful.Bool(audit.ModelAmbiguous) {
			t.Error("not in doubt")
		}
		w.end()
		if n := len(w.of("model.update")); n != 1 {
			t.Errorf("%d model.update", n)
		}
		if n := len(w.of("model.resolve")); n != 0 {
			t.Errorf("record %d was resolved, though the server had another version when it came back", open)
		}
	})
}

func TestStateOfAnotherVersion(t *testing.T) {
	s := catalog.NewStore(catalog.Config{}, catalog.Deps{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	for _, state := range []string{"", "{", `{"v":2}`, "null"} {
		if err := s.Restore([]byte(state)); err == nil {
			t.Errorf("%q was taken", state)
		}
	}
}

// What can not be committed is tried again, and not lost.
func TestCommitFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, catalog.Entry{Input: "vllm", Probe: asksVLLM})
		w.set(func() { w.refuse = errors.New("disk full") })
		w.start()
		time.Sleep(5 * time.Minute)
		w.set(func() { w.refuse = nil })
		time.Sleep(time.Minute)
		w.end()
		if n := len(w.of("model.deploy")); n != 1 {
			t.Errorf("%d model.deploy", n)
		}
	})
}
