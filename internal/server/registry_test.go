package server

import (
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

func TestEnrolRefusesWhatIsTaken(t *testing.T) {
	f := newFixture(t)
	for name, test := range map[string]struct {
		config sealtest.Config
		words  string
	}{
		"same key":           {sealtest.Config{}, "already enrolled with this key"},
		"other key":          {sealtest.Config{Identity: sealtest.Key("other")}, "already enrolled with another key"},
		"other organization": {sealtest.Config{Organization: "audit.example.com/other"}, "belongs to audit.example.com/acme/gpu-07"},
	} {
		t.Run(name, func(t *testing.T) {
			e := sealtest.New(t, test.config)
			tokenFile := filepath.Join(t.TempDir(), "token")
			_, err := Enrol(context.Background(), f.config, f.deps, e.Origin.Log, e.PublicKey(), "", tokenFile)
			if !errors.Is(err, ErrEnrolled) || !strings.Contains(err.Error(), test.words) {
				t.Errorf("error %v, want one that says %q", err, test.words)
			}
			if _, err := os.Stat(tokenFile); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a token file is left: %v", err)
			}
		})
	}
	f.ship(f.epoch.Open()) // the first token is good
}

func TestEnrolAtOnceHasOneWinner(t *testing.T) {
	f := newFixture(t)
	log := seal.Log{Organization: "audit.example.com/acme", Agent: "gpu-09"}
	tokens := make([]string, 8)
	var wg sync.WaitGroup
	for i := range tokens {
		wg.Go(func() {
			key := sealtest.Key(strings.Repeat("k", i)).Public().(ed25519.PublicKey)
			token, err := Enrol(context.Background(), f.config, f.deps, log, key, "", "")
			if err != nil && !errors.Is(err, ErrEnrolled) {
				t.Error(err)
			}
			tokens[i] = token
		})
	}
	wg.Wait()
	won := 0
	for i, token := range tokens {
		if token == "" {
			continue
		}
		won++
		e, err := f.server.registry.authenticate(t.Context(), token)
		if err != nil || !e.Key.Equal(sealtest.Key(strings.Repeat("k", i)).Public()) {
			t.Errorf("the winner's token leads to %+v, %v", e, err)
		}
	}
	if won != 1 {
		t.Errorf("%d enrolments won, want 1", won)
	}
}

func TestTokenIsNotStored(t *testing.T) {
	f := newFixture(t)
	file, err := os.ReadFile(f.server.state.(*directory).name(enrolmentName("gpu-07")))
	if err != nil {
		t.Fatal(err)
	}
	secret := f.token[strings.LastIndexByte(f.token, '.')+1:]
	if len(secret) != 43 || strings.Contains(string(file), secret) {
		t.Errorf("secret %q, file %s", secret, file)
	}
}

// TestReenrolledAgent: after its file is removed and it is enrolled again, the
// old token is worth nothing, without a restart.
func TestReenrolledAgent(t *testing.T) {
	f := newFixture(t)
	open := f.uploads(f.epoch.Open())
	f.want(201, open[0])
	if err := os.Remove(f.server.state.(*directory).name(enrolmentName("gpu-07"))); err != nil {
		t.Fatal(err)
	}
	f.want(401, open[1])
	token := f.enrol(f.epoch)
	f.want(401, open[1])
	open[1].token = token
	f.want(201, open[1])

	// With another key it can not go on with a log that the first key began.
	if err := os.Remove(f.server.state.(*directory).name(enrolmentName("gpu-07"))); err != nil {
		t.Fatal(err)
	}
	other := sealtest.New(t, sealtest.Config{Identity: sealtest.Key("other")})
	if _, err := Enrol(context.Background(), f.config, f.deps, other.Origin.Log, other.PublicKey(), "", ""); !errors.Is(err, ErrEnrolled) || !strings.Contains(err.Error(), "begun with the key") {
		t.Errorf("error %v, want one about the stored key", err)
	}
}

func TestRegistryThatOthersCanWrite(t *testing.T) {
	f := newFixture(t)
	open := f.uploads(f.epoch.Open())
	file := f.server.state.(*directory).name(enrolmentName("gpu-07"))
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	f.want(503, open[0])
	if !strings.Contains(f.log.String(), "chmod go-w") {
		t.Error("the log does not say how to mend it")
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	f.want(201, open[0])
	if err := os.Chmod(filepath.Dir(file), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := New(context.Background(), f.config, f.deps); err == nil || !strings.Contains(err.Error(), "writable by other users") {
		t.Errorf("error %v, want one about other users", err)
	}
}

func TestDamagedEnrolment(t *testing.T) {
	f := newFixture(t)
	file := f.server.state.(*directory).name(enrolmentName("gpu-07"))
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	vkey := strings.TrimSpace(f.epoch.Trust())
	for name, bad := range map[string]string{
		"empty":        "",
		"not JSON":     "{",
		"unknown key":  strings.Replace(string(good), `"log"`, `"logg"`, 1),
		"two":          string(good) + string(good),
		"other log":    strings.Replace(string(good), `"audit.example.com/acme/gpu-07"`, `"audit.example.com/acme/gpu-08"`, 1),
		"no key":       strings.Replace(string(good), vkey, "", 1),
		"other agent":  strings.ReplaceAll(string(good), vkey, strings.TrimSpace(sealtest.New(t, sealtest.Config{Agent: "gpu-08"}).Trust())),
		"short digest": strings.Replace(string(good), `"token_sha256": "`, `"token_sha256": "00`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := f.server.registry.authenticate(t.Context(), f.token); err == nil || errors.Is(err, errUnknown) {
				t.Errorf("error %v, want one about the registry", err)
			}
			if _, err := f.server.registry.list(t.Context()); err == nil {
				t.Error("the list has no error")
			}
		})
	}
}

func TestAgents(t *testing.T) {
	f := newFixture(t)
	idle := sealtest.New(t, sealtest.Config{Agent: "gpu-08"})
	f.enrol(idle)
	e := f.epoch
	start := e.Now
	f.ship(e.Open(), e.Data(sealtest.Chat(), e.Records(1)), e.Heartbeat())
	n := e.NextEpoch("fork " + e.Origin.String() + " 3 " + seal.EmptyRoot().String())
	f.ship(n.Open(), n.Heartbeat())
	enrolled := f.deps.Now()

	got, err := Agents(context.Background(), f.config, f.deps)
	if err != nil {
		t.Fatal(err)
	}
	want := []AgentStatus{
		{
			Log: "audit.example.com/acme/gpu-07", Key: strings.TrimSpace(e.Trust()), Enrolled: enrolled, Epoch: 2, NextBatch: 2,
			LastSealed: start.Add(40 * time.Second), NextBy: start.Add(160 * time.Second), Late: true, Unclosed: []int{1},
		},
		{Log: "audit.example.com/acme/gpu-08", State: "nothing received", Key: strings.TrimSpace(idle.Trust()), Enrolled: enrolled},
	}
	if got[0].LastReceived.IsZero() { // by the clock of the store
		t.Error("it is not said when the newest batch came")
	}
	if s := got[0].State; !strings.HasPrefix(s, "LATE, last received ") || !strings.HasSuffix(s, ", epoch 0001 not closed") {
		t.Errorf("state %q", s)
	}
	want[0].LastReceived, want[0].State = got[0].LastReceived, got[0].State
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("agents (-want +got):\n%s", diff)
	}
	f.deps.Now = func() time.Time { return start.Add(2 * time.Minute) }
	if got, err = Agents(context.Background(), f.config, f.deps); err != nil || got[0].Late {
		t.Errorf("late %v before next-by, %v", got[0].Late, err)
	}
	f.ship(n.Close())
	f.deps.Now = func() time.Time { return start.AddDate(1, 0, 0) }
	if got, err = Agents(context.Background(), f.config, f.deps); err != nil || got[0].Late || !got[0].NextBy.IsZero() || got[0].NextBatch != 3 {
		t.Errorf("a closed log: %+v, %v", got[0], err)
	}
}

func TestSize(t *testing.T) {
	f := newFixture(t)
	origin := f.epoch.Origin
	for n := range uint64(20) {
		if got, err := f.server.run(t.Context(), origin, 0); err != nil || got != n {
			t.Fatalf("size %d, %v; want %d", got, err, n)
		}
		if err := f.server.store.write(t.Context(), origin.ManifestPath(n), []byte("x"), time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPlaces(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(f.config.Store, link); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*Config)
		words  string
	}{
		"no store":            {func(c *Config) { c.Store = "" }, "no store given"},
		"missing store":       {func(c *Config) { c.Store = filepath.Join(dir, "none") }, "mkdir -m 0750"},
		"store is a file":     {func(c *Config) { c.Store = file }, "not a directory"},
		"state in store":      {func(c *Config) { c.State = filepath.Join(c.Store, "state") }, "inside the store"},
		"state is store":      {func(c *Config) { c.State = c.Store }, "inside the store"},
		"state through link":  {func(c *Config) { c.State = filepath.Join(link, "state") }, "inside the store"},
		"state without place": {func(c *Config) { c.State = filepath.Join(dir, "none", "state") }, "does not exist"},
		"no payload":          {func(c *Config) { c.MaxPayload = 0 }, "max payload"},
	} {
		t.Run(name, func(t *testing.T) {
			c := f.config
			test.change(&c)
			if _, err := New(context.Background(), c, f.deps); err == nil || !strings.Contains(err.Error(), test.words) {
				t.Errorf("error %v, want one that says %q", err, test.words)
			}
		})
	}
	if entries, err := os.ReadDir(f.config.Store); err != nil || len(entries) != 0 {
		t.Errorf("the store holds %v, %v", entries, err)
	}
}

// TestCheckUser: a command of another user than the server's would leave files that the
// server can not read. It needs root, which CI has, to make another user's.
func TestCheckUser(t *testing.T) {
	f := newFixture(t)
	if err := CheckUser(f.config); err != nil {
		t.Errorf("the server's own user: %v", err)
	}
	if err := os.Chown(filepath.Join(f.config.Store+".state", incomingFolder), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if err := CheckUser(f.config); err == nil || !strings.Contains(err.Error(), "sudo -u 'nobody' auditail-server") {
		t.Errorf("error %v", err)
	}
	if err := CheckUser(Config{}); err != nil {
		t.Errorf("no store: %v", err)
	}
}
