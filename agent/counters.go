package agent

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/internal/admin"
	"github.com/auditail/auditail/seal"
)

// counters are an input's since the start of the process. They outlive the
// pipelines of one session. A chunk adds to them once; whoever asks reads them
// without a lock.
type counters struct {
	read, recorded, unparsed, ignored, held atomic.Int64
	records, bytes, gaps, gapBytes          atomic.Int64
	lastLine                                atomic.Int64 // Unix nanoseconds; 0: none
	waiting                                 atomic.Int64 // chunks on their way to the disk
	rate                                    rate
}

// committed adds an entry that is durable; before is the number of lines that were
// held in front of it.
func (c *counters) committed(l *seal.Lines, before uint64, records int64, from source, now time.Time) {
	read := int64(l.Read) //nolint:gosec // a count
	c.read.Add(read)
	c.recorded.Add(int64(l.Recorded))  //nolint:gosec // a count
	c.unparsed.Add(int64(l.Unparsed))  //nolint:gosec // a count
	c.ignored.Add(int64(l.Ignored))    //nolint:gosec // a count
	c.held.Add(int64(l.Held - before)) //nolint:gosec // a difference of counts, also below zero
	c.records.Add(records)
	c.bytes.Add(from.bytes)
	c.gaps.Add(from.gaps)
	c.gapBytes.Add(from.gapBytes)
	if read > 0 {
		c.lastLine.Store(now.UnixNano())
		c.rate.add(now, read)
	}
}

// source is what an entry says of what was read for it.
type source struct{ bytes, gaps, gapBytes int64 }

func sourceOf(chunk *inputs.Chunk) (s source) {
	for i := range chunk.Lines {
		s.bytes += chunk.Lines[i].Size
	}
	for i := range chunk.Gaps {
		if g := &chunk.Gaps[i]; g.Cause != inputs.CauseStartEnd {
			s.gaps++
			s.gapBytes += g.To - g.From
		}
	}
	return s
}

func (c *counters) lines() admin.Lines {
	return admin.Lines{
		Read: c.read.Load(), Recorded: c.recorded.Load(), Unparsed: c.unparsed.Load(), Ignored: c.ignored.Load(), Held: c.held.Load(),
	}
}

// rate counts what came in the last minute, in steps of rateStep.
type rate struct {
	mu    sync.Mutex
	steps [rateSteps]int64
	at    int64 // the step that is being filled, counted from the Unix epoch
}

const (
	rateStep  = 5 * time.Second
	rateSteps = 13 // a minute of full ones, and the one being filled
)

func (r *rate) add(now time.Time, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	r.steps[r.at%rateSteps] += n
}

// perSecond is the average of the full steps and what the present one has so
// far. started bounds the time it is taken over.
func (r *rate) perSecond(now, started time.Time) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	var sum int64
	for _, n := range r.steps {
		sum += n
	}
	covered := (rateSteps-1)*rateStep + time.Duration(now.UnixNano()%int64(rateStep))
	return float64(sum) / max(1, min(covered, now.Sub(started)).Seconds())
}

// turn empties the steps that have passed since it was last called. A clock that
// was set back begins anew.
func (r *rate) turn(now time.Time) {
	at := now.UnixNano() / int64(rateStep)
	if at < r.at || at-r.at >= rateSteps {
		r.steps, r.at = [rateSteps]int64{}, at
	}
	for r.at < at {
		r.at++
		r.steps[r.at%rateSteps] = 0
	}
}
