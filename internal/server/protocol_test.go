package server

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// buildLog returns everything of a small log in ship order: two epochs, the
// first closed, with checkpoints.
func buildLog(f *fixture) []request {
	e := f.epoch
	var all []request
	ship := func(e *sealtest.Epoch, b seal.Batch) {
		all = append(all, f.uploads(b)...)
		all = append(all, f.checkpoint(e.Checkpoint()))
	}
	ship(e, e.Open())
	ship(e, e.Data(sealtest.Chat(), e.Records(3)))
	ship(e, e.Heartbeat())
	ship(e, e.Data(seal.Stream{Environment: "prod", Service: "auditail", Class: "legal"}, e.Records(2)))
	ship(e, e.Close())
	size, root := e.Head()
	n := e.NextEpoch(seal.Succession{Cause: seal.SuccessionRollback, Previous: e.Origin, Size: size, Root: root}.String())
	ship(n, n.Open())
	ship(n, n.Data(sealtest.Chat(), n.Records(1)))
	return all
}

func TestLogIsStoredAndRepeatsAreHarmless(t *testing.T) {
	f := newFixtureOver(t, durable.OS{})
	all := buildLog(f)
	for _, r := range all {
		f.want(http.StatusCreated, r)
		f.want(http.StatusOK, r) // the answer was lost
	}
	for _, r := range all {
		f.want(http.StatusOK, r)
	}
	f.wantStore(f.epoch.Files)
	if log := f.log.String(); strings.Contains(log, "level=ERROR") || strings.Contains(log, "level=WARN") {
		t.Errorf("an honest log raised an alarm: %s", log)
	}
}

func TestRestartBetweenAnyTwoObjects(t *testing.T) {
	f := newFixture(t)
	for _, r := range buildLog(f) {
		f.want(http.StatusCreated, r)
		f.start()
		f.want(http.StatusOK, r)
		f.start()
	}
	f.wantStore(f.epoch.Files)
}

func TestTwoServersOverOneStore(t *testing.T) {
	f := newFixture(t)
	first := f.server
	f.start()
	servers := []*Server{first, f.server}
	for i, r := range buildLog(f) {
		f.server = servers[i%2]
		f.want(http.StatusCreated, r)
		f.server = servers[(i+1)%2]
		f.want(http.StatusOK, r)
	}
	f.wantStore(f.epoch.Files)
}

func TestConcurrentUploadsOfOneAgent(t *testing.T) {
	f := newFixture(t)
	for _, r := range buildLog(f) {
		var wg sync.WaitGroup
		statuses := make([]int, maxWaiting)
		for i := range statuses {
			wg.Go(func() {
				statuses[i] = f.do(r).status
			})
		}
		wg.Wait()
		counts := make(map[int]int)
		for _, status := range statuses {
			counts[status]++
		}
		if counts[http.StatusCreated] != 1 || counts[http.StatusOK] != maxWaiting-1 {
			t.Fatalf("%s: statuses %v, want one 201 and the rest 200", r.path, counts)
		}
	}
	f.wantStore(f.epoch.Files)
}

func TestAgentsInParallel(t *testing.T) {
	f := newFixture(t)
	var wg sync.WaitGroup
	want := make(map[string][]byte)
	for i := range 6 {
		e := sealtest.New(t, sealtest.Config{Agent: fmt.Sprintf("gpu-%02d", 20+i)})
		g := &fixture{t: t, server: f.server, epoch: e, token: f.enrol(e)}
		all := buildLog(g)
		maps.Copy(want, e.Files)
		wg.Go(func() {
			for _, r := range all {
				if got := f.do(r); got.status != http.StatusCreated {
					t.Errorf("%s: status %d: %s", r.path, got.status, got.body)
				}
			}
		})
	}
	wg.Wait()
	f.wantStore(want)
}

// TestRefusedHeaders changes one thing about a correct request.
func TestRefusedHeaders(t *testing.T) {
	f := newFixture(t)
	open := f.epoch.Open()
	data := f.epoch.Data(sealtest.Chat(), f.epoch.Records(2))
	f.ship(open)
	for name, test := range map[string]struct {
		kind   seal.ObjectKind
		change func(*request)
		status int
		words  string
	}{
		"no token":            {seal.PayloadObject, func(r *request) { r.token = "" }, 401, "bearer token"},
		"other scheme":        {seal.PayloadObject, func(r *request) { r.token = ""; r.header.Set("Authorization", "Basic Zm9v") }, 401, "bearer token"},
		"unknown token":       {seal.PayloadObject, func(r *request) { r.token = "secret" }, 401, "enrolled"},
		"token cut short":     {seal.PayloadObject, func(r *request) { r.token = r.token[:len(r.token)-1] }, 401, "enrolled"},
		"token of nobody":     {seal.PayloadObject, func(r *request) { r.token = strings.Replace(r.token, "gpu-07", "gpu-08", 1) }, 401, "enrolled"},
		"token with a path":   {seal.PayloadObject, func(r *request) { r.token = "auditail.../../x.y" }, 401, "enrolled"},
		"no condition":        {seal.PayloadObject, func(r *request) { r.header.Del("If-None-Match") }, 428, "If-None-Match"},
		"other condition":     {seal.PayloadObject, func(r *request) { r.header.Set("If-None-Match", `"x"`) }, 428, "If-None-Match"},
		"no length":           {seal.PayloadObject, func(r *request) { r.length = -1 }, 411, "Content-Length"},
		"seal too large":      {seal.ManifestObject, func(r *request) { r.length = maxSeal + 1 }, 413, "8192"},
		"encoded":             {seal.PayloadObject, func(r *request) { r.header.Set("Content-Encoding", "gzip") }, 422, "Content-Encoding"},
		"no digest":           {seal.PayloadObject, func(r *request) { r.header.Del("Repr-Digest") }, 422, "Repr-Digest"},
		"other digest only":   {seal.PayloadObject, func(r *request) { r.header.Set("Repr-Digest", "sha-512=:AAAA:") }, 422, "sha-256"},
		"no manifest":         {seal.PayloadObject, func(r *request) { r.header.Del(manifestHeader) }, 422, manifestHeader},
		"manifest not base64": {seal.PayloadObject, func(r *request) { r.header.Set(manifestHeader, "%%%") }, 422, manifestHeader},
		"manifest too large":  {seal.PayloadObject, func(r *request) { r.header.Set(manifestHeader, strings.Repeat("AAAA", seal.MaxManifestFile/3+1)) }, 422, manifestHeader},
		"body cut":            {seal.PayloadObject, func(r *request) { r.body = r.body[:10] }, 400, "SHA-256"},
		"body changed":        {seal.PayloadObject, func(r *request) { r.body = append([]byte{0}, r.body[1:]...) }, 400, "Repr-Digest names"},
		"seal changed":        {seal.ManifestObject, func(r *request) { r.body = append([]byte{0}, r.body[1:]...) }, 400, "SHA-256"},
		"other method":        {seal.ManifestObject, func(r *request) { r.method = http.MethodDelete }, 405, "PUT"},
		"post":                {seal.ManifestObject, func(r *request) { r.method = http.MethodPost }, 405, "PUT"},
		"no layout":           {seal.ManifestObject, func(r *request) { r.path = "seals/gpu-07/0001/extra" }, 422, "layout"},
		"above the root":      {seal.ManifestObject, func(r *request) { r.path = "seals/gpu-07/0001/../../../x" }, 422, "layout"},
		"cosignature":         {seal.ManifestObject, func(r *request) { r.path = "seals/gpu-07/0001/cosignature/000000000001-0123abcd" }, 422, "one signature line"},
	} {
		t.Run(name, func(t *testing.T) {
			r := f.object(data, test.kind)
			test.change(&r)
			f.want(test.status, r, test.words)
		})
	}
	f.ship(data) // nothing of it stood in the way
	f.wantStore(f.epoch.Files)
}

func TestBodyThatEndsEarly(t *testing.T) {
	f := newFixture(t)
	f.ship(f.epoch.Open())
	r := f.object(f.epoch.Data(sealtest.Chat(), f.epoch.Records(2)), seal.PayloadObject)
	h := r.http()
	h.Body = io.NopCloser(io.MultiReader(bytes.NewReader(r.body[:10]), brokenReader{}))
	w := httptest.NewRecorder()
	f.server.Handler().ServeHTTP(w, h)
	if w.Code != http.StatusBadRequest {
		t.Fatalf("status %d, want 400: %s", w.Code, w.Body)
	}
	f.want(http.StatusCreated, r)
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestOutOfOrder(t *testing.T) {
	f := newFixture(t)
	e := f.epoch
	open, data, beat := e.Open(), e.Data(sealtest.Chat(), e.Records(2)), e.Heartbeat()
	late := e.Checkpoint()
	next := e.NextEpoch("fork " + e.Origin.String() + " 1 " + seal.EmptyRoot().String())
	second := next.Open()

	early := func(r request, batch uint64) {
		t.Helper()
		if p := f.want(http.StatusFailedDependency, r); p.Next == nil || *p.Next != batch {
			t.Errorf("%s: next %v, want %d", r.path, p.Next, batch)
		}
	}
	early(f.object(open, seal.ManifestObject), 0) // before its identity.vkey
	early(f.object(open, seal.SignatureObject), 0)
	early(f.object(data, seal.PayloadObject), 0)
	early(f.object(data, seal.ManifestObject), 0)
	early(f.checkpoint(late), 0)
	early(f.object(second, seal.IdentityObject), 0)
	f.want(http.StatusCreated, f.object(open, seal.IdentityObject))
	early(f.object(data, seal.PayloadObject), 0)
	early(f.object(second, seal.IdentityObject), 0)
	f.want(http.StatusCreated, f.object(open, seal.ManifestObject))
	early(f.object(data, seal.SignatureObject), 1)
	early(f.object(data, seal.ManifestObject), 1) // before its payload
	early(f.object(beat, seal.ManifestObject), 1)
	early(f.checkpoint(late), 1)
	early(f.object(second, seal.ManifestObject), 0) // before its identity.vkey
	f.want(http.StatusCreated, f.object(open, seal.SignatureObject))
	f.ship(data, beat)
	f.want(http.StatusCreated, f.checkpoint(late))
	f.ship(second)
	f.wantStore(e.Files)
	if !strings.Contains(f.log.String(), "did not close") {
		t.Error("an epoch behind one that did not close raised no alarm")
	}
}

func TestSecondAgentCannotTouchTheFirst(t *testing.T) {
	f := newFixture(t)
	all := buildLog(f)
	for _, r := range all[:6] {
		f.want(http.StatusCreated, r)
	}
	thief := f.enrol(sealtest.New(t, sealtest.Config{Agent: "gpu-08"}))
	for _, r := range all {
		r.token = thief
		f.want(http.StatusForbidden, r, "gpu-07")
		r.method = http.MethodGet
		f.want(http.StatusForbidden, r, "gpu-07")
	}
	for _, r := range all[6:] {
		f.want(http.StatusCreated, r)
	}
}

func TestClockThatRanBackwardsIsTaken(t *testing.T) {
	f := newFixture(t)
	e := f.epoch
	f.ship(e.Open())
	e.Now = e.Now.Add(-2 * time.Hour)
	f.ship(e.Data(sealtest.Chat(), e.Records(1)), e.Heartbeat())
	f.start()
	f.ship(e.Heartbeat())
	if !strings.Contains(f.log.String(), "clock of the agent ran backwards") {
		t.Error("the log does not say that the clock ran backwards")
	}
}

func TestGet(t *testing.T) {
	f := newFixture(t)
	all := buildLog(f)
	for _, r := range all {
		f.want(http.StatusNotFound, request{method: http.MethodGet, path: r.path, token: f.token}, r.path)
		f.want(http.StatusCreated, r)
	}
	for _, r := range all {
		if got := f.do(request{method: http.MethodGet, path: r.path, token: f.token}); got.status != http.StatusOK || !bytes.Equal(got.body, r.body) {
			t.Errorf("GET %s: status %d, same bytes: %v", r.path, got.status, bytes.Equal(got.body, r.body))
		}
		head := f.do(request{method: http.MethodHead, path: r.path, token: f.token})
		if head.status != http.StatusOK || head.header.Get("Content-Length") != strconv.Itoa(len(r.body)) {
			t.Errorf("HEAD %s: status %d, length %s", r.path, head.status, head.header.Get("Content-Length"))
		}
		f.want(http.StatusUnauthorized, request{method: http.MethodGet, path: r.path})
	}
	f.want(http.StatusUnprocessableEntity, request{method: http.MethodGet, path: "seals/gpu-07/0001", token: f.token})
}

func TestHealth(t *testing.T) {
	f := newFixture(t)
	get := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		f.server.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
		return w
	}
	if w := get(http.MethodGet, HealthPath); w.Code != 200 || w.Body.String() != "ok\n" {
		t.Errorf("health: %d %q", w.Code, w.Body)
	}
	if w := get(http.MethodPut, HealthPath); w.Code != 405 || w.Header().Get("Allow") == "" {
		t.Errorf("PUT health: %d", w.Code)
	}
	if w := get(http.MethodGet, "/"); w.Code != 404 {
		t.Errorf("GET /: %d", w.Code)
	}
	if err := os.RemoveAll(f.config.Store); err != nil {
		t.Fatal(err)
	}
	if w := get(http.MethodGet, HealthPath); w.Code != 503 || strings.Contains(w.Body.String(), f.config.Store) {
		t.Errorf("health without a store: %d %s", w.Code, w.Body)
	}
}

func TestTooManyRequests(t *testing.T) {
	f := newFixture(t)
	r := f.object(f.epoch.Open(), seal.IdentityObject)
	e, err := f.server.registry.find(t.Context(), "gpu-07")
	if err != nil {
		t.Fatal(err)
	}
	a := f.server.logs.get(e)
	for range maxWaiting {
		a.waiting <- struct{}{}
	}
	f.want(http.StatusTooManyRequests, r)
	for range maxWaiting {
		<-a.waiting
	}
	for range maxRequests {
		f.server.requests <- struct{}{}
	}
	f.want(http.StatusServiceUnavailable, r)
	for range maxRequests {
		<-f.server.requests
	}
	f.want(http.StatusCreated, r)
}

// TestEarlierCheckpoints finds the root of every earlier size, also across the
// marks from which the tree is grown again.
func TestEarlierCheckpoints(t *testing.T) {
	f := newFixture(t)
	e := f.epoch
	e.Open()
	checkpoints := []seal.Checkpoint{e.Checkpoint()}
	for range 2*markEvery + 3 {
		e.Heartbeat()
		checkpoints = append(checkpoints, e.Checkpoint())
	}
	for path := range e.Files { // only what the server will read
		if strings.HasSuffix(path, seal.SignatureSuffix) || strings.Contains(path, "/checkpoint/") {
			delete(e.Files, path)
		}
	}
	e.Write(f.config.Store)
	f.start()
	for _, size := range []int{1, 2, 7, markEvery - 1, markEvery, markEvery + 1, 2*markEvery - 1, 2 * markEvery, 2*markEvery + 1, 2*markEvery + 4} {
		f.want(http.StatusCreated, f.checkpoint(checkpoints[size-1]))
	}
}

func TestDamagedStore(t *testing.T) {
	f := newFixture(t)
	e := f.epoch
	open, data := e.Open(), e.Data(sealtest.Chat(), e.Records(2))
	f.ship(open, data)
	damage := func(path string) (mend func()) {
		t.Helper()
		name := filepath.Join(f.config.Store, filepath.FromSlash(path))
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		write := func(data []byte) {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(append(bytes.Clone(whole[:len(whole)-1]), '?'))
		return func() { write(whole) }
	}
	payload := f.object(data, seal.PayloadObject)
	mend := damage(payload.path)
	f.want(http.StatusServiceUnavailable, payload, "damaged") // not the agent's fault, not a fork
	mend()
	f.want(http.StatusOK, payload)

	f.start()
	beat := e.Heartbeat()
	mend = damage(e.Origin.ManifestPath(1))
	f.want(http.StatusServiceUnavailable, f.object(beat, seal.ManifestObject), "damaged")
	f.want(http.StatusServiceUnavailable, f.object(beat, seal.ManifestObject), "damaged")
	mend()
	f.ship(beat)
	if !strings.Contains(f.log.String(), "stored object is damaged") {
		t.Error("damage raised no alarm")
	}
}

// TestLostPayloadIsTakenAgain: a stored manifest whose payload is gone takes
// that payload again, and no other.
func TestLostPayloadIsTakenAgain(t *testing.T) {
	f := newFixture(t)
	e := f.epoch
	f.ship(e.Open())
	data := e.Data(sealtest.Chat(), e.Records(2))
	f.ship(data)
	r := f.object(data, seal.PayloadObject)
	if err := os.Remove(filepath.Join(f.config.Store, filepath.FromSlash(r.path))); err != nil {
		t.Fatal(err)
	}
	wrong := f.upload(r.path, []byte("x"), data.ManifestFile)
	f.want(http.StatusUnprocessableEntity, wrong, "SHA-256")
	f.want(http.StatusCreated, r)
	f.wantStore(e.Files)
}

func TestSecondEpochNeedsTheFirst(t *testing.T) {
	f := newFixture(t)
	third := sealtest.New(t, sealtest.Config{Epoch: 3})
	f.want(http.StatusFailedDependency, f.object(third.Open(), seal.IdentityObject), "epoch 0002")
}
