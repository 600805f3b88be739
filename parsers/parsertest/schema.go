package parsertest

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// Schema returns a check of a draft, as the record it becomes when the agent has
// added its part, against the published JSON Schema. The validator has nothing of
// ours in it: the table of fields that [audit.Validate] goes by cannot vouch for
// itself.
func Schema(t testing.TB) func(d *parsers.Draft) error {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(audit.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return func(d *parsers.Draft) error {
		record := whole(d)
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(record))
		if err == nil {
			err = schema.Validate(value)
		}
		if err != nil {
			return fmt.Errorf("record %s: %w", record, err)
		}
		return nil
	}
}
