package vllm

import (
	"bytes"
	"strings"

	"github.com/auditail/auditail/parsers/internal/pyrepr"
)

// cutID takes a request id from the front of b. A caller may choose it (header
// X-Request-Id), so it must not hold what could be read as the rest of the line.
func cutID(b []byte) (id, rest []byte, ok bool) {
	n := 0
	for n < len(b) && n <= maxID && (pyrepr.IsNameByte(b[n]) || bytes.IndexByte([]byte("-._/+=@~"), b[n]) >= 0) {
		n++
	}
	return b[:n], b[n:], n > 0 && n <= maxID
}

const maxID = 256

// cutLastID takes the id of a message that ends with it and a full stop, which
// may be a byte of an id, too.
func cutLastID(b []byte) (id []byte, ok bool) {
	b, ok = bytes.CutSuffix(b, []byte("."))
	if !ok {
		return nil, false
	}
	id, rest, ok := cutID(b)
	return id, ok && len(rest) == 0
}

// operationOf returns the operation that the prefix of an id tells, or "".
func operationOf(id string) string {
	at := strings.IndexAny(id, "-_")
	if at < 0 {
		return ""
	}
	switch id[:at] {
	case "chatcmpl", "chat", "resp": // "chat-…" from 0.5 to 0.6
		return "chat"
	case "cmpl":
		if isEither(id) {
			return ""
		}
		return "text_completion"
	case "embd":
		return "embeddings"
	case "pool":
		return "pooling"
	case "classify", "score", "rerank":
		return id[:at]
	case "transcribe":
		return "transcription"
	case "translate":
		return "translation"
	default:
		return ""
	}
}

// isEither tells whether an id is that of a chat or a completion: until 0.5 both began
// with "cmpl-", and only a completion's numbers its prompts. The access line tells.
func isEither(id string) bool {
	return strings.HasPrefix(id, "cmpl-") && unnumbered(id) == id
}

// mayBe tells whether two operations can be the same one, one of which may be that of an
// id that says too little.
func mayBe(a, b string) bool {
	return a == b || a == "" && isText(b) || b == "" && isText(a)
}

func isText(operation string) bool { return operation == "chat" || operation == "text_completion" }

// baseOf returns the id of the call that a request belongs to: vLLM numbers the
// prompts of a completion or embedding, but not of a chat.
func baseOf(id string) string {
	if operation := operationOf(id); operation == "" || operation == "chat" {
		return id
	}
	return unnumbered(id)
}

// unnumbered cuts "-0" off an id.
func unnumbered(id string) string {
	end := len(id)
	for end > 0 && id[end-1] >= '0' && id[end-1] <= '9' {
		end--
	}
	if end == len(id) || len(id)-end > 6 || end < 2 || id[end-1] != '-' {
		return id
	}
	return id[:end-1]
}
