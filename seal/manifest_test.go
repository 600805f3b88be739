package seal_test

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// texts returns the text of an open, a data, a heartbeat and a close manifest.
func texts(t testing.TB) map[seal.Kind][]byte {
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	e.Data(sealtest.Chat(), e.Records(2))
	e.Heartbeat()
	e.Close()
	texts := make(map[seal.Kind][]byte)
	for _, b := range e.Batches {
		text, err := b.Manifest.Text()
		if err != nil {
			t.Fatal(err)
		}
		texts[b.Manifest.Kind] = text
	}
	return texts
}

func drawManifest(t *rapid.T) *seal.Manifest {
	name := rapid.StringMatching(`[a-z0-9][a-z0-9._-]{0,20}`)
	word := rapid.StringMatching(`[!-~]{1,20}`)
	count := rapid.Uint64Range(0, 1<<62)
	digest := rapid.Custom(func(t *rapid.T) (d seal.Digest) {
		copy(d[:], rapid.SliceOfN(rapid.Byte(), len(d), len(d)).Draw(t, "bytes"))
		return d
	})
	moment := rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), rapid.Int64Range(0, 1e9-1).Draw(t, "ns")).UTC()
	})
	sealed := moment.Draw(t, "sealed")
	later := func(what string, most int64) time.Time {
		return sealed.Add(time.Duration(rapid.Int64Range(0, most).Draw(t, what)))
	}
	m := &seal.Manifest{
		Origin: seal.Origin{
			Log:   seal.Log{Organization: name.Draw(t, "host") + "/" + name.Draw(t, "organization"), Agent: name.Draw(t, "agent")},
			Epoch: rapid.IntRange(1, seal.MaxEpoch).Draw(t, "epoch"),
		},
		Kind:   rapid.SampledFrom([]seal.Kind{seal.Open, seal.Data, seal.Heartbeat, seal.Rotate, seal.Close}).Draw(t, "kind"),
		Root:   seal.EmptyRoot(),
		Opened: moment.Draw(t, "opened"), Sealed: sealed, NextBy: later("next", int64(seal.MaxSilence)),
		Boot: word.Draw(t, "boot"), Uptime: count.Draw(t, "uptime"),
		Run: seal.Run{
			Schema: word.Draw(t, "schema"), SchemaDigest: digest.Draw(t, "schema digest"), Version: word.Draw(t, "version"),
			Binary: digest.Draw(t, "binary"), Config: digest.Draw(t, "config"),
		},
		WitnessedSize: count.Draw(t, "witnessed"), WitnessedRoot: seal.Hash(digest.Draw(t, "witnessed root")),
		Previous: digest.Draw(t, "previous"),
	}
	if m.WitnessedSize == 0 {
		m.WitnessedRoot = seal.EmptyRoot()
	}
	key := func(what string) ed25519.PublicKey {
		seed := digest.Draw(t, what)
		return ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
	}
	m.Ratchet = key("ratchet")
	m.RecordsFrom = count.Draw(t, "records")
	m.RecordsTo = m.RecordsFrom
	if m.Kind == seal.Open {
		m.Reason = rapid.StringMatching(`[!-~]( ?[!-~]){0,40}`).Draw(t, "reason")
		return m
	}
	m.Batch = rapid.Uint64Range(1, 999_999_999_999).Draw(t, "batch")
	switch m.Kind {
	case seal.Close:
		m.NextBy = time.Time{}
	case seal.Rotate:
		m.Successor = key("successor")
	case seal.Data:
		m.Stream = seal.Stream{Environment: name.Draw(t, "env"), Service: name.Draw(t, "svc"), Class: name.Draw(t, "class")}
		m.RecordsTo += rapid.Uint64Range(1, 1<<40).Draw(t, "n")
		m.Root = seal.Hash(digest.Draw(t, "root"))
		m.Plain = rapid.Int64Range(1, 1<<60).Draw(t, "plain")
		m.Lines = seal.Lines{
			Read: count.Draw(t, "read"), Recorded: count.Draw(t, "recorded"), Unparsed: count.Draw(t, "unparsed"),
			Ignored: count.Draw(t, "ignored"), Held: count.Draw(t, "held"),
		}
		m.KeepUntil = later("keep", 1<<55)
		m.Payload, m.PayloadPath = digest.Draw(t, "payload"), m.Origin.PayloadPath(m.Stream, m.Opened, m.Batch)
	default:
	}
	return m
}

func TestManifestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawManifest(t)
		text, err := m.Text()
		if err != nil {
			t.Fatal(err)
		}
		got, err := seal.ParseText(text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if diff := cmp.Diff(m, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// The text has one form: every other one is refused, so that no two files say
// the same and no reader sees something else than another.
func TestManifestTextIsStrict(t *testing.T) {
	all := texts(t)
	swap := func(kind seal.Kind, from, to string) func(*testing.T) []byte {
		return func(t *testing.T) []byte {
			text := strings.Replace(string(all[kind]), from, to, 1)
			if text == string(all[kind]) {
				t.Fatalf("nothing to change: no %q", from)
			}
			return []byte(text)
		}
	}
	line := func(kind seal.Kind, change func(lines []string) []string) func(*testing.T) []byte {
		return func(*testing.T) []byte {
			return []byte(strings.Join(change(strings.SplitAfter(string(all[kind]), "\n")), ""))
		}
	}
	tests := map[string]func(*testing.T) []byte{
		"empty":               func(*testing.T) []byte { return nil },
		"other version":       swap(seal.Data, "@v1", "@v2"),
		"no last LF":          func(*testing.T) []byte { return bytes.TrimSuffix(all[seal.Data], []byte("\n")) },
		"LF more":             func(*testing.T) []byte { return append(bytes.Clone(all[seal.Data]), '\n') },
		"CR LF":               swap(seal.Data, "\nbatch", "\r\nbatch"),
		"byte order mark":     swap(seal.Data, "auditail", "\ufeffauditail"),
		"two spaces":          swap(seal.Data, "records ", "records  "),
		"trailing space":      swap(seal.Data, "kind data", "kind data "),
		"tab":                 swap(seal.Data, "records ", "records\t"),
		"leading zero":        swap(seal.Data, "batch 1", "batch 01"),
		"plus":                swap(seal.Data, "batch 1", "batch +1"),
		"negative":            swap(seal.Data, "batch 1", "batch -1"),
		"number too large":    swap(seal.Data, "batch 1", "batch 9223372036854775808"),
		"batch beyond paths":  swap(seal.Heartbeat, "batch 2", "batch 1000000000002"),
		"zone":                swap(seal.Data, "sealed 2026-11-20T08:00:10Z", "sealed 2026-11-20T09:00:10+01:00"),
		"zeros in fractions":  swap(seal.Data, "sealed 2026-11-20T08:00:10Z", "sealed 2026-11-20T08:00:10.100Z"),
		"no time":             swap(seal.Data, "sealed 2026-11-20T08:00:10Z", "sealed -"),
		"no such day":         swap(seal.Data, "opened 2026-11-20", "opened 2026-11-31"),
		"upper-case digest":   swap(seal.Data, "config sha256:", "config sha256:A"),
		"base64 without pad":  swap(seal.Heartbeat, "root 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "root 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"),
		"base64 with rest":    swap(seal.Heartbeat, "root 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "root 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV="),
		"unknown kind":        swap(seal.Heartbeat, "kind heartbeat", "kind pulse"),
		"unknown line":        line(seal.Data, func(l []string) []string { return append(l[:4], append([]string{"note hello\n"}, l[4:]...)...) }),
		"line repeated":       line(seal.Data, func(l []string) []string { return append(l[:4], l[3:]...) }),
		"line missing":        line(seal.Data, func(l []string) []string { return append(l[:6], l[7:]...) }),
		"lines swapped":       line(seal.Data, func(l []string) []string { l[5], l[6] = l[6], l[5]; return l }),
		"one space in sums":   swap(seal.Data, "  seals/", " seals/"),
		"star in sums":        swap(seal.Data, "  seals/", " *seals/"),
		"payload elsewhere":   swap(seal.Data, "/svc=chat/", "/svc=tools/"),
		"payload leads out":   swap(seal.Data, "  records/", "  ../records/"),
		"payload of next day": swap(seal.Data, "/day=2026-11-20/", "/day=2026-11-21/"),
		"previous elsewhere":  swap(seal.Data, "seals/gpu-07/0001/000000000000.manifest", "seals/gpu-08/0001/000000000000.manifest"),
		"two streams":         swap(seal.Data, "stream prod chat standard", "stream prod chat standard x"),
		"no stream":           swap(seal.Data, "stream prod chat standard", "stream -"),
		"stream leads out":    swap(seal.Data, "stream prod chat standard", "stream .. chat standard"),
		"records backwards":   swap(seal.Data, "records 0 3", "records 3 0"),
		"no records":          swap(seal.Data, "records 0 3", "records 0 0"),
		"heartbeat payload":   swap(seal.Heartbeat, "plain 0", "plain 1"),
		"heartbeat lines":     swap(seal.Heartbeat, "lines 0 0 0 0 0", "lines 1 1 0 0 0"),
		"heartbeat stream":    swap(seal.Heartbeat, "stream -", "stream prod chat standard"),
		"heartbeat kept":      swap(seal.Heartbeat, "keep-until -", "keep-until 2026-11-20T08:00:00Z"),
		"data not kept":       swap(seal.Data, "keep-until 2027-05-23T08:00:10Z", "keep-until -"),
		"close with next":     swap(seal.Close, "next-by -", "next-by 2026-11-20T08:00:00Z"),
		"heartbeat, no next":  swap(seal.Heartbeat, "next-by 2026-11-20T08:02:20Z", "next-by -"),
		"next for ever":       swap(seal.Heartbeat, "next-by 2026-11-20T08:02:20Z", "next-by 2026-11-22T08:02:21Z"),
		"next before":         swap(seal.Heartbeat, "next-by 2026-11-20T08:02:20Z", "next-by 2026-11-20T07:02:20Z"),
		"open, no reason":     swap(seal.Open, "kind open first", "kind open"),
		"open not first":      swap(seal.Open, "batch 0", "batch 1"),
		"heartbeat first":     swap(seal.Heartbeat, "batch 2", "batch 0"),
		"heartbeat, reason":   swap(seal.Heartbeat, "kind heartbeat", "kind heartbeat first"),
		"control in reason":   swap(seal.Open, "kind open first", "kind open fir\x1bst"),
		"two words of boot":   swap(seal.Data, "boot ", "boot x "),
		"no epoch":            swap(seal.Data, "origin audit.example.com/acme/gpu-07/0001", "origin audit.example.com/acme/gpu-07/0000"),
		"too long":            swap(seal.Data, "boot ", "boot "+strings.Repeat("x", seal.MaxManifestText)),
	}
	for kind, text := range all {
		if _, err := seal.ParseText(text); err != nil {
			t.Fatalf("kind %s: %v", kind, err)
		}
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			text := change(t)
			if m, err := seal.ParseText(text); err == nil {
				t.Errorf("accepted as %+v:\n%s", m, text)
			}
		})
	}
}

// Text refuses what ParseText would: nothing that does not parse is ever signed.
func TestManifestTextRefuses(t *testing.T) {
	for name, change := range map[string]func(*seal.Manifest){
		"name":         func(m *seal.Manifest) { m.Stream.Service = "a b" },
		"boot":         func(m *seal.Manifest) { m.Boot = "" },
		"version":      func(m *seal.Manifest) { m.Run.Version = "1 2" },
		"short key":    func(m *seal.Manifest) { m.Ratchet = m.Ratchet[:31] },
		"path":         func(m *seal.Manifest) { m.PayloadPath = "records/x" },
		"unsealed":     func(m *seal.Manifest) { m.Sealed = time.Time{} },
		"batch 0":      func(m *seal.Manifest) { m.Batch = 0 },
		"long number":  func(m *seal.Manifest) { m.Batch = 1e12 },
		"origin":       func(m *seal.Manifest) { m.Origin.Agent = "../x" },
		"epoch":        func(m *seal.Manifest) { m.Origin.Epoch = 10000 },
		"plain":        func(m *seal.Manifest) { m.Plain = -1 },
		"no such kind": func(m *seal.Manifest) { m.Kind = "pulse" },
	} {
		t.Run(name, func(t *testing.T) {
			e := sealtest.New(t, sealtest.Config{})
			e.Open()
			e.Data(sealtest.Chat(), e.Records(1))
			e.Heartbeat()
			for _, b := range e.Batches[1:] {
				m := *b.Manifest
				if _, err := m.Text(); err != nil {
					t.Fatal(err)
				}
				change(&m)
				if text, err := m.Text(); err == nil {
					t.Errorf("the text is\n%s", text)
				}
			}
		})
	}
}

func FuzzParseText(f *testing.F) {
	for _, text := range texts(f) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := seal.ParseText(text)
		if err != nil {
			return
		}
		again, err := m.Text()
		if err != nil || !bytes.Equal(again, text) {
			t.Errorf("accepted, but its text is another: %v\n%s", err, again)
		}
		if m.PayloadPath != "" {
			if o, err := seal.ParsePath(m.PayloadPath); err != nil || o.Agent != m.Origin.Agent || o.Number != m.Batch {
				t.Errorf("payload path %q is %+v, %v", m.PayloadPath, o, err)
			}
		}
		if _, err := seal.ParsePath(m.PreviousPath()); err != nil {
			t.Error(err)
		}
	})
}
