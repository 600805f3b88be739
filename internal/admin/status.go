package admin

import "time"

// Status is what the agent knows of itself at one moment. Its JSON form is what
// `auditail status --json` and GET /status answer; fields are only added.
// Times are UTC; a time that is zero is absent: it has not happened yet.
type Status struct {
	Version string    `json:"version"`
	Log     string    `json:"log"` // organization and agent
	Epoch   int       `json:"epoch"`
	Started time.Time `json:"started"`
	Now     time.Time `json:"now"`
	// Ready: the buffer is open and the inputs run.
	Ready bool `json:"ready"`
	// LastRun is how the run before this one ended: none, stopped, crashed or killed.
	LastRun string   `json:"last_run,omitempty"`
	Config  Config   `json:"config"`
	Inputs  []Input  `json:"inputs"`
	Buffer  Buffer   `json:"buffer"`
	Outputs []Output `json:"outputs"`
	Models  []Model  `json:"models,omitempty"`
	// Alerts are what an operator should look at now, worst first.
	Alerts []Alert `json:"alerts"`
}

// Config is the configuration that the agent runs with.
type Config struct {
	Path       string    `json:"path,omitempty"`
	Digest     string    `json:"digest"`     // sha256:… of the effective configuration, as in manifests
	Generation int       `json:"generation"` // 1 at the start, one more with each reload that took effect
	Loaded     time.Time `json:"loaded"`
	// Refused is why the newest reload was refused; empty when it was taken.
	Refused   string    `json:"refused,omitempty"`
	RefusedAt time.Time `json:"refused_at,omitzero"`
}

// Unreadable is a source, mostly a file, and why it can not be read.
type Unreadable struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// Input is one input since the start of the process.
type Input struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Parser  string `json:"parser"`
	Service string `json:"service"`
	Lines   Lines  `json:"lines"`
	Bytes   int64  `json:"bytes"`   // of the source, read
	Records int64  `json:"records"` // written, gaps and unparsed ones included
	// Rate is lines a second over about the last minute.
	Rate float64 `json:"lines_per_second"`
	// UnparsedShare is the part of the lines read that no parser knew, 0 to 1.
	UnparsedShare float64 `json:"unparsed_share"`
	Gaps          int64   `json:"gaps"`      // ranges that were lost before they could be read
	GapBytes      int64   `json:"gap_bytes"` // of them
	// Sources are the files (or others) followed now; absent where an input has none.
	Sources *int `json:"sources,omitempty"`
	// LagBytes is what they hold and nobody has read yet.
	LagBytes *int64 `json:"lag_bytes,omitempty"`
	// Unreadable are sources that are there and can not be read now.
	Unreadable []Unreadable `json:"unreadable,omitempty"`
	// Waiting: a chunk waits for the buffer, which is full or writing.
	Waiting  bool      `json:"waiting,omitempty"`
	LastLine time.Time `json:"last_line,omitzero"`
}

// Lines counts physical lines as manifests do: held before + read = recorded +
// unparsed + ignored + held.
type Lines struct {
	Read     int64 `json:"read"`
	Recorded int64 `json:"recorded"`
	Unparsed int64 `json:"unparsed"`
	Ignored  int64 `json:"ignored"`
	Held     int64 `json:"held"` // now
}

// Buffer is what waits on the disk.
type Buffer struct {
	UsedBytes  int64     `json:"used_bytes"` // what counts against MaxBytes
	MaxBytes   int64     `json:"max_bytes"`  // buffer.max_disk
	OpenBytes  int64     `json:"open_bytes"` // compressed, in no sealed batch yet
	Batches    int       `json:"batches"`    // sealed, and not acknowledged by every output
	Full       bool      `json:"full"`       // max_disk is reached: reading stops
	DiskFull   bool      `json:"disk_full"`  // the disk has no space: reading stops
	Unsigned   bool      `json:"unsigned"`   // the signing key does not sign: batches wait
	Failures   int       `json:"failures"`   // how often it was opened again since the start
	Damaged    int64     `json:"damaged_ranges"`
	OldestOpen time.Time `json:"oldest_open,omitzero"` // when the oldest batch that is not sealed began
	LastSeal   Seal      `json:"last_seal"`
}

// Seal is the newest manifest.
type Seal struct {
	Batch  uint64    `json:"batch"`
	Kind   string    `json:"kind"` // empty: there is none yet
	Sealed time.Time `json:"sealed,omitzero"`
	NextBy time.Time `json:"next_by,omitzero"`
}

// Output is one destination.
type Output struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	// Next is the number of the first batch that it has not acknowledged.
	Next    uint64 `json:"next"`
	Waiting int    `json:"waiting"` // batches sealed and not acknowledged
	// Oldest is when the oldest of them was opened.
	Oldest           time.Time `json:"oldest,omitzero"`
	Acknowledged     int64     `json:"acknowledged"` // since the start of the process
	LastAcknowledged time.Time `json:"last_acknowledged,omitzero"`
	Quarantined      int64     `json:"quarantined"` // payloads refused for good, since the start
	// BestEffort: a copy that nothing waits for.
	BestEffort bool  `json:"best_effort,omitempty"`
	Skipped    int64 `json:"skipped"`  // batches that a copy did not get, or not in full, since the start
	Rejected   int64 `json:"rejected"` // records that the destination of a copy refused, since the start
	// Error is why the batch at hand is not acknowledged yet; empty when it goes well.
	Error      string    `json:"error,omitempty"`
	ErrorSince time.Time `json:"error_since,omitzero"`
	Failures   int64     `json:"failures"` // attempts that failed since the start
	// Stopped: the output may not go on before an operator did something.
	Stopped bool `json:"stopped,omitempty"`
}

// Model is a version that the catalog knows at the moment.
type Model struct {
	Name     string    `json:"name"`
	Input    string    `json:"input,omitempty"` // whose logs mean it by this name; empty: all
	Provider string    `json:"provider,omitempty"`
	ID       string    `json:"id,omitempty"`
	Version  string    `json:"version,omitempty"`
	Revision string    `json:"revision,omitempty"`
	Digest   string    `json:"digest,omitempty"`
	Ref      string    `json:"ref,omitempty"`
	Basis    string    `json:"basis"`
	Since    time.Time `json:"since,omitzero"`
}

// Levels of an Alert.
const (
	Critical = "critical" // evidence is in danger, or an output stopped for good
	Warning  = "warning"
)

// Alert is one sentence about what is wrong now and what mends it.
type Alert struct {
	Level string    `json:"level"`
	Part  string    `json:"part"` // "buffer", "output central", …
	Text  string    `json:"text"`
	Since time.Time `json:"since,omitzero"`
}

// Healthy tells whether nothing needs attention.
func (s *Status) Healthy() bool { return s.Ready && len(s.Alerts) == 0 }

// OldestUnacknowledged is the age of the oldest record that an output has not
// acknowledged, copies left out, whether it is sealed or not; 0 when there is none.
func (s *Status) OldestUnacknowledged() time.Duration {
	oldest := s.Buffer.OldestOpen
	for i := range s.Outputs {
		if at := s.Outputs[i].Oldest; !at.IsZero() && !s.Outputs[i].BestEffort && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	if oldest.IsZero() {
		return 0
	}
	return max(0, s.Now.Sub(oldest))
}
