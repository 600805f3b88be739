package config

import (
	"encoding/json"
	"reflect"
	"slices"
	"time"

	"github.com/auditail/auditail/audit"
)

// Schema returns the JSON Schema (2020-12) of a configuration file, for editors. It
// is made from the structs that Parse decodes into, so the two know the same keys.
// Parse refuses more: what one key means for another no schema says.
func Schema() []byte {
	s := schemaWriter{texts: descriptions()}
	root := s.object(reflect.ValueOf(*preset()))
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Configuration of auditail"
	root["$defs"] = map[string]any{
		"size":       map[string]any{"type": "string", "pattern": `^[0-9]+ *(B|KiB|MiB|GiB|TiB)?$`, "examples": []string{"8MiB"}},
		"duration":   map[string]any{"type": "string", "pattern": `^([0-9]+(ms|s|m|h|d|y))+$`, "examples": []string{"30s", "184d"}},
		"secret":     s.secret(),
		"parser":     s.parser(),
		"name":       map[string]any{"type": "string", "pattern": namePattern.String()},
		"absolute":   map[string]any{"type": "string", "pattern": `^(/|[A-Za-z]:[\\/]|\\\\)`},
		"digest":     map[string]any{"type": "string", "pattern": digestPattern.String()},
		"env":        map[string]any{"type": "string", "pattern": envName.String()},
		"credential": map[string]any{"type": "string", "pattern": credentialName.String()},
		"type":       map[string]any{"enum": parserTypes()},
		"layout":     map[string]any{"type": "string", "minLength": 1, "examples": append(fixedLayouts(), "2006-01-02 15:04:05.000")},
		"url":        map[string]any{"type": "string", "pattern": "^https?://"},
		"fields":     s.fields(),
		"set":        map[string]any{"type": "object", "propertyNames": recordFields(audit.ActorVerified.String()), "additionalProperties": constantSchema()},
		"records":    map[string]any{"type": "array", "items": map[string]any{"type": "object", "additionalProperties": constantSchema()}},
		"retention":  map[string]any{"type": "object", "propertyNames": map[string]any{"$ref": "#/$defs/name"}, "additionalProperties": map[string]any{"$ref": "#/$defs/duration"}},
	}
	data, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic("config: " + err.Error()) // maps, slices and scalars always encode
	}
	return append(data, '\n')
}

type schemaWriter struct{ texts map[string]string }

// object is the schema of a struct whose values are the defaults.
func (s *schemaWriter) object(v reflect.Value) map[string]any {
	properties, required := map[string]any{}, []string{}
	for _, k := range keysOf(v.Type()) {
		field := v.FieldByIndex(k.field)
		properties[k.name] = s.property(keyName(v.Type(), k), k, field)
		if k.required {
			required = append(required, k.name)
		}
	}
	object := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		object["required"] = required
	}
	return object
}

// keyName names a key by the struct that declares it: what every input has is
// described once.
func keyName(in reflect.Type, k key) string {
	if len(k.field) > 1 {
		in = in.FieldByIndex(k.field[:len(k.field)-1]).Type
	}
	return in.Name() + "." + k.name
}

// property is the schema of a key, with its text and its default.
func (s *schemaWriter) property(name string, k key, v reflect.Value) map[string]any {
	property := s.value(name, k, v)
	if text := description(s.texts, name, elementType(v.Type()).Name()); text != "" {
		property["description"] = text
	}
	if value, there := defaultOf(name, v); there {
		property["default"] = value
	}
	return property
}

// elementType is the struct that an array of tables has, or the type itself.
func elementType(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Slice {
		return t.Elem()
	}
	return t
}

// defaultOf returns the default of a key as the file would spell it. The host name
// is this host's and stands for no other.
func defaultOf(name string, v reflect.Value) (any, bool) {
	if v.IsZero() || name == "Agent.id" {
		return nil, false
	}
	if k := v.Kind(); k == reflect.Struct || k == reflect.Map || k == reflect.Slice {
		return nil, false
	}
	return plain(v), true
}

// formats are the definitions of texts that are more than text.
func formats() map[string]string {
	return map[string]string{
		"Agent.id": "name", "Input.name": "name", "Input.service": "name", "IgnoreRule.name": "name",
		"DirectoryOutput.name": "name", "HTTPOutput.name": "name", "S3Output.name": "name", "OTLPOutput.name": "name", "SyslogOutput.name": "name",
		"Agent.data_dir": "absolute", "PipeInput.path": "absolute", "JournaldInput.directory": "absolute",
		"DirectoryOutput.path": "absolute", "CatalogEntry.weights": "absolute",
		"FileInput.paths": "absolute", "FileInput.rotated": "absolute",
		"HTTPOutput.ca_file": "absolute", "HTTPOutput.cert_file": "absolute", "HTTPOutput.key_file": "absolute",
		"S3Output.ca_file": "absolute", "S3Output.cert_file": "absolute", "S3Output.key_file": "absolute",
		"OTLPOutput.ca_file": "absolute", "OTLPOutput.cert_file": "absolute", "OTLPOutput.key_file": "absolute",
		"SyslogOutput.ca_file": "absolute", "SyslogOutput.cert_file": "absolute", "SyslogOutput.key_file": "absolute",
		"CatalogEntry.digest": "digest", "DataEntry.digest": "digest",
		"Secret.file": "absolute", "Secret.env": "env", "Secret.credential": "credential",
		"Parser.type": "type", "Parser.time_layout": "layout",
		"HTTPOutput.url": "url", "OTLPOutput.url": "url", "S3Output.endpoint": "url", "Witness.url": "url",
	}
}

func (s *schemaWriter) value(name string, k key, v reflect.Value) map[string]any {
	format := formats()[name]
	switch v.Interface().(type) {
	case time.Duration:
		return reference("duration")
	case Size:
		return reference("size")
	case Secret:
		return reference("secret")
	case Parser:
		return reference("parser")
	case Retention:
		return reference("retention")
	case []FieldMap:
		return reference("fields")
	case []Constant:
		return reference("set")
	case []Expectation:
		return reference("records")
	case []string:
		items := map[string]any{"type": "string", "minLength": 1}
		if format != "" {
			items = reference(format)
		}
		return map[string]any{"type": "array", "minItems": 1, "items": items}
	}
	switch v.Kind() { //nolint:exhaustive // the kinds that configuration has
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int:
		return map[string]any{"type": "integer", "minimum": 0}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": s.object(newElement(v.Type().Elem()))}
	case reflect.Struct:
		return s.object(v)
	}
	switch {
	case k.oneof != nil:
		return map[string]any{"enum": k.oneof}
	case format != "":
		return reference(format)
	default:
		return map[string]any{"type": "string", "minLength": 1}
	}
}

func reference(name string) map[string]any { return map[string]any{"$ref": "#/$defs/" + name} }

// secret has exactly one of its keys.
func (s *schemaWriter) secret() map[string]any {
	object := s.object(reflect.ValueOf(Secret{}))
	object["minProperties"], object["maxProperties"] = 1, 1
	object["description"] = s.texts["Secret"]
	return object
}

// parser is the name of a preset, or a table.
func (s *schemaWriter) parser() map[string]any {
	table := s.object(reflect.ValueOf(Parser{}))
	needs := func(word string, keys ...string) map[string]any {
		return map[string]any{
			"if":   map[string]any{"properties": map[string]any{"type": map[string]any{"const": word}}, "required": []string{"type"}},
			"then": map[string]any{"required": append(keys, "fields")},
		}
	}
	table["allOf"] = []any{
		needs(ParserJSON), needs(ParserLogfmt), needs(ParserSyslog), needs(ParserRegex, "patterns"), needs(ParserCSV, "columns"),
	}
	return map[string]any{"oneOf": []any{map[string]any{"enum": Presets()}, table}, "description": s.texts["Parser"]}
}

// fields are record fields by name, each with where it comes from.
func (s *schemaWriter) fields() map[string]any {
	path := []any{
		map[string]any{"type": "string", "minLength": 1},
		map[string]any{"type": "array", "minItems": 1, "maxItems": maxSegments, "items": map[string]any{"type": "string", "minLength": 1}},
	}
	source := map[string]any{
		"type": "object", "additionalProperties": false, "required": []string{"from"},
		"properties": map[string]any{
			"from":   map[string]any{"oneOf": path, "description": "Path of the source field: dotted, or its parts."},
			"layout": map[string]any{"type": "string", "minLength": 1, "description": "How a time is written; of usage.duration_ms its unit: s, ms, us or ns."},
			"values": map[string]any{"type": "object", "additionalProperties": constantSchema(), "description": "What the source says = what the record says; anything else is dropped."},
		},
	}
	return map[string]any{
		"type": "object", "minProperties": 1, "propertyNames": recordFields("input", "output"),
		"additionalProperties": map[string]any{"oneOf": append(slices.Clone(path), source)},
	}
}

// recordFields are the names of record fields that a line may fill, and more.
func recordFields(more ...string) map[string]any {
	for _, member := range dataMembers() {
		more = append(more, "data."+member)
	}
	for _, field := range audit.Fields() {
		if name := field.String(); mappable(name) {
			more = append(more, name)
		}
	}
	slices.Sort(more)
	return map[string]any{"anyOf": []any{map[string]any{"pattern": extraField.String()}, map[string]any{"enum": slices.Compact(more)}}}
}

func constantSchema() map[string]any {
	return map[string]any{"type": []string{"string", "number", "boolean", "array"}}
}
