// Package configs_test keeps the sample configurations true: each is accepted
// as it stands, and again with everything switched on that it shows commented out.
package configs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/server"
)

// commented matches a commented-out key or table; prose has two hashes.
var commented = regexp.MustCompile(`(?m)^# ([a-z_\[])`)

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func agentSamples(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("*.toml")
	if err != nil {
		t.Fatal(err)
	}
	var samples []string
	for _, name := range names {
		if !strings.HasPrefix(name, "auditail-server") {
			samples = append(samples, name)
		}
	}
	if len(samples) < 3 {
		t.Fatalf("found only %q", samples)
	}
	return samples
}

func TestAgentSamples(t *testing.T) {
	for _, name := range agentSamples(t) {
		text := read(t, name)
		for what, text := range map[string][]byte{
			"as it stands":       text,
			"all comments taken": commented.ReplaceAll(text, []byte("$1")),
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				c, err := config.Parse(name, text)
				if err != nil {
					t.Fatal(err)
				}
				inputs := 0
				c.Inputs.Each(func(string, int, *config.Input) { inputs++ })
				if inputs == 0 {
					t.Error("no input")
				}
				for _, warning := range c.Warnings {
					t.Error(warning)
				}
			})
		}
	}
}

func TestServerSamples(t *testing.T) {
	for name, store := range map[string]string{
		"auditail-server.toml":    "/var/lib/auditail-server/archive",
		"auditail-server-s3.toml": "s3://acme-audit/v1",
	} {
		t.Run(name, func(t *testing.T) { testServerSample(t, name, store) })
	}
}

func testServerSample(t *testing.T, name, store string) {
	text := read(t, name)
	for what, text := range map[string][]byte{
		"as it stands":       text,
		"all comments taken": commented.ReplaceAll([]byte(strings.Replace(string(text), "\nlisten =", "\n#", 1)), []byte("$1")),
	} {
		t.Run(what, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "server.toml")
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := server.LoadConfig(durable.OS{}, file)
			if err != nil {
				t.Fatal(err)
			}
			if c.Store != store {
				t.Errorf("store is %q", c.Store)
			}
		})
	}
}

// The first sample is what a newcomer reads: it stays on one screen.
func TestFirstSampleIsShort(t *testing.T) {
	var effective []string
	for line := range strings.Lines(string(read(t, "auditail.toml"))) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			effective = append(effective, line)
		}
	}
	if len(effective) > 15 {
		t.Errorf("%d effective lines:\n%s", len(effective), strings.Join(effective, "\n"))
	}
}
