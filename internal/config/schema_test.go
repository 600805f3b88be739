package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/auditail/auditail/internal/config"
)

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(config.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("auditail.schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("auditail.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// conforms holds a file against the schema, as an editor does.
func conforms(schema *jsonschema.Schema, text []byte) error {
	var tree map[string]any
	if err := toml.Unmarshal(text, &tree); err != nil {
		return err
	}
	data, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return schema.Validate(document)
}

// What the agent accepts, the schema accepts: an editor marks no good file.
func TestSchemaAcceptsGoodFiles(t *testing.T) {
	schema := compiledSchema(t)
	for _, pattern := range []string{"testdata/good/*.toml", "../../configs/*.toml"} {
		each(t, pattern, 3, func(t *testing.T, file string, data []byte) {
			if strings.HasPrefix(filepath.Base(file), "auditail-server") {
				return // of another program
			}
			if err := conforms(schema, data); err != nil {
				t.Error(err)
			}
		})
	}
}

// The golden file says which broken files the schema refuses too. Those it accepts
// break a rule between two keys, or one that only the system knows.
func TestSchemaRefusesBrokenFiles(t *testing.T) {
	schema := compiledSchema(t)
	files, err := filepath.Glob("testdata/bad/*.toml")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, file := range files {
		verdict := "refused"
		if conforms(schema, readFile(t, file)) == nil {
			verdict = "accepted"
		}
		fmt.Fprintf(&text, "%-8s %s\n", verdict, strings.TrimSuffix(filepath.Base(file), ".toml"))
	}
	golden(t, "testdata/schema.golden", text.String())
}
