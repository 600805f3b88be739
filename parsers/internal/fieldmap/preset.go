package fieldmap

import (
	"strings"

	"github.com/auditail/auditail/parsers"
)

// JSON is a parser of lines of JSON over a map: what a preset returns that needs
// nothing but a map and its Decide.
type JSON struct{ *Map }

// NewJSON compiles the map.
func NewJSON(config Config) (*JSON, error) {
	m, err := New(config)
	if err != nil {
		return nil, err
	}
	return &JSON{m}, nil
}

// Parse implements [parsers.Parser].
func (p *JSON) Parse(dst []parsers.Draft, line parsers.Line) ([]parsers.Draft, parsers.Outcome, error) {
	dst, outcome := p.ParseJSON(dst, &line)
	return dst, outcome, nil
}

// From writes a mapping in short: each source is the keys from the line's object
// down, joined by slashes, and a layout behind a space where the field takes one.
//
//	From("time", "startTime unix", "startTime", "metadata/start")
func From(field string, sources ...string) Mapping {
	m := Mapping{Field: field}
	for i, source := range sources {
		path, layout, _ := strings.Cut(source, " ")
		s := Source{Path: strings.Split(path, "/"), Layout: layout}
		if i == 0 {
			m.Path, m.Layout = s.Path, s.Layout
		} else {
			m.Or = append(m.Or, s)
		}
	}
	return m
}

// Paths writes slots and embedded objects in the same way.
func Paths(paths ...string) [][]string {
	list := make([][]string, len(paths))
	for i, path := range paths {
		list[i] = strings.Split(path, "/")
	}
	return list
}
