package catalog

import (
	"bytes"
	"encoding/json"
	"path"

	"github.com/auditail/auditail/audit"
)

// Data is what the configuration says about the exact version of data that
// calls touch.
type Data struct {
	Input string // empty: every input
	Path  string // pattern of api.path (see path.Match); empty: every route
	Model string // model.name; empty: every model
	Name  string // as lines name the data; empty: every matching call touches it, though its line does not say so

	Role    string
	ID      string
	Kind    string
	Version string
	Digest  string
	Class   string
	Format  string
}

// dataVersions completes data of the records of one input.
type dataVersions struct {
	always []dataItem // of calls whose lines do not say it
	named  []dataItem
	list   []byte
}

type dataItem struct {
	Data
	fields []member
	item   []byte // encoded
}

// member is a member of an item of data, with its value encoded.
type member struct {
	name  string
	value []byte
}

// newDataVersions returns nil when nothing is declared for the input.
func newDataVersions(entries []Data, input string) *dataVersions {
	d := new(dataVersions)
	for _, e := range entries {
		if e.Input != "" && e.Input != input {
			continue
		}
		item := dataItem{Data: e}
		for _, m := range []struct{ name, value string }{
			{"role", e.Role},
			{"id", e.ID},
			{"kind", e.Kind},
			{"version", e.Version},
			{"digest", e.Digest},
			{"class", e.Class},
			{"format", e.Format},
			{"basis", Declared.String()},
		} {
			if m.value != "" {
				item.fields = append(item.fields, member{m.name, audit.AppendString(nil, m.value)})
			}
		}
		item.item = appendObject(nil, item.fields)
		if e.Name == "" {
			d.always = append(d.always, item)
		} else {
			d.named = append(d.named, item)
		}
	}
	if len(d.always)+len(d.named) == 0 {
		return nil
	}
	return d
}

func appendObject(b []byte, members []member) []byte {
	b = append(b, '{')
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(audit.AppendString(b, m.name), ':'), m.value...)
	}
	return append(b, '}')
}

// complete adds what is declared. Without data in the line it allocates nothing.
func (d *dataVersions) complete(r *audit.Record) {
	event := r.Text(audit.Event)
	if bytes.HasPrefix(event, []byte("agent.")) {
		return
	}
	d.list = d.list[:0]
	given := r.Text(audit.Data)
	if given != nil && len(d.named) > 0 {
		d.list = d.completed(given, r)
	} else if len(given) > 2 {
		d.list = append(d.list, given[:len(given)-1]...)
	}
	if touches(event) {
		for i := range d.always {
			if d.always[i].matches(r) {
				d.list = append(separated(d.list), d.always[i].item...)
			}
		}
	}
	if len(d.list) > 0 {
		d.list = append(d.list, ']')
		r.SetJSON(audit.Data, d.list)
	}
}

// touches tells whether calls of an event work on data that their lines need
// not name.
func touches(event []byte) bool {
	switch string(event) {
	case "model.inference", "model.finetune", "tool.call", "ai_agent.run", "data.access":
		return true
	}
	return false
}

func separated(list []byte) []byte {
	if len(list) == 0 {
		return append(list, '[')
	}
	return append(list, ',')
}

func (i *dataItem) matches(r *audit.Record) bool {
	if i.Model != "" && string(r.Text(audit.ModelName)) != i.Model {
		return false
	}
	if i.Path == "" || i.Path == string(r.Text(audit.APIPath)) {
		return true
	}
	matched, err := path.Match(i.Path, string(r.Text(audit.APIPath)))
	return err == nil && matched
}

// completed returns the items of the line with what is declared of those it
// names; what the line says stays. It is left open behind the last item.
func (d *dataVersions) completed(given []byte, r *audit.Record) []byte {
	var items []map[string]json.RawMessage
	if json.Unmarshal(given, &items) != nil {
		return append(d.list, given[:len(given)-1]...)
	}
	list := d.list
	for _, item := range items {
		var id string
		if json.Unmarshal(item["id"], &id) != nil {
			id = ""
		}
		var members []member
		for _, name := range dataMembers {
			if value, present := item[name]; present {
				members = append(members, member{name, value})
			}
		}
		for i := range d.named {
			if id == d.named[i].Name && d.named[i].matches(r) {
				members = d.named[i].complete(members)
				break
			}
		}
		list = appendObject(separated(list), members)
	}
	return list
}

// dataMembers are those of an item, in their order.
var dataMembers = []string{ //nolint:gochecknoglobals // a constant
	"role", "id", "kind", "version", "digest", "basis", "bytes", "records", "class", "format", "dest", "dest_kind",
}

// complete adds to the members of a line's item what they lack. The declared
// identity takes the place of the name.
func (i *dataItem) complete(members []member) []member {
	for _, declared := range i.fields {
		at := -1
		for j := range members {
			if members[j].name == declared.name {
				at = j
			}
		}
		switch {
		case at < 0:
			members = append(members, declared)
		case declared.name == "id":
			members[at] = declared
		}
	}
	return members
}
