package audit

import "strings"

// QualityNames lists the names of the flags.
func QualityNames() []string { return qualityNames[:] }

// SchemaConditions writes the conditions as if/then of JSON Schema.
func SchemaConditions() []any {
	type object = map[string]any
	// at puts a schema where the field is; required also asks that it is there.
	at := func(f Field, schema object) object {
		group, name, nested := strings.Cut(f.String(), ".")
		inner := object{"required": []string{name}, "properties": object{name: schema}}
		if !nested {
			return object{"required": []string{group}, "properties": object{group: schema}}
		}
		return object{"required": []string{group}, "properties": object{group: inner}}
	}
	var list []any
	for _, c := range conditions {
		var exact []string
		var either []object
		for _, value := range c.values {
			if strings.HasSuffix(value, ".") {
				either = append(either, object{"pattern": "^" + strings.ReplaceAll(value, ".", `\.`)})
			} else {
				exact = append(exact, value)
			}
		}
		if exact != nil {
			either = append(either, object{"enum": exact})
		}
		when := object{"anyOf": either}
		if len(either) == 1 {
			when = either[0]
		}
		if c.not {
			when = object{"not": when}
		}
		var then []object
		for _, f := range c.need {
			then = append(then, at(f, object{}))
		}
		rule := object{"if": at(c.on, when), "then": object{"allOf": then}}
		if len(then) == 1 {
			rule["then"] = then[0]
		}
		list = append(list, rule)
	}
	return list
}
