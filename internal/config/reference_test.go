package config

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const referenceFile = "../../configs/README.md"

const referenceHead = "<!-- generated: go test ./internal/config -run Reference -update -->\n\n" + `# Configuration

One file in TOML, ` + "`/etc/auditail/auditail.toml`" + `, and the files ` + "`conf.d/*.toml`" + ` beside it in
the order of their names: tables are merged, arrays of tables are appended, and any
other key may stand in one file only. An unknown key, a wrong type or a bad value is
one message with file, line, excerpt and remedy; nothing is guessed. Text is taken as
it is: there is no ` + "`${VAR}`" + `. Sizes and durations are text: ` + "`\"8MiB\"`, `\"30s\"`, `\"184d\"`" + `
(units B, KiB, MiB, GiB, TiB; ms, s, m, h, d, y). A file or key that others may write is
refused.

| command | does |
|---|---|
| ` + "`auditail config init`" + ` | looks for logs on this host and writes a commented file for them |
| ` + "`auditail check`" + ` | says what is wrong with a file, with permissions, certificates and outputs |
| ` + "`auditail config show`" + ` | prints the effective configuration, every default written out |
| ` + "`auditail config schema`" + ` | prints a JSON Schema: editors with TOML support complete and explain keys by it |

| sample | for |
|---|---|
`

const referenceKeys = `
Below is every key. **Bold** keys must be set; of the others the default is given.
Parsers and their presets: [parsers](../parsers); [parsers.toml](parsers.toml) shows
field maps.
`

// The reference is made from the structs that the agent decodes into, so it can not
// be out of date: a difference fails, and -update mends it.
func TestReference(t *testing.T) {
	text := madeReference(t)
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(referenceFile, []byte(text), 0o644); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
	}
	there, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(there), text); diff != "" {
		t.Errorf("configs/README.md is out of date; go test ./internal/config -run Reference -update writes it (-file +made):\n%s", diff)
	}
}

func madeReference(t *testing.T) string {
	t.Helper()
	w := referenceWriter{texts: descriptions()}
	w.text.WriteString(referenceHead)
	samples, err := os.ReadDir("../../configs")
	if err != nil {
		t.Fatal(err)
	}
	for _, sample := range samples {
		if name := sample.Name(); strings.HasSuffix(name, ".toml") {
			fmt.Fprintf(&w.text, "| [%s](%[1]s) | %s |\n", name, firstSentence(t, "../../configs/"+name))
		}
	}
	w.text.WriteString(referenceKeys)
	w.table("", reflect.ValueOf(*preset()), "")
	for _, shared := range []struct {
		header string
		value  any
	}{{"A parser", Parser{}}, {"An ignore rule", IgnoreRule{}}, {"A secret", Secret{}}} {
		v := reflect.ValueOf(shared.value)
		fmt.Fprintf(&w.text, "\n## %s\n\n%s\n", shared.header, w.texts[v.Type().Name()])
		w.keys(v)
	}
	return w.text.String()
}

// firstSentence is what a sample says of itself.
func firstSentence(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for line := range strings.Lines(string(data)) {
		said, comment := strings.CutPrefix(strings.TrimSpace(line), "## ")
		if !comment {
			break
		}
		words = append(words, said)
		if strings.HasSuffix(said, ".") {
			break
		}
	}
	sentence, _, _ := strings.Cut(strings.Join(words, " "), ". ")
	if sentence == "" {
		t.Errorf("%s does not begin with a line of ## that says what it is for", name)
	}
	return strings.TrimSuffix(sentence, ".")
}

type referenceWriter struct {
	texts map[string]string
	text  strings.Builder
}

// table writes the keys of a table, and then the tables in it.
func (w *referenceWriter) table(path string, v reflect.Value, header string) {
	if path != "" {
		fmt.Fprintf(&w.text, "\n## %s\n", header)
		if text := w.texts[v.Type().Name()]; text != "" {
			fmt.Fprintf(&w.text, "\n%s\n", text)
		}
		w.keys(v)
	}
	if path == "" {
		w.text.WriteString("\n## At the top of the file\n")
		w.keys(v)
	}
	for _, k := range keysOf(v.Type()) {
		field := v.FieldByIndex(k.field)
		name := strings.TrimPrefix(path+"."+k.name, ".")
		switch {
		case !isTable(field.Type()):
		case field.Kind() == reflect.Map:
			fmt.Fprintf(&w.text, "\n## `[%s]`\n\n%s\n", name, w.texts["Retention"])
		case field.Kind() == reflect.Slice:
			w.table(name, newElement(field.Type().Elem()), "`[["+name+"]]`")
		default:
			w.table(name, field, "`["+name+"]`")
		}
	}
}

// isTable tells whether a key opens a table that is described on its own.
func isTable(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[Secret](), reflect.TypeFor[Parser](), reflect.TypeFor[[]IgnoreRule](), reflect.TypeFor[[]FieldMap](), reflect.TypeFor[[]Constant](), reflect.TypeFor[[]Expectation]():
		return false
	}
	return t.Kind() == reflect.Struct || t.Kind() == reflect.Map || t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct
}

func (w *referenceWriter) keys(v reflect.Value) {
	rows := 0
	for _, k := range keysOf(v.Type()) {
		field := v.FieldByIndex(k.field)
		if isTable(field.Type()) && v.Type().Name() != "FileInput" {
			continue
		}
		if rows++; rows == 1 {
			w.text.WriteString("\n| key | value | default | meaning |\n|---|---|---|---|\n")
		}
		name := keyName(v.Type(), k)
		label, standard := "`"+k.name+"`", ""
		if k.required {
			label = "**" + label + "**"
		}
		if value, there := defaultOf(name, field); there {
			standard = fmt.Sprintf("`%v`", value)
		}
		text := description(w.texts, name, elementType(field.Type()).Name())
		fmt.Fprintf(&w.text, "| %s | %s | %s | %s |\n", label, valueWords(k, field), standard, text)
	}
}

// valueWords says how a value is written.
func valueWords(k key, v reflect.Value) string {
	if k.oneof != nil {
		words := make([]string, len(k.oneof))
		for i, word := range k.oneof {
			words[i] = "`" + word + "`"
		}
		return strings.Join(words, ", ")
	}
	switch v.Interface().(type) {
	case time.Duration:
		return "duration"
	case Size:
		return "size"
	case Secret:
		return "[secret](#a-secret)"
	case Parser:
		return "[parser](#a-parser)"
	case []IgnoreRule:
		return "[ignore rules](#an-ignore-rule)"
	case []string:
		return "array of text"
	case []FieldMap, []Constant:
		return "table"
	case []Expectation:
		return "array of tables"
	}
	switch v.Kind() {
	case reflect.Bool:
		return "`true`, `false`"
	case reflect.Int:
		return "number"
	case reflect.Slice:
		return "array of tables"
	case reflect.Struct:
		return "table"
	default:
		return "text"
	}
}
