package fieldmap

import (
	"bytes"

	"github.com/auditail/auditail/audit"
)

// takeComposite uses an object or array, which begins at i, for one target. end
// is the index behind it, or cutShort when the end of a cut line interrupts it;
// then only content is taken. It reports false when the target does not take
// such a value.
func (p *pass) takeComposite(t *target, i, end, depth int) bool {
	if !p.wants(t) {
		return true
	}
	taken := false
	c := p.contentOf(t.purpose)
	switch {
	case c != nil:
		p.begun(t, c)
		p.collect(t, i, c, depth)
		taken = c.Parts > 0
	case end >= 0 && t.purpose == toSlot && !p.scalars:
		p.slots[t.slot], taken = p.data[i:end], true
	case end < 0 || t.purpose != toField:
	case t.def.Kind == audit.KindStrings && p.data[i] == '[':
		taken = p.takeStrings(t, p.data[i:end])
	case t.def.Kind == audit.KindJSON && t.def.Shape == audit.MapInt && p.data[i] == '{':
		taken = p.takeCounts(t, p.data[i:end])
	case t.def.Kind == audit.KindJSON && t.def.Shape == audit.Objects:
		taken = p.takeItems(t, p.data[i:end])
	}
	if taken {
		p.used(t)
	}
	return taken
}

// nextScalar reads the value at i of a text that is known to be valid. ok is
// false for what is no scalar, or unknown (null, "", "-").
func (p *pass) nextScalar(data []byte, i int) (v scalar, end int, ok bool) {
	end = skipValue(data, i, maxDepth)
	v.text = data[i:end]
	switch data[i] {
	case '"':
		v.text = p.decode(data[i+1 : end-1])
		return v, end, len(v.text) > 0 && string(v.text) != "-"
	case '{', '[', 'n':
		return v, end, false
	case 't', 'f':
		v.kind = isBool
	default:
		v.kind = isNumber
	}
	return v, end, true
}

// takeStrings re-encodes an array of scalars as an array of strings, each
// translated like a value that stands alone.
func (p *pass) takeStrings(t *target, data []byte) bool {
	list := append(p.list[:0], '[')
	i, done := openBracket(data, 1, ']')
	for !done {
		v, end, ok := p.nextScalar(data, i)
		refused := false
		if ok && t.values != nil {
			v.text, ok = t.values[string(v.text)]
			refused = !ok
		}
		if ok {
			list = append(audit.AppendText(list, v.text), ',')
		} else if refused || data[i] == '{' || data[i] == '[' {
			p.dropped++
		}
		i, done = nextElement(data, end, ']')
	}
	return p.setList(t, list, ']')
}

// takeCounts re-encodes an object of integers.
func (p *pass) takeCounts(t *target, data []byte) bool {
	list := append(p.list[:0], '{')
	i, done := openBracket(data, 1, '}')
	for !done {
		keyEnd, value, _ := scanKey(data, i)
		key := p.decode(data[i+1 : keyEnd])
		v, end, ok := p.nextScalar(data, value)
		switch {
		case ok && len(key) > 0 && v.kind == isNumber && isWhole(v.text):
			at := len(list)
			list = append(audit.AppendText(list, key), ':')
			if bytes.Contains(list[:at], list[at:]) {
				p.duplicate = true
				list = list[:at]
				break
			}
			list = append(append(list, v.text...), ',')
		case data[value] != 'n':
			p.dropped++
		}
		i, done = nextElement(data, end, '}')
	}
	return p.setList(t, list, '}')
}

// takeItems re-encodes an object, or an array of them, as items of data, with
// the members that these have.
func (p *pass) takeItems(t *target, data []byte) bool {
	list := append(p.list[:0], '[')
	if data[0] == '{' {
		list = p.appendItem(list, data)
		return p.setList(t, list, ']')
	}
	i, done := openBracket(data, 1, ']')
	for !done {
		end := skipValue(data, i, maxDepth)
		if data[i] == '{' {
			list = p.appendItem(list, data[i:end])
		} else {
			p.dropped++
		}
		i, done = nextElement(data, end, ']')
	}
	return p.setList(t, list, ']')
}

// appendItem appends one item of data and a comma, or nothing when it would be empty.
func (p *pass) appendItem(list, data []byte) []byte {
	at := len(list)
	list = append(list, '{')
	i, done := openBracket(data, 1, '}')
	for !done {
		keyEnd, value, _ := scanKey(data, i)
		member, integer, known := dataMember(data[i+1 : keyEnd])
		v, end, ok := p.nextScalar(data, value)
		switch {
		case ok && known && integer == (v.kind == isNumber && isWhole(v.text)) && v.kind != isBool &&
			!bytes.Contains(list[at:], []byte(member)):
			list = appendMember(list, member, v)
		case data[value] != 'n':
			p.dropped++
		}
		i, done = nextElement(data, end, '}')
	}
	if len(list) == at+1 {
		return list[:at]
	}
	list[len(list)-1] = '}'
	return append(list, ',')
}

// dataMember returns a member of an item of data (see the schema), encoded as
// the beginning of a member.
func dataMember(key []byte) (member string, integer, known bool) {
	switch string(key) {
	case "role":
		return `"role":`, false, true
	case "id":
		return `"id":`, false, true
	case "kind":
		return `"kind":`, false, true
	case "version":
		return `"version":`, false, true
	case "digest":
		return `"digest":`, false, true
	case "basis":
		return `"basis":`, false, true
	case "bytes":
		return `"bytes":`, true, true
	case "records":
		return `"records":`, true, true
	case "class":
		return `"class":`, false, true
	case "format":
		return `"format":`, false, true
	case "dest":
		return `"dest":`, false, true
	case "dest_kind":
		return `"dest_kind":`, false, true
	default:
		return "", false, false
	}
}

// setList closes a list in place of its last comma and sets the field, unless
// it is empty.
func (p *pass) setList(t *target, list []byte, closing byte) bool {
	p.list = list
	if len(list) < 2 {
		return false
	}
	list[len(list)-1] = closing
	p.draft.Record.SetJSON(t.field, list)
	return true
}
