package config

import (
	pathpkg "path"
	"slices"
	"strings"

	"github.com/auditail/auditail/internal/probe"
)

// CatalogEntry says which exact model stands behind a name in the logs, or how
// to find out.
type CatalogEntry struct {
	Input       string `toml:"input"` // empty: every input
	Name        string `toml:"name"`  // empty, of an entry with a probe: every name that the server serves
	ID          string `toml:"id"`
	Version     string `toml:"version"`
	Revision    string `toml:"revision"`
	Digest      string `toml:"digest"`
	Adapter     string `toml:"adapter"`
	Config      string `toml:"config"`
	Weights     string `toml:"weights"` // file or folder that the server loads; hashed in the background
	Probe       string `toml:"probe"`   // server to ask, see probe.Parse
	ProbeToken  Secret `toml:"probe_token"`
	ProbeRemote bool   `toml:"probe_remote"` // the server may be another host
	Sensitivity string `toml:"sensitivity" oneof:"public internal confidential restricted"`
	Owner       string `toml:"owner"`
	Provider    string `toml:"provider"`
	Ticket      string `toml:"ticket"` // under which the version was approved

	Target probe.Target `toml:"-"` // of Probe
}

// DataEntry declares the exact version of data that calls touch.
type DataEntry struct {
	Input   string `toml:"input"` // empty: every input
	Path    string `toml:"path"`  // pattern of the route (path.Match); empty: every route
	Model   string `toml:"model"` // empty: every model
	Name    string `toml:"name"`  // as lines name the data; empty: every matching call touches it
	Role    string `toml:"role" oneof:"context input_file training output export"`
	ID      string `toml:"id,required"`
	Kind    string `toml:"kind"`
	Version string `toml:"version"`
	Digest  string `toml:"digest"`
	Class   string `toml:"class"`
	Format  string `toml:"format"`
}

const digestRule = "must be sha256:, manifest-sha256: or claimed-sha256: and 64 hexadecimal digits"

func (k *checker) catalog(inputs []string) {
	type model struct{ input, name, probe string }
	seen := map[model]path{}
	for i := range k.config.Catalog {
		entry, at := &k.config.Catalog[i], path{"catalog", i}
		k.knownInput(inputs, at.key("input"), entry.Input, "catalog")
		if entry.Probe != "" {
			k.probe(entry, at)
		}
		for _, key := range []string{"probe_token", "probe_remote"} {
			if entry.Probe == "" && k.root.at(at...).get(key) != nil {
				k.wrong(at.key(key), "catalog.%s belongs to a probe; add probe = \"vllm:http://127.0.0.1:8000\"", key)
			}
		}
		if entry.Name == "" {
			k.nameless(entry, at)
		} else if entry.ID == "" && entry.Version == "" && entry.Revision == "" && entry.Digest == "" && entry.Weights == "" && entry.Probe == "" {
			k.wrong(at, "catalog entry %q names no version; give at least one of id, version, revision, digest, weights, probe", entry.Name)
		}
		if entry.Digest != "" && !digestPattern.MatchString(entry.Digest) {
			k.wrong(at.key("digest"), "catalog.digest %s", digestRule)
		}
		if entry.Weights != "" {
			k.absolute(at.key("weights"), "catalog.weights", entry.Weights)
		}
		identity, name := model{input: entry.Input, name: entry.Name}, at.key("name")
		if entry.Name == "" {
			identity.probe, name = entry.Target.String(), at.key("probe")
		}
		if first, twice := seen[identity]; twice && entry.Name == "" {
			k.wrong(name, "the server is asked already for this input: %s", k.root.at(first...).value.place())
		} else if twice {
			k.wrong(name, "model %q stands in the catalog already for this input: %s", entry.Name, k.root.at(first...).value.place())
		}
		seen[identity] = name
	}
}

// probe reads the server that is asked.
func (k *checker) probe(entry *CatalogEntry, at path) {
	target, err := probe.Parse(entry.Probe)
	if err != nil {
		k.wrong(at.key("probe"), "catalog.probe %s", err)
		return
	}
	if !target.Loopback() && !entry.ProbeRemote {
		k.wrong(at.key("probe"), "catalog.probe asks another host; add probe_remote = true if that is meant")
	}
	if target.Kind.ByName() && entry.Name == "" {
		k.wrong(at, "%s does not list its models: give the entry the name of one", target.Kind)
	}
	entry.Target = target
}

// nameless checks an entry about all that a server serves.
func (k *checker) nameless(entry *CatalogEntry, at path) {
	if entry.Probe == "" {
		k.wrong(at, `missing key "name" in catalog; add name = "…". Only an entry with a probe may be about every name that its server serves`)
		return
	}
	for _, key := range []string{"id", "version", "revision", "digest", "adapter", "config", "weights", "sensitivity", "owner", "ticket"} {
		if k.root.at(at...).get(key) != nil {
			k.wrong(at.key(key), "catalog.%s belongs to one model; add its name, or leave %[1]s out of an entry about every name that the server serves", key)
		}
	}
}

func (k *checker) data(inputs []string) {
	for i := range k.config.Data {
		entry, at := &k.config.Data[i], path{"data", i}
		k.knownInput(inputs, at.key("input"), entry.Input, "data")
		if entry.Version == "" && entry.Digest == "" {
			k.wrong(at, "data %q names no version; give version, digest or both", entry.ID)
		}
		if entry.Digest != "" && !digestPattern.MatchString(entry.Digest) {
			k.wrong(at.key("digest"), "data.digest %s", digestRule)
		}
		if _, err := pathpkg.Match(entry.Path, ""); err != nil {
			k.wrong(at.key("path"), `data.path: %q is not a pattern; a "[" must be closed, or written "\\["`, entry.Path)
		} else if entry.Path != "" && !strings.HasPrefix(entry.Path, "/") {
			k.wrong(at.key("path"), "data.path %q must start with a slash", entry.Path)
		}
	}
}

// knownInput checks that an input is configured; empty stands for all of them.
func (k *checker) knownInput(inputs []string, at path, input, where string) {
	if input != "" && !slices.Contains(inputs, input) && k.err == nil {
		k.err = unknown(k.root.at(at...).value, "input", input, " in "+where, inputs)
	}
}
