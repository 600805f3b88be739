package agent_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditail/auditail/agent/catalog"
	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/internal/probe"
	"github.com/auditail/auditail/parsers"
)

// stream is an input that hands over what it is given, a chunk at a time.
type stream struct {
	chunks chan []string
	done   chan struct{}
	at     int64
}

func newStream() *stream {
	return &stream{chunks: make(chan []string), done: make(chan struct{})}
}

func (s *stream) Run(ctx context.Context, _ []inputs.Position, to inputs.Appender) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case lines := <-s.chunks:
			var c inputs.Chunk
			from := s.at
			for _, l := range lines {
				c.Lines = append(c.Lines, inputs.Line{
					Source: "words", Path: "/log", Generation: "g", Offset: s.at, Size: 10, Data: []byte(l), Seen: time.Now(), NotBefore: time.Now(),
				})
				s.at += 10
			}
			c.Ranges = []inputs.Range{{Generation: "g", Unit: inputs.UnitBytes, From: from, To: s.at, Lines: int64(len(lines))}}
			c.Positions = []inputs.Position{{Generation: "g", Token: []byte(strconv.FormatInt(s.at, 10))}}
			if err := to.Append(ctx, c); err != nil {
				return err
			}
			select {
			case s.done <- struct{}{}:
			case <-ctx.Done():
			}
		}
	}
}

func (s *stream) give(lines ...string) {
	s.chunks <- lines
	<-s.done
}

// calls is a parser of lines "use NAME", "list ADDRESS" and "banner"; anything
// else is unparsed.
type calls struct{}

func (calls) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	word, rest, _ := strings.Cut(string(line.Data), " ")
	switch word {
	case "use":
		dst, d := parsers.Next(dst)
		d.Record.SetString(audit.Event, "model.inference")
		d.Record.SetString(audit.APIOperation, "chat")
		d.Record.SetString(audit.ModelName, rest)
		return dst, parsers.Outcome{Verdict: parsers.Recorded}, nil
	case "list":
		dst, d := parsers.Next(dst)
		d.Record.SetString(audit.Event, "model.list")
		d.Record.SetString(audit.APIMethod, "GET")
		d.Record.SetString(audit.APIPath, "/v1/models")
		d.Record.SetString(audit.ClientIP, rest)
		return dst, parsers.Outcome{Verdict: parsers.Recorded}, nil
	case "banner":
		return dst, parsers.Outcome{Verdict: parsers.Ignored, Rule: parsers.RuleStartBanner}, nil
	}
	return dst, parsers.Outcome{}, nil
}

// modelServer answers the questions of a store.
type modelServer struct {
	process probe.Process

	mu       sync.Mutex // guards what follows
	fail     error
	revision string
	asked    int
}

// become has the server serve another revision, of 40 such digits, unless that is
// empty, and answer with an error.
func (m *modelServer) become(digit string, fail error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = fail
	if digit != "" {
		m.revision = strings.Repeat(digit, 40)
	}
}

func (m *modelServer) store(log *slog.Logger) *catalog.Store {
	entries := []catalog.Entry{{Input: "words", Probe: probe.Question{Target: probe.Target{Kind: probe.VLLM, Base: "http://127.0.0.1:8000"}}}}
	return catalog.NewStore(catalog.Config{Entries: entries}, catalog.Deps{
		Log: log, Now: time.Now, Listener: func(probe.Target) probe.Process { return m.process },
		Addresses: func() []netip.Addr { return nil },
		Ask: func(context.Context, probe.Question) (probe.Answer, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.asked++
			return probe.Answer{Server: "vllm", Models: []probe.Model{{Name: "a", Revision: m.revision}}}, m.fail
		},
	})
}

func seqs(records []map[string]any, model, basis string) (list []string) {
	for _, r := range records {
		m, _ := r["model"].(map[string]any)
		a, _ := r["agent"].(map[string]any)
		if m["name"] == model && m["basis"] == basis {
			list = append(list, fmt.Sprint(a["seq"]))
		}
	}
	return list
}

// What model.resolve and model.update name are exactly the records that they
// concern, among others and lines that no parser knows.
func TestCatalogNamesItsRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		server := &modelServer{fail: errors.New("connection refused"), revision: strings.Repeat("1", 40)}
		server.process = probe.Process{Identity: "1:1", First: time.Now(), Last: time.Now()}
		in := newStream()
		h.store, h.source, h.parser = server.store(slog.New(slog.DiscardHandler)), in, calls{}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- h.agent().Run(ctx) }()
		synctest.Wait()
		in.give("use b", "what is", "use a", "this", "use a", "use b")
		time.Sleep(5 * time.Second)
		in.give("use b")
		in.give("this", "use a", "use b")
		time.Sleep(time.Minute) // nobody answers
		server.become("", nil)
		time.Sleep(time.Minute)
		// From now on the version is known; then it changes.
		in.give("use a")
		time.Sleep(30 * time.Second)
		in.give("use b") // a name that nobody knows: the server is asked, and confirms the version
		time.Sleep(time.Second)
		in.give("use b", "use a", "use a")
		server.become("2", nil)
		time.Sleep(45 * time.Second)
		in.give("use a")
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		_, records := h.shipped("a")
		if n := len(records["agent.unparsed"]); n < 2 {
			t.Errorf("%d agent.unparsed", n)
		}
		open := seqs(records["model.inference"], "a", "unresolved")
		resolved := changed(t, records, "model.resolve")
		if got := expand(t, resolved["seqs"]); len(open) != 3 || !covers(got, open) || covers(got, seqs(records["model.inference"], "a", "probe")[:1]) {
			t.Errorf("model.resolve names %v, the records are %v", resolved["seqs"], open)
		}
		known := seqs(records["model.inference"], "a", "probe")
		update := changed(t, records, "model.update")
		if got := expand(t, update["seqs"]); len(known) != 4 || !covers(got, known[1:3]) || covers(got, known[:1]) || covers(got, known[3:]) {
			t.Errorf("model.update names %v, the records are %v", update["seqs"], known)
		}
		for _, r := range records["model.update"] {
			source, _ := r["source"].(map[string]any)
			if source["id"] != "catalogue" || r["service"] != "auditail" {
				t.Errorf("source %v, service %v", source["id"], r["service"])
			}
		}
	})
}

func changed(t *testing.T, records map[string][]map[string]any, event string) map[string]any {
	t.Helper()
	if len(records[event]) != 1 {
		t.Fatalf("%d %s: %v", len(records[event]), event, records[event])
	}
	change, _ := records[event][0]["change"].(map[string]any)
	return change
}

// expand returns every number of ranges such as "3-5".
func expand(t *testing.T, ranges any) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	list, _ := ranges.([]any)
	for _, r := range list {
		from, to, found := strings.Cut(fmt.Sprint(r), "-")
		if !found {
			to = from
		}
		first, err := strconv.Atoi(from)
		last, err2 := strconv.Atoi(to)
		if err != nil || err2 != nil || last < first {
			t.Fatalf("range %v", r)
		}
		for i := first; i <= last; i++ {
			all[strconv.Itoa(i)] = true
		}
	}
	return all
}

func covers(all map[string]bool, seqs []string) bool {
	for _, s := range seqs {
		if !all[s] {
			return false
		}
	}
	return len(seqs) > 0
}

// The store's state is committed with its events: the next run goes on with it
// and says nothing twice.
func TestCatalogGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		server := &modelServer{revision: strings.Repeat("1", 40)}
		for range 3 {
			in := newStream()
			h.store, h.source, h.parser = server.store(slog.New(slog.DiscardHandler)), in, calls{}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- h.agent().Run(ctx) }()
			synctest.Wait()
			in.give("use a")
			time.Sleep(10 * time.Second)
			stop()
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
		}
		server.become("2", nil) // while the agent is down
		in := newStream()
		h.store, h.source = server.store(slog.New(slog.DiscardHandler)), in
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- h.agent().Run(ctx) }()
		synctest.Wait()
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		_, records := h.shipped("a")
		if n := len(records["model.deploy"]); n != 1 {
			t.Errorf("%d model.deploy", n)
		}
		changed(t, records, "model.update")
	})
}

// A start banner makes the catalog ask at once, and narrows the window of doubt.
func TestBannerIsANudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		server := &modelServer{revision: strings.Repeat("1", 40)}
		in := newStream()
		h.store, h.source, h.parser = server.store(slog.New(slog.DiscardHandler)), in, calls{}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- h.agent().Run(ctx) }()
		time.Sleep(10 * time.Second)
		server.become("2", nil)
		restarted := time.Now().UTC().Format(time.RFC3339Nano)
		in.give("banner", "banner", "banner")
		synctest.Wait()
		asked := server.asked
		in.give("use a")
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		_, records := h.shipped("a")
		if update := changed(t, records, "model.update"); asked != 2 || update["before"] != restarted {
			t.Errorf("asked %d times, %v, want before %s", asked, update, restarted)
		}
	})
}

// An agent whose catalog asks a server that hangs stops in time all the same.
func TestStopWhileAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		store := catalog.NewStore(catalog.Config{Entries: []catalog.Entry{{Probe: probe.Question{Target: probe.Target{Kind: probe.VLLM, Base: "http://127.0.0.1:8000"}}}}},
			catalog.Deps{
				Log: slog.New(slog.DiscardHandler), Now: time.Now,
				Ask: func(ctx context.Context, _ probe.Question) (probe.Answer, error) {
					<-ctx.Done()
					return probe.Answer{}, ctx.Err()
				},
			})
		in := newStream()
		h.store, h.source, h.parser = store, in, calls{}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- h.agent().Run(ctx) }()
		synctest.Wait()
		in.chunks <- []string{"use a"} // waits for the question
		synctest.Wait()
		began := time.Now()
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("took %s", took)
		}
	})
}
