package otlp

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"

	"github.com/auditail/auditail/inputs/internal/web"
)

// errShape is returned for a document whose outer messages are no messages.
var errShape = errors.New("not the shape of an ExportLogsServiceRequest")

// unfitError tells what is wrong with a record. It names fields of the
// protocol, nothing of the content.
func unfitError(what string) error {
	return fmt.Errorf("%s is not as OTLP's JSON encoding has it", what)
}

// members calls each with the members of an object of valid JSON. null stands
// for an absent member, as in protobuf's JSON mapping. What is no object has
// no members and is an error.
func members(object []byte, each func(key, value []byte) error) error {
	if len(object) == 0 || object[0] != '{' {
		return errShape
	}
	for i := skipSpace(object, 1); object[i] != '}'; {
		end := skipValue(object, i)
		key := plainKey(object[i:end])
		i = skipSpace(object, skipSpace(object, end)+1) // the colon
		end = skipValue(object, i)
		if value := object[i:end]; string(value) != "null" {
			if err := each(key, value); err != nil {
				return err
			}
		}
		if i = skipSpace(object, end); object[i] == ',' {
			i = skipSpace(object, i+1)
		}
	}
	return nil
}

// elements calls each with the elements of an array of valid JSON.
func elements(array []byte, each func(element []byte) error) error {
	if len(array) == 0 || array[0] != '[' {
		return errShape
	}
	for i := skipSpace(array, 1); array[i] != ']'; {
		end := skipValue(array, i)
		if err := each(array[i:end]); err != nil {
			return err
		}
		if i = skipSpace(array, end); array[i] == ',' {
			i = skipSpace(array, i+1)
		}
	}
	return nil
}

func skipSpace(text []byte, i int) int {
	for text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r' {
		i++
	}
	return i
}

// skipValue returns where the value that begins at i ends.
func skipValue(text []byte, i int) int {
	switch text[i] {
	case '"':
		return skipString(text, i)
	case '{', '[':
		for depth := 0; ; {
			switch text[i] {
			case '"':
				i = skipString(text, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			if i++; depth == 0 {
				return i
			}
		}
	default: // a number, true, false or null
		for i < len(text) && bytes.IndexByte([]byte(" \t\r\n,]}"), text[i]) < 0 {
			i++
		}
		return i
	}
}

func skipString(text []byte, i int) int {
	for i++; text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// plainKey returns a key without quotes and escapes.
func plainKey(token []byte) []byte {
	if bytes.IndexByte(token, '\\') < 0 {
		return token[1 : len(token)-1]
	}
	var key string
	if json.Unmarshal(token, &key) != nil {
		return nil // no key of ours
	}
	return []byte(key)
}

// only returns the last value of a member, nil when there is none.
func only(object []byte, name string) (found []byte, err error) {
	err = members(object, func(key, value []byte) error {
		if string(key) == name {
			found = value
		}
		return nil
	})
	return found, err
}

// each calls visit with the elements of members that are arrays.
func each(object []byte, name string, visit func(element []byte) error) error {
	return members(object, func(key, value []byte) error {
		if string(key) != name {
			return nil
		}
		return elements(value, visit)
	})
}

// convertJSON adds the records of an ExportLogsServiceRequest in OTLP's JSON
// encoding.
func (b *builder) convertJSON(request []byte) error {
	if !json.Valid(request) {
		return web.Refuse(http.StatusBadRequest, "the body is not one JSON document")
	}
	err := each(bytes.TrimSpace(request), "resourceLogs", func(resourceLogs []byte) error {
		resource, err := only(resourceLogs, "resource")
		if err != nil {
			return err
		}
		b.resource.reset()
		unfit := jsonResource(&b.resource, resource)
		return each(resourceLogs, "scopeLogs", func(scopeLogs []byte) error {
			scope, err := only(scopeLogs, "scope")
			if err != nil {
				return err
			}
			b.scope.reset()
			if b.unfit = jsonScope(&b.scope, scope); unfit != nil {
				b.unfit = unfit
			}
			return each(scopeLogs, "logRecords", func(logRecord []byte) error {
				b.addJSON(logRecord)
				return b.full()
			})
		})
	})
	if errors.Is(err, errShape) {
		return web.Refuse(http.StatusBadRequest, "the body is not an ExportLogsServiceRequest in JSON")
	}
	return err
}

func jsonResource(to *buffer, resource []byte) error {
	if resource == nil {
		return nil
	}
	list, err := only(resource, "attributes")
	if err != nil {
		return unfitError("resource")
	}
	return jsonText{}.attributes(to, "", list)
}

// jsonScope writes an InstrumentationScope, and nothing when there is none.
func jsonScope(to *buffer, scope []byte) error {
	if scope == nil {
		return nil
	}
	var texts [2][]byte
	var list []byte
	err := members(scope, func(key, value []byte) (err error) {
		switch string(key) {
		case "name":
			texts[0], err = jsonString("scope name", value)
		case "version":
			texts[1], err = jsonString("scope version", value)
		case "attributes":
			list = value
		}
		return err
	})
	if errors.Is(err, errShape) {
		err = unfitError("scope")
	}
	if err != nil {
		return err
	}
	to.open('{')
	for i, name := range []string{"name", "version"} {
		if len(texts[i]) > 0 {
			to.key(name)
			to.bytes(texts[i])
		}
	}
	if err := (jsonText{}).attributes(to, "attributes", list); err != nil {
		return err
	}
	to.close('}')
	return nil
}

// addJSON adds a LogRecord.
func (b *builder) addJSON(logRecord []byte) {
	var r record
	err := members(logRecord, func(key, value []byte) (err error) {
		switch string(key) {
		case "timeUnixNano":
			r.time, err = jsonUint("timeUnixNano", value, 64)
		case "observedTimeUnixNano":
			r.observed, err = jsonUint("observedTimeUnixNano", value, 64)
		case "severityNumber":
			r.severity, err = jsonInt("severityNumber", value, 32)
		case "severityText":
			r.severityText, err = jsonString("severityText", value)
		case "eventName":
			r.eventName, err = jsonString("eventName", value)
		case "body":
			r.body = value
		case "attributes":
			r.attributes = value
		case "droppedAttributesCount":
			r.dropped, err = jsonUint("droppedAttributesCount", value, 32)
		case "flags":
			r.flags, err = jsonUint("flags", value, 32)
		case "traceId":
			r.traceID, err = jsonID("traceId", value)
		case "spanId":
			r.spanID, err = jsonID("spanId", value)
		}
		return err
	})
	if errors.Is(err, errShape) {
		err = unfitError("a log record")
	}
	if err != nil {
		b.reject(err)
		return
	}
	b.add(&r, jsonText{})
}

// jsonString returns a string as it stands in the document, nil for "".
func jsonString(what string, token []byte) ([]byte, error) {
	if token[0] != '"' {
		return nil, unfitError(what)
	}
	if len(token) == 2 {
		return nil, nil
	}
	return token, nil
}

// unquoted returns what stands in quotes, for numbers that may be strings.
func unquoted(token []byte) string {
	if token[0] == '"' {
		token = token[1 : len(token)-1]
	}
	return string(token)
}

func jsonUint(what string, token []byte, bits int) (uint64, error) {
	n, err := strconv.ParseUint(unquoted(token), 10, bits)
	if err != nil {
		return 0, unfitError(what)
	}
	return n, nil
}

func jsonInt(what string, token []byte, bits int) (int64, error) {
	n, err := strconv.ParseInt(unquoted(token), 10, bits)
	if err != nil {
		return 0, unfitError(what)
	}
	return n, nil
}

// jsonID reads a trace or span id: hexadecimal, unlike other bytes.
func jsonID(what string, token []byte) ([]byte, error) {
	text, err := jsonString(what, token)
	if err != nil || text == nil {
		return nil, err
	}
	digits := text[1 : len(text)-1]
	if len(digits) > 2*maxID {
		return nil, unfitError(what)
	}
	id, err := hex.AppendDecode(nil, digits)
	if err != nil {
		return nil, unfitError(what)
	}
	return hex.AppendEncode(nil, id), nil
}

// jsonText is the dialect of OTLP's JSON encoding. What is JSON already is
// copied as it stands.
type jsonText struct{}

func (jsonText) text(to *buffer, piece []byte) { to.bytes(piece) }

func (d jsonText) attributes(to *buffer, name string, list []byte) error {
	some := false
	if list != nil {
		err := elements(list, func([]byte) error {
			some = true
			return nil
		})
		if err != nil {
			return unfitError("attributes")
		}
	}
	if !some {
		return nil
	}
	if name != "" {
		to.key(name)
	}
	return d.pairs(to, list, maxDepth)
}

// pairs writes an array of KeyValues as an object.
func (d jsonText) pairs(to *buffer, list []byte, depth int) error {
	to.open('{')
	err := elements(list, func(pair []byte) error {
		name, held := []byte(`""`), []byte(nil)
		err := members(pair, func(key, value []byte) error {
			switch string(key) {
			case "key":
				name = value
			case "value":
				held = value
			}
			return nil
		})
		if err != nil || name[0] != '"' {
			return unfitError("an attribute")
		}
		to.next()
		to.bytes(name)
		to.byte(':')
		return d.value(to, held, depth)
	})
	to.close('}')
	if errors.Is(err, errShape) {
		return unfitError("a list of attributes")
	}
	return err
}

func (d jsonText) value(to *buffer, piece []byte, depth int) error {
	if depth == 0 {
		return errDepth
	}
	var kind string
	var held []byte
	if piece != nil {
		err := members(piece, func(key, value []byte) error {
			switch string(key) {
			case "stringValue", "boolValue", "intValue", "doubleValue", "arrayValue", "kvlistValue", "bytesValue":
				kind, held = string(key), value
			}
			return nil
		})
		if err != nil {
			return unfitError("a value")
		}
	}
	switch kind {
	case "":
		to.text("null")
		return nil
	case "arrayValue", "kvlistValue":
		return d.list(to, kind, held, depth)
	default:
		return d.scalar(to, kind, held)
	}
}

// list writes an ArrayValue or a KeyValueList.
func (d jsonText) list(to *buffer, kind string, held []byte, depth int) error {
	list, err := only(held, "values")
	if err != nil {
		return unfitError(kind)
	}
	if list == nil {
		list = []byte("[]")
	}
	if kind == "kvlistValue" {
		return d.pairs(to, list, depth-1)
	}
	to.open('[')
	err = elements(list, func(element []byte) error {
		to.next()
		if string(element) == "null" {
			element = nil
		}
		return d.value(to, element, depth-1)
	})
	to.close(']')
	if errors.Is(err, errShape) {
		return unfitError(kind)
	}
	return err
}

func (jsonText) scalar(to *buffer, kind string, held []byte) error {
	fits := false
	switch kind {
	case "stringValue":
		fits = held[0] == '"'
	case "boolValue":
		fits = held[0] == 't' || held[0] == 'f'
	case "intValue":
		n, err := jsonInt(kind, held, 64)
		if err != nil {
			return err
		}
		to.text(strconv.FormatInt(n, 10))
		return nil
	case "doubleValue":
		return jsonFloat(to, held)
	case "bytesValue":
		fits = held[0] == '"' && isBase64(held[1:len(held)-1])
	}
	if !fits {
		return unfitError(kind)
	}
	to.bytes(held)
	return nil
}

// jsonFloat writes a number, or one that JSON has no number for.
func jsonFloat(to *buffer, held []byte) error {
	if held[0] == '-' || held[0] >= '0' && held[0] <= '9' {
		to.bytes(held)
		return nil
	}
	if held[0] != '"' {
		return unfitError("doubleValue")
	}
	switch text := unquoted(held); text {
	case "NaN", "Infinity", "-Infinity":
		to.bytes(held)
	default:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			return unfitError("doubleValue")
		}
		to.float(f)
	}
	return nil
}

// isBase64 accepts RFC 4648, section 4, in quotes; no escape is in its alphabet.
func isBase64(text []byte) bool {
	if len(text)%4 != 0 {
		return false
	}
	digits := bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("=")), []byte("="))
	for _, c := range digits {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '+' && c != '/' {
			return false
		}
	}
	return true
}
