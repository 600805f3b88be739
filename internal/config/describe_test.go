package config

import (
	"reflect"
	"testing"
)

// structs visits every struct under a type that stands for a table, once.
func structs(t reflect.Type, visit func(reflect.Type)) {
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(t reflect.Type) {
		switch t { // they have forms of their own in the file
		case reflect.TypeFor[[]FieldMap](), reflect.TypeFor[[]Constant](), reflect.TypeFor[[]Expectation]():
			return
		}
		for t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || seen[t] {
			return
		}
		seen[t] = true
		visit(t)
		for _, k := range keysOf(t) {
			walk(t.FieldByIndex(k.field).Type)
		}
	}
	walk(t)
}

// Every key has a text, and every text a key.
func TestDescriptions(t *testing.T) {
	texts := descriptions()
	used := map[string]bool{}
	structs(reflect.TypeFor[Config](), func(s reflect.Type) {
		used[s.Name()] = true
		for _, k := range keysOf(s) {
			name, table := keyName(s, k), elementType(s.FieldByIndex(k.field).Type).Name()
			used[name], used[table] = true, true
			if description(texts, name, table) == "" {
				t.Errorf("describe.go: %s has no text", name)
			}
		}
	})
	for name := range texts {
		if !used[name] {
			t.Errorf("describe.go: %s is no key and no table", name)
		}
	}
	for name := range formats() {
		if !used[name] {
			t.Errorf("schema.go: formats names %s, which is no key", name)
		}
	}
}
