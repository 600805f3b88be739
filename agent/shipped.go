package agent

import (
	"sync"
	"time"

	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/internal/admin"
	"github.com/auditail/auditail/outputs"
)

// shipped is what an output did since the start of the process. Safe for
// concurrent use.
type shipped struct {
	mu           sync.Mutex
	acknowledged int64
	last         time.Time // of the newest acknowledgement
	quarantined  int64
	refused      int64 // batches that a copy did not take in full
	stopped      error // why the output may not go on
	stoppedAt    time.Time
}

func (s *shipped) acknowledge(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acknowledged++
	s.last = now.UTC()
}

func (s *shipped) quarantine() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quarantined++
}

func (s *shipped) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused++
}

func (s *shipped) stop(cause error, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped, s.stoppedAt = cause, now.UTC()
}

func (s *shipper) status(b buffer.OutputStatus) admin.Output {
	o := admin.Output{Name: s.output.Name, Kind: s.output.Kind, Next: b.Next, Waiting: b.Waiting, Oldest: b.Oldest, BestEffort: s.output.BestEffort}
	if r, ok := s.output.Output.(outputs.Reporter); ok {
		trouble := r.Trouble()
		o.Failures, o.Rejected = trouble.Failures, trouble.Rejected
		if trouble.Err != nil {
			o.Error, o.ErrorSince = trouble.Err.Error(), trouble.Since.UTC()
		}
	}
	s.shipped.mu.Lock()
	defer s.shipped.mu.Unlock()
	o.Acknowledged, o.LastAcknowledged, o.Quarantined = s.shipped.acknowledged, s.shipped.last, s.shipped.quarantined
	o.Skipped = b.Skipped + s.shipped.refused
	if s.shipped.stopped != nil {
		o.Stopped, o.Error, o.ErrorSince = true, s.shipped.stopped.Error(), s.shipped.stoppedAt
	}
	return o
}
