package httpinput

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/auditail/auditail/inputs/internal/web"
)

// splitJSON makes one line of an object, or of each object of an array. Only
// white space between tokens is left out: what a parser may flag, doubled keys
// or bytes that are no UTF-8, stays.
func splitJSON(body []byte, share *web.Share) (web.Lines, error) {
	if err := share.Take(int64(len(body))); err != nil {
		return web.Lines{}, err
	}
	compact := bytes.NewBuffer(make([]byte, 0, len(body)))
	if err := json.Compact(compact, body); err != nil {
		return web.Lines{}, web.Refuse(http.StatusBadRequest, "the body is not one JSON document")
	}
	text := compact.Bytes()
	switch text[0] {
	case '{':
		return web.Lines{Data: text, Count: 1}, nil
	case '[':
		return splitArray(text[1 : len(text)-1])
	default:
		return web.Lines{}, web.Refuse(http.StatusBadRequest, "the body must be a JSON object or an array of objects")
	}
}

// splitArray turns the commas between the elements of a compact, valid array
// into line ends. Valid JSON has no line end inside a string, and compact JSON
// none outside.
func splitArray(elements []byte) (web.Lines, error) {
	if len(elements) == 0 {
		return web.Lines{}, nil
	}
	depth, begins, count := 0, true, int64(0)
	for i := 0; i < len(elements); i++ {
		c := elements[i]
		if begins {
			count++
			if c != '{' {
				return web.Lines{}, web.Refuse(http.StatusBadRequest, "element %d of the array is not an object", count)
			}
			begins = false
		}
		switch c {
		case '"':
			i = skipString(elements, i)
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
			if depth == 0 {
				elements[i], begins = '\n', true
			}
		}
	}
	return web.Lines{Data: elements, Count: count}, nil
}

// skipString returns where the string that begins at i ends.
func skipString(text []byte, i int) int {
	for i++; i < len(text) && text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i
}
