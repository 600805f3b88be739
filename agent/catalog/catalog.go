// Package catalog says which exact model version stands behind a name.
//
// Its promise: every model.* record names the evidence for its version
// (model.basis), evidence never overrides stronger evidence, and where there is
// none the record says so instead of guessing. Records are never held back for it.
package catalog

import (
	"bytes"

	"github.com/auditail/auditail/audit"
)

// Entry declares a model version.
type Entry struct {
	Input       string // empty: every input
	Name        string
	Provider    string
	ID          string
	Version     string
	Revision    string
	Digest      string
	Adapter     string
	Config      string
	Sensitivity string
	Owner       string
}

// Catalog answers for one input. It is not safe for concurrent use.
type Catalog struct {
	byName   map[string]*Entry
	only     *Entry // the input's single declared model
	provider string // of records that carry none and whose model is not declared
	refs     map[string]string
	key      []byte
}

// UnknownProvider stands in model.provider when neither the line nor the
// configuration names one.
const UnknownProvider = "unknown"

// maxRefs bounds the cache of references: log lines choose what is in it.
const maxRefs = 1024

// New returns the catalog of an input. Entries that name the input come before
// those for all inputs.
func New(entries []Entry, input, provider string) *Catalog {
	c := &Catalog{byName: make(map[string]*Entry), provider: provider, refs: make(map[string]string)}
	own := 0
	for i := range entries {
		e := &entries[i]
		switch {
		case e.Input == input:
			c.byName[e.Name] = e
			c.only = e
			own++
		case e.Input == "" && c.byName[e.Name] == nil:
			c.byName[e.Name] = e
		}
	}
	if own != 1 {
		c.only = nil
	}
	if c.provider == "" {
		c.provider = UnknownProvider
	}
	return c
}

// Resolve completes model.* of a record whose event is model.*.
//
// A line that carries no model name belongs to the model that the configuration
// declares for its input, when that is only one.
func (c *Catalog) Resolve(r *audit.Record) {
	if !bytes.HasPrefix(r.Text(audit.Event), []byte("model.")) {
		return
	}
	if e := c.find(r); e != nil {
		c.declare(r, e)
	}
	if !r.Has(audit.ModelProvider) {
		r.SetString(audit.ModelProvider, c.provider)
	}
	if !r.Has(audit.ModelBasis) {
		r.SetString(audit.ModelBasis, unresolved)
	}
	if string(r.Text(audit.ModelBasis)) == unresolved {
		r.Clear(audit.ModelRef)
		r.Flag(audit.ModelUnresolved)
		return
	}
	c.setRef(r)
}

// find returns the declared entry of a record's model. A parser that says
// "unresolved" itself knows that the call was to none of them: a 404 for a
// model that is not served.
func (c *Catalog) find(r *audit.Record) *Entry {
	if string(r.Text(audit.ModelBasis)) == unresolved {
		return nil
	}
	e := c.byName[string(r.Text(audit.ModelName))]
	if e == nil && !r.Has(audit.ModelName) {
		e = c.only
	}
	return e
}

const unresolved = "unresolved"

// declare fills what the line and its log do not say themselves. Where they
// brought evidence of their own, that stays the basis: it is stronger.
func (c *Catalog) declare(r *audit.Record, e *Entry) {
	for _, f := range []struct {
		field audit.Field
		value string
	}{
		{audit.ModelName, e.Name},
		{audit.ModelProvider, e.Provider},
		{audit.ModelID, e.ID},
		{audit.ModelVersion, e.Version},
		{audit.ModelRevision, e.Revision},
		{audit.ModelDigest, e.Digest},
		{audit.ModelAdapter, e.Adapter},
		{audit.ModelConfig, e.Config},
		{audit.ModelSensitivity, e.Sensitivity},
		{audit.ModelOwner, e.Owner},
	} {
		if f.value != "" && !r.Has(f.field) {
			r.SetString(f.field, f.value)
		}
	}
	if !r.Has(audit.ModelBasis) {
		r.SetString(audit.ModelBasis, "declared")
	}
}

// setRef computes model.ref, once for each version seen.
func (c *Catalog) setRef(r *audit.Record) {
	c.key = c.key[:0]
	for _, f := range refFields {
		c.key = append(append(c.key, r.Text(f)...), 0)
	}
	ref, known := c.refs[string(c.key)]
	if !known {
		if len(c.refs) >= maxRefs {
			clear(c.refs)
		}
		ref = modelOf(r).Ref()
		c.refs[string(c.key)] = ref
	}
	r.SetString(audit.ModelRef, ref)
}

// modelOf is the version that a record names.
func modelOf(r *audit.Record) *audit.Model {
	return &audit.Model{
		Provider: string(r.Text(audit.ModelProvider)), ID: string(r.Text(audit.ModelID)), Version: string(r.Text(audit.ModelVersion)),
		Revision: string(r.Text(audit.ModelRevision)), Digest: string(r.Text(audit.ModelDigest)),
		Adapter: string(r.Text(audit.ModelAdapter)), Config: string(r.Text(audit.ModelConfig)),
	}
}

// refFields are what modelOf reads.
var refFields = [...]audit.Field{
	audit.ModelProvider, audit.ModelID, audit.ModelVersion, audit.ModelRevision,
	audit.ModelDigest, audit.ModelAdapter, audit.ModelConfig,
}
