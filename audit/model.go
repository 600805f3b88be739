package audit

import (
	"crypto/sha256"
	"encoding/hex"
)

// Model is what makes one exact model version: an entry of the model catalog.
// Empty members are unknown.
type Model struct {
	Provider string // "vllm", "ollama", or a provider name of OpenTelemetry
	ID       string // canonical identity, "hf:meta-llama/Llama-3.1-8B-Instruct"
	Version  string // for people
	Revision string // immutable revision of the source
	Digest   string // of the weights, with its prefix
	Adapter  string // LoRA or other adapter: name and digest
	Config   string // digest of the serving settings that change output
}

// Ref returns model.ref, the name of the entry: "m_" and the first 32 hex
// digits of the SHA-256 over its JSON with sorted keys, unknown members left
// out. Equal models have equal refs on every host.
func (m *Model) Ref() string {
	members := [...]struct{ name, value string }{
		{"adapter", m.Adapter},
		{"config", m.Config},
		{"digest", m.Digest},
		{"id", m.ID},
		{"provider", m.Provider},
		{"revision", m.Revision},
		{"version", m.Version},
	}
	text := []byte{'{'}
	for _, member := range members {
		if member.value == "" {
			continue
		}
		if len(text) > 1 {
			text = append(text, ',')
		}
		text = append(AppendString(text, member.name), ':')
		text = AppendString(text, member.value)
	}
	sum := sha256.Sum256(append(text, '}'))
	return "m_" + hex.EncodeToString(sum[:16])
}
