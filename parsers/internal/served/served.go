// Package served remembers what the start banner of a model server says of itself
// and its model, for the records of the lines that follow. A banner is evidence
// for its own log only.
package served

import (
	"bytes"
	"cmp"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/pyrepr"
	"github.com/auditail/auditail/parsers/internal/state"
)

// maxText bounds what is remembered of a banner.
const maxText = 1024

// Model is what a banner said. The zero value says nothing.
type Model struct {
	Version  string // of the server
	Name     string // that callers use
	Source   string // what was loaded: a name of the Hugging Face hub or a directory
	Revision string
}

// Set stores a text of a banner, unless it is empty or too long to be true.
func Set(to *string, text string) {
	if text != "" && len(text) <= maxText {
		*to = text
	}
}

// Known tells whether the banner named a model.
func (m *Model) Known() bool { return m.Name != "" || m.Source != "" }

// Called returns the name that callers use. A server without a name for its model
// serves it under the name it was loaded by.
func (m *Model) Called() string { return cmp.Or(m.Name, m.Source) }

// Fill fills model.* of a model.* record whose line does not name another model.
func (m *Model) Fill(d *parsers.Draft) {
	r := &d.Record
	if !m.Known() || !bytes.HasPrefix(r.Text(audit.Event), []byte("model.")) {
		return
	}
	name := m.Called()
	if r.Has(audit.ModelName) && string(r.Text(audit.ModelName)) != name {
		return
	}
	r.SetString(audit.ModelName, name)
	if IsHubName(m.Source) {
		var buffer [128]byte
		r.SetText(audit.ModelID, append(append(buffer[:0], "hf:"...), m.Source...))
	}
	if IsCommit(m.Revision) {
		r.SetString(audit.ModelRevision, m.Revision)
	}
	r.SetString(audit.ModelBasis, "banner")
}

// Encode appends what was said to a snapshot.
func (m *Model) Encode(e *state.Encoder) {
	e.Text(m.Version)
	e.Text(m.Name)
	e.Text(m.Source)
	e.Text(m.Revision)
}

// Decode reads what Encode wrote.
func (m *Model) Decode(d *state.Decoder) {
	m.Version, m.Name, m.Source, m.Revision = d.Text(), d.Text(), d.Text(), d.Text()
}

// IsHubName accepts "mistralai/Mistral-Small", not "/models/x" or "./x/y".
func IsHubName(name string) bool {
	slashes := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c == '/':
			slashes++
		case !pyrepr.IsNameByte(c) && c != '-' && c != '.':
			return false
		}
	}
	return slashes == 1 && name[0] != '/' && name[0] != '.' && name[len(name)-1] != '/'
}

// IsCommit accepts 40 hex digits; a branch name is not an exact version.
func IsCommit(revision string) bool {
	if len(revision) != 40 {
		return false
	}
	for i := range len(revision) {
		if c := revision[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// IsVersion accepts "0.6.3.post1", "0.11.0", "0.9.2rc3.dev12+g1a2b3c".
func IsVersion(b []byte) bool {
	for _, c := range b {
		if !pyrepr.IsNameByte(c) && c != '.' && c != '+' && c != '-' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 64 && b[0] >= '0' && b[0] <= '9'
}
