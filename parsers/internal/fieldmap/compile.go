package fieldmap

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/auditail/auditail/audit"
)

// compiler turns a field map into a Map.
type compiler struct {
	config *Config
	parser *Map
	used   map[string]bool // fields that have a source or a constant
	groups int             // fields with several sources
}

// addMapping adds one line of the field map.
func (c *compiler) addMapping(m Mapping) error {
	group := 0
	if len(m.Or) > 0 {
		c.groups++
		group = c.groups
	}
	var t target
	var paths []string
	for rank, source := range append([]Source{{Path: m.Path, Layout: m.Layout}}, m.Or...) {
		var err error
		t, err = c.newTarget(Mapping{Field: m.Field, Layout: source.Layout})
		switch {
		case err != nil:
			return fmt.Errorf("map %q: %w", m.Field, err)
		case len(source.Path) == 0 || slices.Contains(source.Path, ""):
			return fmt.Errorf("map %q: the source path has an empty key", m.Field)
		case group > 0 && (t.purpose == toExtra || t.purpose == toData):
			return fmt.Errorf("map %q: the field takes one source", m.Field)
		}
		if t.values, err = checkValues(&t, m.Values); err != nil {
			return fmt.Errorf("map %q: %w", m.Field, err)
		}
		t.group, t.rank = group, uint8(rank)
		n := c.parser.growPath(source.Path)
		n.targets = append(n.targets, t)
		if path := strings.Join(source.Path, "."); !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	if err := c.claim(m.Field); err != nil {
		return fmt.Errorf("map %q: %w", m.Field, err)
	}
	switch {
	case t.purpose != toField:
	case t.field == audit.APIPath:
		c.parser.mapsPath = true
	case t.field == audit.Event:
		c.parser.mapsEvent = true
	}
	c.note(t, strings.Join(paths, " or "))
	return nil
}

// checkValues refuses values that the field does not take.
func checkValues(t *target, values map[string]string) (map[string][]byte, error) {
	if len(values) == 0 {
		return nil, nil
	}
	if t.purpose != toField && t.purpose != toExtra && t.purpose != toData {
		return nil, errors.New("content has no values to translate")
	}
	out := make(map[string][]byte, len(values))
	for from, to := range values {
		if t.purpose == toField && (to == "" || !t.field.Allows(to)) {
			return nil, fmt.Errorf("the value %q for %q is none that the field takes", to, from)
		}
		out[from] = []byte(to)
	}
	return out, nil
}

// note remembers the source of a field for Trace.
func (c *compiler) note(t target, source string) {
	trace := c.parser.trace
	if trace == nil {
		trace = map[audit.Field]string{}
		c.parser.trace = trace
	}
	field := t.field
	switch t.purpose {
	case toInput:
		field = audit.InputText
	case toOutput:
		field = audit.OutputText
	case toExtra, toData:
		if earlier := trace[field]; earlier != "" {
			source = earlier + ", " + source
		}
	case toField, toSlot, toSystem, toArguments:
	}
	trace[field] = source
}

// claim refuses a second source for a field.
func (c *compiler) claim(field string) error {
	if c.used[field] {
		return errors.New("the field already has a source")
	}
	if field == "data" && slices.ContainsFunc(keys(c.used), isDataItem) || isDataItem(field) && c.used["data"] {
		return errors.New("data is mapped as a whole and by item")
	}
	c.used[field] = true
	return nil
}

func isDataItem(field string) bool { return strings.HasPrefix(field, "data.") }

func keys(set map[string]bool) []string {
	list := make([]string, 0, len(set))
	for key := range set {
		list = append(list, key)
	}
	return list
}

// newTarget finds what a mapping is for.
func (c *compiler) newTarget(m Mapping) (target, error) {
	switch m.Field {
	case "input":
		return target{purpose: toInput}, noLayout(m)
	case "output":
		return target{purpose: toOutput}, noLayout(m)
	case audit.PromptSystemHMAC.String():
		c.parser.mapsSystem = true
		return target{purpose: toSystem, field: audit.PromptSystemHMAC}, noLayout(m)
	case audit.ToolHMAC.String():
		return target{purpose: toArguments, field: audit.ToolHMAC}, noLayout(m)
	}
	if name, ok := strings.CutPrefix(m.Field, "extra."); ok {
		if name == "" {
			return target{}, errors.New("the name behind extra. is empty")
		}
		return target{purpose: toExtra, field: audit.Extra, member: string(audit.AppendString(nil, name)) + ":"}, noLayout(m)
	}
	if name, ok := strings.CutPrefix(m.Field, "data."); ok {
		member, integer, known := dataMember([]byte(name))
		if !known {
			return target{}, errors.New("an item of data has no such member")
		}
		return target{purpose: toData, field: audit.Data, member: member, integer: integer}, noLayout(m)
	}
	field, err := lineField(m.Field)
	if err != nil {
		return target{}, err
	}
	t := target{field: field, def: field.Def()}
	switch {
	case t.field == audit.ActorVerified:
		return target{}, errors.New("a log line can not vouch for itself; set it as a constant")
	case t.field == audit.UsageDurationMs:
		t.unit, err = newUnit(m.Layout)
	case t.def.Kind == audit.KindTime:
		name := m.Layout
		if name == "" {
			name = c.config.TimeLayout
		}
		t.layout, err = newLayout(name)
	default:
		if strings.HasPrefix(m.Field, "usage.") {
			t.unit = 1 // counts are never negative
		}
		err = noLayout(m)
	}
	return t, err
}

func noLayout(m Mapping) error {
	if m.Layout != "" {
		return errors.New("only times and usage.duration_ms take a layout")
	}
	return nil
}

// newUnit reads the unit of a duration as nanoseconds.
func newUnit(name string) (int64, error) {
	switch name {
	case "", "ms":
		return int64(time.Millisecond), nil
	case "s":
		return int64(time.Second), nil
	case "us":
		return int64(time.Microsecond), nil
	case "ns":
		return int64(time.Nanosecond), nil
	default:
		return 0, errors.New("the unit of a duration is s, ms, us or ns")
	}
}

// lineField finds a record field that a line may fill. The others are facts
// that only the agent knows: envelope, provenance, the model's resolved
// version, and what the capture policy made of content.
func lineField(path string) (audit.Field, error) {
	field, ok := audit.Lookup(path)
	if !ok {
		return 0, errors.New("there is no such record field")
	}
	group, _, _ := strings.Cut(path, ".")
	switch group {
	case "schema_version", "id", "time_basis", "observed_time", "action", "severity", "retention", "service", "environment",
		"host", "source", "loss", "alert", "coverage", "salt", "agent":
		return 0, errors.New("the agent fills this field")
	case "input", "output":
		if field != audit.OutputFinish {
			return 0, errors.New(`the capture policy fills this field; map "` + group + `"`)
		}
	case "extra":
		return 0, errors.New("map extra.NAME")
	}
	switch field {
	case audit.ModelRef, audit.ModelBasis, audit.ModelAmbiguous, audit.ModelSensitivity, audit.ModelOwner:
		return 0, errors.New("the agent fills this field")
	default:
		return field, nil
	}
}

// growPath returns the node at the end of a path, making what is missing.
func (m *Map) growPath(path []string) *node {
	n := m.root
	if m.flat {
		return n.grow(FlatName(path))
	}
	for _, key := range path {
		n = n.grow(key)
	}
	return n
}

// grow returns the child for a key, making it if need be.
func (n *node) grow(key string) *node {
	for _, child := range n.children {
		if child.key == key {
			return child
		}
	}
	child := &node{key: key}
	n.children = append(n.children, child)
	return child
}

// derived names the fields that are concluded from another one when they have
// no source of their own.
var derived = []struct{ field, from audit.Field }{
	{audit.Event, audit.APIPath},
	{audit.APIOperation, audit.APIPath},
	{audit.APIVersion, audit.APIPath},
	{audit.ModelName, audit.APIPath},
	{audit.Outcome, audit.APIStatus},
	{audit.Reason, audit.APIStatus},
	{audit.ClientApp, audit.ClientUserAgent},
}

// finish numbers the nodes and sorts their children.
func (c *compiler) finish() *Map {
	trace := c.parser.trace
	for _, d := range derived {
		if source := trace[d.from]; source != "" && trace[d.field] == "" {
			trace[d.field] = source
		}
	}
	var walk func(*node)
	walk = func(n *node) {
		n.number = c.parser.nodes
		c.parser.nodes++
		slices.SortStableFunc(n.children, func(a, b *node) int {
			return min(len(a.key), maxKey) - min(len(b.key), maxKey)
		})
		n.lasts = n.lasts[:0]
		for _, child := range n.children {
			n.lasts = append(n.lasts, child.key[len(child.key)-1])
		}
		at := 0
		for length := range n.first {
			for at < len(n.children) && min(len(n.children[at].key), maxKey) < length {
				at++
			}
			n.first[length] = uint16(at)
		}
		for _, child := range n.children {
			walk(child)
		}
	}
	walk(c.parser.root)
	return c.parser
}

// constant is a compiled Constant.
type constant struct {
	field  audit.Field
	kind   audit.Kind
	text   []byte // a text, or an encoded value
	number int64  // of kind Int or Bool
	extra  bool   // text is a member of extra and a comma
}

// addConstant adds one value that every record gets.
func (c *compiler) addConstant(from Constant) error {
	out, err := newConstant(from)
	if err != nil {
		return fmt.Errorf("set %q: %w", from.Field, err)
	}
	if err := c.claim(from.Field); err != nil {
		return fmt.Errorf("set %q: %w", from.Field, err)
	}
	c.parser.constants = append(c.parser.constants, out)
	c.note(target{field: out.field, purpose: purposeOf(out.extra)}, "set")
	return nil
}

func purposeOf(extra bool) purpose {
	if extra {
		return toExtra
	}
	return toField
}

func newConstant(from Constant) (constant, error) {
	if name, ok := strings.CutPrefix(from.Field, "extra."); ok && name != "" {
		value, err := encodeScalar(from.Value)
		member := append(audit.AppendString(nil, name), ':')
		return constant{field: audit.Extra, extra: true, text: append(append(member, value...), ',')}, err
	}
	field, err := lineField(from.Field)
	if err != nil {
		return constant{}, err
	}
	out := constant{field: field, kind: field.Def().Kind}
	switch out.kind {
	case audit.KindText, audit.KindEnum:
		text, ok := from.Value.(string)
		if !ok || text == "" {
			return constant{}, errors.New("a text is wanted")
		}
		if !field.Allows(text) {
			return constant{}, fmt.Errorf("%q is none of %s", text, strings.Join(field.Def().Values, ", "))
		}
		if field == audit.Event && !fromLines([]byte(text)) {
			return constant{}, fmt.Errorf("%q is no event that a log can tell of", text)
		}
		out.text = []byte(text)
	case audit.KindInt:
		out.number, err = wholeNumber(from.Value)
	case audit.KindNumber:
		out.text, err = encodeNumber(from.Value)
	case audit.KindBool:
		truth, ok := from.Value.(bool)
		if !ok {
			return constant{}, errors.New("true or false is wanted")
		}
		if truth {
			out.number = 1
		}
	case audit.KindStrings:
		out.text, err = encodeStrings(from.Value)
	default:
		return constant{}, errors.New("the field takes no constant")
	}
	return out, err
}

func wholeNumber(value any) (int64, error) {
	switch n := value.(type) {
	case int64:
		return n, nil
	case int:
		return int64(n), nil
	default:
		return 0, errors.New("a whole number is wanted")
	}
}

func encodeNumber(value any) ([]byte, error) {
	switch n := value.(type) {
	case int64, int:
		return fmt.Append(nil, n), nil
	case float64:
		if !math.IsNaN(n) && !math.IsInf(n, 0) {
			return fmt.Appendf(nil, "%g", n), nil
		}
	}
	return nil, errors.New("a number is wanted")
}

func encodeScalar(value any) ([]byte, error) {
	switch v := value.(type) {
	case string:
		if v == "" {
			return nil, errors.New("the text is empty")
		}
		return audit.AppendString(nil, v), nil
	case bool:
		return fmt.Append(nil, v), nil
	default:
		return encodeNumber(value)
	}
}

// encodeStrings takes a list of strings, as Go or a TOML decoder makes it.
func encodeStrings(value any) ([]byte, error) {
	var list []any
	switch v := value.(type) {
	case []any:
		list = v
	case []string:
		for _, s := range v {
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("a list of texts is wanted")
	}
	out := []byte{'['}
	for _, element := range list {
		s, ok := element.(string)
		if !ok || s == "" {
			return nil, errors.New("a list of texts is wanted")
		}
		out = append(audit.AppendString(out, s), ',')
	}
	out[len(out)-1] = ']'
	return out, nil
}

// apply gives the record the constant.
func (c *constant) apply(p *pass) {
	r := &p.draft.Record
	switch {
	case c.extra:
		p.extra = append(p.extra, c.text...)
	case c.field == audit.APIPath:
		p.target = c.text
	case c.field == audit.APIMethod:
		p.method = c.text
	case c.field == audit.APIStatus:
		p.status = int(c.number)
	case c.field == audit.ClientUserAgent:
		p.userAgent = c.text
	case c.kind == audit.KindInt:
		r.SetInt(c.field, c.number)
	case c.kind == audit.KindBool:
		r.SetBool(c.field, c.number != 0)
	case c.kind == audit.KindText || c.kind == audit.KindEnum:
		r.SetText(c.field, c.text)
	default:
		r.SetJSON(c.field, c.text)
	}
}
