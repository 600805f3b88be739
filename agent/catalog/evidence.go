package catalog

import (
	"bytes"

	"github.com/auditail/auditail/audit"
)

// Basis is the kind of evidence behind a version. A greater one is stronger.
type Basis uint8

// The kinds, weakest first.
const (
	Unresolved Basis = iota
	Inferred         // the name has the form of an exact version
	Declared         // the configuration says so
	Manifest         // a file beside the weights, or the weights where nobody knows that they are what was loaded
	Banner           // a start-up line of the same log
	Probe            // the server says so
	Log              // the line says so
	Digest           // the weights that the server loaded were hashed
)

var basisNames = [...]string{"unresolved", "inferred", "declared", "manifest", "banner", "probe", "log", "digest"}

// String returns the value of model.basis.
func (b Basis) String() string { return basisNames[b] }

// basisOf reads a value of model.basis.
func basisOf(text []byte) Basis {
	for b, name := range basisNames {
		if string(text) == name {
			return Basis(b) //nolint:gosec // one of eight
		}
	}
	return Unresolved
}

// facts say which version. Each is a refinement of those before it, but for the
// last two, which say what was done to the version. Unknown ones are nil.
type facts [factCount][]byte

const (
	factID = iota
	factVersion
	factRevision
	factDigest
	factAdapter
	factConfig
	factCount
)

// factFields are the record fields of the facts.
var factFields = [factCount]audit.Field{
	audit.ModelID, audit.ModelVersion, audit.ModelRevision, audit.ModelDigest, audit.ModelAdapter, audit.ModelConfig,
}

// factNames stand in the evidence of a record about the catalog.
var factNames = [factCount]string{"id", "version", "revision", "digest", "adapter", "config"}

func factsOf(id, version, revision, digest, adapter, config string) (f facts) {
	for i, text := range [factCount]string{id, version, revision, digest, adapter, config} {
		if text != "" {
			f[i] = []byte(text)
		}
	}
	return f
}

func (f *facts) empty() bool {
	for _, text := range f {
		if text != nil {
			return false
		}
	}
	return true
}

// ref returns model.ref of the version that a provider serves.
func (f *facts) ref(provider string) string {
	m := audit.Model{
		Provider: provider, ID: string(f[factID]), Version: string(f[factVersion]), Revision: string(f[factRevision]),
		Digest: string(f[factDigest]), Adapter: string(f[factAdapter]), Config: string(f[factConfig]),
	}
	return m.Ref()
}

// differ tells whether two values of a fact cannot both be true. Digests with
// different prefixes are digests of different things, and so are identities of
// different schemes: a path and a name of a hub may mean the same.
func differ(fact int, a, b []byte) bool {
	if a == nil || b == nil || bytes.Equal(a, b) {
		return false
	}
	if fact == factDigest || fact == factID {
		return bytes.Equal(scheme(a), scheme(b))
	}
	return true
}

func scheme(text []byte) []byte {
	before, _, _ := bytes.Cut(text, []byte(":"))
	return before
}

// disagreement returns the first fact on which two versions differ, or -1.
func disagreement(a, b *facts) int {
	for i := range factCount {
		if differ(i, a[i], b[i]) {
			return i
		}
	}
	return -1
}

// layer is what one kind of evidence says.
type layer struct {
	basis Basis
	facts facts
}

// merged is what all evidence together says: the strongest first, and of the
// weaker what it adds.
type merged struct {
	facts facts
	from  [factCount]Basis
	basis Basis // the strongest that says which version; Unresolved when none does
}

// add takes in the next weaker layer. From the first fact on that it
// contradicts it is not believed: what it says beyond belongs to another
// version.
func (m *merged) add(l *layer) {
	for i, text := range l.facts {
		if text == nil {
			continue
		}
		if m.facts[i] != nil {
			if differ(i, m.facts[i], text) {
				return
			}
			continue
		}
		m.facts[i], m.from[i] = text, l.basis
		if i <= factDigest {
			m.basis = max(m.basis, l.basis) // an adapter or a setting alone is no version
		}
	}
}

// merge takes layers in any order.
func merge(layers ...layer) (m merged) {
	for b := Digest; b > Unresolved; b-- {
		for i := range layers {
			if layers[i].basis == b {
				m.add(&layers[i])
			}
		}
	}
	return m
}
