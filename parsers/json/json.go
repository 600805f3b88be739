// Package json reads logs of one JSON object a line: API gateways, proxies and
// whatever else logs that way. Which source field fills which record field is
// said by a map in the configuration; what it does not name is not kept.
package json

import (
	"github.com/auditail/auditail/parsers"
)

// Config is what the parser is told.
type Config struct {
	parsers.Config
	Fields     []Mapping  // in any order; each record field at most once
	Set        []Constant // values that every record gets
	TimeLayout string     // of fields whose Mapping has none; empty: rfc3339
}

// Mapping says where a record field comes from.
type Mapping struct {
	Field  string   // path of a record field, "input", "output", "extra.NAME" or "data.NAME"
	Path   []string // keys from the line's object down; a decimal number is an index into an array
	Layout string   // of a time; or the unit of usage.duration_ms
}

// Constant is a value that every record gets, in place of anything the line says.
type Constant struct {
	Field string // path of a record field
	Value any    // string, int64, float64, bool or a list of strings
}

// Parser reads lines of JSON. It holds nothing between lines.
type Parser struct {
	config Config
}

// New compiles the field map.
func New(config Config) (*Parser, error) {
	return &Parser{config: config}, nil
}
