package llamacpp

import (
	"bytes"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/llamalog"
)

// slot reads what a slot says: "id  1 | task 13 | stop processing: n_tokens = 30, truncated = 0".
func (p *Parser) slot(dst []parsers.Draft, c *current, l *llamalog.Line) ([]parsers.Draft, parsers.Outcome) {
	slot, id, text, ok := readSlot(l.Message)
	if !ok {
		return dst, quiet(l, l.Message, ruleSlot)
	}
	s := p.find(c.server)
	if s != nil && len(s.open) > 0 {
		about := noTask
		if string(l.Function) == "print_timing" || string(l.Function) == "release" {
			about = id
		}
		dst = p.settle(dst, s, about)
	}
	if id < 0 {
		return dst, quiet(l, text, ruleSlot)
	}
	switch {
	case bytes.HasPrefix(text, []byte("processing task")):
		return p.launch(dst, c, id, slot)
	case bytes.HasPrefix(text, []byte("stop processing")):
		return p.release(dst, c, id, slot)
	case len(text) == 0 && string(l.Function) == "print_timing":
		dst, s = p.serverOf(dst, c.server)
		s.block = id
		dst, t := p.taskOf(dst, s, id, slot)
		return dst, p.holding(t, c)
	}
	if kind, _ := readTiming(text); kind != noTiming {
		return p.timing(dst, c, id, slot, text)
	}
	if t := s.task(id); t != nil && l.Level != 'W' && l.Level != 'E' {
		if n, ok := promptTokens(text); ok && t.input < 0 {
			t.input = n
			return dst, p.holding(t, c)
		}
		if n, ok := cachedTokens(text); ok && t.cached < 0 {
			t.cached = n
			return dst, p.holding(t, c)
		}
	}
	return dst, quiet(l, text, ruleSlot)
}

// task returns an open task, or nil.
func (s *server) task(id int64) *task {
	if s == nil {
		return nil
	}
	return s.open[id]
}

// readSlot cuts "id  1 | task 13 | " off. Slots without a task have task -1.
func readSlot(b []byte) (slot, id int64, text []byte, ok bool) {
	rest, ok := bytes.CutPrefix(b, []byte("id "))
	if !ok {
		return 0, 0, nil, false
	}
	if slot, rest, ok = cutNumber(bytes.TrimLeft(rest, " ")); !ok {
		return 0, 0, nil, false
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(" | task ")); !ok {
		return 0, 0, nil, false
	}
	if id, rest, ok = cutNumber(rest); !ok || !bytes.HasPrefix(rest, []byte(" |")) {
		return 0, 0, nil, false
	}
	return slot, id, bytes.Trim(rest[len(" |"):], " "), true
}

// cutNumber cuts a whole number off, of at most 15 digits.
func cutNumber(b []byte) (n int64, rest []byte, ok bool) {
	digits, negative := bytes.CutPrefix(b, []byte("-"))
	i := 0
	for i < len(digits) && digits[i] >= '0' && digits[i] <= '9' {
		if i == 15 {
			return 0, nil, false
		}
		n = n*10 + int64(digits[i]-'0')
		i++
	}
	if negative {
		n = -n
	}
	return n, digits[i:], i > 0
}

// after returns the number behind a name.
func after(text []byte, name string) (n int64, ok bool) {
	at := bytes.Index(text, []byte(name))
	if at < 0 {
		return 0, false
	}
	n, _, ok = cutNumber(text[at+len(name):])
	return n, ok && n >= 0
}

// promptTokens reads the length of the whole prompt: "new prompt, n_ctx_slot = 1024,
// n_keep = 0, task.n_tokens = 23", before the end of 2025 "n_prompt_tokens = 23".
func promptTokens(text []byte) (n int64, ok bool) {
	if !bytes.HasPrefix(text, []byte("new prompt, ")) {
		return 0, false
	}
	if n, ok = after(text, "task.n_tokens = "); ok {
		return n, true
	}
	return after(text, "n_prompt_tokens = ")
}

// cachedTokens reads how many tokens of the prompt were there already: "cached
// n_tokens = 13, memory_seq_rm [13, end)", before that "kv cache rm [13, end)". The
// lines are repeated for every batch; the first one counts.
func cachedTokens(text []byte) (n int64, ok bool) {
	if n, ok = after(text, "memory_seq_rm ["); ok {
		return n, true
	}
	if bytes.HasPrefix(text, []byte("kv cache rm [")) {
		return after(text, "kv cache rm [")
	}
	return 0, false
}

// launch opens a task.
func (p *Parser) launch(dst []parsers.Draft, c *current, id, slot int64) ([]parsers.Draft, parsers.Outcome) {
	dst, s := p.serverOf(dst, c.server)
	if t := s.open[id]; t != nil && t.launched {
		dst = p.record(dst, t, reasonReused)
	}
	for t := p.queue.next; t != &p.queue; {
		next := t.next
		if t.server == s && t.launched && t.slot == slot && (t.output >= 0 || t.released) {
			dst = p.record(dst, t, "") // its slot is free, so it is over
		}
		t = next
	}
	dst, t := p.taskOf(dst, s, id, slot)
	t.launched, t.slot = true, slot
	return dst, p.holding(t, c)
}

// release ends a task, unless its timings are still to come: until the end of 2025
// they were written behind this line.
func (p *Parser) release(dst []parsers.Draft, c *current, id, slot int64) ([]parsers.Draft, parsers.Outcome) {
	dst, s := p.serverOf(dst, c.server)
	dst, t := p.taskOf(dst, s, id, slot)
	t.released = true
	return p.end(dst, c, t)
}

// timing reads a line of timings. Servers wrote the three of them as one text with
// line ends in it, or as one line each.
func (p *Parser) timing(dst []parsers.Draft, c *current, id, slot int64, text []byte) ([]parsers.Draft, parsers.Outcome) {
	kind, n := readTiming(text)
	if kind == noTiming {
		return dst, ignored(ruleSlot)
	}
	dst, s := p.serverOf(dst, c.server)
	dst, t := p.taskOf(dst, s, id, slot)
	switch kind {
	case promptTiming:
		t.evaluated = n
	case outputTiming:
		t.output = n
	case totalTiming:
		t.ms = n
		s.block = noTask
		if id == anonymous {
			t.released = true
		}
		return p.end(dst, c, t)
	case noTiming:
	}
	return dst, p.holding(t, c)
}

// timingKind tells the lines of timings apart.
type timingKind uint8

const (
	noTiming     timingKind = iota
	promptTiming            // tokens that were not found in the cache and had to be evaluated
	outputTiming            // tokens generated
	totalTiming             // milliseconds
)

// readTiming reads "prompt eval time = 994.40 ms / 10 tokens (…)", "eval time = …
// / 8 tokens", of older servers "8 runs", and "total time = 3624.53 ms / 18 tokens".
func readTiming(b []byte) (kind timingKind, n int64) {
	b = bytes.TrimLeft(b, " ")
	name, rest, ok := bytes.Cut(b, []byte("="))
	if !ok || len(name) > len("generation eval time   ") {
		return noTiming, 0
	}
	switch string(bytes.TrimRight(name, " ")) {
	case "prompt eval time":
		kind = promptTiming
	case "eval time", "generation eval time":
		kind = outputTiming
	case "total time":
		kind = totalTiming
	default:
		return noTiming, 0
	}
	rest = bytes.TrimLeft(rest, " ")
	whole, rest, ok := cutNumber(rest)
	if !ok || whole < 0 {
		return noTiming, 0
	}
	half := false
	if len(rest) > 1 && rest[0] == '.' {
		half = rest[1] >= '5'
		for rest = rest[1:]; len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9'; rest = rest[1:] {
		}
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(" ms")); !ok {
		return noTiming, 0
	}
	if kind == totalTiming {
		if half {
			whole++
		}
		return kind, whole
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(" / ")); !ok {
		return noTiming, 0
	}
	n, rest, ok = cutNumber(bytes.TrimLeft(rest, " "))
	if !ok || n < 0 || !bytes.HasPrefix(rest, []byte(" tokens")) && !bytes.HasPrefix(rest, []byte(" runs")) {
		return noTiming, 0
	}
	return kind, n
}

// quiet ignores a line under a rule, unless it warns or speaks of trouble.
func quiet(l *llamalog.Line, text []byte, rule string) parsers.Outcome {
	if l.Level == 'D' {
		return ignored(ruleDebug)
	}
	for _, harmless := range [...]string{"need to evaluate at least 1 token", "n_past was set to "} {
		if bytes.HasPrefix(text, []byte(harmless)) {
			return ignored(rule)
		}
	}
	if l.Level == 'W' || l.Level == 'E' || llamalog.Troubled(text) {
		return unparsed("a message that no rule knows")
	}
	return ignored(rule)
}
