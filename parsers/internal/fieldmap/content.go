package fieldmap

import (
	"bytes"

	"github.com/auditail/auditail/parsers"
)

// content collects the text of what was entered or came back. A string is taken
// as it is. In arrays and objects, in the shapes that OpenAI, Anthropic, Google,
// Bedrock's models, Ollama and OpenTelemetry give to messages, the text stands under the keys of
// isContentKey; all other keys (roles, ids, types, images) are left out.
//
// It reads the value at i, which may still be invalid, and returns the index
// behind it or an error of the scanner.
func (p *pass) content(i int, c *parsers.Content, depth int) int {
	if i >= len(p.data) {
		return cutShort
	}
	switch p.data[i] {
	case '"':
		return p.contentString(i+1, c)
	case '{':
		return p.contentObject(i+1, c, depth-1)
	case '[':
		return p.contentArray(i+1, c, depth-1)
	default:
		return skipValue(p.data, i, depth)
	}
}

// collect is content for a target. The arguments of a tool call have no keys that
// one could know; given as an object or array they are taken as they stand.
func (p *pass) collect(t *target, i int, c *parsers.Content, depth int) int {
	if t.purpose == toArguments && (p.data[i] == '{' || p.data[i] == '[') {
		return p.contentRaw(i, c, depth)
	}
	return p.content(i, c, depth)
}

// contentString adds a string, whose inside begins at i, as one part. Of a
// string that the end of a cut line interrupts it adds what is there.
func (p *pass) contentString(i int, c *parsers.Content) int {
	end, s := scanString(p.data, i)
	inside := p.data[i:]
	switch {
	case end >= 0:
		inside = p.data[i:end]
	case end == cutShort && p.cut:
		c.Truncated = true
		s = style{escaped: true} // decode with care
	default:
		return end
	}
	if len(inside) > 0 {
		p.addPart(c)
		if s.escaped || s.wide {
			var replaced bool
			c.Text, replaced = appendDecoded(c.Text, inside)
			p.replaced = p.replaced || replaced
		} else {
			c.Text = append(c.Text, inside...)
		}
	}
	if end < 0 {
		return end
	}
	return end + 1
}

func (p *pass) addPart(c *parsers.Content) {
	if c.Parts > 0 {
		c.Text = append(c.Text, '\n')
	}
	c.Parts++
}

func (p *pass) contentArray(i int, c *parsers.Content, depth int) int {
	if depth < 0 {
		return tooDeep
	}
	i, done := openBracket(p.data, i, ']')
	for !done {
		if i = p.content(i, c, depth); i < 0 {
			return i
		}
		i, done = nextElement(p.data, i, ']')
	}
	return i
}

func (p *pass) contentObject(i int, c *parsers.Content, depth int) int {
	if depth < 0 {
		return tooDeep
	}
	begin, system := len(c.Text), len(p.draft.System.Text)
	instructs := false
	i, done := openBracket(p.data, i, '}')
	for !done {
		end, value, _ := scanKey(p.data, i)
		if end < 0 {
			return end
		}
		key := p.data[i+1 : end]
		switch {
		case string(key) == "role":
			if i = skipValue(p.data, value, depth); i < 0 {
				return i
			}
			instructs = isSystemRole(p.data[value:i])
		case isSystemKey(key) && c != &p.draft.Output: // OpenAI's responses repeat there what was entered
			from, seen := len(c.Text), len(p.draft.System.Text)
			if i = p.content(value, c, depth); i < 0 {
				return i
			}
			p.instructions(c, from, seen)
		case isArgumentsKey(key) && p.data[value] == '{':
			if i = p.contentRaw(value, c, depth); i < 0 {
				return i
			}
		case isContentKey(key):
			if i = p.content(value, c, depth); i < 0 {
				return i
			}
		default:
			if i = skipValue(p.data, value, depth); i < 0 {
				return i
			}
		}
		i, done = nextElement(p.data, i, '}')
	}
	if instructs && i >= 0 {
		p.instructions(c, begin, system)
	}
	return i
}

// instructions adds what content has got since from to the system instructions, as
// a part of its own, unless an object inside did so already: they had seen bytes.
func (p *pass) instructions(c *parsers.Content, from, seen int) {
	text, s := c.Text[from:], &p.draft.System
	if c != &p.draft.Input || p.noSystem || len(s.Text) > seen {
		return
	}
	if from > 0 {
		text = bytes.TrimPrefix(text, []byte{'\n'}) // between parts
	}
	if len(text) > 0 {
		p.addPart(s)
		s.Text = append(s.Text, text...)
	}
}

// isSystemRole tells whether a role, as it stands in the line, is that of whoever
// instructs the model: "developer" is OpenAI's newer word for it.
func isSystemRole(role []byte) bool {
	return string(role) == `"system"` || string(role) == `"developer"`
}

// isSystemKey tells keys beside the messages under which the system instructions
// stand: of Anthropic and Bedrock, OpenAI's responses, Google.
func isSystemKey(key []byte) bool {
	switch string(key) {
	case "system", "instructions", "systemInstruction", "system_instruction":
		return true
	default:
		return false
	}
}

// contentRaw adds the arguments of a tool call that are given as an object, as
// they stand in the line.
func (p *pass) contentRaw(i int, c *parsers.Content, depth int) int {
	end := skipValue(p.data, i, depth)
	raw := p.data[i:]
	switch {
	case end >= 0:
		raw = p.data[i:end]
	case end == cutShort && p.cut:
		c.Truncated = true
	default:
		return end
	}
	p.addPart(c)
	c.Text = append(c.Text, raw...)
	return end
}

func isArgumentsKey(key []byte) bool {
	switch string(key) {
	case "arguments", "args", "input":
		return true
	default:
		return false
	}
}

func isContentKey(key []byte) bool {
	switch string(key) {
	case "messages", "message", "content", "contents", "text", "parts", "choices", "candidates", "delta",
		"prompt", "input", "inputs", "output", "outputs", "response", "completion",
		"generated_text", "refusal", "reasoning", "reasoning_content", "thinking", "query", "documents",
		"tool_calls", "tool_call", "function_call", "functionCall", "function", "arguments", "args",
		"inputText", "outputText", "generation", "generations", "completions", "results", "texts", "chat_history",
		"toolUse", "toolResult", "reasoningContent", "reasoningText":
		return true
	default:
		return false
	}
}
