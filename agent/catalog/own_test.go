package catalog_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditail/auditail/agent/catalog"
	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/internal/probe"
)

// listing is the record of an access line of the server that is asked.
func listing(at time.Time, fields ...string) *audit.Record {
	r := record(append([]string{"event=model.list", "api.method=GET", "api.path=/v1/models"}, fields...)...)
	if !at.IsZero() {
		r.SetTime(audit.Time, at)
	}
	return r
}

// asking is a world whose store remembers its own calls as the real client
// would tell them.
func asking(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, catalog.Entry{Input: "vllm", Probe: asksVLLM})
	w.start()
	synctest.Wait()
	return w
}

func (w *world) called(method, path string) { catalog.Called(w.store, method, path) }

// The agent's own questions are not counted as use, and nobody else's are excused.
func TestOwnProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := asking(t)
		defer w.end()
		w.called("GET", "/v1/models")
		w.called("GET", "/version")
		w.called("GET", "/v1/models")
		now := time.Now()
		seen := catalog.Seen{At: now.Add(200 * time.Millisecond)}
		for _, test := range []struct {
			what string
			r    *audit.Record
			seen catalog.Seen
			own  bool
		}{
			{"another caller", listing(now, "client.ip=192.0.2.7"), seen, false},
			{"another program", listing(now, "client.user_agent=curl/8.5.0"), seen, false},
			{"a name like it", listing(now, "client.user_agent=auditail/test2"), seen, false},
			{"another method", listing(now, "api.method=HEAD"), seen, false},
			{"another path", listing(now, "api.path=/v1/chat/completions"), seen, false},
			{"a minute earlier", listing(now.Add(-time.Minute)), seen, false},
			{"a minute later", listing(now.Add(time.Minute)), seen, false},
			{"the first, in seconds", listing(now.Truncate(time.Second), "client.ip=127.0.0.1"), seen, true},
			{"the second, by its program", listing(now.Add(2*time.Second), "client.user_agent=auditail/test"), seen, true},
			{"a third, who hides behind us", listing(now, "client.ip=127.0.0.1"), seen, false},
			{"a third who even takes our name", listing(now, "client.user_agent=auditail/test", "client.ip=127.0.0.1"), seen, false},
			{"a line without time", listing(time.Time{}, "api.path=/version", "client.ip=10.0.0.7"), catalog.Seen{At: now.Add(time.Second), NotBefore: now.Add(-time.Second)}, true},
			{"of a run before this one", listing(now.Add(-time.Hour), "client.user_agent=auditail/test"), seen, true},
		} {
			if own := w.catalog.Own(test.r, test.seen); own != test.own {
				t.Errorf("%s: own is %t", test.what, own)
			}
		}
		// Another log shows the same calls.
		proxy := w.store.Input("nginx", "")
		for i, want := range []bool{true, true, false} {
			if own := proxy.Own(listing(now, "client.ip=::1"), seen); own != want {
				t.Errorf("line %d of another log: own is %t", i, own)
			}
		}
		// What is remembered is bounded.
		for i := range 2000 {
			w.called("GET", fmt.Sprint("/v2/models/", i))
		}
		if !w.catalog.Own(listing(now, "api.path=/v2/models/1999"), seen) || w.catalog.Own(listing(now, "api.path=/v2/models/1"), seen) {
			t.Error("the newest calls should be remembered")
		}
	})
}

// Calls that were made before a restart are known after it.
func TestOwnProbesAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := asking(t)
		w.called("GET", "/v1/models")
		now := time.Now()
		w.end()
		w.open([]catalog.Entry{{Input: "vllm", Probe: asksVLLM}})
		if err := w.store.Restore(w.state); err != nil {
			t.Fatal(err)
		}
		if !w.catalog.Own(listing(now, "client.ip=127.0.0.1"), catalog.Seen{At: now.Add(time.Minute)}) {
			t.Error("counted as use")
		}
	})
}

// Versions that stand in the lines or in their log's banner.
func TestVersionsOfTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, catalog.Entry{Input: "vllm", Name: "llama", ID: "hf:meta/llama", Revision: rev1})
		w.start()
		resolve := func(fields ...string) *audit.Record {
			w.catalog.Begin()
			r := record(fields...)
			r.SetTime(audit.Time, time.Now())
			w.catalog.Resolve(r, catalog.Seen{At: time.Now()})
			w.mu.Lock()
			defer w.mu.Unlock()
			w.catalog.Committed(w.catalog.Take(), w.seq)
			w.seq++
			return r
		}
		want(t, resolve("model.name=resnet", "model.version=3"), "model.basis=log", "model.version=3")
		first := resolve("model.name=llama", "model.revision="+rev1, "model.basis=banner")
		want(t, first, "model.basis=banner", "model.id=hf:meta/llama")
		time.Sleep(time.Minute)
		last := time.Now()
		resolve("model.name=llama", "model.revision="+rev1, "model.basis=banner")
		time.Sleep(time.Minute)
		next := time.Now()
		second := resolve("model.name=llama", "model.revision="+rev2, "model.basis=banner")
		resolve("model.name=llama", "model.revision="+rev2, "model.basis=banner")
		resolve("model.name=llama", "model.revision="+rev1, "model.basis=banner") // another log of the same input: no news
		// A banner that names the model, but no version of it.
		want(t, resolve("model.name=x", "model.basis=banner"), "model.basis=unresolved", "model.ref=")
		// An adapter alone is no version.
		want(t, resolve("model.name=x", "model.adapter=sql"), "model.basis=unresolved", "model.adapter=sql")
		w.end()
		if n := len(w.of("model.deploy")); n != 2 {
			t.Errorf("%d model.deploy, want those of resnet and llama", n)
		}
		update := w.of("model.update")
		if len(update) != 1 {
			t.Fatalf("%v", update)
		}
		wantFields(t, update[0], "change.from="+string(first.Text(audit.ModelRef)), "change.to="+string(second.Text(audit.ModelRef)),
			"change.after="+stamp(last), "change.before="+stamp(next), "severity=4")
		conflict := w.of("model.conflict")
		if len(conflict) != 1 {
			t.Fatalf("%v", conflict)
		}
		wantFields(t, conflict[0], "model.revision="+rev2, "change.to="+string(second.Text(audit.ModelRef)))
	})
}

// The line's own evidence takes its place among the rest.
func TestStrengths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := newWorld(t, catalog.Entry{Input: "vllm", Name: "llama", Version: "3.1", Weights: "/w", Probe: asksVLLM})
		w.set(func() { w.process = proc("1:1", start) })
		w.weights.set("/w", catalog.WeightsState{Known: true, Digest: digest('a'), Changed: start.Add(-time.Hour)})
		w.start()
		synctest.Wait()
		for _, test := range []struct {
			own  []string
			want []string
		}{
			{nil, []string{"model.basis=digest", "model.digest=" + digest('a'), "model.revision=" + rev1, "model.version=3.1"}},
			// weaker than the server, but it adds
			{[]string{"model.adapter=sql", "model.basis=banner"}, []string{"model.basis=digest", "model.adapter=sql", "model.revision=" + rev1}},
			// weaker than the server and not true
			{[]string{"model.revision=" + rev2, "model.basis=banner"}, []string{"model.basis=digest", "model.revision=" + rev1}},
			// stronger than the server
			{[]string{"model.revision=" + rev2, "model.basis=log"}, []string{"model.basis=digest", "model.revision=" + rev2, "model.digest=" + digest('a'), "model.id=hf:meta/llama", "model.version=3.1"}},
			// the version of the line contradicts what is declared of it
			{[]string{"model.version=4"}, []string{"model.basis=digest", "model.version=4", "model.revision=" + rev1}},
			// weaker than the hash and not true
			{[]string{"model.digest=" + digest('b'), "model.basis=log"}, []string{"model.basis=digest", "model.digest=" + digest('a')}},
			// a digest of something else
			{[]string{"model.digest=manifest-" + digest('b'), "model.basis=log"}, []string{"model.basis=digest", "model.digest=" + digest('a')}},
			// the parser knows that it was none of them
			{[]string{"model.basis=unresolved"}, []string{"model.basis=unresolved", "model.digest=", "model.ref="}},
		} {
			w.catalog.Begin()
			r := record(append([]string{"model.name=llama"}, test.own...)...)
			r.SetTime(audit.Time, time.Now())
			w.catalog.Resolve(r, catalog.Seen{At: time.Now()})
			want(t, r, test.want...)
		}
		w.end()
	})
}

// Ollama changes what a name means while it runs, and says since when.
func TestChangeInsideAProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := newWorld(t, catalog.Entry{Input: "vllm", Probe: probe.Question{Target: probe.Target{Kind: probe.Ollama, Base: "http://127.0.0.1:11434"}}})
		w.set(func() { w.process = proc("1:1", start) })
		model := func(c byte, modified time.Time) {
			w.set(func() {
				w.answer = probe.Answer{Server: "ollama", Models: []probe.Model{{Name: "llama3:latest", Aliases: []string{"llama3"}, Digest: "manifest-" + digest(c), Modified: modified}}}
			})
		}
		model('a', start.Add(-time.Hour))
		w.start()
		synctest.Wait()
		want(t, w.now("llama3"), "model.basis=probe", "model.digest=manifest-"+digest('a'))
		time.Sleep(80 * time.Second)
		pulled := time.Now()
		model('b', pulled)
		time.Sleep(time.Minute)
		want(t, w.use("llama3", pulled.Add(time.Second))[0], "model.digest=manifest-"+digest('b'))
		doubtful := w.use("llama3:latest", pulled.Add(-time.Second))[0]
		if want(t, doubtful, "model.digest=manifest-"+digest('a')); !doubtful.Bool(audit.ModelAmbiguous) {
			t.Error("not in doubt")
		}
		// Pulled before the server was started, and asked only now.
		want(t, w.use("llama3", start.Add(-time.Minute))[0], "model.basis=unresolved")
		w.end()
		update := w.of("model.update")
		if len(update) != 1 {
			t.Fatalf("%v", update)
		}
		wantFields(t, update[0], "change.before="+stamp(pulled), "change.after="+stamp(start.Add(time.Minute)))
	})
}

func TestData(t *testing.T) {
	store := catalog.NewStore(catalog.Config{Data: []catalog.Data{
		{Input: "rag", Path: "/v1/rag/*", Model: "llama", Role: "context", ID: "qdrant:contracts", Kind: "index", Version: "2026-11-18T02:00Z", Class: "confidential"},
		{Name: "handbook", Role: "input_file", ID: "s3:docs/handbook.pdf", Digest: digest('a'), Format: "pdf"},
		{Input: "other", ID: "x", Version: "1"},
	}}, catalog.Deps{Now: time.Now})
	c := store.Input("rag", "")
	const index = `{"role":"context","id":"qdrant:contracts","kind":"index","version":"2026-11-18T02:00Z","class":"confidential","basis":"declared"}`
	for name, test := range map[string]struct {
		fields []string
		data   string
		want   string
	}{
		"by route and model": {[]string{"model.name=llama", "api.path=/v1/rag/ask"}, "", "[" + index + "]"},
		"another route":      {[]string{"model.name=llama", "api.path=/v1/chat"}, "", ""},
		"a deeper route":     {[]string{"model.name=llama", "api.path=/v1/rag/a/b"}, "", ""},
		"another model":      {[]string{"model.name=gpt", "api.path=/v1/rag/ask"}, "", ""},
		"another event":      {[]string{"event=auth.failure", "model.name=llama", "api.path=/v1/rag/ask"}, "", ""},
		"by name": {
			[]string{"api.path=/x"},
			`[{"id":"handbook","bytes":7},{"id":"else"}]`,
			`[{"id":"s3:docs/handbook.pdf","bytes":7,"role":"input_file","digest":"` + digest('a') + `","format":"pdf","basis":"declared"},{"id":"else"}]`,
		},
		"what the line says stays": {
			nil, `[{"role":"export","id":"handbook","digest":"sha256:00"}]`,
			`[{"role":"export","id":"s3:docs/handbook.pdf","digest":"sha256:00","format":"pdf","basis":"declared"}]`,
		},
		"both": {[]string{"model.name=llama", "api.path=/v1/rag/ask"}, `[{"id":"else"}]`, `[{"id":"else"},` + index + `]`},
	} {
		r := record(test.fields...)
		if test.data != "" {
			r.SetJSON(audit.Data, []byte(test.data))
		}
		c.Begin()
		c.Resolve(r, catalog.Seen{})
		if got := string(r.Text(audit.Data)); got != test.want {
			t.Errorf("%s:\n%s, want\n%s", name, got, test.want)
		}
	}
}
