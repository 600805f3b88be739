package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"time"
)

// JSON returns the effective configuration: the keys of the file, sorted,
// without spaces. A secret is shown as where it lies, never as its value.
func (c *Config) JSON() []byte {
	data, err := json.Marshal(plain(reflect.ValueOf(*c)))
	if err != nil {
		panic("config: " + err.Error()) // maps, slices and scalars always encode
	}
	return data
}

// Digest returns "sha256:" and the hexadecimal SHA-256 of what JSON returns.
func (c *Config) Digest() string {
	sum := sha256.Sum256(c.JSON())
	return "sha256:" + hex.EncodeToString(sum[:])
}

// InputDigest is a digest of all that makes an input what it is: its table and
// what the file says for all inputs about content and people. Two configurations
// with the same one have the same input; the model catalog is apart.
func (c *Config) InputDigest(name string) string {
	return partDigest(named(reflect.ValueOf(c.Inputs), name), c.Capture, c.Identity, c.Zone)
}

// OutputDigest is that of an output; the terms of retention are part of it.
func (c *Config) OutputDigest(name string) string {
	return partDigest(named(reflect.ValueOf(c.Outputs), name), c.Retention)
}

// WitnessDigest is that of the witnesses and of how many of them must agree.
func (c *Config) WitnessDigest() string { return partDigest(c.Witness, c.Agent.WitnessQuorum) }

// named returns the kind and the table of a name among lists of tables.
func named(lists reflect.Value, name string) any {
	for _, k := range keysOf(lists.Type()) {
		list := lists.FieldByIndex(k.field)
		for i := range list.Len() {
			if list.Index(i).FieldByName("Name").String() == name {
				return map[string]any{k.name: list.Index(i).Interface()}
			}
		}
	}
	return map[string]any{}
}

func partDigest(parts ...any) string {
	h := sha256.New()
	for _, part := range parts {
		data, err := json.Marshal(plain(reflect.ValueOf(part)))
		if err != nil {
			panic("config: " + err.Error()) // as JSON
		}
		h.Write(append(data, '\n'))
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// plain turns configuration into maps, slices and scalars under the keys of the
// file, and leaves out what is not set.
func plain(v reflect.Value) any {
	switch value := v.Interface().(type) {
	case time.Duration:
		return durationText(value)
	case Size:
		return value.String()
	}
	switch v.Kind() {
	case reflect.Struct:
		object := map[string]any{}
		for _, k := range keysOf(v.Type()) {
			if field := v.FieldByIndex(k.field); !field.IsZero() {
				object[k.name] = plain(field)
			}
		}
		return object
	case reflect.Map:
		object := map[string]any{}
		for entries := v.MapRange(); entries.Next(); {
			object[entries.Key().String()] = plain(entries.Value())
		}
		return object
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plain(v.Index(i))
		}
		return list
	case reflect.Interface:
		return plain(v.Elem())
	default:
		return v.Interface()
	}
}
