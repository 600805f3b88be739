package main

import (
	"fmt"

	"github.com/auditail/auditail/agent/capture"
	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/combined"
	"github.com/auditail/auditail/parsers/json"
	"github.com/auditail/auditail/parsers/vllm"
)

// preset is a parser that needs no field map.
type preset struct {
	name    string
	version string // of what it makes of a line, as in source.parser
	new     func(parsers.Config) (parsers.Parser, error)
}

// presets returns the parsers that configurations may name, in the order of
// their names. config.Presets knows the same.
func presets() []preset {
	return []preset{
		{"combined", "1", func(c parsers.Config) (parsers.Parser, error) { return combined.New(combined.Config{Config: c}) }},
		{"vllm", "1", func(c parsers.Config) (parsers.Parser, error) { return vllm.New(c) }},
	}
}

// newParser returns the parser and its name with version, as records carry it.
func newParser(in *config.Input, policy *capture.Policy) (parsers.Parser, string, error) {
	common := parsers.Config{Name: in.Name, Provider: in.Provider, Location: in.Location, Capture: policy.Hold}
	if in.Parser.Type == config.ParserJSON {
		p, err := json.New(jsonConfig(common, &in.Parser))
		return p, "json/1", err
	}
	for _, known := range presets() {
		if known.name == in.Parser.Type {
			p, err := known.new(common)
			return p, known.name + "/" + known.version, err
		}
	}
	return nil, "", fmt.Errorf("unknown parser %q", in.Parser.Type)
}

func jsonConfig(common parsers.Config, from *config.Parser) json.Config {
	c := json.Config{Config: common, TimeLayout: from.TimeLayout}
	for _, f := range from.Fields {
		c.Fields = append(c.Fields, json.Mapping{Field: f.Field, Path: f.From, Layout: f.Layout})
	}
	for _, s := range from.Set {
		c.Set = append(c.Set, json.Constant{Field: s.Field, Value: s.Value})
	}
	return c
}
