package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/auditail/auditail/internal/enrol"
	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// journal keeps events in memory.
type journal struct {
	mu     sync.Mutex
	events []Event
	err    error
}

func (j *journal) Record(_ context.Context, e Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		j.events = append(j.events, e)
	}
	return j.err
}

func (f *fixture) account(name string, role Role, expires time.Time) string {
	f.t.Helper()
	token, err := AddAccount(context.Background(), f.config, f.deps, name, role, expires)
	if err != nil {
		f.t.Fatal(err)
	}
	return token
}

func (f *fixture) list(token, query string) (Listing, answer) {
	f.t.Helper()
	got := f.do(request{method: http.MethodGet, path: "?" + query, token: token})
	var page Listing
	if got.status == http.StatusOK {
		if err := json.Unmarshal(got.body, &page); err != nil {
			f.t.Fatal(err)
		}
	}
	return page, got
}

// TestListing walks the whole store page by page, by every prefix and size.
func TestListing(t *testing.T) {
	f := newFixture(t)
	for _, r := range buildLog(f) {
		f.want(http.StatusCreated, r)
	}
	other := sealtest.New(t, sealtest.Config{Agent: "gpu-07.b"}) // sorts between gpu-07 and gpu-07/
	g := &fixture{t: t, server: f.server, config: f.config, deps: f.deps, epoch: other, token: f.enrol(other)}
	g.ship(other.Open(), other.Data(sealtest.Chat(), other.Records(1)))
	stored := maps.Clone(f.epoch.Files)
	maps.Copy(stored, other.Files)
	all := slices.Sorted(maps.Keys(stored))
	token := f.account("jane", Auditor, time.Time{})
	for _, prefix := range []string{"", "seals/", "seals/gpu-07/", "seals/gpu-07", "records/env=prod/", "seals/gpu-07/0001/00", "nothing/"} {
		var want []string
		for _, path := range all {
			if strings.HasPrefix(path, prefix) {
				want = append(want, path)
			}
		}
		for _, limit := range []string{"1", "3", "1000", "5000"} {
			var got []string
			for after := ""; ; {
				page, a := f.list(token, url.Values{"prefix": {prefix}, "after": {after}, "limit": {limit}}.Encode())
				if a.status != http.StatusOK {
					t.Fatalf("status %d: %s", a.status, a.body)
				}
				for _, o := range page.Objects {
					got = append(got, o.Path)
					if o.Size != int64(len(stored[o.Path])) {
						t.Errorf("%s: size %d", o.Path, o.Size)
					}
				}
				if after = page.Next; after == "" {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("prefix %q, limit %s: %q, want %q", prefix, limit, got, want)
			}
		}
	}

	// An agent lists its own seals and nothing else.
	if page, a := f.list(f.token, "prefix=seals/gpu-07/"); a.status != http.StatusOK || len(page.Objects) == 0 {
		t.Errorf("status %d: %s", a.status, a.body)
	}
	for _, prefix := range []string{"", "seals/gpu-07", "seals/gpu-07.b/", "records/"} {
		if _, a := f.list(f.token, "prefix="+prefix); a.status != http.StatusForbidden {
			t.Errorf("prefix %q: status %d", prefix, a.status)
		}
	}
	if _, a := f.list(token, "limit=0"); a.status != http.StatusBadRequest {
		t.Errorf("limit 0: status %d", a.status)
	}
}

// TestAuditorReads: an auditor reads all and writes nothing, and nothing is read
// that was not recorded first.
func TestAuditorReads(t *testing.T) {
	f := newFixture(t)
	j := new(journal)
	f.deps.Journal = j
	f.start()
	f.ship(f.epoch.Open())
	token := f.account("jane", Auditor, f.deps.Now().Add(time.Hour))
	if j.count("auth.key", "") != 1 {
		t.Errorf("events %+v; want that of the account", j.events)
	}
	j.events = nil
	path := f.epoch.Origin.ManifestPath(0)
	read := request{method: http.MethodGet, path: path, token: token}
	if got := f.do(read); got.status != http.StatusOK || !bytes.Equal(got.body, f.epoch.Batches[0].ManifestFile) {
		t.Fatalf("status %d", got.status)
	}
	if len(j.events) != 1 || j.events[0].Event != "store.access" || j.events[0].Actor != "jane" || j.events[0].Path != path {
		t.Fatalf("events %+v", j.events)
	}
	j.err = errors.New("the journal is broken")
	f.want(http.StatusServiceUnavailable, read)
	j.err = nil
	write := f.object(f.epoch.Heartbeat(), seal.ManifestObject)
	write.token = token
	f.want(http.StatusForbidden, write, "only agents write")

	agents := func(token string) int {
		r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "http://central"+agentsPath, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		return f.serve(r).status
	}
	if got := agents(token); got != http.StatusForbidden {
		t.Errorf("an auditor sees the agents: %d", got)
	}
	if got := agents(f.account("root", Admin, time.Time{})); got != http.StatusOK {
		t.Errorf("an admin does not see the agents: %d", got)
	}

	for name, end := range map[string]func(){
		"another token": func() { f.account("jane", Auditor, f.deps.Now().Add(time.Hour)) },
		"revoked": func() {
			read.token = f.account("jane", Auditor, time.Time{})
			if err := RevokeAccount(context.Background(), f.config, f.deps, "jane"); err != nil {
				t.Fatal(err)
			}
		},
		"expired": func() { read.token = f.account("jane", Auditor, f.deps.Now()) },
	} {
		end()
		if got := f.do(read); got.status != http.StatusUnauthorized {
			t.Errorf("%s: status %d", name, got.status)
		}
	}
}

func (f *fixture) enroll(r *enrol.Request) answer {
	body, err := json.Marshal(r)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.serve(httptest.NewRequestWithContext(context.Background(), http.MethodPost, "http://central"+enrol.Path, bytes.NewReader(body)))
}

// TestOneTimeToken: one agent enrols itself, may repeat that when the answer was
// lost, and nobody else can.
func TestOneTimeToken(t *testing.T) {
	f := newFixture(t)
	once, err := NewOneTime(context.Background(), f.config, f.deps, OneTime{Agent: "gpu-08", Expires: f.deps.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	e := sealtest.New(t, sealtest.Config{Agent: "gpu-08"})
	ask := func(token string, log seal.Log, seed string) *enrol.Request {
		key := e.Identity
		if seed != "" {
			key = sealtest.Key(seed)
		}
		r, err := enrol.NewRequest(token, log, key)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	stolen := ask(once, e.Origin.Log, "thief")
	stolen.Key = seal.VKey(e.Origin.Log.String(), e.PublicKey())
	for name, test := range map[string]struct {
		request *enrol.Request
		status  int
	}{
		"no proof":      {stolen, http.StatusUnprocessableEntity},
		"unknown token": {ask(once+"x", e.Origin.Log, ""), http.StatusUnauthorized},
		"agent's token": {ask(f.token, e.Origin.Log, ""), http.StatusUnauthorized},
		"other agent":   {ask(once, seal.Log{Organization: "o", Agent: "gpu-09"}, ""), http.StatusForbidden},
	} {
		if got := f.enroll(test.request); got.status != test.status {
			t.Errorf("%s: status %d: %s", name, got.status, got.body)
		}
	}
	var tokens []string
	for range 2 {
		got := f.enroll(ask(once, e.Origin.Log, ""))
		var answer enrol.Response
		if err := json.Unmarshal(got.body, &answer); err != nil || got.status != http.StatusOK || answer.Witness != f.server.witness.String() {
			t.Fatalf("status %d: %s", got.status, got.body)
		}
		tokens = append(tokens, answer.Token)
	}
	g := &fixture{t: t, server: f.server, epoch: e, token: tokens[0]}
	g.want(http.StatusUnauthorized, g.object(e.Open(), seal.IdentityObject))
	g.token = tokens[1]
	g.ship(e.Batches[0])
	if got := f.enroll(ask(once, e.Origin.Log, "another key")); got.status != http.StatusUnauthorized {
		t.Errorf("the token was used twice: %d", got.status)
	}

	// A name that is taken, and a token that has expired.
	any, err := NewOneTime(context.Background(), f.config, f.deps, OneTime{Expires: f.deps.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if got := f.enroll(ask(any, f.epoch.Origin.Log, "thief")); got.status != http.StatusConflict {
		t.Errorf("a taken name: status %d: %s", got.status, got.body)
	}
	now := f.deps.Now()
	f.deps.Now = func() time.Time { return now.Add(2 * time.Hour) }
	f.start()
	if got := f.enroll(ask(once, e.Origin.Log, "")); got.status != http.StatusUnauthorized {
		t.Errorf("an expired token: status %d", got.status)
	}
}
