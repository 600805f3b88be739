package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/auditail/auditail/audit"
)

// maxSegments bounds the path of a source field.
const maxSegments = 32

func decodeParser(into *Parser, from *node, what string) error {
	if from.kind == text {
		into.Type = from.text
		if slices.Contains(mappedParsers(), into.Type) {
			return from.value.errorf(`parser %q needs a field map; write a table [%s] with type = %[1]q and fields`, into.Type, what)
		}
		return checkParserType(from, into.Type)
	}
	if from.kind != table {
		return wrongKind(from, what, `the name of a parser such as "vllm", or a table with a type`)
	}
	if err := decode(reflect.ValueOf(into).Elem(), from, what); err != nil {
		return err
	}
	if err := checkParserType(from.get("type"), into.Type); err != nil {
		return err
	}
	if err := checkParserKeys(into.Type, from); err != nil {
		return err
	}
	if !slices.Contains(mappedParsers(), into.Type) {
		return nil
	}
	if len(into.Fields) == 0 {
		return from.key.errorf(`%s of type %q needs a table fields, such as "actor.id" = "user"`, what, into.Type)
	}
	if err := settleFields(into, from, what); err != nil {
		return err
	}
	switch into.Type {
	case ParserRegex:
		return checkPatterns(into, from, what)
	case ParserCSV:
		return checkColumns(into, from, what)
	case ParserSyslog:
		return checkParts(into, from)
	}
	return nil
}

// checkParserKeys refuses keys that belong to another type.
func checkParserKeys(word string, from *node) error {
	for _, option := range []struct {
		key string
		of  []string
	}{
		{"fields", mappedParsers()},
		{"set", mappedParsers()},
		{"time_layout", mappedParsers()},
		{"patterns", []string{ParserRegex}},
		{"columns", []string{ParserCSV}},
		{"separator", []string{ParserCSV}},
		{"format", []string{"nginx"}},
	} {
		n := from.get(option.key)
		if n == nil || slices.Contains(option.of, word) {
			continue
		}
		if slices.Contains(mappedParsers(), word) {
			return n.key.errorf("%s belongs to type %q, not %q", option.key, option.of[0], word)
		}
		return n.key.errorf("parser %q knows its fields; %s belongs to type %s", word, option.key, strings.Join(quoteAll(option.of), ", "))
	}
	return nil
}

func quoteAll(words []string) []string {
	list := make([]string, len(words))
	for i, word := range words {
		list[i] = strconv.Quote(word)
	}
	return list
}

// checkPatterns compiles the patterns of a regex and finds the group of each field.
func checkPatterns(into *Parser, from *node, what string) error {
	if len(into.Patterns) == 0 {
		return from.key.errorf(`%s of type "regex" needs patterns, such as ['(?P<user>\S+) (?P<model>\S+)']`, what)
	}
	groups := map[string]bool{}
	for i, pattern := range into.Patterns {
		compiled, err := regexp.Compile(pattern)
		if err != nil {
			return from.get("patterns").items[i].value.errorf("%s.patterns: %s", what, regexError(err))
		}
		for _, name := range compiled.SubexpNames() {
			groups[name] = true
		}
	}
	for _, field := range into.Fields {
		if name := strings.Join(field.From, "."); !groups[name] {
			return from.at("fields", field.Field).value.errorf("no pattern has a group named %q; write (?P<%[1]s>…) where the value stands", name)
		}
	}
	return nil
}

// regexError says what is wrong with a pattern, without the pattern: it may be
// long, and the caret shows it.
func regexError(err error) string {
	if wrong, ok := errors.AsType[*syntax.Error](err); ok {
		return fmt.Sprintf("%s: %q", wrong.Code, wrong.Expr)
	}
	return err.Error()
}

// checkColumns checks the columns of a CSV and finds the column of each field.
func checkColumns(into *Parser, from *node, what string) error {
	if len(into.Columns) == 0 {
		return from.key.errorf(`%s of type "csv" needs columns, such as ["time", "user", "model"]`, what)
	}
	for i, name := range into.Columns {
		if slices.Contains(into.Columns[:i], name) {
			return from.get("columns").items[i].value.errorf("the column %q stands twice", name)
		}
	}
	if n := from.get("separator"); n != nil && (len(into.Separator) != 1 || strings.ContainsAny(into.Separator, "\"\r\n")) {
		return n.value.errorf(`%s.separator must be one ASCII character such as ";" or "\t", not a quote or line end`, what)
	}
	for _, field := range into.Fields {
		if name := strings.Join(field.From, "."); !slices.Contains(into.Columns, name) {
			return from.at("fields", field.Field).value.errorf("there is no column %q; columns names %s", name, strings.Join(into.Columns, ", "))
		}
	}
	return nil
}

// checkParts checks that each field is mapped from a part of a line of syslog.
func checkParts(into *Parser, from *node) error {
	parts := []string{"facility", "severity", "timestamp", "host", "app", "pid", "msgid", "message"}
	for _, field := range into.Fields {
		name := strings.Join(field.From, ".")
		if !slices.Contains(parts, name) && !strings.HasPrefix(name, "sd.") && !strings.HasPrefix(name, "message.") {
			return from.at("fields", field.Field).value.errorf("a line of syslog has no %q; it has %s, sd.ID.NAME and, of a message that is JSON, message.NAME", name, strings.Join(parts, ", "))
		}
	}
	return nil
}

func checkParserType(from *node, word string) error {
	if slices.Contains(parserTypes(), word) {
		return nil
	}
	if word == "auto" {
		return from.value.errorf(`parser "auto" is not for a configuration: auditail try --parser auto FILE proposes a parser; write that one here`)
	}
	return unknown(from.value, "parser", word, "", parserTypes())
}

// settleFields checks what concerns the field map as a whole and hands the
// parser's time layout down to the fields without one.
func settleFields(into *Parser, from *node, what string) error {
	if into.TimeLayout != "" {
		if err := checkLayout(from.get("time_layout"), what+".time_layout", into.TimeLayout); err != nil {
			return err
		}
	}
	for i := range into.Fields {
		field := &into.Fields[i]
		if field.Layout == "" && isTime(field.Field) {
			field.Layout = into.TimeLayout
		}
	}
	if whole := from.at("fields", "data"); whole != from.get("fields") {
		for i, name := range from.get("fields").names {
			if strings.HasPrefix(name, "data.") {
				return from.get("fields").items[i].key.errorf("data is mapped as a whole already (%s)", whole.key.place())
			}
		}
	}
	for _, constant := range into.Set {
		if mapped := from.at("fields", constant.Field); mapped != from.get("fields") {
			return from.at("set", constant.Field).key.errorf("%s is filled twice; the other is %s", quote(constant.Field), mapped.key.place())
		}
	}
	return nil
}

func isTime(path string) bool {
	field, known := audit.Lookup(path)
	return known && field.Def().Kind == audit.KindTime
}

// decodeFields reads "record field" = "source field".
func decodeFields(into *[]FieldMap, from *node, what string) error {
	if from.kind != table {
		return wrongKind(from, what, `a table such as { "actor.id" = "user" }`)
	}
	for i, name := range from.names {
		item, path := from.items[i], what+"."+quote(name)
		if item.kind == table && item.get("from") == nil && !mappable(name) {
			return item.key.errorf(`a record field with a dot must stand in quotes, such as "%s.%s"`, name, strings.Join(item.names[:min(1, len(item.names))], ""))
		}
		if err := checkField(item, name); err != nil {
			return err
		}
		field := FieldMap{Field: name}
		source := item
		if item.kind == table {
			for j, option := range item.names {
				if known := []string{"from", "layout", "values"}; !slices.Contains(known, option) {
					return unknown(item.items[j].key, "key", option, " in "+path, known)
				}
			}
			if source = item.get("from"); source == nil {
				return item.key.errorf(`%s needs a key from, such as { from = "ts", layout = "unix_ms" }`, path)
			}
			if layout := item.get("layout"); layout != nil {
				if err := decodeLayout(&field, layout, path+".layout"); err != nil {
					return err
				}
			}
			if values := item.get("values"); values != nil {
				if err := decodeFieldValues(&field, values, path+".values"); err != nil {
					return err
				}
			}
		}
		var err error
		if field.From, err = sourcePath(source, path); err != nil {
			return err
		}
		*into = append(*into, field)
	}
	return nil
}

func decodeLayout(into *FieldMap, from *node, what string) error {
	if err := decodeString(&into.Layout, from, what); err != nil {
		return err
	}
	switch {
	case into.Field == audit.UsageDurationMs.String():
		return oneOf(from, what, into.Layout, []string{"s", "ms", "us", "ns"})
	case !isTime(into.Field):
		return from.key.errorf("%s is not a time; leave layout out", quote(into.Field))
	default:
		return checkLayout(from, what, into.Layout)
	}
}

// decodeFieldValues reads "what the source says" = "what the record says".
func decodeFieldValues(into *FieldMap, from *node, what string) error {
	switch {
	case from.kind != table:
		return wrongKind(from, what, `a table such as { "CHAT" = "model.inference" }`)
	case into.Field == "input" || into.Field == "output":
		return from.key.errorf("%s is content; it has no values to translate", into.Field)
	case isTime(into.Field) || into.Field == audit.UsageDurationMs.String():
		return from.key.errorf("%s has no values to translate; it takes a layout", quote(into.Field))
	}
	into.Values = map[string]string{}
	field, known := audit.Lookup(into.Field)
	for i, source := range from.names {
		if known && field.Def().Kind == audit.KindStrings { // one text of the list is translated to one
			var word string
			if err := decodeString(&word, from.items[i], what+"."+quote(source)); err != nil {
				return err
			}
			into.Values[source] = word
			continue
		}
		value, err := constant(from.items[i], into.Field, what+"."+quote(source))
		if err != nil {
			return err
		}
		into.Values[source] = fmt.Sprint(value)
	}
	return nil
}

// sourcePath reads the path of a source field: "a.b.0", or ["a.with.dots", "b"].
func sourcePath(from *node, what string) ([]string, error) {
	var path []string
	if from.kind == array {
		if err := decodeStrings(&path, from, what); err != nil {
			return nil, err
		}
	} else {
		var dotted string
		if err := decodeString(&dotted, from, what); err != nil {
			return nil, err
		}
		path = strings.Split(dotted, ".")
		if slices.Contains(path, "") {
			return nil, from.value.errorf(`%s: the path %q has an empty part; write a key with dots in it as ["key.with.dots"]`, what, dotted)
		}
	}
	if len(path) > maxSegments {
		return nil, from.value.errorf("%s: the path has more than %d parts", what, maxSegments)
	}
	return path, nil
}

// decodeConstants reads "record field" = value.
func decodeConstants(into *[]Constant, from *node, what string) error {
	if from.kind != table {
		return wrongKind(from, what, `a table such as { "api.server" = "nginx" }`)
	}
	for i, name := range from.names {
		item, path := from.items[i], what+"."+quote(name)
		if item.kind == table && !mappable(name) {
			return item.key.errorf(`a record field with a dot must stand in quotes, such as "%s.%s"`, name, strings.Join(item.names[:min(1, len(item.names))], ""))
		}
		// A line cannot vouch for itself, but the operator can for its writer.
		if name != audit.ActorVerified.String() {
			if err := checkField(item, name); err != nil {
				return err
			}
		}
		value, err := constant(item, name, path)
		if err != nil {
			return err
		}
		*into = append(*into, Constant{Field: name, Value: value})
	}
	return nil
}

// constant reads the value of a field as the field's kind wants it.
func constant(from *node, name, what string) (any, error) {
	if name == "input" || name == "output" {
		return nil, from.key.errorf("%s is content; it comes from the line, it cannot be set", name)
	}
	if strings.HasPrefix(name, "extra.") {
		if from.kind == integer || from.kind == number || from.kind == boolean {
			return scalar(from, what)
		}
		var s string
		err := decodeString(&s, from, what)
		return s, err
	}
	field, known := audit.Lookup(name)
	if !known || field.Def().Kind == audit.KindTime || field.Def().Kind == audit.KindJSON {
		return nil, from.key.errorf("%s cannot be set, it comes from the line", quote(name))
	}
	switch def := field.Def(); def.Kind {
	case audit.KindInt:
		if from.kind != integer {
			return nil, wrongKind(from, what, "a whole number")
		}
		return scalar(from, what)
	case audit.KindNumber:
		if from.kind != integer && from.kind != number {
			return nil, wrongKind(from, what, "a number")
		}
		return scalar(from, what)
	case audit.KindBool:
		if from.kind != boolean {
			return nil, wrongKind(from, what, "true or false")
		}
		return scalar(from, what)
	case audit.KindStrings:
		var list []string
		err := decodeStrings(&list, from, what)
		return list, err
	default:
		var s string
		if err := decodeString(&s, from, what); err != nil {
			return nil, err
		}
		if !field.Allows(s) {
			return nil, oneOf(from, what, s, def.Values)
		}
		if field == audit.Event {
			return s, checkEvent(from, what, s)
		}
		return s, nil
	}
}

// scalar reads a number, true or false.
func scalar(from *node, what string) (any, error) {
	literal := strings.ReplaceAll(from.text, "_", "")
	switch from.kind {
	case integer:
		whole, err := strconv.ParseInt(literal, 0, 64)
		if err != nil {
			return nil, from.value.errorf("%s: %s is not a whole number of 64 bits", what, from.text)
		}
		return whole, nil
	case number:
		fraction, err := strconv.ParseFloat(literal, 64)
		if err != nil || math.IsInf(fraction, 0) || math.IsNaN(fraction) {
			return nil, from.value.errorf("%s: %s is not a number that a record can hold", what, from.text)
		}
		return fraction, nil
	default:
		return from.text == "true", nil
	}
}

// checkEvent refuses an event that no line can stand for.
func checkEvent(from *node, what, event string) error {
	if _, known := audit.EventAction(event); !known {
		return unknown(from.value, "event", event, " in "+what, lineEvents())
	}
	for _, own := range []string{"agent.", "alert.", "store.", "contain."} {
		if strings.HasPrefix(event, own) {
			return from.value.errorf("%s: %q is not for a log line to report", what, event)
		}
	}
	return nil
}

// lineEvents are the events that a line can stand for.
func lineEvents() []string {
	return slices.DeleteFunc(audit.Events(), func(event string) bool {
		group, _, _ := strings.Cut(event, ".")
		return slices.Contains([]string{"agent", "alert", "store", "contain"}, group)
	})
}

var extraField = regexp.MustCompile(`^extra\.[a-z0-9_]{1,63}$`)

// checkField refuses a name that is not a record field, or one that is not for
// a line to say.
func checkField(at *node, name string) error {
	if mappable(name) {
		return nil
	}
	if strings.HasPrefix(name, "extra.") {
		return at.key.errorf("%q: the name after \"extra.\" must have 1 to 63 of a-z 0-9 _", name)
	}
	if member, ok := strings.CutPrefix(name, "data."); ok {
		return unknown(at.key, "member of data", member, "", dataMembers())
	}
	field, known := audit.Lookup(name)
	switch {
	case !known:
		return unknownField(at, name)
	case strings.HasPrefix(name, "input."), strings.HasPrefix(name, "output."):
		group, _, _ := strings.Cut(name, ".")
		return at.key.errorf("%q is made by the capture policy; map the content itself to %q", name, group)
	case field == audit.ActorVerified:
		return at.key.errorf(`%q: a line cannot vouch for itself; put it into the table set when the log's writer has checked who calls`, name)
	case field == audit.Extra:
		return at.key.errorf(`"extra" needs a name; write "extra.<name>"`)
	default:
		return at.key.errorf("%q is filled by the agent, not from the line", name)
	}
}

// unknownField tells which field a misspelt name may mean: the nearest one, or
// those of its group.
func unknownField(at *node, name string) error {
	group, _, nested := strings.Cut(name, ".")
	all, same := []string{"input", "output"}, []string{}
	for _, field := range audit.Fields() {
		path := field.String()
		if !mappable(path) {
			continue
		}
		all = append(all, path)
		if nested && strings.HasPrefix(path, group+".") {
			same = append(same, path)
		}
	}
	if near, found := Nearest(name, all); found {
		return at.key.errorf("unknown record field %q; did you mean %q?", name, near)
	}
	known := ""
	if len(same) > 0 {
		known = fmt.Sprintf("known in %s: %s; ", group, strings.Join(same, ", "))
	}
	return at.key.errorf(`unknown record field %q; %sa source field without a place in the record goes to "extra.<name>"`, name, known)
}

// dataMembers are the members of an item of data.
func dataMembers() []string {
	return []string{
		"role", "id", "kind", "version", "digest", "basis", "bytes", "records",
		"class", "format", "dest", "dest_kind",
	}
}

// mappable tells whether a field map may fill the field: the allow-list of what
// a line can say. The rest is the envelope, or concluded by the agent.
func mappable(name string) bool {
	if name == "input" || name == "output" || name == audit.PromptSystemHMAC.String() || name == audit.ToolHMAC.String() || extraField.MatchString(name) {
		return true
	}
	if member, ok := strings.CutPrefix(name, "data."); ok {
		return slices.Contains(dataMembers(), member)
	}
	field, known := audit.Lookup(name)
	if !known {
		return false
	}
	switch field {
	case audit.Time, audit.Event, audit.Outcome, audit.Reason, audit.Tenant, audit.Workspace,
		audit.ClientIP, audit.ClientUserAgent, audit.ClientApp, audit.ClientDevice,
		audit.OutputFinish, audit.Data,
		audit.ModelName, audit.ModelServed, audit.ModelProvider, audit.ModelID, audit.ModelVersion,
		audit.ModelRevision, audit.ModelDigest, audit.ModelAdapter, audit.ModelConfig,
		audit.PromptName, audit.PromptVersion, audit.ToolName, audit.ToolCallID,
		audit.ChangeWhat, audit.ChangeFrom, audit.ChangeTo, audit.ChangeTicket:
		return true
	case audit.ActorVerified: // follows from actor.basis
		return false
	default:
		groups := []string{"actor", "ai_agent", "session", "api", "params", "usage", "policy", "approval"}
		group, _, nested := strings.Cut(name, ".")
		return nested && slices.Contains(groups, group)
	}
}
