package catalog

import (
	"github.com/auditail/auditail/audit"
)

// view is what is known for one input at one time. It is never changed.
type view struct {
	names  map[string]*known
	single *known // what a line that names no model means; nil: nobody knows
	// serving is the model of a server that serves one alone: it is meant by
	// lines without a name that were written while it did.
	serving    *known
	asksSingle bool // a server of this input might tell
	timed      bool // what is known depends on the time, or will
}

// known is what is known of a name.
type known struct {
	subject  *subject // nil when nothing can be observed of it
	name     string
	declared *Entry // nil when it is not
	layer    layer  // of declared
	plain    merged // of declared alone
	asks     bool   // a server can be asked for it
	provider string // when neither line nor configuration names one
	spans    []viewSpan

	contested bool // several servers have the name and mean different versions
}

// viewSpan is a span ready for use: newest first in known.spans.
type viewSpan struct {
	from, confirmed, to int64 // Unix nanoseconds; it covers from and to
	layers              []layer
	merged              merged
	server, version     string
}

func declaredView(entries []Entry, input string) *view {
	v := &view{names: make(map[string]*known)}
	own := 0
	for i := range entries {
		e := &entries[i]
		if e.Name == "" || e.Input != input && (e.Input != "" || v.names[e.Name] != nil) {
			continue
		}
		k := &known{name: e.Name, declared: e, layer: e.layer()}
		k.plain = merge(k.layer)
		v.names[e.Name] = k
		if e.Input == input && input != "" {
			v.single = k
			own++
		}
	}
	if own != 1 {
		v.single = nil
	}
	return v
}

// find returns what is known of a name. A line without a name means the only
// model there is, if there was only one when it was written.
func (v *view) find(name []byte, low, high int64) *known {
	if len(name) > 0 {
		return v.names[string(name)]
	}
	if v.single != nil {
		return v.single
	}
	if s, doubtful := v.serving.at(low, high); s == nil || doubtful {
		return nil
	}
	return v.serving
}

// at returns the span that covers a period, and whether that is in doubt: the
// name came to mean something else somewhere around it.
func (k *known) at(low, high int64) (s *viewSpan, doubtful bool) {
	if k == nil {
		return nil, false
	}
	for i := range k.spans {
		s := &k.spans[i]
		if s.from > low {
			continue
		}
		if high <= s.to {
			return s, false
		}
		if i > 0 {
			return s, true
		}
		return nil, false // nothing is known so late
	}
	return nil, false
}

// describe fills what belongs to a name and not to a version. provider is that
// of the input.
func (k *known) describe(r *audit.Record, provider string) {
	if !r.Has(audit.ModelName) {
		r.SetString(audit.ModelName, k.name)
	}
	if k.declared != nil {
		if !r.Has(audit.ModelProvider) {
			r.SetString(audit.ModelProvider, k.declared.Provider)
		}
		if !r.Has(audit.ModelSensitivity) {
			r.SetString(audit.ModelSensitivity, k.declared.Sensitivity)
		}
		if !r.Has(audit.ModelOwner) {
			r.SetString(audit.ModelOwner, k.declared.Owner)
		}
	}
	if provider == "" && !r.Has(audit.ModelProvider) {
		r.SetString(audit.ModelProvider, k.provider)
	}
}

// viewSpans makes the spans of a timeline ready.
func viewSpans(t *timeline, declared layer) []viewSpan {
	var list []viewSpan
	for i := len(t.Spans) - 1; i >= 0; i-- {
		s := &t.Spans[i]
		v := viewSpan{
			from: s.From.UnixNano(), confirmed: s.Confirmed.UnixNano(), to: s.Confirmed.UnixNano(),
			server: s.Server, version: s.Version,
		}
		if !s.Ended {
			v.to = s.Confirmed.Add(grace).UnixNano()
		}
		for b := Digest; b > Unresolved; b-- {
			for _, l := range s.Layers {
				if l.basis == b {
					v.layers = append(v.layers, l)
				}
			}
			if b == Declared && !declared.facts.empty() {
				v.layers = append(v.layers, declared)
			}
		}
		v.merged = merge(v.layers...)
		list = append(list, v)
	}
	return list
}
