package main

import (
	"slices"
	"testing"

	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/parsers"
)

// TestPresets: what a configuration may name is what there is.
func TestPresets(t *testing.T) {
	var names []string
	for _, p := range presets() {
		names = append(names, p.name)
		if _, err := p.new(parsers.Config{Name: "in"}); err != nil {
			t.Errorf("make %s: %v", p.name, err)
		}
	}
	if !slices.IsSorted(names) {
		t.Errorf("presets are not in order: %v", names)
	}
	if known := config.Presets(); !slices.Equal(known, names) {
		t.Errorf("a configuration may name %v, there are %v", known, names)
	}
}
