package archive_test

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/auditail/auditail/internal/archive"
	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// counting is a source that counts how often each file is opened.
type counting struct {
	archive.Source
	mu     *sync.Mutex
	opened map[string]int
}

func (c counting) Open(ctx context.Context, path string) (io.ReadCloser, error) {
	c.mu.Lock()
	c.opened[path]++
	c.mu.Unlock()
	return c.Source.Open(ctx, path)
}

// TestSurvey: what an archive says of itself is counted on the way of the check, each
// payload read once; what nobody signed, and records that are not those that were
// sealed, count for nothing.
func TestSurvey(t *testing.T) {
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	embed := seal.Stream{Environment: "prod", Service: "embed", Class: "legal"}
	record := func(event, members string) []byte { return e.Record(event, members) }
	e.Data(sealtest.Chat(), [][]byte{
		record("model.inference", `"model":{"name":"a\u006c","basis":"digest"},"input":{"mode":"hashed"},"output":{"mode":"full"}`),
		record("model.inference", `"model":{"name":"al","basis":"digest"},"input":{"mode":"none"}`),
		record("agent.start", `"extra":{"version":"1"}`),
	})
	e.Data(embed, e.Records(1), sealtest.WithManifest(func(m *seal.Manifest) { m.KeepUntil = m.Sealed.Add(48 * time.Hour) }))
	damaged := e.Data(embed, e.Records(5)).Manifest
	missing := e.Data(embed, e.Records(7)).Manifest
	e.Data(embed, [][]byte{record("forged.event", "")}, sealtest.SignedBy(sealtest.Key("stranger")))
	e.Checkpoint()
	e.Files[damaged.PayloadPath] = sealtest.Compress(t, bytes.Replace(sealtest.Plain(t, e.Files[damaged.PayloadPath]), []byte("POST"), []byte("PUT!"), 1))
	delete(e.Files, missing.PayloadPath)

	opened := make(map[string]int)
	survey := new(archive.Survey)
	_, err := archive.Verify(context.Background(), counting{memory(e.Files), new(sync.Mutex), opened}, archive.Options{
		Trust: trust(e), Workers: 1, Found: func(archive.Finding) {}, Survey: survey,
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, n := range opened {
		if name, err := seal.ParsePath(path); err == nil && name.Kind == seal.PayloadObject && n != 1 {
			t.Errorf("%s was opened %d times", path, n)
		}
	}
	counts := func(list []archive.Count) map[string]uint64 {
		m := make(map[string]uint64)
		for _, c := range list {
			m[c.Name] = c.N
		}
		return m
	}
	for what, pair := range map[string][2]any{
		"events":  {counts(survey.Events), map[string]uint64{"model.inference": 3, "agent.start": 1, "agent.coverage": 2}},
		"models":  {counts(survey.Models), map[string]uint64{"al (digest)": 2, "llama-3-8b (unresolved)": 1}},
		"inputs":  {counts(survey.Inputs), map[string]uint64{"hashed": 1, "none": 1}},
		"outputs": {counts(survey.Outputs), map[string]uint64{"full": 1}},
		"fields of the model": {
			[]uint64{counts(survey.Fields)["model.name"], counts(survey.Fields)["model.provider"], counts(survey.Fields)["extra.version"], counts(survey.Fields)["agent.seq"]},
			[]uint64{3, 1, 0, 3},
		},
		"numbers": {[]int{survey.Files, survey.Points, survey.Missing, survey.Damaged, len(survey.Runs)}, []int{5, 1, 1, 1, 1}},
		"origins": {survey.Origins, []string{e.Origin.String()}},
	} {
		if diff := cmp.Diff(pair[1], pair[0]); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	if len(survey.Streams) != 2 || survey.Streams[1].Stream != embed || survey.Streams[1].Batches != 3 || survey.Streams[1].Shortest != 48*time.Hour {
		t.Errorf("streams %+v", survey.Streams)
	}
}
