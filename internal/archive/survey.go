package archive

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/auditail/auditail/seal"
)

// Survey is what an archive says about itself: what was logged, by which program
// and configuration, and how long it is kept. It is a summary of what is signed,
// not a verdict; see Verify.
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

type tally map[string]uint64

func (t tally) add(name string, n uint64) {
	if _, known := t[name]; !known && len(t) >= maxDistinct {
		name = "(others)"
	}
	t[name] += n
}

// counts returns the counts, the largest first.
func (t tally) counts() []Count {
	list := make([]Count, 0, len(t))
	for name, n := range t {
		list = append(list, Count{name, n})
	}
	slices.SortFunc(list, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.N, a.N), strings.Compare(a.Name, b.Name))
	})
	return list
}

// surveyor walks through an archive.
type surveyor struct {
	*reader
	survey                                         *Survey
	events, fields, models, input, output, cosigns tally
}

// TakeSurvey reads the archive once. Records of payloads that are not what was
// sealed are not counted.
func TakeSurvey(ctx context.Context, source Source, trust Trust) (*Survey, error) {
	reader, err := newReader(ctx, source, trust)
	if err != nil {
		return nil, err
	}
	defer reader.checker.Close()
	s := &surveyor{
		reader: reader, survey: &Survey{Bytes: reader.inventory.bytes},
		events: tally{}, fields: tally{}, models: tally{}, input: tally{}, output: tally{}, cosigns: tally{},
	}
	for origin := range s.origins() {
		if err := s.epoch(ctx, origin); err != nil {
			return nil, err
		}
	}
	r := s.survey
	r.Events, r.Fields, r.Models = s.events.counts(), s.fields.counts(), s.models.counts()
	r.Inputs, r.Outputs, r.Cosigns = s.input.counts(), s.output.counts(), s.cosigns.counts()
	return r, nil
}

func (s *surveyor) epoch(ctx context.Context, origin seal.Origin) error {
	files := s.inventory.epoch(origin.Agent, origin.Epoch)
	found := false
	for n, ok := files.manifests.next(0); ok; n, ok = files.manifests.next(n + 1) {
		if err := ctx.Err(); err != nil {
			return err
		}
		file, err := s.readSmall(ctx, origin.ManifestPath(n))
		if err != nil {
			return err
		}
		m, err := parseManifest(file)
		if err != nil || m.Origin != origin {
			continue // of another organization, or damaged, which Verify tells
		}
		found = true
		s.survey.Files++
		s.run(m)
		if m.Kind != seal.Data {
			continue
		}
		s.stream(m)
		if err := s.records(ctx, m); err != nil {
			return err
		}
	}
	if found {
		s.survey.Origins = append(s.survey.Origins, origin.String())
		s.survey.Points += files.checkpoints.size
		for id, sizes := range files.cosignatures {
			s.cosigns.add(id, uint64(sizes.size)) //nolint:gosec // a count
		}
	}
	return nil
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

// records counts what the records of a batch hold, when they are those sealed.
func (s *surveyor) records(ctx context.Context, m *seal.Manifest) error {
	of := surveyor{events: tally{}, fields: tally{}, models: tally{}, input: tally{}, output: tally{}}
	summary, err := s.payload(ctx, m, func(_ uint64, line []byte) { of.record(line) })
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.survey.Missing++
		return nil
	case errors.Is(err, errReadPayload):
		return err
	case !summary.Proven:
		s.survey.Damaged++
		return nil
	}
	for _, pair := range [][2]tally{{s.events, of.events}, {s.fields, of.fields}, {s.models, of.models}, {s.input, of.input}, {s.output, of.output}} {
		for name, n := range pair[1] {
			pair[0].add(name, n)
		}
	}
	return nil
}

func (s *surveyor) record(line []byte) {
	if len(line) > maxOwn {
		s.events.add("(too long to look at)", 1)
		return
	}
	var r map[string]json.RawMessage
	if json.Unmarshal(line, &r) != nil {
		return // Verify tells
	}
	event := text(r["event"])
	s.events.add(event, 1)
	own := strings.HasPrefix(event, "agent.")
	for name, value := range r {
		var within map[string]json.RawMessage
		if own || json.Unmarshal(value, &within) != nil {
			continue
		}
		for field, value := range within {
			s.fields.add(name+"."+field, 1)
			switch name + "." + field {
			case "input.mode":
				s.input.add(text(value), 1)
			case "output.mode":
				s.output.add(text(value), 1)
			case "model.name":
				s.models.add(text(value)+" ("+text(within["basis"])+")", 1)
			}
		}
	}
}

// text decodes a JSON string; anything else is empty.
func text(value json.RawMessage) (s string) {
	if json.Unmarshal(value, &s) != nil {
		return ""
	}
	return s[:min(len(s), maxSpanName)]
}
