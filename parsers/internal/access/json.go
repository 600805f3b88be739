package access

import (
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/fieldmap"
)

// JSON reads access lines that are JSON objects whose members have known names.
type JSON struct {
	config parsers.Config
	fields *fieldmap.Map
	slots  []Variable // of fields
	best   [Variables]int
}

// NewJSON returns a reader of objects with the names of [Names].
func NewJSON(config parsers.Config) (*JSON, error) {
	j := &JSON{config: config}
	var paths [][]string
	for _, name := range Names() {
		paths = append(paths, []string{name.Text})
		j.slots = append(j.slots, name.Variable)
	}
	var err error
	j.fields, err = fieldmap.New(fieldmap.Config{Config: config, Slots: paths})
	return j, err
}

// Read collects the facts of a line. Of the members that say the same the one
// whose name is the better source counts. reason says why the line can not be
// understood, if so.
func (j *JSON) Read(line *parsers.Line, c *Call) (reason string) {
	facts, reason := j.fields.ReadSlots(line)
	if reason != "" {
		return reason
	}
	c.Trusted = true // names and values are told apart by the escapes of JSON
	c.Dropped, c.Duplicates, c.Replaced = facts.Dropped, facts.Duplicates, facts.Replaced
	for i := range j.best {
		j.best[i] = len(j.slots)
	}
	for _, slot := range facts.Met {
		v := j.slots[slot]
		j.best[v] = min(j.best[v], slot)
	}
	for _, slot := range facts.Met {
		v, value := j.slots[slot], j.fields.Slot(slot)
		switch {
		case j.best[v] != slot:
			c.Drop(value)
		case v == Time:
			if !c.SetTime(value, j.config.Zone()) {
				c.Drop(value)
			}
		default:
			c.Set(v, value)
		}
	}
	return ""
}
