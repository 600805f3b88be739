package catalog

import (
	"cmp"
	"slices"
	"time"
)

// Version is what a name means at the moment, for people.
type Version struct {
	Name, Provider                string
	ID, Version, Revision, Digest string
	Basis                         Basis
	Since                         time.Time // zero: nobody knows, or it is declared alone
}

// Known returns what the names of this input's log mean at the moment, in the
// order of the names. Safe for concurrent use.
func (c *Catalog) Known() []Version {
	if c == nil {
		return nil
	}
	v := c.view.Load()
	if v == nil {
		return nil
	}
	var list []Version
	for name, k := range v.names {
		if name != k.name {
			continue // an alias
		}
		m, since := &k.plain, time.Time{}
		if len(k.spans) > 0 {
			m, since = &k.spans[0].merged, time.Unix(0, k.spans[0].from).UTC()
		}
		if m.basis == Unresolved {
			continue
		}
		list = append(list, Version{
			Name: name, Provider: k.provider, Basis: m.basis, Since: since,
			ID: string(m.facts[factID]), Version: string(m.facts[factVersion]),
			Revision: string(m.facts[factRevision]), Digest: string(m.facts[factDigest]),
		})
	}
	slices.SortFunc(list, func(a, b Version) int { return cmp.Compare(a.Name, b.Name) })
	return list
}
