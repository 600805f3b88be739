package agent_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditail/auditail/internal/archive"
	"github.com/auditail/auditail/internal/clocktest"
	"github.com/auditail/auditail/seal"
)

// The wall clock jumps by ten years, forward and back, while the agent runs and
// while it is stopped or killed: nothing is lost or repeated, batches are as old
// and heartbeats as far apart as without, and nothing waits for the years to pass.
func TestClockJumps(t *testing.T) {
	const decade = 10 * clocktest.Year
	for _, jumps := range [][]time.Duration{{decade}, {-decade}, {decade, -decade, 0}, {-decade, decade, -decade}} {
		for _, when := range []string{"running", "stopped", "killed"} {
			t.Run(fmt.Sprint(jumps, " ", when), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testClockJumps(t, jumps, when) })
			})
		}
	}
}

func testClockJumps(t *testing.T, jumps []time.Duration, when string) {
	const lines = 300 // one every 100 ms
	h, disk := dripHost(t, lines)
	stop := h.running()
	stopped := func() {
		t.Helper()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	for _, to := range jumps {
		<-time.After(7 * time.Second)
		switch when {
		case "running":
			h.clock.Set(to)
			continue
		case "killed":
			// What it does from here on is forgotten, at the output too.
			shipped := &place{files: h.outputs["a"].all()}
			disk = disk.Image().Kill()
			stopped()
			h.outputs["a"], h.disk = shipped, disk
		case "stopped":
			stopped()
		}
		h.clock.Set(to)
		stop = h.running()
	}
	<-time.After(30*time.Second + 15*time.Second) // the rest of the lines, and a batch age
	if _, records := h.shipped("a"); len(records["model.inference"]) != lines {
		t.Errorf("%d of %d lines are in the archive a batch age after the last", len(records["model.inference"]), lines)
	}
	<-time.After(5 * time.Minute)
	stopped()
	kinds := map[seal.Kind]int{}
	for _, m := range h.wantAll(lines) {
		kinds[m.Kind]++
	}
	if beats := kinds[seal.Heartbeat]; beats < 4 || beats > 5+len(jumps) {
		t.Errorf("%d heartbeats in more than five minutes", beats)
	}
	if data := kinds[seal.Data]; data > 7+2*len(jumps) {
		t.Errorf("%d data batches of half a minute", data)
	}
	h.wantClockFindings(jumps, when)
	if h.log.Len() > 16<<10 {
		t.Errorf("%d bytes of log\n%s", h.log.Len(), h.log.String())
	}
}

// wantClockFindings verifies what was shipped: a clock that was set is a notice where
// it shows, and never a violation. Behind a close no batch was due. Which of several
// jumps show depends on what was sealed in between.
func (h *host) wantClockFindings(jumps []time.Duration, when string) {
	h.t.Helper()
	found := make(map[string]bool)
	_, err := archive.Verify(h.t.Context(), shippedFiles(h.outputs["a"].all()), archive.Options{
		Trust: archive.Trust{origin.Log: {identity().Public().(ed25519.PublicKey)}}, Workers: 1, Now: time.Now().Add(20 * clocktest.Year),
		Found: func(f archive.Finding) { found[string(f.Level)+" "+string(f.Code)] = true },
	})
	if err != nil {
		h.t.Fatal(err)
	}
	got := slices.Sorted(maps.Keys(found))
	const silence, backwards = "notice silence", "notice time-backwards"
	var want []string
	switch {
	case len(jumps) > 1:
		want = slices.DeleteFunc([]string{silence, backwards}, func(f string) bool { return !found[f] })
	case jumps[0] < 0:
		want = []string{backwards}
	case when != "stopped":
		want = []string{silence}
	}
	if !slices.Equal(got, want) {
		h.t.Errorf("found %q, want %q", got, want)
	}
}

// shippedFiles is an archive in memory.
type shippedFiles map[string][]byte

func (f shippedFiles) List(_ context.Context, found func(archive.Entry) error) error {
	for path, content := range f {
		if err := found(archive.Entry{Path: path, Size: int64(len(content)), Regular: true}); err != nil {
			return err
		}
	}
	return nil
}

func (f shippedFiles) Open(_ context.Context, path string) (io.ReadCloser, error) {
	content, ok := f[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}
