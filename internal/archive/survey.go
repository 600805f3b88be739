package archive

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/auditail/auditail/seal"
)

// Survey is what an archive says about itself: what was logged, by which program
// and configuration, and how long it is kept. It sums up the manifests whose
// signatures verify, and the records that are those which these sealed. It is not a
// verdict: Verify fills it on its way, see Options.
type Survey struct {
	Streams []StreamSurvey `json:"streams"`
	Runs    []RunSurvey    `json:"runs"`
	// Events, Fields and Models count records: by event, by the fields that have a
	// value, by model and the evidence of its version.
	Events  []Count  `json:"events"`
	Fields  []Count  `json:"fields"`
	Models  []Count  `json:"models"`
	Inputs  []Count  `json:"inputs"`       // by what is kept of prompts
	Outputs []Count  `json:"outputs"`      // by what is kept of answers
	Cosigns []Count  `json:"cosignatures"` // by the key id of the witness
	Files   int      `json:"files"`        // manifests
	Points  int      `json:"checkpoints"`
	Missing int      `json:"payloads_missing"` // expired or owed
	Damaged int      `json:"payloads_damaged"` // their records are not counted
	Origins []string `json:"origins"`
	Bytes   int64    `json:"bytes"`
}

// Count is how often something was found.
type Count struct {
	Name string `json:"name"`
	N    uint64 `json:"count"`
}

// StreamSurvey is what was sealed of one service and one retention class.
type StreamSurvey struct {
	Log       string        `json:"log"`
	Stream    seal.Stream   `json:"stream"`
	Batches   uint64        `json:"batches"`
	Records   uint64        `json:"records"`
	First     time.Time     `json:"first"`
	Last      time.Time     `json:"last"`
	KeepUntil time.Time     `json:"keep_until"`       // of the newest batch
	Shortest  time.Duration `json:"shortest_term_ns"` // from sealing to keep-until
	Longest   time.Duration `json:"longest_term_ns"`
}

// RunSurvey is a program with a configuration that sealed batches.
type RunSurvey struct {
	Log     string    `json:"log"`
	Version string    `json:"version"`
	Binary  string    `json:"binary"`
	Config  string    `json:"config"`
	Schema  string    `json:"schema"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
}

// maxDistinct bounds the names of one kind that a survey tells apart: they come
// from records.
const maxDistinct = 500

// tally counts names.
type tally map[string]*uint64

func (t tally) add(name []byte, n uint64) {
	count := t[string(name)]
	if count == nil {
		if len(t) >= maxDistinct {
			name = []byte("(others)")
		}
		if count = t[string(name)]; count == nil {
			count = new(uint64)
			t[string(name)] = count
		}
	}
	*count += n
}

// merge adds what another tally counted, its names behind a prefix.
func (t tally) merge(prefix string, other tally) {
	for name, n := range other {
		t.add([]byte(prefix+name), *n)
	}
}

// counts returns the counts, the largest first.
func (t tally) counts() []Count {
	list := make([]Count, 0, len(t))
	for name, n := range t {
		list = append(list, Count{name, *n})
	}
	slices.SortFunc(list, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.N, a.N), strings.Compare(a.Name, b.Name))
	})
	return list
}

// tallies count what the records of one batch hold. A worker fills them, and they
// count once the records are known to be those that were sealed.
type tallies struct {
	events, models, inputs, outputs tally
	fields                          map[string]tally // by group

	groups      []group // of the record in hand
	object      object
	current     []byte // name of the group in hand
	name, basis []byte // of its model
	within      func(name, value []byte)
}

type group struct{ name, value []byte }

func newTallies() *tallies {
	t := &tallies{events: tally{}, models: tally{}, inputs: tally{}, outputs: tally{}, fields: make(map[string]tally)}
	t.within = t.field
	return t
}

// member takes a name and a value of the record in hand.
func (t *tallies) member(name, value []byte) {
	if value[0] == '{' {
		t.groups = append(t.groups, group{name, value})
	}
}

// record counts the record in hand, of good form.
func (t *tallies) record(event, line []byte) {
	t.events.add(event[:min(len(event), maxSpanName)], 1)
	if bytes.HasPrefix(event, []byte("agent.")) || len(line) > maxOwn {
		return
	}
	t.name, t.basis = nil, nil
	for _, g := range t.groups {
		t.current = g.name
		_ = t.object.walk(g.value, t.within) // a name that stands twice within counts twice
	}
	if t.name != nil {
		t.models.add(slices.Concat(t.name, []byte(" ("), t.basis, []byte(")")), 1)
	}
}

func (t *tallies) field(name, value []byte) {
	fields := t.fields[string(t.current)]
	if fields == nil {
		if len(t.fields) >= maxNames {
			return
		}
		fields = tally{}
		t.fields[string(t.current)] = fields
	}
	fields.add(name[:min(len(name), maxSpanName)], 1)
	switch string(t.current) {
	case "input":
		if string(name) == "mode" {
			t.inputs.add(text(value), 1)
		}
	case "output":
		if string(name) == "mode" {
			t.outputs.add(text(value), 1)
		}
	case "model":
		switch string(name) {
		case "name":
			t.name = text(value)
		case "basis":
			t.basis = text(value)
		}
	}
}

// text is what a JSON string means, shortened; anything else is empty.
func text(value []byte) []byte {
	value, _ = decode(value)
	return value[:min(len(value), maxSpanName)]
}

// surveyor fills a survey, batch by batch in their order.
type surveyor struct {
	survey *Survey
	all    *tallies
	fields tally
}

func newSurveyor(s *Survey) *surveyor {
	return &surveyor{survey: s, all: newTallies(), fields: tally{}}
}

// take takes a batch whose manifest was signed.
func (s *surveyor) take(step *step) {
	m, t := step.manifest, step.tallies
	step.epoch.surveyed = true
	s.survey.Files++
	s.run(m)
	if m.Kind != seal.Data {
		return
	}
	s.stream(m)
	switch {
	case step.summary.Proven && t != nil:
		s.all.events.merge("", t.events)
		s.all.models.merge("", t.models)
		s.all.inputs.merge("", t.inputs)
		s.all.outputs.merge("", t.outputs)
		for group, fields := range t.fields {
			s.fields.merge(group+".", fields)
		}
	case step.present || step.unread:
		s.survey.Damaged++
	default:
		s.survey.Missing++
	}
}

// finish fills in what shows once everything was seen.
func (s *surveyor) finish(v *verifier) {
	r, cosigned := s.survey, tally{}
	r.Bytes = v.inventory.bytes
	for _, a := range v.agents {
		for _, e := range a.epochs {
			if !e.surveyed {
				continue
			}
			r.Origins = append(r.Origins, e.origin.String())
			r.Points += e.files.checkpoints.size
			for id, sizes := range e.files.cosignatures {
				cosigned.add([]byte(id), uint64(sizes.size)) //nolint:gosec // a count
			}
		}
	}
	r.Events, r.Fields, r.Models = s.all.events.counts(), s.fields.counts(), s.all.models.counts()
	r.Inputs, r.Outputs, r.Cosigns = s.all.inputs.counts(), s.all.outputs.counts(), cosigned.counts()
}

func (s *surveyor) run(m *seal.Manifest) {
	r := RunSurvey{
		Log: m.Origin.Log.String(), Version: m.Run.Version, Binary: "sha256:" + m.Run.Binary.String(),
		Config: "sha256:" + m.Run.Config.String(), Schema: m.Run.Schema, First: m.Sealed, Last: m.Sealed,
	}
	if n := len(s.survey.Runs); n > 0 {
		last := &s.survey.Runs[n-1]
		same := *last
		same.First, same.Last = r.First, r.Last
		if same == r {
			last.Last = m.Sealed
			return
		}
	}
	s.survey.Runs = append(s.survey.Runs, r)
}

func (s *surveyor) stream(m *seal.Manifest) {
	log := m.Origin.Log.String()
	at := slices.IndexFunc(s.survey.Streams, func(t StreamSurvey) bool { return t.Log == log && t.Stream == m.Stream })
	term := m.KeepUntil.Sub(m.Sealed)
	if at < 0 {
		at = len(s.survey.Streams)
		s.survey.Streams = append(s.survey.Streams, StreamSurvey{Log: log, Stream: m.Stream, First: m.Opened, Shortest: term, Longest: term})
	}
	t := &s.survey.Streams[at]
	t.Batches++
	t.Records += m.RecordsTo - m.RecordsFrom
	t.Last, t.KeepUntil = m.Sealed, m.KeepUntil
	t.Shortest, t.Longest = min(t.Shortest, term), max(t.Longest, term)
}
