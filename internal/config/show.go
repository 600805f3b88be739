package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/auditail/auditail/audit"
)

// TOML returns the effective configuration as a file that has it in full: Parse
// reads it back to the same Digest. A secret is shown as where it lies, never as
// its value. Warnings and comments are not part of it.
func (c *Config) TOML() string {
	var w tomlWriter
	w.table("", reflect.ValueOf(*c), reflect.ValueOf(*preset()))
	return strings.TrimLeft(w.text.String(), "\n")
}

// tomlWriter writes tables in the order of the structs.
type tomlWriter struct{ text strings.Builder }

// table writes the values of a struct, then the tables in it. What is not set is left
// out, unless the default is something.
func (w *tomlWriter) table(path string, v, defaults reflect.Value) {
	var values, tables []key
	for _, k := range keysOf(v.Type()) {
		switch field := v.FieldByIndex(k.field); {
		case field.IsZero() && defaults.FieldByIndex(k.field).IsZero() || field.Interface() == any(defaultMultiline()): // the latter alone would be refused: it joins nothing
		case opensTable(field):
			tables = append(tables, k)
		default:
			values = append(values, k)
		}
	}
	width := 0
	for _, k := range values {
		width = max(width, len(k.name))
	}
	for _, k := range values {
		fmt.Fprintf(&w.text, "%-*s = %s\n", width, k.name, tomlValue(v.FieldByIndex(k.field)))
	}
	for _, k := range tables {
		name := k.name
		if path != "" {
			name = path + "." + k.name
		}
		w.tables(name, v.FieldByIndex(k.field), defaults.FieldByIndex(k.field))
	}
}

// opensTable tells whether a value is written under a header of its own.
func opensTable(v reflect.Value) bool {
	switch v.Interface().(type) {
	case Secret, []FieldMap, []Constant, []Expectation:
		return false
	case Parser:
		return len(keysSet(v)) > 1
	}
	switch v.Kind() {
	case reflect.Struct, reflect.Map:
		return true
	case reflect.Slice:
		return v.Type().Elem().Kind() == reflect.Struct
	default:
		return false
	}
}

// keysSet returns the keys of a struct that are set.
func keysSet(v reflect.Value) []key {
	return slices.DeleteFunc(keysOf(v.Type()), func(k key) bool { return v.FieldByIndex(k.field).IsZero() })
}

func (w *tomlWriter) tables(name string, v, defaults reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			fmt.Fprintf(&w.text, "\n[[%s]]\n", name)
			w.table(name, v.Index(i), newElement(v.Type().Elem()))
		}
	case reflect.Map:
		fmt.Fprintf(&w.text, "\n[%s]\n", name)
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			fmt.Fprintf(&w.text, "%s = %s\n", quote(k.String()), tomlValue(v.MapIndex(k)))
		}
	default:
		// A header only where values stand: [inputs] alone says nothing.
		if slices.ContainsFunc(keysSet(v), func(k key) bool { return !opensTable(v.FieldByIndex(k.field)) }) {
			fmt.Fprintf(&w.text, "\n[%s]\n", name)
		}
		w.table(name, v, defaults)
	}
}

// tomlValue spells a value on one line.
func tomlValue(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case time.Duration:
		return tomlText(durationText(value))
	case Size:
		return tomlText(value.String())
	case string:
		return tomlText(value)
	case Parser:
		return tomlText(value.Type)
	case Secret:
		k := keysSet(v)[0]
		return fmt.Sprintf("{ %s = %s }", k.name, tomlText(v.FieldByIndex(k.field).String()))
	case []FieldMap:
		return inline(value, func(f FieldMap) string { return tomlText(f.Field) + " = " + fieldText(f) })
	case []Constant:
		return inline(value, func(c Constant) string { return tomlText(c.Field) + " = " + tomlValue(reflect.ValueOf(c.Value)) })
	case []Expectation:
		return list(value, func(e Expectation) string {
			return inline(e, func(x Expected) string { return tomlText(x.Field) + " = " + tomlValue(reflect.ValueOf(x.Value)) })
		})
	case []string:
		return list(value, tomlText)
	default:
		data, err := json.Marshal(value) // numbers, true and false are alike in both
		if err != nil {
			panic("config: " + err.Error())
		}
		return string(data)
	}
}

// fieldText spells the source of a field. The path is written as an array: its
// parts may hold dots.
func fieldText(f FieldMap) string {
	from := list(f.From, tomlText)
	if f.Layout == "" && len(f.Values) == 0 {
		return from
	}
	text := "{ from = " + from
	if f.Layout != "" {
		text += ", layout = " + tomlText(f.Layout)
	}
	if len(f.Values) > 0 {
		var sources []string
		for source := range f.Values {
			sources = append(sources, source)
		}
		slices.Sort(sources)
		text += ", values = " + inline(sources, func(s string) string { return tomlText(s) + " = " + valueText(f, f.Values[s]) })
	}
	return text + " }"
}

func inline[T any](values []T, text func(T) string) string {
	if len(values) == 0 {
		return "{}"
	}
	return "{ " + joined(values, text) + " }"
}

func list[T any](values []T, text func(T) string) string { return "[" + joined(values, text) + "]" }

func joined[T any](values []T, text func(T) string) string {
	parts := make([]string, len(values))
	for i, value := range values {
		parts[i] = text(value)
	}
	return strings.Join(parts, ", ")
}

// tomlText spells a basic string (TOML 1.0, "String").
func tomlText(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08X`, r)
		default:
			fmt.Fprintf(&b, `\u%04X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// valueText spells what a value of the source is translated to, as the kind of the
// record field wants it.
func valueText(f FieldMap, value string) string {
	field, known := audit.Lookup(f.Field)
	if !known {
		return tomlText(value)
	}
	switch field.Def().Kind {
	case audit.KindInt, audit.KindNumber, audit.KindBool:
		return value
	default:
		return tomlText(value)
	}
}
