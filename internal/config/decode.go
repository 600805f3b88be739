package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decode fills a struct from a table, led by the struct's tags, so that a key
// exists exactly when a field for it does. what is the table's path for people.
func decode(into reflect.Value, from *node, what string) error {
	if from.kind != table {
		return from.value.errorf("%s must be a table, not %s", what, from.kind)
	}
	keys := keysOf(into.Type())
	for i, name := range from.names {
		child := from.items[i]
		path := keyPath(name)
		if what != "" {
			path = what + "." + path
		}
		index := slices.IndexFunc(keys, func(k key) bool { return k.name == name })
		if index < 0 {
			return unknownKey(child, name, what, path, keys)
		}
		if err := decodeValue(into.FieldByIndex(keys[index].field), child, path); err != nil {
			return err
		}
		if allowed := keys[index].oneof; allowed != nil {
			if err := oneOf(child, path, into.FieldByIndex(keys[index].field).String(), allowed); err != nil {
				return err
			}
		}
	}
	for _, k := range keys {
		if k.required && from.get(k.name) == nil {
			return from.key.errorf("missing key %q in %s; add %[1]s = %[3]s", k.name, what, placeholder(into.FieldByIndex(k.field).Type()))
		}
	}
	return nil
}

// key is a field of a configuration struct.
type key struct {
	name     string
	field    []int // index sequence, through embedded structs
	required bool
	secret   bool
	oneof    []string
}

// placeholder shows how a value of a type is written.
func placeholder(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[Parser]():
		return `"vllm"`
	case t.Kind() == reflect.Slice:
		return `["…"]`
	default:
		return `"…"`
	}
}

func keysOf(t reflect.Type) []key {
	var keys []key
	for i := range t.NumField() {
		field := t.Field(i)
		if field.Anonymous {
			for _, k := range keysOf(field.Type) {
				k.field = append([]int{i}, k.field...)
				keys = append(keys, k)
			}
			continue
		}
		name, options, _ := strings.Cut(field.Tag.Get("toml"), ",")
		if name == "-" {
			continue
		}
		k := key{name: name, field: field.Index, required: options == "required", secret: field.Type == reflect.TypeFor[Secret]()}
		if allowed := field.Tag.Get("oneof"); allowed != "" && field.Type.Kind() == reflect.String {
			k.oneof = strings.Fields(allowed)
		}
		keys = append(keys, k)
	}
	return keys
}

func decodeValue(into reflect.Value, from *node, what string) error {
	switch target := into.Addr().Interface().(type) {
	case *string:
		return decodeString(target, from, what)
	case *bool:
		if from.kind != boolean {
			return wrongKind(from, what, "true or false")
		}
		*target = from.text == "true"
		return nil
	case *int:
		return decodeCount(target, from, what)
	case *Size:
		return decodeText(target, from, what, `text such as "8MiB"`, parseSize)
	case *time.Duration:
		return decodeText(target, from, what, `text such as "30s" or "184d"`, ParseDuration)
	case *[]string:
		return decodeStrings(target, from, what)
	case *Retention:
		return decodeRetention(*target, from, what)
	case *Secret:
		return decodeSecret(target, from, what)
	case *[]FieldMap:
		return decodeFields(target, from, what)
	case *[]Constant:
		return decodeConstants(target, from, what)
	case *[]Expectation:
		return decodeExpectations(target, from, what)
	case *Parser:
		return decodeParser(target, from, what)
	}
	if into.Kind() == reflect.Slice {
		return decodeTables(into, from, what)
	}
	return decode(into, from, what)
}

// decodeTables appends the elements of an array of tables to a slice of structs.
func decodeTables(into reflect.Value, from *node, what string) error {
	if from.kind != tableArray && from.kind != array {
		return from.key.errorf("%s can stand more than once; write it as [[%[1]s]]", what)
	}
	for _, item := range from.items {
		element := newElement(into.Type().Elem())
		if err := decode(element, item, what); err != nil {
			return err
		}
		into.Set(reflect.Append(into, element))
	}
	return nil
}

// newElement returns an element of an array of tables with the defaults of its keys.
func newElement(of reflect.Type) reflect.Value {
	element := reflect.New(of).Elem()
	switch target := element.Addr().Interface().(type) {
	case *FileInput:
		target.Input, target.Start = defaultInput(), StartBeginning
		target.CloseAfter, target.Encoding, target.Wrapper = 5*time.Minute, "utf-8", WrapperNone
		target.Multiline = defaultMultiline()
	case *PipeInput:
		target.Input = defaultInput()
	case *JournaldInput:
		target.Input, target.Start = defaultInput(), StartBeginning
	case *SyslogInput:
		target.Input = defaultInput()
	case *HTTPInput:
		target.Input, target.MaxBody = defaultInput(), 16*MiB
	case *DataEntry:
		target.Role = "context"
	case *HTTPOutput:
		target.Timeout = time.Minute
	case *S3Output:
		target.Lock, target.Timeout = LockCompliance, time.Minute
	case *OTLPOutput:
		target.Timeout = time.Minute
	case *SyslogOutput:
		target.Format, target.MaxMessage, target.Timeout = "json", 8*KiB, time.Minute
	}
	return element
}

func defaultInput() Input { return Input{Retention: StandardClass, MaxLine: 4 * MiB} }

func defaultMultiline() Multiline { return Multiline{Timeout: 2 * time.Second, MaxLines: 500} }

func decodeString(into *string, from *node, what string) error {
	if from.kind != text {
		return wrongKind(from, what, "text in quotes")
	}
	if from.text == "" {
		return from.value.errorf("%s is empty; leave the key out or give it a value", what)
	}
	*into = from.text
	return nil
}

func decodeStrings(into *[]string, from *node, what string) error {
	switch {
	case from.kind == text:
		return from.value.errorf("%s must be an array; write [%q]", what, from.text)
	case from.kind != array:
		return wrongKind(from, what, "an array of text")
	case len(from.items) == 0:
		return from.value.errorf("%s is empty; leave the key out or give it a value", what)
	}
	for _, item := range from.items {
		var s string
		if err := decodeString(&s, item, "each value of "+what); err != nil {
			return err
		}
		*into = append(*into, s)
	}
	return nil
}

// decodeCount decodes a whole number that an int can hold on every system.
func decodeCount(into *int, from *node, what string) error {
	if from.kind != integer {
		return wrongKind(from, what, "a whole number")
	}
	count, err := strconv.ParseInt(strings.ReplaceAll(from.text, "_", ""), 0, 32)
	if err != nil {
		return from.value.errorf("%s: %s is too large", what, from.text)
	}
	*into = int(count)
	return nil
}

// decodeText decodes a value that is written as text.
func decodeText[T any](into *T, from *node, what, example string, read func(string) (T, error)) error {
	if from.kind != text {
		return wrongKind(from, what, example)
	}
	value, err := read(from.text)
	if err != nil {
		return from.value.errorf("%s: %s", what, err)
	}
	*into = value
	return nil
}

func decodeRetention(into Retention, from *node, what string) error {
	if from.kind != table {
		return wrongKind(from, what, "a table of classes and terms")
	}
	for i, class := range from.names {
		item, path := from.items[i], what+"."+quote(class)
		if !validName(class) {
			return item.key.errorf("retention class %q: %s, such as %q", class, nameRule, cleanName(class))
		}
		var term time.Duration
		if err := decodeText(&term, item, path, `text such as "184d" or "6y"`, ParseDuration); err != nil {
			return err
		}
		if term < time.Hour || term > 100*year {
			return item.value.errorf("%s must be between 1h and 100y", path)
		}
		into[class] = term
	}
	return nil
}

func decodeSecret(into *Secret, from *node, what string) error {
	const right = `{ file = "/path" }, { env = "NAME" } or { credential = "name" }`
	if from.kind != table {
		return from.key.errorf("%s is a secret and must not stand in the file; write %s", what, right)
	}
	if err := decode(reflect.ValueOf(into).Elem(), from, what); err != nil {
		return err
	}
	if len(from.names) != 1 {
		return from.value.errorf("%s must be exactly one of %s", what, right)
	}
	switch at := from.items[0]; {
	case into.File != "":
		return absolute(at, what+".file", into.File)
	case into.Env != "" && !envName.MatchString(into.Env):
		return at.value.errorf("%s.env must be the name of an environment variable: letters, digits and _", what)
	case into.Credential != "" && !credentialName.MatchString(into.Credential):
		return at.value.errorf("%s.credential must be the name of a systemd credential: letters, digits, dot, _ and -", what)
	}
	return nil
}

func wrongKind(from *node, what, want string) error {
	return from.value.errorf("%s must be %s, not %s", what, want, from.kind)
}

func oneOf(at *node, what, word string, allowed []string) error {
	if slices.Contains(allowed, word) {
		return nil
	}
	return unknown(at.value, "word", word, " for "+what, allowed)
}

func unknownKey(at *node, name, in, path string, keys []key) error {
	if hint := laterKey(path); hint != "" {
		return at.key.errorf("%s is not in this version; %s", path, hint)
	}
	known := make([]string, len(keys))
	for i, k := range keys {
		known[i] = k.name
	}
	where := ""
	if in != "" {
		where = " in " + in
	}
	place := at.key
	if near, found := Nearest(name, known); found && at.kind == text {
		i := slices.IndexFunc(keys, func(k key) bool { return k.name == near })
		if keys[i].secret {
			place = place.hide(at.value)
		}
	}
	if _, found := Nearest(name, known); !found {
		if homes := homesOf(reflect.TypeFor[Config](), "", name); len(homes) > 0 {
			return place.errorf("unknown key %q%s; it belongs under %s", name, where, strings.Join(homes, " or "))
		}
	}
	return unknown(place, "key", name, where, known)
}

// homesOf returns the headers of the tables in t that have a key of that name.
func homesOf(t reflect.Type, path, name string) (homes []string) {
	brackets := "[%s]"
	if t.Kind() == reflect.Slice {
		t, brackets = t.Elem(), "[[%s]]"
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for _, k := range keysOf(t) {
		if k.name == name && path != "" {
			homes = append(homes, fmt.Sprintf(brackets, path))
		}
		if k.secret {
			continue
		}
		homes = append(homes, homesOf(t.FieldByIndex(k.field).Type, strings.TrimPrefix(path+"."+k.name, "."), name)...)
	}
	return homes
}

// laterKey tells what to use instead of a key that a later version will have.
func laterKey(path string) string {
	switch path {
	case "outputs.elasticsearch", "outputs.kafka", "outputs.loki", "outputs.splunk":
		return "use outputs.otlp or outputs.syslog for a copy of the records"
	case "rule", "rules", "detect":
		return "leave it out"
	default:
		return ""
	}
}
