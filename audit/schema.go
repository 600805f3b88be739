package audit

import (
	"crypto/sha256"
	_ "embed" // the schema
	"encoding/hex"
)

// schema is generated from the table by `go test ./audit -update`.
//
//go:embed schema.json
var schema string

// Schema returns the JSON Schema (2020-12) of a record. The caller owns the bytes.
func Schema() []byte { return []byte(schema) }

// SchemaDigest returns the SHA-256 of the schema as manifests name it, "sha256:<hex>".
func SchemaDigest() string {
	sum := sha256.Sum256([]byte(schema))
	return "sha256:" + hex.EncodeToString(sum[:])
}
