package endtoend

import (
	"bytes"
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/server"
	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

var (
	manyAgents = flag.Int("many.agents", 40, "agents of TestManyAgents")
	manyEvery  = flag.Duration("many.every", time.Second, "how often each of them ships a batch")
	manyRounds = flag.Int("many.rounds", 3, "batches that each of them ships")
)

// manyAgent is one agent: its batches as they will be sent, made beforehand, so that
// the time is the server's.
type manyAgent struct {
	token  string
	rounds [][]seal.Object
	files  map[string][]byte
	about  [][]byte // manifest files
}

// TestManyAgents: many agents each ship a batch every while; all of it is
// acknowledged, and stored. With the flags of `make bench-central` it measures: a
// batch's time is that of its four objects one after the other, each durable.
func TestManyAgents(t *testing.T) {
	c := newCentral(t)
	config := server.DefaultConfig()
	config.Store = c.store
	deps := server.Deps{Logger: slog.New(slog.DiscardHandler), FS: durable.OS{}, Now: time.Now, Lock: durable.Lock}
	agents := make([]*manyAgent, *manyAgents)
	for i := range agents {
		agents[i] = newManyAgent(t, config, deps, i)
	}
	process := c.serving()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: len(agents), IdleConnTimeout: time.Minute}}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var took []time.Duration
	var running sync.WaitGroup
	began := time.Now()
	for i, a := range agents {
		running.Go(func() {
			for n := range a.rounds {
				due := began.Add(time.Duration(n)**manyEvery + time.Duration(i)**manyEvery/time.Duration(len(agents)))
				time.Sleep(time.Until(due)) // agents ship by the clock
				start := time.Now()
				if err := a.ship(t.Context(), client, c.address, n); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(start))
				mu.Unlock()
			}
		})
	}
	running.Wait()
	wall := time.Since(began)
	memory, cpu := usage(t, process.command.Process.Pid)
	process.terminate(patience)
	slices.Sort(took)
	if len(took) != len(agents)**manyRounds {
		t.Fatalf("%d batches were acknowledged, want %d", len(took), len(agents)**manyRounds)
	}
	at := func(share float64) time.Duration {
		return took[int(share*float64(len(took)-1))].Round(100 * time.Microsecond)
	}
	t.Logf("%d agents, a batch each %s: %d batches in %s; acknowledged p50 %s, p99 %s, most %s; server %s of memory at most, %s of CPU",
		len(agents), *manyEvery, len(took), wall.Round(time.Millisecond), at(0.5), at(0.99), at(1), memory, cpu)
	for path, content := range agents[0].files {
		if have, err := os.ReadFile(c.store + "/" + path); err != nil || !bytes.Equal(have, content) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func newManyAgent(t *testing.T, config server.Config, deps server.Deps, i int) *manyAgent {
	t.Helper()
	e := sealtest.New(t, sealtest.Config{Agent: fmt.Sprintf("gpu-%04d", i)})
	a := &manyAgent{}
	var err error
	if a.token, err = server.Enrol(t.Context(), config, deps, e.Origin.Log, e.PublicKey(), "", ""); err != nil {
		t.Fatal(err)
	}
	for n := range *manyRounds {
		var b seal.Batch
		if n == 0 {
			b = e.Open()
		} else {
			b = e.Data(sealtest.Chat(), e.Records(50))
		}
		c := e.Checkpoint()
		a.rounds = append(a.rounds, append(slices.Clone(b.Objects), seal.Object{Kind: seal.CheckpointObject, Path: c.Path()}))
		a.about = append(a.about, b.ManifestFile)
	}
	a.files = e.Files
	return a
}

// ship sends the objects of a batch as the http output does.
func (a *manyAgent) ship(ctx context.Context, client *http.Client, address string, n int) error {
	for _, o := range a.rounds[n] {
		body := a.files[o.Path]
		digest := seal.DigestOf(body)
		r, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+address+"/v1/objects/"+o.Path, bytes.NewReader(body))
		if err != nil {
			return err
		}
		r.Header.Set("If-None-Match", "*")
		r.Header.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(digest[:])+":")
		r.Header.Set("Authorization", "Bearer "+a.token)
		if o.Kind == seal.PayloadObject {
			r.Header.Set("Auditail-Manifest", base64.StdEncoding.EncodeToString(a.about[n]))
		}
		answer, err := client.Do(r)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusCreated {
			return fmt.Errorf("%s: status %d, %w: %s", o.Path, answer.StatusCode, err, text)
		}
	}
	return nil
}

// usage reads the most memory that was resident, and the CPU time, of a process.
func usage(t *testing.T, pid int) (memory, cpu string) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "unknown", "unknown" // no Linux
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			memory = strings.Join(strings.Fields(rest), " ")
		}
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime, in hundredths of a second
		var n int64
		if _, err := fmt.Sscan(field, &n); err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return memory, (time.Duration(ticks) * 10 * time.Millisecond).String()
}
