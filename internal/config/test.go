package config

import (
	"slices"
	"strings"

	"github.com/auditail/auditail/audit"
)

// Test says what the parser of an input makes of sample lines. `auditail check`
// runs it; `auditail run` does not.
type Test struct {
	Name     string        `toml:"name,required"`
	Input    string        `toml:"input,required"`
	Lines    []string      `toml:"lines,required"`
	Records  []Expectation `toml:"records"`  // of the records, in their order; as many as there have to be
	Unparsed int           `toml:"unparsed"` // lines that have to stay unparsed
	Ignored  int           `toml:"ignored"`  // lines that have to be ignored
}

// Expectation says what has to stand in a record, by field. A field that it does
// not name may hold anything.
type Expectation []Expected

// Expected is one field of a record.
type Expected struct {
	Field string // path of a record field, or "extra.<name>"
	Value any    // as of Constant; the empty text: the field is absent
}

// decodeExpectations reads an array of tables of "record field" = value.
func decodeExpectations(into *[]Expectation, from *node, what string) error {
	if from.kind != tableArray && from.kind != array {
		return from.key.errorf("%s can stand more than once; write it as [[%[1]s]]", what)
	}
	for _, item := range from.items {
		if item.kind != table {
			return wrongKind(item, what, `tables such as { "actor.id" = "ann" }`)
		}
		var want Expectation
		for i, name := range item.names {
			value, err := expectedValue(item.items[i], name, what+"."+quote(name))
			if err != nil {
				return err
			}
			want = append(want, Expected{Field: name, Value: value})
		}
		*into = append(*into, want)
	}
	return nil
}

func expectedValue(from *node, name, what string) (any, error) {
	if from.kind == table && !strings.Contains(name, ".") {
		return nil, from.key.errorf("a record field with a dot must stand in quotes, such as %q", name+"."+strings.Join(from.names[:min(1, len(from.names))], ""))
	}
	if _, known := audit.Lookup(name); !known && !extraField.MatchString(name) {
		return nil, unknownField(from, name)
	}
	switch from.kind {
	case text:
		return from.text, nil
	case integer, number, boolean:
		return scalar(from, what)
	case array:
		var list []string
		err := decodeStrings(&list, from, what)
		return list, err
	default:
		return nil, wrongKind(from, what, "text, a number, true, false or an array of text")
	}
}

// tests checks that each test has something to run and to expect.
func (k *checker) tests(inputs []string) {
	seen := map[string]path{}
	for i := range k.config.Tests {
		t, at := &k.config.Tests[i], path{"test", i}
		k.unique(seen, at.key("name"), "a test named", t.Name)
		if !slices.Contains(inputs, t.Input) {
			k.wrong(at.key("input"), "test.input %q is the name of no input; there are %s", t.Input, strings.Join(inputs, ", "))
		}
		for j, line := range t.Lines {
			if strings.ContainsAny(line, "\r\n") {
				k.wrong(append(at.key("lines"), j), "each of test.lines is one line; write the next as an element of its own")
			}
		}
		if len(t.Records) == 0 && t.Unparsed == 0 && t.Ignored == 0 {
			k.wrong(at, "the test %q expects nothing; add [[test.records]], unparsed or ignored", t.Name)
		}
	}
}
