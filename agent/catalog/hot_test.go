package catalog_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditail/auditail/agent/catalog"
	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/internal/probe"
)

// line is a record as a parser leaves it.
func line(r *audit.Record, at []byte, name, basis string) {
	r.Reset()
	r.SetString(audit.Event, "model.inference")
	r.SetText(audit.Time, at)
	r.SetString(audit.ModelName, name)
	r.SetString(audit.APIPath, "/v1/chat/completions")
	if basis != "" {
		r.SetString(audit.ModelRevision, rev1)
		r.SetString(audit.ModelBasis, basis)
	}
}

// served is a catalog of which the server said a moment ago what it serves.
func served(t testing.TB) (*catalog.Catalog, time.Time) {
	t.Helper()
	store := catalog.NewStore(catalog.Config{Entries: []catalog.Entry{
		{Input: "vllm", Name: "declared", ID: "hf:x/y", Owner: "ml"}, {Input: "vllm", Probe: asksVLLM},
	}}, catalog.Deps{
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Listener: func(probe.Target) probe.Process { return probe.Process{} },
		Ask: func(context.Context, probe.Question) (probe.Answer, error) {
			return probe.Answer{Server: "vllm", Models: []probe.Model{{Name: "llama", ID: "hf:meta/llama", Revision: rev1}}}, nil
		},
	})
	c := store.Input("vllm", "vllm")
	ctx, cancel := context.WithCancel(t.Context())
	known := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		store.Run(ctx, func() {}, func(context.Context, []catalog.Event, []byte) error {
			select {
			case <-known:
			default:
				close(known)
			}
			return nil
		})
	}()
	<-known
	cancel()
	<-ended
	return c, time.Now()
}

// Completing a record allocates nothing, whatever is known of its model.
func TestResolveAllocatesNothing(t *testing.T) {
	c, began := served(t)
	for name, test := range map[string]struct{ model, basis, want string }{
		"probed":           {"llama", "", "probe"},
		"banner":           {"llama", "banner", "probe"},
		"line":             {"llama", "log", "log"},
		"declared":         {"declared", "", "declared"},
		"declared, banner": {"declared", "banner", "banner"},
		"unknown":          {"nobody", "", "unresolved"},
		"dated":            {"gpt-4o-2024-08-06", "", "inferred"},
		"refused":          {"nobody", "unresolved", "unresolved"},
	} {
		t.Run(name, func(t *testing.T) {
			r, at := new(audit.Record), began.UTC().AppendFormat(nil, time.RFC3339Nano)
			seen := catalog.Seen{At: began}
			c.Begin()
			one := func() {
				line(r, at, test.model, test.basis)
				c.Own(r, seen)
				c.Resolve(r, seen)
			}
			one()
			want(t, r, "model.basis="+test.want)
			if n := testing.AllocsPerRun(1000, one); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

func BenchmarkResolve(b *testing.B) {
	for _, test := range []struct{ name, model string }{{"probed", "llama"}, {"declared", "declared"}, {"unknown", "nobody"}} {
		b.Run(test.name, func(b *testing.B) {
			c, now := served(b)
			r, at := new(audit.Record), now.UTC().AppendFormat(nil, time.RFC3339Nano)
			c.Begin()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%1000 == 0 {
					c.Begin()
				}
				line(r, at, test.model, "")
				c.Resolve(r, catalog.Seen{At: now})
			}
		})
	}
}

// Log lines choose names; what is remembered of them is bounded.
func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, catalog.Entry{Input: "vllm", Probe: asksVLLM})
		var models []probe.Model
		for i := range 256 {
			models = append(models, probe.Model{Name: fmt.Sprint("served-", i, strings.Repeat("x", 400)), ID: "hf:a/b", Revision: rev1})
		}
		w.set(func() { w.answer.Models, w.answer.Single = models, false })
		w.start()
		synctest.Wait()
		for i := range 4_000 {
			w.now(fmt.Sprint("made-up-", i, strings.Repeat("y", 100)))
			w.now(models[i%len(models)].Name)
			if i%100 == 0 {
				time.Sleep(time.Second)
			}
		}
		for i := range 20 { // each version of each name
			w.set(func() {
				for j := range models {
					models[j].Revision = fmt.Sprintf("%040x", i*1000+j)
				}
			})
			time.Sleep(time.Minute)
		}
		w.end()
		if len(w.state) > 256<<10 {
			t.Errorf("the state has %d bytes", len(w.state))
		}
		w.open([]catalog.Entry{{Input: "vllm", Probe: asksVLLM}})
		if err := w.store.Restore(w.state); err != nil {
			t.Fatal(err)
		}
		want(t, w.now(models[7].Name), "model.basis=probe", "model.revision="+models[7].Revision)
	})
}

// FuzzRestore: a damaged state is refused or taken, and nothing else.
func FuzzRestore(f *testing.F) {
	f.Add([]byte(`{"v":1,"subjects":[{"scope":"vllm","name":"llama","target":"vllm:http://127.0.0.1:8000","aliases":["l"],"provider":"vllm","single":true,"spans":[{"from":"2026-11-20T08:00:00Z","confirmed":"2026-11-20T09:00:00Z","process":"1:1","layers":{"probe":["hf:a/b","","1111","","",""],"digest":["","","","sha256:00"]},"server":"vllm","version":"1"}],"recent":[{"First":1,"Last":2,"Low":3,"High":4}]}],"open":[{"input":"vllm","name":"x","ranges":[{"First":1,"Last":2,"Low":3,"High":4}]}],"refs":["m_1"],"conflicts":["a"],"calls":[{"At":"2026-11-20T08:00:00Z","Method":"GET","Path":"/version"}]}`))
	f.Add([]byte(`{"v":1,"subjects":[{"name":"a","spans":[]}]}`))
	f.Fuzz(func(t *testing.T, state []byte) {
		w := &world{t: t, weights: fakeWeights{}}
		w.open([]catalog.Entry{{Input: "vllm", Probe: asksVLLM}})
		if w.store.Restore(state) != nil {
			return
		}
		w.now("llama")
		w.now("x")
		w.now("")
		w.store.Flush(t.Context(), w.commit)
		for _, e := range w.events {
			if e["event"] == "" {
				t.Errorf("%v", e)
			}
		}
	})
}
