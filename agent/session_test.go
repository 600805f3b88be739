package agent_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/internal/durable/faulty"
	"github.com/auditail/auditail/seal"
)

// drip is an input that gives a line every 100 ms, each once over all of its runs.
type drip struct{ lines int }

func (d *drip) Run(ctx context.Context, resume []inputs.Position, to inputs.Appender) error {
	from := 0
	for _, at := range resume {
		if _, err := fmt.Sscan(string(at.Token), &from); err != nil {
			return err
		}
	}
	for i := from; i < d.lines; i++ {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil
		}
		err := to.Append(ctx, inputs.Chunk{
			Lines: []inputs.Line{{
				Source: "words", Path: "/log", Generation: "g", Offset: int64(i), Size: 1, Data: fmt.Append(nil, "record ", i), Seen: time.Now(),
			}},
			Ranges:    []inputs.Range{{Generation: "g", Unit: inputs.UnitBytes, From: int64(i), To: int64(i + 1), Lines: 1}},
			Positions: []inputs.Position{{Generation: "g", Token: fmt.Append(nil, i+1)}},
		})
		if err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

// dripHost is a host whose disk can fail.
func dripHost(t *testing.T, lines int) (*host, *faulty.FS) {
	t.Helper()
	h, disk := newHost(t), faulty.New()
	h.source, h.disk = &drip{lines: lines}, disk
	return h, disk
}

// running starts the agent; the returned function stops it and returns its error.
func (h *host) running() (stop func() error) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan error, 1)
	a := h.agent()
	go func() { done <- a.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

// wantAll checks that each line is in the archive once and in order.
func (h *host) wantAll(lines int) []*seal.Manifest {
	h.t.Helper()
	manifests, records := h.shipped("a")
	if got, want := total(manifests), (seal.Lines{Read: uint64(lines), Recorded: uint64(lines)}); got != want {
		h.t.Errorf("the manifests count %+v, want %+v", got, want)
	}
	inferences := records["model.inference"]
	for i, r := range inferences {
		if offset := r["source"].(map[string]any)["offset"]; offset != float64(i) {
			h.t.Errorf("record %d is of offset %v", i, offset)
			break
		}
	}
	if len(inferences) != lines || len(records["agent.gap"]) > 0 {
		h.t.Errorf("%d records of %d lines, gaps %v", len(inferences), lines, records["agent.gap"])
	}
	return manifests
}

// Promise 1, when the disk loses a sync, or reports the loss of one that it did,
// once or for a while: what was not durable is read again, in the same process.
func TestFailedSync(t *testing.T) {
	for name, fault := range map[string]faulty.Fault{
		"lost":                     {Err: syscall.EIO, Lose: true},
		"done":                     {Err: syscall.EIO, Done: true},
		"lost, three in a row":     {Err: syscall.EIO, Lose: true, Count: 3},
		"no space, lost":           {Err: syscall.ENOSPC, Lose: true},
		"no space, lost for long":  {Err: syscall.ENOSPC, Lose: true, Count: 200},
		"no space, done":           {Err: syscall.ENOSPC, Done: true},
		"no space, done, for long": {Err: syscall.ENOSPC, Done: true, Count: 200},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, disk := dripHost(t, 100)
				stop := h.running()
				<-time.After(3 * time.Second)
				fault.Kinds, fault.Match = faulty.Sync, "segments"
				disk.Inject(fault)
				<-time.After(10 * time.Minute)
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				h.wantAll(100)
				if n := strings.Count(h.log.String(), "level=ERROR"); n == 0 || n > 5 {
					t.Errorf("%d errors in the log\n%s", n, h.log.String())
				}
			})
		})
	}
}

// A disk that only fails ends the process, with the reason, and what was durable
// before is there for the next one.
func TestDiskFailsForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, disk := dripHost(t, 100)
		a := h.agent()
		done := make(chan error, 1)
		go func() { done <- a.Run(t.Context()) }()
		<-time.After(3 * time.Second)
		disk.Inject(faulty.Fault{Kinds: faulty.Sync, Match: "segments", Err: syscall.EIO, Lose: true, Count: -1})
		err := <-done
		if !errors.Is(err, syscall.EIO) || !strings.HasPrefix(err.Error(), "the buffer failed 5 times within 10m0s, mend the disk of ") {
			t.Errorf("the agent ends with %v", err)
		}
		disk.Heal()
		stop := h.running()
		<-time.After(time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		h.wantAll(100)
	})
}

// A full disk stops reading and nothing else, and says so once each time.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, disk := dripHost(t, 300)
		stop := h.running()
		<-time.After(3 * time.Second)
		disk.Limit(0)
		<-time.After(10 * time.Minute)
		before := h.lines()
		disk.Limit(-1)
		<-time.After(5 * time.Second)
		if after := h.lines(); after <= before {
			t.Errorf("%d lines were durable when there was space again, %d five seconds later", before, after)
		}
		<-time.After(time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		h.wantAll(300)
		log := h.log.String()
		full, back := strings.Count(log, "the disk is full"), strings.Count(log, "the disk has space again")
		if full != 1 || back != 1 || !strings.Contains(log, "needed_bytes=") || !strings.Contains(log, "/segments/000001.seg") {
			t.Errorf("full %d times, back %d times\n%s", full, back, log)
		}
	})
}

// lines returns how many lines the buffer's segments show: their sizes grow.
func (h *host) lines() (bytes int64) {
	h.t.Helper()
	dir := filepath.Join(h.dir, "buffer", "segments")
	entries, err := h.disk.ReadDir(dir)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			h.t.Fatal(err)
		}
		bytes += info.Size()
	}
	return bytes
}

// On a full disk the log still ends with close, in time, out of the reserve; so
// it does for a batch that was being sealed.
func TestStopOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, disk := dripHost(t, 300)
		stop := h.running()
		<-time.After(3 * time.Second)
		disk.Limit(0)
		<-time.After(time.Minute)
		began := time.Now()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the stop took %s", took)
		}
		manifests, _ := h.shipped("a")
		if last := manifests[len(manifests)-1]; last.Kind != seal.Close {
			t.Errorf("the log ends with kind %s\n%s", last.Kind, h.log.String())
		}
		disk.Limit(-1)
		stop = h.running()
		<-time.After(time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		h.wantAll(300)
	})
}

// The agent that finds a full disk at its start waits for space, and stops when
// it is told to.
func TestStartOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, disk := dripHost(t, 50)
		stop := h.running()
		<-time.After(3 * time.Second)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		disk.Limit(0)
		time.AfterFunc(10*time.Minute, func() { disk.Limit(-1) })
		began := time.Now()
		stop = h.running() // waits
		if waited := time.Since(began); waited < 10*time.Minute || waited > 10*time.Minute+5*time.Second {
			t.Errorf("the agent started behind %s", waited)
		}
		<-time.After(time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		h.wantAll(50)
	})
}
