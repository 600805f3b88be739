package catalog_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/auditail/auditail/agent/catalog"
	"github.com/auditail/auditail/audit"
)

func record(fields ...string) *audit.Record {
	r := new(audit.Record)
	r.SetString(audit.Event, "model.inference")
	for _, pair := range fields {
		path, value, _ := strings.Cut(pair, "=")
		f, _ := audit.Lookup(path)
		r.SetString(f, value)
	}
	return r
}

func want(t *testing.T, r *audit.Record, fields ...string) {
	t.Helper()
	for _, pair := range fields {
		path, value, _ := strings.Cut(pair, "=")
		f, known := audit.Lookup(path)
		if got := string(r.Text(f)); !known || got != value {
			t.Errorf("%s is %q, want %q", path, got, value)
		}
	}
}

var entries = []catalog.Entry{
	{Input: "vllm", Name: "llama", Provider: "vllm", ID: "hf:meta/llama", Revision: "0e9e", Owner: "ml", Sensitivity: "internal"},
	{Name: "llama", ID: "other"},
	{Name: "gpt", ID: "openai:gpt", Version: "1"},
}

func TestDeclared(t *testing.T) {
	c := catalog.New(entries, "vllm", "configured")
	r := record("model.name=llama")
	c.Resolve(r, catalog.Seen{})
	sum := sha256.Sum256([]byte(`{"id":"hf:meta/llama","provider":"vllm","revision":"0e9e"}`)) // see audit.Model.Ref
	want(t, r, "model.basis=declared", "model.id=hf:meta/llama", "model.revision=0e9e", "model.provider=vllm", "model.owner=ml",
		"model.sensitivity=internal", "model.ref=m_"+hex.EncodeToString(sum[:16]))

	// Entries for all inputs serve too; those of the input come first.
	r = record("model.name=gpt")
	c.Resolve(r, catalog.Seen{})
	want(t, r, "model.basis=declared", "model.id=openai:gpt", "model.provider=configured")
	r = record("model.name=llama")
	catalog.New(entries, "gateway", "").Resolve(r, catalog.Seen{})
	want(t, r, "model.id=other", "model.provider=unknown")
}

// A line without a name belongs to the input's only declared model, and to none
// when there are several.
func TestNameFromTheInput(t *testing.T) {
	r := record()
	catalog.New(entries, "vllm", "").Resolve(r, catalog.Seen{})
	want(t, r, "model.name=llama", "model.basis=declared")

	r = record()
	catalog.New(append(entries, catalog.Entry{Input: "vllm", Name: "second", ID: "x"}), "vllm", "").Resolve(r, catalog.Seen{})
	want(t, r, "model.name=", "model.basis=unresolved", "model.ref=")
}

// Stronger evidence stays, and what it lacks is added.
func TestBannerIsStronger(t *testing.T) {
	r := record("model.name=llama", "model.revision=ffff", "model.basis=banner")
	catalog.New(entries, "vllm", "").Resolve(r, catalog.Seen{})
	want(t, r, "model.basis=banner", "model.revision=ffff", "model.id=hf:meta/llama")
	if !r.Has(audit.ModelRef) {
		t.Error("no reference")
	}
}

func TestUnresolved(t *testing.T) {
	r := record("model.name=unheard-of")
	catalog.New(entries, "vllm", "").Resolve(r, catalog.Seen{})
	want(t, r, "model.basis=unresolved", "model.ref=", "model.provider=unknown")
	if r.Flags()&audit.ModelUnresolved == 0 {
		t.Error("not flagged")
	}
	r = record("model.basis=unresolved")
	catalog.New(entries, "vllm", "").Resolve(r, catalog.Seen{})
	want(t, r, "model.name=", "model.id=", "model.basis=unresolved")
	other := new(audit.Record)
	other.SetString(audit.Event, "auth.failure")
	catalog.New(entries, "vllm", "").Resolve(other, catalog.Seen{})
	if other.Has(audit.ModelBasis) || other.Has(audit.ModelName) {
		t.Error("a record that is not about a model got one")
	}
}

// Log lines choose what is in the cache of references; it must not grow with them.
func TestManyVersions(t *testing.T) {
	c := catalog.New(nil, "x", "p")
	first := ""
	for i := range 5000 {
		r := record("model.name=m", "model.basis=log", "model.revision="+strings.Repeat("a", i%4999))
		c.Resolve(r, catalog.Seen{})
		if i == 0 {
			first = string(r.Text(audit.ModelRef))
		}
		if i == 4999 && string(r.Text(audit.ModelRef)) != first {
			t.Error("the same version has another reference later")
		}
	}
}
