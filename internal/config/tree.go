package config

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// kind is what a node holds.
type kind uint8

const (
	table      kind = iota
	tableArray      // [[x]]: grows with every header of that name
	array
	text
	integer
	number // with a fraction or an exponent
	boolean
	other // dates and times: no key takes them
)

func (k kind) String() string {
	switch k {
	case table:
		return "a table"
	case tableArray:
		return "an array of tables"
	case array:
		return "an array"
	case text:
		return "text"
	case integer:
		return "a whole number"
	case number:
		return "a number with a fraction"
	case boolean:
		return "true or false"
	default:
		return "a date"
	}
}

// node is a value of the document with the place it came from. Tables keep the
// order of the file.
type node struct {
	kind  kind
	key   span   // the key that set it; of a table its header
	value span   // the value; of a table its header
	text  string // of text the decoded text, of other scalars the literal

	items  []*node        // of arrays
	names  []string       // of tables
	fields map[string]int // of tables: index into items
	headed bool           // its own [header] was seen
}

func newTable(at span) *node {
	return &node{kind: table, key: at, value: at, fields: map[string]int{}}
}

// get returns the node under a key of a table, or nil.
func (n *node) get(name string) *node {
	if i, ok := n.fields[name]; ok {
		return n.items[i]
	}
	return nil
}

func (n *node) put(name string, child *node) {
	n.fields[name] = len(n.items)
	n.names = append(n.names, name)
	n.items = append(n.items, child)
}

// at follows a path of keys (string) and array indexes (int) and returns the
// last node of it that stands in the document: for a key that is missing, the
// table it is missing from. This is how a check of the decoded configuration
// finds the place to complain about.
func (n *node) at(path ...any) *node {
	for _, step := range path {
		var next *node
		switch s := step.(type) {
		case string:
			next = n.get(s)
		case int:
			if n.kind != table && s < len(n.items) {
				next = n.items[s]
			}
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// parse reads one file into a tree. The grammar of TOML is go-toml's business;
// what is added here are the places.
func parse(src *source) (*node, error) {
	b := &builder{src: src, root: newTable(span{src: src})}
	b.parser.Reset(src.data)
	current := b.root
	for b.parser.NextExpression() {
		var err error
		expression := b.parser.Expression()
		switch expression.Kind {
		case unstable.Table:
			current, err = b.header(expression)
		case unstable.ArrayTable:
			current, err = b.arrayHeader(expression)
		case unstable.KeyValue:
			err = b.keyValue(current, expression)
		default:
		}
		if err != nil {
			return nil, err
		}
	}
	if syntax, wrong := errors.AsType[*unstable.ParserError](b.parser.Error()); wrong {
		at := b.span(b.parser.Range(syntax.Highlight))
		return nil, at.errorf("%s%s", syntax.Message, syntaxRemedy(syntax.Message, src.data[at.start:]))
	}
	if err := refuseControls(b.root, ""); err != nil {
		return nil, err
	}
	return b.root, b.legal()
}

// syntaxRemedy says what helps against an error of the grammar; rest begins with
// what go-toml stumbled over.
func syntaxRemedy(message string, rest []byte) string {
	is := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(message, part) })
	}
	word, _, _ := strings.Cut(strings.ToLower(string(rest[:min(len(rest), len("off\n"))])), "\n")
	switch {
	case is("at start of value", "expected keyword") && slices.Contains([]string{"yes", "no", "on", "off"}, strings.TrimSpace(word)):
		return "; write true or false, or text in quotes"
	case is("at start of value", "expected keyword"):
		return "; text stands in quotes"
	case is("cannot have new lines", "unterminated"):
		return "; the quote that ends the text is missing"
	case is("to close table name", "to close array table name"):
		return "; a header is [table], or [[table]] for what can stand more than once"
	case is("expected '=' after key") && bytes.HasPrefix(rest, []byte(":")):
		return ": this looks like YAML; TOML is key = value below a header such as [agent]"
	case is("expected '=' after key"):
		return "; write key = value"
	case is("escape character"):
		return `; write \\ for a backslash, or put the text in single quotes`
	case is("invalid UTF-8"):
		return "; save the file as UTF-8"
	default:
		return ""
	}
}

// refuseControls refuses text with control characters, which is a slip of the pen,
// except where it stands for what logs hold: in [[test]], and as a separator.
func refuseControls(n *node, name string) error {
	if n.kind == text && strings.ContainsFunc(n.text, func(r rune) bool { return r < ' ' && (r != '\t' || name != "separator") || r == 0x7f }) {
		return n.value.errorf("text must not hold control characters such as line ends")
	}
	for i, item := range n.items {
		within := name
		if n.kind == table {
			if within = n.names[i]; name == "" && within == "test" {
				continue
			}
		}
		if err := refuseControls(item, within); err != nil {
			return err
		}
	}
	return nil
}

type builder struct {
	src    *source
	parser unstable.Parser
	root   *node
}

func (b *builder) span(r unstable.Range) span {
	return span{src: b.src, start: int(r.Offset), end: int(r.Offset + r.Length)}
}

// legal finds what the tree does not: TOML's rules about what may be extended
// where. go-toml knows them all but names only a place.
func (b *builder) legal() error {
	var into map[string]any
	err := toml.Unmarshal(b.src.data, &into)
	if err == nil {
		return nil
	}
	at := span{src: b.src}
	if syntax, placed := errors.AsType[*toml.DecodeError](err); placed {
		at = b.lineSpan(syntax.Position())
	}
	return at.errorf("%s", strings.TrimPrefix(err.Error(), "toml: "))
}

// lineSpan converts a position of go-toml, whose columns count bytes.
func (b *builder) lineSpan(row, column int) span {
	start := 0
	for ; row > 1; row-- {
		i := bytes.IndexByte(b.src.data[start:], '\n')
		if i < 0 {
			break
		}
		start += i + 1
	}
	start = min(max(0, start+column-1), len(b.src.data))
	return span{src: b.src, start: start, end: start}
}

type step struct {
	name string
	at   span
}

func (b *builder) steps(keys unstable.Iterator) []step {
	var list []step
	for keys.Next() {
		list = append(list, step{name: string(keys.Node().Data), at: b.span(keys.Node().Raw)})
	}
	return list
}

// header handles [a.b].
func (b *builder) header(expression *unstable.Node) (*node, error) {
	path := b.steps(expression.Key())
	in, err := b.descend(b.root, path[:len(path)-1])
	if err != nil {
		return nil, err
	}
	last, whole := path[len(path)-1], join(path)
	existing := in.get(last.name)
	switch {
	case existing == nil:
		existing = newTable(whole)
		in.put(last.name, existing)
	case existing.kind == tableArray:
		return nil, whole.errorf("[%s] is written with double brackets elsewhere (%s); write [[%[1]s]]", dotted(path), existing.key.place())
	case existing.kind != table:
		return nil, whole.errorf("%s is a value already (%s)", dotted(path), existing.key.place())
	case existing.headed:
		return nil, whole.errorf("[%s] stands twice; the first is at %s", dotted(path), existing.key.place())
	default:
		existing.key, existing.value = whole, whole
	}
	existing.headed = true
	return existing, nil
}

// arrayHeader handles [[a.b]].
func (b *builder) arrayHeader(expression *unstable.Node) (*node, error) {
	path := b.steps(expression.Key())
	in, err := b.descend(b.root, path[:len(path)-1])
	if err != nil {
		return nil, err
	}
	last, whole := path[len(path)-1], join(path)
	list := in.get(last.name)
	switch {
	case list == nil:
		list = &node{kind: tableArray, key: whole, value: whole}
		in.put(last.name, list)
	case list.kind == table:
		return nil, whole.errorf("[[%s]] is written with single brackets elsewhere (%s)", dotted(path), list.key.place())
	case list.kind != tableArray:
		return nil, whole.errorf("%s is a value already (%s)", dotted(path), list.key.place())
	}
	item := newTable(whole)
	item.headed = true
	list.items = append(list.items, item)
	return item, nil
}

// descend follows a path, through the newest element of arrays of tables, and
// makes the tables that are not there yet.
func (b *builder) descend(in *node, path []step) (*node, error) {
	for _, s := range path {
		next := in.get(s.name)
		if next == nil {
			next = newTable(s.at)
			in.put(s.name, next)
		}
		if next.kind == tableArray {
			next = next.items[len(next.items)-1]
		}
		if next.kind != table {
			return nil, s.at.errorf("%s is a value already (%s), it has no keys", quote(s.name), next.key.place())
		}
		in = next
	}
	return in, nil
}

// keyValue handles a.b = value.
func (b *builder) keyValue(in *node, expression *unstable.Node) error {
	path := b.steps(expression.Key())
	in, err := b.descend(in, path[:len(path)-1])
	if err != nil {
		return err
	}
	last := path[len(path)-1]
	if set := in.get(last.name); set != nil {
		return last.at.errorf("%s is set twice; the first is at %s", quote(last.name), set.key.place())
	}
	value, err := b.value(expression.Value(), b.valueSpan(expression, last.at))
	if err != nil {
		return err
	}
	value.key = last.at
	in.put(last.name, value)
	return nil
}

// valueSpan returns what stands to the right of the equals sign. (The parser
// gives arrays no range of their own.)
func (b *builder) valueSpan(expression *unstable.Node, key span) span {
	whole := b.span(expression.Raw)
	rest := b.src.data[key.end:whole.end]
	rest = bytes.TrimLeft(rest, " \t")
	rest = bytes.TrimLeft(bytes.TrimPrefix(rest, []byte("=")), " \t")
	return span{src: b.src, start: whole.end - len(rest), end: whole.end}
}

func (b *builder) value(from *unstable.Node, at span) (*node, error) {
	n := &node{key: at, value: at, text: string(from.Data)}
	switch from.Kind {
	case unstable.String:
		n.kind = text
		if variable := substitution.FindStringSubmatch(n.text); variable != nil {
			return nil, at.errorf("%s is not replaced: text is taken as it is; write the value, or { env = %q } where a secret is wanted", variable[0], variable[1])
		}
	case unstable.Integer:
		n.kind = integer
	case unstable.Float:
		n.kind = number
	case unstable.Bool:
		n.kind = boolean
	case unstable.Array:
		n.kind = array
		for items := from.Children(); items.Next(); {
			item, err := b.value(items.Node(), b.itemSpan(items.Node(), at))
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, item)
		}
	case unstable.InlineTable:
		n.kind, n.fields = table, map[string]int{}
		for items := from.Children(); items.Next(); {
			if err := b.keyValue(n, items.Node()); err != nil {
				return nil, err
			}
		}
	default:
		n.kind = other
	}
	return n, nil
}

// itemSpan returns the range of an array's element, or of the array for an
// element without one.
func (b *builder) itemSpan(item *unstable.Node, in span) span {
	if item.Raw.Length == 0 {
		return in
	}
	return b.span(item.Raw)
}

var substitution = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)[^}]*\}`)

// merge adds the tree of a further file. Tables merge key by key, arrays of
// tables append, and everything else may be set in one file only.
func merge(into, from *node, what ...string) error {
	for i, name := range from.names {
		path := append(slices.Clone(what), name)
		added := from.items[i]
		present := into.get(name)
		switch {
		case present == nil:
			into.put(name, added)
		case present.kind == table && added.kind == table:
			if err := merge(present, added, path...); err != nil {
				return err
			}
		case present.kind == tableArray && added.kind == tableArray:
			present.items = append(present.items, added.items...)
		default:
			return added.key.errorf("%s is set in two files; the other is %s", keyPath(path...), present.key.place())
		}
	}
	return nil
}

func join(path []step) span {
	whole := path[0].at
	whole.end = path[len(path)-1].at.end
	return whole
}

func dotted(path []step) string {
	names := make([]string, len(path))
	for i, s := range path {
		names[i] = s.name
	}
	return keyPath(names...)
}

// keyPath spells a path of keys as it would stand in a file.
func keyPath(names ...string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = quote(name)
	}
	return strings.Join(quoted, ".")
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// quote spells a key as it would stand in a file.
func quote(name string) string {
	if bareKey.MatchString(name) {
		return name
	}
	return strconv.Quote(name)
}
