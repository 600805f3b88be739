package sglang

import (
	"bytes"
	"math"
	"strconv"

	"github.com/auditail/auditail/parsers"
	"github.com/auditail/auditail/parsers/internal/pyrepr"
	"github.com/auditail/auditail/parsers/internal/sampling"
)

// report is what a line of the request logger says.
type report struct {
	ids       []string // of the engine's requests; several for a batch
	operation string
	prompt    parsers.Content
	answer    parsers.Content
	settings  sampling.Settings
	adapter   string
	stream    trilean
	model     string // that the caller asked for
	user      string // that the caller named

	finish   string
	status   int    // of a request that was aborted; 0: the line has none
	response string // id of the answer
	weights  string // version of the weights, as set by whoever updated them
	tokens   int64  // length of the list of input tokens; negative: not whole
	input    int64  // counted by the server; negative: not in the line
	output   int64  // likewise
	cached   int64  // likewise
	duration int64  // milliseconds; negative: not in the line
	cut      bool   // the line was longer than max_line
	invalid  bool   // a text was not Unicode
}

// trilean is true, false, or not said.
type trilean uint8

const (
	unsaid trilean = iota
	no
	yes
)

// trileanOf reads what Python and JSON print.
func trileanOf(value []byte) trilean {
	switch string(value) {
	case "True", "true":
		return yes
	case "False", "false":
		return no
	default:
		return unsaid
	}
}

// reset empties the report and keeps the memory of the texts.
func (f *report) reset() {
	prompt, answer := f.prompt, f.answer
	prompt.Reset()
	answer.Reset()
	*f = report{prompt: prompt, answer: answer, tokens: -1, input: -1, output: -1, cached: -1, duration: -1}
}

// read reads "GenerateReqInput(text='…', …), headers={…}, out={…}", to the last
// byte unless the line is cut. What it can not be is why not.
func (f *report) read(b []byte, cutLine bool) (reason string) {
	f.cut = cutLine
	object, b, ok := cutValue(b, cutLine)
	if !ok {
		return "the request does not end"
	}
	if reason := f.request(object, cutLine); reason != "" {
		return reason
	}
	for len(b) > 0 {
		if b, ok = cut(b, ", "); !ok {
			break
		}
		var value []byte
		switch {
		case bytes.HasPrefix(b, []byte("headers=")):
			_, b, ok = cutValue(b[len("headers="):], cutLine) // they may hold credentials
		case bytes.HasPrefix(b, []byte("out=")):
			if value, b, ok = cutValue(b[len("out="):], cutLine); ok {
				ok = f.out(value, cutLine)
			}
		default:
			ok = false
		}
		if !ok {
			break
		}
	}
	if len(b) > 0 && !cutLine {
		return "not a request to the last byte"
	}
	return ""
}

// cutValue takes a value from the front of b; all of b when the line is cut
// within it.
func cutValue(b []byte, cutLine bool) (value, rest []byte, ok bool) {
	end := pyrepr.EndOfValue(b)
	if end < 0 {
		return b, nil, cutLine
	}
	return b[:end], b[end:], true
}

// pairs calls take with the members of "Name(key=value, …)" or "{'key': value, …}".
// It reports false when the value is no such thing to its end. Of a cut line the
// value that does not end is handed over too.
func pairs(value []byte, cutLine bool, take func(key, value []byte, open bool)) bool {
	at := bytes.IndexAny(value, "({")
	if at < 0 {
		return false
	}
	b := pyrepr.Arguments(value)
	open := b == nil && !bytes.HasSuffix(value, []byte("()")) && !bytes.HasSuffix(value, []byte("{}"))
	if open {
		if !cutLine {
			return false
		}
		b = value[at+1:]
	}
	for {
		key, value, rest, ok := pyrepr.NextPair(b)
		if !ok {
			break
		}
		take(key, value, false)
		b = rest
	}
	b = bytes.TrimLeft(b, " ,")
	if open {
		if key, value, ok := cutName(b); ok {
			take(key, value, true)
		}
		return true
	}
	return len(b) == 0
}

// cutName takes the name of a member from the front of b.
func cutName(b []byte) (name, rest []byte, ok bool) {
	if !pyrepr.IsString(b) {
		return bytes.Cut(b, []byte("="))
	}
	end := pyrepr.EndOfString(b)
	if end < 0 {
		return nil, nil, false
	}
	rest, ok = cut(b[end:], ": ")
	return b[1 : end-1], rest, ok
}

// request reads the object that a request is.
func (f *report) request(object []byte, cutLine bool) (reason string) {
	name := object[:max(bytes.IndexAny(object, "({"), 0)]
	switch string(name) {
	case "GenerateReqInput", "TokenizedGenerateReqInput":
		f.operation = operationInference
	case "EmbeddingReqInput", "TokenizedEmbeddingReqInput":
		f.operation = operationEmbeddings
	default:
		return "not a request that is known"
	}
	whole := pairs(object, cutLine, func(key, value []byte, open bool) {
		switch string(key) {
		case "text":
			f.invalid = readText(&f.prompt, value, open) || f.invalid
		case "input_ids":
			if n, ok := pyrepr.CountElements(value); ok && !open && f.tokens < 0 && !bytes.Contains(value, []byte("...")) {
				f.tokens = n
			}
		case "sampling_params":
			f.settings.LearnAll(only(value))
		case "rid":
			if !open {
				f.takeIDs(value)
			}
		case "stream":
			f.stream = trileanOf(value)
		case "lora_path":
			f.adapter = pyrepr.FirstText(value)
		case "is_cross_encoder_request":
			if string(value) == "True" {
				f.operation = operationRerank
			}
		}
	})
	if !whole {
		return "not a list of arguments"
	}
	return ""
}

// only returns the only element of a list; a value that is no list as it is.
func only(value []byte) []byte {
	if n, ok := pyrepr.CountElements(value); ok && n == 1 && value[0] == '[' {
		return value[1 : len(value)-1]
	}
	return value
}

// takeIDs reads "'…'" or "['…', '…']".
func (f *report) takeIDs(value []byte) {
	if pyrepr.IsString(value) {
		f.addID(pyrepr.Text(value))
		return
	}
	if _, ok := pyrepr.CountElements(value); !ok {
		return
	}
	for b := value[1 : len(value)-1]; ; {
		b = bytes.TrimLeft(b, " ,")
		end := pyrepr.EndOfValue(b)
		if end <= 0 {
			return
		}
		f.addID(pyrepr.Text(b[:end]))
		b = b[end:]
	}
}

// maxIDs bounds the requests of a batch that are told apart.
const (
	maxIDs = 256
	maxID  = 256
)

func (f *report) addID(id string) {
	if id != "" && len(id) <= maxID && len(f.ids) < maxIDs {
		f.ids = append(f.ids, id)
	}
}

// readText adds a text, or a list of them, to a content. A text that is longer
// than the logger's limit is "'its beginning' ... 'its end'". It reports whether
// something in it was no Unicode.
func readText(c *parsers.Content, value []byte, open bool) (invalid bool) {
	if n, ok := pyrepr.CountElements(value); ok && value[0] == '[' {
		for b := value[1 : len(value)-1]; n > 0; n-- {
			b = bytes.TrimLeft(b, " ,")
			end := pyrepr.EndOfValue(b)
			if end <= 0 {
				break
			}
			invalid = readText(c, b[:end], false) || invalid
			b = b[end:]
		}
		return invalid
	}
	if !pyrepr.IsString(value) {
		return false
	}
	if c.Parts > 0 {
		c.Text = append(c.Text, '\n')
	}
	c.Parts++
	for {
		end := pyrepr.EndOfString(value)
		body, rest := value[1:], []byte(nil)
		if end > 0 {
			body, rest = value[1:end-1], value[end:]
		}
		c.Truncated = c.Truncated || end < 0 || open
		var replaced bool
		c.Text, replaced = pyrepr.AppendUnescaped(c.Text, body)
		invalid = invalid || replaced
		next, ok := cut(rest, " ... ")
		if !ok || !pyrepr.IsString(next) {
			return invalid
		}
		c.Truncated = true
		c.Text = append(c.Text, " ... "...)
		value = next
	}
}

// out reads what came of a request: {'text': '…', 'meta_info': {…}}.
func (f *report) out(value []byte, cutLine bool) bool {
	return pairs(value, cutLine, func(key, value []byte, open bool) {
		switch string(key) {
		case "text":
			f.invalid = readText(&f.answer, value, open) || f.invalid
		case "meta_info":
			pairs(value, cutLine, func(key, value []byte, open bool) {
				if !open {
					f.meta(key, value)
				}
			})
		default:
			if !open {
				f.meta(key, value) // older versions have no meta_info
			}
		}
	})
}

// meta reads a member of meta_info.
func (f *report) meta(key, value []byte) {
	switch string(key) {
	case "id":
		if id := pyrepr.Text(value); len(id) <= maxID {
			f.response = id
		}
	case "finish_reason":
		f.reason(value)
	case "prompt_tokens":
		setCount(&f.input, value)
	case "completion_tokens":
		setCount(&f.output, value)
	case "cached_tokens":
		setCount(&f.cached, value)
	case "e2e_latency":
		f.setLatency(value)
	case "weight_version":
		if version := pyrepr.Text(value); version != "default" && len(version) <= maxID {
			f.weights = version
		}
	}
}

func setCount(to *int64, value []byte) {
	if n, ok := pyrepr.Integer(value); ok && n >= 0 {
		*to = n
	}
}

// setLatency reads seconds.
func (f *report) setLatency(value []byte) {
	if !pyrepr.IsNumber(value) {
		return
	}
	if seconds, err := strconv.ParseFloat(string(value), 64); err == nil && seconds >= 0 && seconds < 1e9 {
		f.duration = int64(math.Round(seconds * 1000))
	}
}

// reason reads "{'type': 'stop', 'matched': 2}" or "'stop'".
func (f *report) reason(value []byte) {
	if pyrepr.IsString(value) {
		f.setFinish(pyrepr.Text(value))
		return
	}
	pairs(value, false, func(key, value []byte, _ bool) {
		switch string(key) {
		case "type":
			f.setFinish(pyrepr.Text(value))
		case "status_code":
			f.status = readStatus(value)
		}
	})
}

// setFinish takes a word: "stop", "length", "abort".
func (f *report) setFinish(word string) {
	for i := range len(word) {
		if !pyrepr.IsNameByte(word[i]) {
			return
		}
	}
	if len(word) <= 64 {
		f.finish = word
	}
}

// readStatus reads 400 and "<HTTPStatus.BAD_REQUEST: 400>"; 0: neither.
func readStatus(value []byte) int {
	if rest, ok := cut(value, "<HTTPStatus."); ok {
		_, rest, _ = bytes.Cut(rest, []byte(": "))
		value = bytes.TrimSuffix(rest, []byte(">"))
	}
	if n, ok := pyrepr.Integer(value); ok && n >= 100 && n <= 999 {
		return int(n)
	}
	return 0
}
