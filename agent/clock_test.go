package agent_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

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
	if h.log.Len() > 16<<10 {
		t.Errorf("%d bytes of log\n%s", h.log.Len(), h.log.String())
	}
}
