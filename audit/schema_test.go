package audit_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/auditail/auditail/audit"
)

var update = flag.Bool("update", false, "write schema.json anew")

type object = map[string]any

// TestSchemaIsGenerated keeps schema.json equal to what the table of fields says.
func TestSchemaIsGenerated(t *testing.T) {
	var want bytes.Buffer
	encoder := json.NewEncoder(&want)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(schemaOfTable()); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("schema.json", want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(audit.Schema(), want.Bytes()) {
		t.Error("schema.json differs from the table; run go test ./audit -update")
	}
}

func schemaOfTable() object {
	properties, required := object{}, map[string][]string{}
	for _, f := range audit.Fields() {
		group, name, nested := strings.Cut(f.String(), ".")
		if !nested {
			properties[group] = schemaOfField(f)
			if f.Def().Required {
				required[""] = append(required[""], group)
			}
			continue
		}
		if properties[group] == nil {
			properties[group] = object{"type": "object", "properties": object{}, "additionalProperties": object{"$ref": "#/$defs/known"}}
		}
		properties[group].(object)["properties"].(object)[name] = schemaOfField(f)
		if f.Def().Required {
			required[group] = append(required[group], name)
		}
	}
	agent := properties["agent"].(object)
	agent["properties"].(object)["seq"] = object{"type": "integer", "minimum": 0}
	required["agent"] = append(required["agent"], "seq")
	for group, names := range required {
		if group != "" {
			properties[group].(object)["required"] = names
			required[""] = append(required[""], group)
		}
	}
	top := required[""]
	slices.Sort(top)
	properties["quality"] = object{"type": "array", "items": object{"enum": audit.QualityNames()}}
	return object{
		"$schema":              "https://json-schema.org/draft/2020-12/schema",
		"$id":                  "https://github.com/auditail/auditail/audit/schema.json",
		"title":                audit.SchemaID,
		"type":                 "object",
		"properties":           properties,
		"required":             top,
		"additionalProperties": object{"$ref": "#/$defs/known"},
		"allOf":                audit.SchemaConditions(),
		"$defs": object{
			"known": object{
				"description": "Any value that holds no null and no empty text: what is unknown is left out.",
				"anyOf": []any{
					object{"type": "string", "minLength": 1},
					object{"type": []string{"number", "boolean"}},
					object{"type": "array", "items": object{"$ref": "#/$defs/known"}},
					object{"type": "object", "additionalProperties": object{"$ref": "#/$defs/known"}},
				},
			},
		},
	}
}

func schemaOfField(f audit.Field) object {
	def := f.Def()
	text := object{"type": "string", "minLength": 1}
	known := object{"type": "object", "additionalProperties": object{"$ref": "#/$defs/known"}}
	switch def.Kind {
	case audit.KindEnum:
		return object{"enum": def.Values}
	case audit.KindTime:
		return object{"type": "string", "format": "date-time", "pattern": `^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$`}
	case audit.KindInt:
		switch f {
		case audit.SchemaVersion:
			return object{"const": audit.Version}
		case audit.Severity:
			return object{"type": "integer", "minimum": 1, "maximum": 5}
		default:
			return object{"type": "integer"}
		}
	case audit.KindNumber:
		return object{"type": "number"}
	case audit.KindBool:
		return object{"type": "boolean"}
	case audit.KindStrings:
		return object{"type": "array", "items": text}
	case audit.KindJSON:
		switch def.Shape {
		case audit.Objects:
			return object{"type": "array", "items": known}
		case audit.MapInt:
			return object{"type": "object", "additionalProperties": object{"type": "integer"}}
		case audit.MapText:
			return object{"type": "object", "additionalProperties": text}
		default:
			return known
		}
	default:
		return schemaOfText(f, text)
	}
}

func schemaOfText(f audit.Field, text object) object {
	switch f {
	case audit.Event:
		return object{"enum": audit.Events()}
	case audit.ID:
		return object{"type": "string", "pattern": "^[a-z2-7]{26}$"}
	case audit.Salt:
		return object{"type": "string", "pattern": "^[A-Za-z0-9_-]{11}$"}
	default:
		return text
	}
}

// compiled is the schema as a validator that has nothing of ours in it.
func compiled(t testing.TB) *jsonschema.Schema {
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
	return schema
}

func conforms(t testing.TB, schema *jsonschema.Schema, line []byte) error {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return schema.Validate(document)
}
