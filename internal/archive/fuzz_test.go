package archive

import (
	"bytes"
	"strings"
	"testing"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// No file but the sealed one passes, and none makes the checker panic or
// decompress more than it should.
func FuzzCheckPayload(f *testing.F) {
	e := sealtest.New(f, sealtest.Config{})
	e.Open()
	m := e.Data(sealtest.Chat(), e.Records(3)).Manifest
	sealed := e.Files[m.PayloadPath]
	f.Add(sealed)
	f.Add(append(bytes.Clone(sealed), sealed...))
	f.Add(sealtest.Compress(f, make([]byte, 1<<20)))
	f.Fuzz(func(t *testing.T, file []byte) {
		c := newContents(m, maxWaiting, new(walker))
		s, err := CheckPayload(bytes.NewReader(file), m, PayloadOptions{Record: c.record})
		if err == nil && !bytes.Equal(file, sealed) {
			t.Error("another file passes")
		}
		if s.Plain > m.Plain+1 || s.Bytes != int64(len(file)) {
			t.Errorf("%d of %d bytes read, %d decompressed", s.Bytes, len(file), s.Plain)
		}
	})
}

// Signed records can say anything: what they say is judged, and never panics.
func FuzzContents(f *testing.F) {
	e := sealtest.New(f, sealtest.Config{})
	e.Open()
	m := e.Data(sealtest.Chat(), e.Records(1)).Manifest
	for _, line := range append(e.Records(1), e.Gap("vllm", "g1", 0, 7), e.Unparsed(3),
		e.Record("agent.coverage", `"coverage":[{"source":"vllm","generation":"g1","unit":"bytes","from":0,"to":200,"lines":2}]`)) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		c := newContents(m, maxWaiting, new(walker))
		c.record(0, line)
		c.record(1, line)
		c.end(m)
		positions := coverage{at: make(map[generation]position)}
		for _, finding := range append(c.findings, positions.join("p", c.spans)...) {
			if strings.ContainsAny(finding.String(), "\n\r\x1b") {
				t.Errorf("finding is not one plain line: %q", finding)
			}
		}
		for _, s := range c.spans {
			if s.to < s.from || s.source == "" {
				t.Errorf("range %+v", s)
			}
		}
		if len(c.findings) == 0 && !c.covered {
			t.Error("no finding, but nothing is covered")
		}
	})
}

func FuzzParseTrust(f *testing.F) {
	e := sealtest.New(f, sealtest.Config{})
	f.Add(e.Trust())
	f.Add("# comment\n" + e.Trust() + "\n")
	f.Add(e.Trust() + "group g any w\nquorum none\n")
	f.Fuzz(func(t *testing.T, text string) {
		trust, _, err := ParseTrust(strings.NewReader(text))
		if err == nil && len(trust) == 0 || err != nil && trust != nil {
			t.Errorf("%d keys, %v", len(trust), err)
		}
		for log, keys := range trust {
			for _, key := range keys {
				if again, _, err := ParseTrust(strings.NewReader(seal.VKey(log.String(), key))); err != nil || len(again[log]) != 1 {
					t.Errorf("%s: %v", log, err)
				}
			}
		}
	})
}
