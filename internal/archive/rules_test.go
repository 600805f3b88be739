package archive_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// ruleLog is a log about one group of rules of seal/README.md: what may just be, or a
// batch for each thing that may not.
type ruleLog struct {
	name  string
	build func(t *testing.T, e *sealtest.Epoch, v *vector)
}

// about says what stands in a batch, or in the archive, for who tries a verifier on it.
func (v *vector) about(format string, args ...any) {
	v.About = append(v.About, fmt.Sprintf(format, args...))
}

func ruleLogs() []ruleLog {
	return []ruleLog{
		{"records-at-their-limits", recordsAtTheirLimits},
		{"records-that-are-none", recordsThatAreNone},
		{"coverage-out-of-form", coverageOutOfForm},
		{"payloads-out-of-form", payloadsOutOfForm},
		{"manifests-at-their-limits", manifestsAtTheirLimits},
		{"manifests-out-of-form", manifestsOutOfForm},
		{"manifests-that-do-not-follow", manifestsThatDoNotFollow},
		{"heads-out-of-form", headsOutOfForm},
		{"a-rotation-that-the-new-key-did-not-sign", func(_ *testing.T, e *sealtest.Epoch, _ *vector) {
			e.Open()
			rotated := e.Rotate(sealtest.Key("next"))
			path := e.Origin.ManifestPath(1)
			lines := bytes.SplitAfter(rotated.ManifestFile, []byte("\n"))
			lines[len(lines)-2] = append([]byte("— "), lines[len(lines)-4][len("— "):]...) // the identity's line again
			e.Files[path] = bytes.Join(lines, nil)
			e.Checkpoint()
		}},
		{"an-epoch-opened-by-a-key-that-was-rotated-out", func(_ *testing.T, e *sealtest.Epoch, _ *vector) {
			old := e.Identity
			e.Open()
			e.Rotate(sealtest.Key("next"))
			e.Checkpoint()
			size, root := e.Head()
			e.Identity = old
			n := e.NextEpoch(seal.Succession{Cause: seal.SuccessionRollback, Previous: e.Origin, Size: size, Root: root}.String())
			n.Open()
			n.Checkpoint()
		}},
		{"an-epoch-long-behind-the-one-before", func(_ *testing.T, e *sealtest.Epoch, v *vector) {
			v.about("epoch 0002 opens an hour behind the next-by of 0001, and says of 0001 what is true")
			follow(e, time.Hour, seal.OpenFirst[:0])
		}},
		{"an-epoch-that-follows-another-log", func(_ *testing.T, e *sealtest.Epoch, v *vector) {
			v.about("epoch 0002 names a root that 0001 never had, and was opened before 0001 ended")
			follow(e, -time.Hour, seal.Succession{Cause: seal.SuccessionFork, Previous: e.Origin, Size: 1, Root: seal.LeafHash(nil)}.String())
		}},
		{"a-second-epoch-that-says-it-is-the-first", func(_ *testing.T, e *sealtest.Epoch, _ *vector) { follow(e, 0, seal.OpenFirst) }},
		{"an-epoch-missing", func(_ *testing.T, e *sealtest.Epoch, v *vector) {
			v.about("epochs 0001 and 0003; 0003 names 0002, of which nothing is here")
			e.Open()
			e.Checkpoint()
			n := e.NextEpoch(seal.OpenFirst)
			m := n.NextEpoch(seal.Succession{Cause: seal.SuccessionRollback, Previous: n.Origin, Size: 1, Root: seal.LeafHash(nil)}.String())
			m.Open()
			m.Checkpoint()
		}},
		{"two-agents-of-whom-one-is-trusted-and-a-third-absent", func(t *testing.T, e *sealtest.Epoch, v *vector) {
			other := sealtest.New(t, sealtest.Config{Agent: "gpu-08"})
			absent := sealtest.New(t, sealtest.Config{Agent: "gpu-09"})
			v.Trust = append(v.Trust, strings.TrimSpace(absent.Trust()))
			e.Open()
			e.Checkpoint()
			other.Open()
			other.Checkpoint()
			maps.Copy(e.Files, other.Files)
		}},
		{"a-log-that-ends-before-the-first-batch-asked-for", func(_ *testing.T, e *sealtest.Epoch, v *vector) {
			v.From = 5
			v.about("batches 2 to 3; the auditor has those before 5 elsewhere")
			e.Open()
			e.Heartbeat()
			e.Heartbeat()
			e.Heartbeat()
			e.Checkpoint()
			for n := range 2 {
				for _, o := range e.Batches[n].Objects {
					if o.Kind != seal.IdentityObject {
						delete(e.Files, o.Path)
					}
				}
			}
		}},
		{"an-epoch-of-which-nothing-is-there-but-the-key", func(_ *testing.T, e *sealtest.Epoch, v *vector) {
			v.From = 5
			e.Open()
			delete(e.Files, e.Origin.ManifestPath(0))
			delete(e.Files, e.Origin.SignaturePath(0))
		}},
	}
}

// follow builds an epoch, and a second one so long behind it. Without a reason it says
// the truth.
func follow(e *sealtest.Epoch, behind time.Duration, reason string) {
	e.Open()
	e.Heartbeat()
	e.Checkpoint()
	if size, root := e.Head(); reason == "" {
		reason = seal.Succession{Cause: seal.SuccessionRollback, Previous: e.Origin, Size: size, Root: root}.String()
	}
	n := e.NextEpoch(reason)
	if n.Now = n.Now.Add(behind); behind > 0 {
		n.Now = n.Now.Add(2 * time.Minute)
	}
	n.Open()
	n.Checkpoint()
}

// sized returns a record of exactly n bytes.
func sized(e *sealtest.Epoch, event string, n int) []byte {
	record := e.Record(event, `"extra":{"x":""}`)
	return bytes.Replace(record, []byte(`"x":""`), []byte(`"x":"`+strings.Repeat("x", n-len(record))+`"`), 1)
}

// manyRanges are n ranges whose names have 1024 bytes each.
func manyRanges(n int) (ranges []sealtest.Range) {
	for i := range n {
		ranges = append(ranges, sealtest.Range{Source: strings.Repeat("s", 1024), Generation: fmt.Sprintf("%01024d", i)})
	}
	return ranges
}

const mostRanges = (4 << 20) / (64 + 2*1024)

func recordsAtTheirLimits(t *testing.T, e *sealtest.Epoch, v *vector) {
	e.Open()
	v.about("batch 1: names with escapes, white space, a name twice in an object within, an event that no table has, depth 512, other scripts")
	e.Data(sealtest.Chat(), [][]byte{
		e.Record("model.inference", ` "\u0065xtra" : {"a":1, "a":2 } ,`+"\t"+`"b":"\ud83d\ude00 \\\" \/ é 日本語"`),
		bytes.Replace(e.Record("x", `"n":[-0.5e+10,1E5,0,true,false,null,{},[]]`), []byte(`"event"`), []byte(`"\u0065vent"`), 1),
		e.Record("model.inference", `"deep":`+strings.Repeat("[", 512)+strings.Repeat("]", 512)),
	})
	v.about("batch 2: a record of the agent's own of 1 MiB, a gap without a range, a range that is empty, a gap over what was read before")
	e.Data(sealtest.Chat(), [][]byte{
		sized(e, "agent.start", 1<<20), e.Record("agent.gap", `"loss":{"bytes":0,"cause":"unknown"}`), e.Gap("vllm", "g1", 100, 200),
	}, sealtest.WithLines(seal.Lines{}), ranges("g2", 0, 0, 0))
	v.about("batch 3: ranges that take nearly 4 MiB, with names of 1024 bytes")
	e.Data(sealtest.Chat(), nil, sealtest.WithLines(seal.Lines{}), sealtest.WithCoverage(manyRanges(mostRanges)...))
	v.about("batch 4: a record of 16 MiB; batch 5: skippable frames and two frames of zstd")
	e.Data(sealtest.Chat(), [][]byte{sized(e, "model.inference", 16<<20)}, ranges("g3", 0, 1, 1))
	skippable := append(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, 0x184d2a5f), 3), "abc"...)
	e.Data(sealtest.Chat(), e.Records(2), ranges("g3", 1, 2, 2), sealtest.WithPayload(func(file []byte) []byte {
		plain := sealtest.Plain(t, file)
		return bytes.Join([][]byte{skippable, sealtest.Compress(t, plain[:100], plain[100:]), skippable}, nil)
	}))
	e.Checkpoint()
}

func recordsThatAreNone(_ *testing.T, e *sealtest.Epoch, v *vector) {
	v.JSONAlone = true
	e.Open()
	seq := func(record []byte, to string) []byte {
		at := bytes.LastIndex(record, []byte(`"seq":`))
		return append(record[:at+len(`"seq":`)], to+"}}"...)
	}
	many := `"n":0`
	for i := range 256 {
		many += fmt.Sprintf(`,"n%d":0`, i)
	}
	record := func(members string) []byte { return e.Record("model.inference", members) }
	for _, one := range []struct {
		what   string
		record []byte
	}{
		{"something before the object", append([]byte("x "), record("")...)},
		{"bytes that are no UTF-8", bytes.Replace(record(`"x":"??"`), []byte("??"), []byte("\xff\xfe"), 1)},
		{"a bracket that is not closed", record(`"x":[1,2`)},
		{"a number that is none", record(`"x":01`)},
		{"NaN", record(`"x":NaN`)},
		{"a control character", record("\"x\":\"a\tb\"")},
		{"an escape that is none", record(`"x":"\x"`)},
		{"a name twice", record(`"x":1,"x":2`)},
		{"a name twice, once with an escape", record(`"event":"model.inference","\u0065vent":"agent.gap"`)},
		{"no event", bytes.Replace(record(""), []byte(`"event":`), []byte(`"EVENT":`), 1)},
		{"an event that is no string", bytes.Replace(record(""), []byte(`"event":"model.inference"`), []byte(`"event":7`), 1)},
		{"a number of the agent with a zero before it", seq(record(""), "01")},
		{"a number of the agent of 2^63", seq(record(""), "9223372036854775808")},
		{"the agent of another log", bytes.Replace(record(""), []byte(`"agent":{"id":"gpu-07"`), []byte(`"agent":{"id":"gpu-08"`), 1)},
		{"a name that ends in agent", bytes.Replace(record(""), []byte(`"agent":{`), []byte(`"x\"agent":{`), 1)},
		{"more than 256 names", record(many)},
		{"a byte more than 1 MiB of the agent's own", sized(e, "agent.start", 1<<20+1)},
	} {
		batch := e.Data(sealtest.Chat(), [][]byte{one.record})
		v.about("batch %d: %s", batch.Manifest.Batch, one.what)
	}
	e.Checkpoint()
}

func coverageOutOfForm(_ *testing.T, e *sealtest.Epoch, v *vector) {
	v.JSONAlone = true
	e.Open()
	none := sealtest.WithLines(seal.Lines{})
	coverage := func(what, list string, lines uint64) {
		b := e.Data(sealtest.Chat(), [][]byte{e.Record("agent.coverage", `"coverage":`+list)}, sealtest.WithoutCoverage(), sealtest.WithLines(seal.Lines{Read: lines, Recorded: lines}))
		v.about("batch %d: %s", b.Manifest.Batch, what)
	}
	coverage("no list of ranges", `{"source":"vllm"}`, 0)
	coverage("null in the place of ranges", `null`, 0)
	coverage("a range that is no object", `[7]`, 0)
	coverage("a range without a unit", `[{"source":"a","generation":"g","from":0,"to":1,"lines":0}]`, 0)
	coverage("a range without a name", `[{"source":"","generation":"g","unit":"bytes","from":0,"to":1,"lines":0}]`, 0)
	coverage("a range that goes backwards", `[{"source":"a","generation":"g","unit":"bytes","from":2,"to":1,"lines":0}]`, 0)
	coverage("a number with a fraction", `[{"source":"a","generation":"g","unit":"bytes","from":0,"to":1.0,"lines":0}]`, 0)
	coverage("a number of 2^63", `[{"source":"a","generation":"g","unit":"bytes","from":0,"to":9223372036854775808,"lines":0}]`, 0)
	coverage("a name in a range twice", `[{"source":"a","generation":"g","unit":"bytes","from":0,"to":1,"to":2,"lines":0}]`, 0)
	coverage("names in capitals", `[{"source":"a","generation":"g","unit":"bytes","FROM":0,"TO":1,"lines":0}]`, 0)
	coverage("a name of 1025 bytes", `[{"source":"`+strings.Repeat("s", 1025)+`","generation":"g","unit":"bytes","from":0,"to":1,"lines":0}]`, 0)
	coverage("lines that are not those of the manifest", `[{"source":"a","generation":"g","unit":"bytes","from":0,"to":10,"lines":1}]`, 2)
	coverage("a range that was accounted for before", `[{"source":"a","generation":"g","unit":"bytes","from":9,"to":20,"lines":0}]`, 0)
	coverage("another unit than before", `[{"source":"a","generation":"g","unit":"records","from":20,"to":21,"lines":0}]`, 0)
	coverage("a hole", `[{"source":"a","generation":"g","unit":"bytes","from":22,"to":23,"lines":0}]`, 0)
	b := e.Data(sealtest.Chat(), nil, none, sealtest.WithCoverage(manyRanges(mostRanges+1)...))
	v.about("batch %d: ranges that take more than 4 MiB", b.Manifest.Batch)
	b = e.Data(sealtest.Chat(), e.Records(1), sealtest.WithoutCoverage(), none)
	v.about("batch %d: no coverage record", b.Manifest.Batch)
	b = e.Data(sealtest.Chat(), [][]byte{e.Record("agent.coverage", `"coverage":[]`)}, none, sealtest.WithCoverage())
	v.about("batch %d: two coverage records", b.Manifest.Batch)
	for _, one := range [][2]string{
		{"a gap with a generation and no range", `"loss":{"generation":"g","bytes":7,"cause":"truncated"}`},
		{"a gap without a cause", `"loss":{"bytes":7}`},
		{"a gap with negative bytes", `"loss":{"bytes":-7,"cause":"truncated"}`},
		{"a gap with a name twice", `"loss":{"bytes":7,"bytes":8,"cause":"truncated"}`},
		{"a gap that goes backwards", `"loss":{"generation":"g","from":9,"to":8,"bytes":1,"cause":"truncated"}`},
		{"a gap that says nothing", `"x":1`},
	} {
		b := e.Data(sealtest.Chat(), [][]byte{e.Record("agent.gap", one[1])}, none)
		v.about("batch %d: %s", b.Manifest.Batch, one[0])
	}
	b = e.Data(sealtest.Chat(), [][]byte{e.Unparsed(3)}, sealtest.WithLines(seal.Lines{Read: 4, Unparsed: 4}))
	v.about("batch %d: unparsed lines that are not those of the manifest", b.Manifest.Batch)
	e.Checkpoint()
}

func payloadsOutOfForm(t *testing.T, e *sealtest.Epoch, v *vector) {
	e.Open()
	for _, one := range []struct {
		what   string
		change func(plain []byte) []byte
	}{
		{"an empty line", func(plain []byte) []byte { return append([]byte("\n"), plain...) }},
		{"no LF at the end", func(plain []byte) []byte { return plain[:len(plain)-1] }},
		{"a line of 16 MiB and a byte", func(plain []byte) []byte { return append(append(bytes.Repeat([]byte("x"), 16<<20+1), '\n'), plain...) }},
	} {
		var plain []byte
		b := e.Data(sealtest.Chat(), e.Records(1), sealtest.WithPayload(func(file []byte) []byte {
			plain = one.change(sealtest.Plain(t, file))
			return sealtest.Compress(t, plain)
		}), sealtest.WithManifest(func(m *seal.Manifest) { m.Plain = int64(len(plain)) }))
		v.about("batch %d: %s", b.Manifest.Batch, one.what)
	}
	b := e.Data(sealtest.Chat(), e.Records(1), sealtest.WithPayload(func(file []byte) []byte { return wide(t, sealtest.Plain(t, file)) }))
	v.about("batch %d: a window of 16 MiB", b.Manifest.Batch)
	b = e.Data(sealtest.Chat(), e.Records(1), sealtest.WithPayload(func([]byte) []byte { return []byte{} }))
	v.about("batch %d: an empty file", b.Manifest.Batch)
	records := e.Records(2)
	b = e.Data(sealtest.Chat(), [][]byte{records[1], records[0]})
	v.about("batch %d: numbers of the agent that do not rise", b.Manifest.Batch)
	e.Checkpoint()
}

// wide compresses with a window of 16 MiB.
func wide(t *testing.T, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(16<<20), zstd.WithSingleSegment(false), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range [][]byte{plain[:10], plain[10:]} { // the size is not known when the header is written
		if _, err := w.Write(part); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func manifestsAtTheirLimits(_ *testing.T, e *sealtest.Epoch, v *vector) {
	e.Open()
	e.Heartbeat(sealtest.WithManifest(func(m *seal.Manifest) { m.NextBy = m.Sealed.Add(48 * time.Hour) }))
	e.Heartbeat(sealtest.WithManifest(func(m *seal.Manifest) { m.NextBy = m.Sealed }))
	v.about("batch 1: next-by 48 hours behind sealed; batch 2: at sealed; batch 3: long words, a payload that may expire at once, fractions of a second")
	e.Data(sealtest.Chat(), e.Records(1), sealtest.WithManifest(func(m *seal.Manifest) {
		m.Boot, m.Run.Version, m.Run.Schema = strings.Repeat("~", 500), strings.Repeat("!", 500), strings.Repeat("x", 500)
		m.KeepUntil, m.Opened, m.Uptime = m.Sealed, m.Opened.Add(-time.Nanosecond), 1<<63-1
	}))
	size, root := e.Head()
	e.Heartbeat(sealtest.WithManifest(func(m *seal.Manifest) { m.WitnessedSize, m.WitnessedRoot = size, root }))
	v.about("batch 4: a cosigned head that the log had; batch 5: close; batch 6: the same epoch goes on behind close, long after")
	e.Close()
	e.Now = e.Now.Add(6 * time.Hour)
	e.Data(sealtest.Chat(), e.Records(2), sealtest.WithLines(seal.Lines{Read: 4, Recorded: 1, Ignored: 1, Held: 2}))
	e.Data(sealtest.Chat(), e.Records(1), sealtest.WithLines(seal.Lines{Read: 1, Recorded: 3}))
	v.about("batches 6 and 7: lines held and recorded later")
	e.Checkpoint()
}

// Public keys that no manifest may name, in base64: anybody can sign for the points of
// small order, and 2^255-10 is a second spelling of 9.
const (
	neutralPoint = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	orderEight   = "JuiVj8KyJ7BFw/SJ8u+Y8NXfrAXTxjM5sTgCiG1T/AU="
	beyondField  = "9v///////////////////////////////////////38="
)

func manifestsOutOfForm(_ *testing.T, e *sealtest.Epoch, v *vector) {
	e.Open()
	swap := func(from, to string) func(string) string {
		return func(text string) string {
			if !strings.Contains(text, from) {
				panic(from + " is not in " + text)
			}
			return strings.Replace(text, from, to, 1)
		}
	}
	for _, one := range []struct {
		what   string
		change func(text string) string
	}{
		{"a number with a zero before it", swap("plain 0", "plain 00")},
		{"a number of 2^63", swap(" 4242\n", " 9223372036854775808\n")},
		{"two spaces", swap("plain 0", "plain  0")},
		{"CR LF", swap("plain 0\n", "plain 0\r\n")},
		{"an unknown line", swap("plain 0\n", "plain 0\ncolour red\n")},
		{"a line twice", swap("plain 0\n", "plain 0\nplain 0\n")},
		{"a line missing", swap("plain 0\n", "")},
		{"another version", swap("manifest@v1", "manifest@v2")},
		{"an unknown kind", swap("kind heartbeat", "kind nothing")},
		{"open behind batch 0", swap("kind heartbeat", "kind open first")},
		{"data without a payload", swap("kind heartbeat", "kind data")},
		{"a heartbeat that counts lines", swap("lines 0 0", "lines 1 1")},
		{"a heartbeat that is kept", swap("keep-until -", "keep-until 2027-05-23T08:00:10Z")},
		{"a heartbeat without next-by", func(text string) string {
			at := strings.Index(text, "next-by ")
			return text[:at] + "next-by -" + text[at+strings.Index(text[at:], "\n"):]
		}},
		{"next-by before sealed", swap("next-by 2026-11-20", "next-by 2026-11-19")},
		{"next-by more than 48 hours behind sealed", swap("next-by 2026-11-20", "next-by 2026-11-23")},
		{"sealed without a time zone", func(text string) string { return strings.Replace(text, "Z\nnext-by", "\nnext-by", 1) }},
		{"a fraction that ends in zero", func(text string) string { return strings.Replace(text, "Z\nnext-by", ".50Z\nnext-by", 1) }},
		{"opened in 1969", swap("opened 2026", "opened 1969")},
		{"a cosigned head of nothing with a root", swap("witnessed 0 47DEQ", "witnessed 0 57DEQ")},
		{"base64 without padding", func(text string) string {
			at := strings.Index(text, "ratchet ")
			return text[:at] + strings.Replace(text[at:], "=\n", "\n", 1)
		}},
		{"hex in capitals", func(text string) string {
			at := strings.Index(text, "config sha256:") + len("config sha256:")
			return text[:at] + strings.ToUpper(text[at:at+64]) + text[at+64:]
		}},
		{"the checksum of another file", swap(".manifest\n", ".manifest.sig\n")},
		{"more than 4096 bytes", swap("boot ", "boot "+strings.Repeat("x", 4000))},
		{"a one-time key that is the neutral point", func(text string) string {
			at := strings.Index(text, "ratchet ") + len("ratchet ")
			return text[:at] + neutralPoint + text[at+len(neutralPoint):]
		}},
		{"a one-time key whose coordinate is beyond the field", func(text string) string {
			at := strings.Index(text, "ratchet ") + len("ratchet ")
			return text[:at] + beyondField + text[at+len(beyondField):]
		}},
		{"a rotation to a key of order 8", swap("kind heartbeat", "kind rotate "+orderEight)},
	} {
		b := e.Heartbeat(sealtest.WithText(one.change))
		v.about("batch %d: %s", b.Manifest.Batch, one.what)
	}
	e.Checkpoint()
}

func manifestsThatDoNotFollow(_ *testing.T, e *sealtest.Epoch, v *vector) {
	e.Open()
	e.Data(sealtest.Chat(), e.Records(1))
	for _, one := range []struct {
		what   string
		change func(m *seal.Manifest)
	}{
		{"records that do not go on", func(m *seal.Manifest) { m.RecordsFrom++; m.RecordsTo++ }},
		{"lines that do not balance", func(m *seal.Manifest) { m.Lines.Held++ }},
		{"the checksum of other bytes", func(m *seal.Manifest) { m.Previous[0] ^= 1 }},
		{"a cosigned root that the log never had", func(m *seal.Manifest) { m.WitnessedSize, m.WitnessedRoot = 1, seal.LeafHash(nil) }},
		{"a cosigned head of more manifests than come before", func(m *seal.Manifest) { m.WitnessedSize, m.WitnessedRoot = 99, seal.LeafHash(nil) }},
		{"opened after it was sealed", func(m *seal.Manifest) {
			m.Opened = m.Sealed.Add(time.Second)
			m.PayloadPath = m.Origin.PayloadPath(m.Stream, m.Opened, m.Batch)
		}},
	} {
		b := e.Data(seal.Stream{Environment: "prod", Service: "chat", Class: fmt.Sprintf("class-%d", len(e.Batches))}, e.Records(1),
			sealtest.WithManifest(one.change))
		v.about("batch %d: %s", b.Manifest.Batch, one.what)
	}
	b := e.Heartbeat(sealtest.WithManifest(func(m *seal.Manifest) { m.Sealed = m.Sealed.AddDate(400, 0, 0); m.NextBy = m.Sealed }))
	v.about("batch %d: sealed in a time that has not come yet", b.Manifest.Batch)
	e.Checkpoint()
}

func headsOutOfForm(t *testing.T, e *sealtest.Epoch, v *vector) {
	key, stranger := sealtest.Key("witness"), sealtest.Key("stranger")
	witness := seal.WitnessKey{Name: "witness.example.com", Public: key.Public().(ed25519.PublicKey)}
	v.Policy = []string{"witness w " + witness.String(), "quorum w"}
	cosign := func(size uint64, c seal.Checkpoint, by ed25519.PrivateKey) {
		line, err := seal.Cosign(&c, witness.Name, by, e.Now)
		if err != nil {
			t.Fatal(err)
		}
		e.Files[e.Origin.CosignaturePath(size, witness)] = line
	}
	put := func(size uint64, what string, change func(file string) string) {
		path := e.Origin.CheckpointPath(size)
		e.Files[path] = []byte(change(string(e.Files[path])))
		v.about("checkpoint %d: %s", size, what)
	}
	e.Open()
	e.Checkpoint()
	put(1, "a line more", func(file string) string { return strings.Replace(file, "\n\n", "\nmore\n\n", 1) })
	e.Heartbeat()
	two := e.Checkpoint()
	put(2, "a signature more", func(file string) string { return file + file[strings.Index(file, "— "):] })
	cosign(2, two, stranger)
	v.about("cosignature 2: signed by another key")
	e.Heartbeat()
	three := e.Checkpoint()
	put(3, "the right one, its size with a zero before it", func(file string) string { return strings.Replace(file, "\n3\n", "\n03\n", 1) })
	cosign(3, two, key)
	v.about("cosignature 3: over the tree of 2")
	cosign(1, seal.Checkpoint{Origin: three.Origin, Size: 1, Root: treeOf(e, 1)}, key)
	v.about("cosignature 1: right")
	e.Heartbeat()
	four := e.Checkpoint()
	cosign(9, four, key)
	v.about("cosignature 9: of more manifests than there are; checkpoint 4 is right")
}

// treeOf is the root of the first manifests.
func treeOf(e *sealtest.Epoch, size int) seal.Hash {
	var tree seal.Tree
	for _, b := range e.Batches[:size] {
		tree.Add(seal.LeafHash(b.ManifestFile))
	}
	return tree.Root()
}
