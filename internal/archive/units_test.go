package archive

import (
	"crypto/ed25519"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// numberSet against a map.
func TestNumberSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.OneOf(rapid.Uint64Range(0, 2000), rapid.Uint64Range(999_999_998_000, 999_999_999_999))
		var set numberSet
		model := make(map[uint64]bool)
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			n := number.Draw(t, "n")
			if set.add(n) == model[n] {
				t.Fatalf("add(%d) says new: %t", n, !model[n])
			}
			model[n] = true
			at := number.Draw(t, "at")
			if set.has(at) != model[at] {
				t.Fatalf("has(%d) is %t", at, !model[at])
			}
			want, wantLast := uint64(math.MaxUint64), uint64(0)
			for m := range model {
				wantLast = max(wantLast, m)
				if m >= at {
					want = min(want, m)
				}
			}
			if got, ok := set.next(at); ok != (want != math.MaxUint64) || ok && got != want {
				t.Fatalf("next(%d) is %d, %t, want %d", at, got, ok, want)
			}
			if got, ok := set.last(); !ok || got != wantLast || set.size != len(model) {
				t.Fatalf("last is %d of %d, want %d of %d", got, set.size, wantLast, len(model))
			}
		}
	})
}

func TestNumberSetOfALongLogIsSmall(t *testing.T) {
	var set numberSet
	for n := range uint64(1_000_000) {
		set.add(n)
	}
	if chunks := len(set.chunks); chunks > 1_000_000/512+1 {
		t.Errorf("a million numbers take %d chunks", chunks)
	}
}

// coverage against a count of every byte: ranges that follow on each other have
// no finding, and without a finding every byte was accounted for once.
func TestCoverageJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCoverage()
		var counts [100]int
		end, findings, joins := uint64(0), 0, true
		for range rapid.IntRange(1, 6).Draw(t, "batches") {
			from := end
			if rapid.Bool().Draw(t, "jumps") {
				from = rapid.Uint64Range(0, 60).Draw(t, "from")
			}
			to := min(from+rapid.Uint64Range(1, 20).Draw(t, "size"), uint64(len(counts)))
			joins = joins && from == end
			findings += len(c.join("p", []span{{source: "s", generation: "g", unit: "bytes", from: from, to: to}}))
			for i := from; i < to; i++ {
				counts[i]++
			}
			end = max(end, to)
		}
		once := !slices.ContainsFunc(counts[:end], func(n int) bool { return n != 1 })
		if joins && findings > 0 {
			t.Fatalf("ranges that follow on each other have %d findings", findings)
		}
		if !once && findings == 0 {
			t.Fatalf("bytes are accounted for %v times, without a finding", counts[:end])
		}
	})
}

// Where a batch's ranges are unknown, a hole proves nothing, but an overlap does.
func TestCoverageJoinInDoubt(t *testing.T) {
	c := newCoverage()
	join := func(from, to uint64) int {
		return len(c.join("p", []span{{source: "s", generation: "g", unit: "bytes", from: from, to: to}}))
	}
	join(0, 100)
	c.doubts++
	if n := join(500, 600); n != 0 {
		t.Errorf("a hole behind an unknown batch has %d findings", n)
	}
	if n := join(700, 800); n != 1 {
		t.Errorf("a hole behind a known batch has %d findings", n)
	}
	c.doubts++
	if n := join(750, 900); n != 1 {
		t.Errorf("an overlap behind an unknown batch has %d findings", n)
	}
}

func TestParseTrust(t *testing.T) {
	public := sealtest.Key("x").Public().(ed25519.PublicKey)
	key, good := seal.VKey("gpu-07", public), seal.VKey("acme/gpu-07", public)
	for name, test := range map[string]struct{ text, want string }{
		"empty":        {"", "no key in it"},
		"comments":     {"# none\n\n", "no key in it"},
		"small order":  {seal.VKey("acme/gpu-07", make(ed25519.PublicKey, ed25519.PublicKeySize)), "the public key is of small order"},
		"no key":       {"# ok\nfoo\n", `line 2: key "foo" is not a C2SP verifier key`},
		"short name":   {key, "line 1: log name \"gpu-07\" is not <organization>/<agent>; the key's name must be"},
		"wrong hash":   {good[:len("acme/gpu-07+")] + "00000000" + good[len("acme/gpu-07+00000000"):], "line 1: key"},
		"twice":        {good + "\n" + good, "line 2: the key of acme/gpu-07 stands here twice"},
		"endless line": {strings.Repeat("x", 5000), "a line has more than 4096 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := ParseTrust(strings.NewReader(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want %q", err, test.want)
			}
		})
	}
}

// TestParsePolicy: what a witness policy may say, and when it is met.
func TestParsePolicy(t *testing.T) {
	keys := map[string]seal.WitnessKey{}
	text := ""
	for _, name := range []string{"a", "b", "c"} {
		public := sealtest.Key(name).Public().(ed25519.PublicKey)
		keys[name] = seal.WitnessKey{Name: name + ".example.com", Public: public}
		text += "witness " + name + " " + keys[name].String() + "\n"
	}
	met := func(policy string, names ...string) bool {
		t.Helper()
		p, err := ParsePolicy(strings.NewReader(text + policy))
		if err != nil {
			t.Fatalf("%s: %v", policy, err)
		}
		cosigned := map[string]time.Time{}
		for _, name := range names {
			cosigned[keys[name].String()] = time.Unix(1, 0)
		}
		return p.Met(cosigned)
	}
	for _, c := range []struct {
		policy string
		by     []string
		want   bool
	}{
		{"quorum a", []string{"a"}, true},
		{"quorum a", []string{"b", "c"}, false},
		{"group g any a b\nquorum g", []string{"b"}, true},
		{"group g all a b\nquorum g", []string{"b", "c"}, false},
		{"group g all a b\nquorum g", []string{"b", "a"}, true},
		{"group g 2 a b c\nquorum g", []string{"c", "a"}, true},
		{"group g 2 a b c\nquorum g", []string{"c"}, false},
		{"group g any a b\ngroup h all g c\nquorum h", []string{"b", "c"}, true},
		{"group g any a b\ngroup h all g c\nquorum h", []string{"b", "a"}, false},
		{"quorum none", []string{"a", "b", "c"}, false}, // nothing is asked for, nothing is met
	} {
		if got := met(c.policy, c.by...); got != c.want {
			t.Errorf("%q by %v: %v", c.policy, c.by, got)
		}
	}
	for policy, want := range map[string]string{
		"":                                "no quorum line",
		"quorum d":                        `the quorum "d" is neither`,
		"quorum a\nquorum b":              "second quorum",
		"group g 3 a b\nquorum g":         "asks for \"3\" of 2 members",
		"group g 0 a b\nquorum g":         "asks for \"0\" of 2 members",
		"group g any d\nquorum g":         `names "d", which no line above defines`,
		"group g any a a\nquorum g":       "twice",
		"group none any a\nquorum a":      `the name "none" is taken`,
		"witness a " + keys["a"].String(): "one witness would count as two",
		"witness d " + seal.VKey("d", sealtest.Key("x").Public().(ed25519.PublicKey)): "a witness has 4",
		"log x": "is not \"witness",
	} {
		if _, err := ParsePolicy(strings.NewReader(text + policy)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", policy, err, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"seals/gpu-07":         "seals/gpu-07",
		"größer":               "größer",
		`say "x"`:              `say "x"`,
		"\x1b[2Jclean":         `\x1b[2Jclean`,
		"two\nlines\r\"q\"":    `two\nlines\r"q"`,
		"\xff\u202ereversed":   `\xff\u202ereversed`,
		"back\\slash\a":        `back\\slash\a`,
		"\u200bzero":           `\u200bzero`,
		"replaced \uFFFD sign": "replaced \uFFFD sign",
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) is %s, want %s", in, got, want)
		}
	}
}

func TestParseAccepted(t *testing.T) {
	got, err := ParseAccepted(strings.NewReader("# known\n\nsilent-end seals/a/0001/000000000004.manifest host sold, ticket 9\n  payload-missing records/x\t\n"))
	want := Accepted{
		{Code: SilentEnd, Path: "seals/a/0001/000000000004.manifest"}: true,
		{Code: PayloadMissing, Path: "records/x"}:                     true,
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for text, want := range map[string]string{
		"silent-end\n":              "line 1: \"silent-end\" is not <code> <path>",
		"\nchain-broken seals/x\n":  "line 2: a finding \"chain-broken\" can not be accepted",
		"batches-missing seals/x":   "can not be accepted",
		"what ever":                 "can not be accepted",
		strings.Repeat("x ", 1<<14): "more than 4096 bytes",
	} {
		if _, err := ParseAccepted(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
}

func TestSaturating(t *testing.T) {
	for _, test := range [][3]uint64{{1, 2, 3}, {math.MaxUint64, 1, math.MaxUint64}, {1 << 63, 1 << 63, math.MaxUint64}, {math.MaxUint64, 0, math.MaxUint64}} {
		if got := saturating(test[0], test[1]); got != test[2] {
			t.Errorf("saturating(%d, %d) is %d, want %d", test[0], test[1], got, test[2])
		}
	}
}

// The elements of an array are those that JSON has, whatever is in them.
func TestElements(t *testing.T) {
	for array, want := range map[string][]string{
		`[]`: nil, `[ ]`: nil, `[{}]`: {`{}`}, `[{},{}]`: {`{}`, `{}`},
		`[ {"a":[1,{"b":2}]} , "x,]\"" ,[3,4], 5 ]`: {`{"a":[1,{"b":2}]}`, `"x,]\""`, `[3,4]`, `5`},
	} {
		var got []string
		elements(array).each(func(element []byte) bool { got = append(got, string(element)); return true })
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", array, got, want)
		}
	}
}
