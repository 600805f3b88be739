package otlp

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"math"
	"net/http"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/auditail/auditail/inputs/internal/web"
)

// maxDepth is how deep the values of a record may nest.
const maxDepth = 64

// What makes a record or a request unfit.
var (
	errDepth = errors.New("a value is nested more than 64 deep")
	errWire  = errors.New("a message is not in protobuf's wire format")
)

// field is one field of a message. number holds varints and fixed numbers,
// data what has a length.
type field struct {
	id     protowire.Number
	kind   protowire.Type
	number uint64
	data   []byte
}

// fields calls each with the fields of a message in the order of the wire. A
// field of an unexpected kind is as unknown as one of an unexpected number.
func fields(message []byte, each func(f field) error) error {
	for len(message) > 0 {
		id, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return errWire
		}
		message = message[n:]
		f := field{id: id, kind: kind}
		switch kind {
		case protowire.VarintType:
			f.number, n = protowire.ConsumeVarint(message)
		case protowire.Fixed64Type:
			f.number, n = protowire.ConsumeFixed64(message)
		case protowire.Fixed32Type:
			var short uint32
			short, n = protowire.ConsumeFixed32(message)
			f.number = uint64(short)
		case protowire.BytesType:
			f.data, n = protowire.ConsumeBytes(message)
		default:
			n = protowire.ConsumeFieldValue(id, kind, message)
		}
		if n < 0 {
			return errWire
		}
		message = message[n:]
		if err := each(f); err != nil {
			return err
		}
	}
	return nil
}

// messages calls each with the messages of a repeated field.
func messages(message []byte, id protowire.Number, each func(message []byte) error) error {
	return fields(message, func(f field) error {
		if f.id != id || f.kind != protowire.BytesType {
			return nil
		}
		return each(f.data)
	})
}

// last returns the last message of a field, nil when there is none.
func last(message []byte, id protowire.Number) (found []byte, err error) {
	err = messages(message, id, func(m []byte) error {
		found = m
		return nil
	})
	return found, err
}

// convertProtobuf adds the records of an ExportLogsServiceRequest. An error is
// a refusal of all of it: of a record it only rejects that record.
func (b *builder) convertProtobuf(request []byte) error {
	err := messages(request, 1, func(resourceLogs []byte) error {
		resource, err := last(resourceLogs, 1)
		if err != nil {
			return err
		}
		b.resource.reset()
		unfit := protobuf{attributesField: 1}.attributes(&b.resource, "", resource)
		return messages(resourceLogs, 2, func(scopeLogs []byte) error {
			scope, err := last(scopeLogs, 1)
			if err != nil {
				return err
			}
			b.scope.reset()
			if b.unfit = protobufScope(&b.scope, scope); unfit != nil {
				b.unfit = unfit
			}
			return messages(scopeLogs, 2, func(message []byte) error {
				b.addProtobuf(message)
				return b.full()
			})
		})
	})
	if errors.Is(err, errWire) {
		return web.Refuse(http.StatusBadRequest, "the body is not an ExportLogsServiceRequest in protobuf")
	}
	return err
}

// addProtobuf adds a LogRecord.
func (b *builder) addProtobuf(message []byte) {
	r := record{attributes: message}
	err := fields(message, func(f field) error {
		switch {
		case f.id == 1 && f.kind == protowire.Fixed64Type:
			r.time = f.number
		case f.id == 2 && f.kind == protowire.VarintType:
			r.severity = int64(int32(f.number)) //nolint:gosec // an enum is an int32
		case f.id == 3 && f.kind == protowire.BytesType:
			r.severityText = f.data
		case f.id == 5 && f.kind == protowire.BytesType:
			r.body = f.data
		case f.id == 7 && f.kind == protowire.VarintType:
			r.dropped = uint64(uint32(f.number)) //nolint:gosec // a uint32
		case f.id == 8 && f.kind == protowire.Fixed32Type:
			r.flags = f.number
		case f.id == 9 && f.kind == protowire.BytesType:
			r.traceID = protobufID(f.data)
		case f.id == 10 && f.kind == protowire.BytesType:
			r.spanID = protobufID(f.data)
		case f.id == 11 && f.kind == protowire.Fixed64Type:
			r.observed = f.number
		case f.id == 12 && f.kind == protowire.BytesType:
			r.eventName = f.data
		}
		return nil
	})
	if err != nil {
		b.reject(err)
		return
	}
	b.add(&r, protobuf{attributesField: 6})
}

// maxID is what is shown of a trace or span id. Theirs have 16 and 8 bytes.
const maxID = 16

func protobufID(id []byte) []byte {
	return hex.AppendEncode(nil, id[:min(len(id), maxID)])
}

// protobufScope writes an InstrumentationScope, and nothing for an empty one.
func protobufScope(to *buffer, scope []byte) error {
	if len(scope) == 0 {
		return nil
	}
	to.open('{')
	for i, key := range []string{"name", "version"} {
		text, err := last(scope, protowire.Number(i+1)) //nolint:gosec // 1 or 2
		if err != nil {
			return err
		}
		if len(text) > 0 {
			to.key(key)
			to.quote(text)
		}
	}
	if err := (protobuf{attributesField: 3}).attributes(to, "attributes", scope); err != nil {
		return err
	}
	to.close('}')
	return nil
}

// protobuf is the dialect of protobuf. The attributes of a message are a
// repeated field of it.
type protobuf struct{ attributesField protowire.Number }

func (protobuf) text(to *buffer, piece []byte) { to.quote(piece) }

func (p protobuf) attributes(to *buffer, name string, message []byte) error {
	some := false
	err := messages(message, p.attributesField, func([]byte) error {
		some = true
		return nil
	})
	if err != nil || !some {
		return err
	}
	if name != "" {
		to.key(name)
	}
	return p.pairs(to, message, p.attributesField, maxDepth)
}

// pairs writes a repeated field of KeyValues as an object.
func (p protobuf) pairs(to *buffer, message []byte, id protowire.Number, depth int) error {
	to.open('{')
	err := messages(message, id, func(pair []byte) error {
		key, err := last(pair, 1)
		if err != nil {
			return err
		}
		value, err := last(pair, 2)
		if err != nil {
			return err
		}
		to.next()
		to.quote(key)
		to.byte(':')
		return p.value(to, value, depth)
	})
	to.close('}')
	return err
}

func (p protobuf) value(to *buffer, message []byte, depth int) error {
	if depth == 0 {
		return errDepth
	}
	var found field // of the alternatives the last one on the wire counts
	err := fields(message, func(f field) error {
		if kind, known := valueKind(f.id); known && kind == f.kind {
			found = f
		}
		return nil
	})
	if err != nil {
		return err
	}
	switch found.id {
	case 1:
		to.quote(found.data)
	case 2:
		to.text(strconv.FormatBool(found.number != 0))
	case 3:
		to.text(strconv.FormatInt(int64(found.number), 10)) //nolint:gosec // as protobuf does
	case 4:
		to.float(math.Float64frombits(found.number))
	case 5:
		to.open('[')
		err = messages(found.data, 1, func(element []byte) error {
			to.next()
			return p.value(to, element, depth-1)
		})
		to.close(']')
	case 6:
		err = p.pairs(to, found.data, 1, depth-1)
	case 7:
		to.byte('"')
		if to.room(base64.StdEncoding.EncodedLen(len(found.data))) {
			to.data = base64.StdEncoding.AppendEncode(to.data, found.data)
		}
		to.byte('"')
	default:
		to.text("null")
	}
	return err
}

// valueKind returns the wire type of a field of AnyValue.
func valueKind(id protowire.Number) (protowire.Type, bool) {
	switch id {
	case 1, 5, 6, 7:
		return protowire.BytesType, true
	case 2, 3:
		return protowire.VarintType, true
	case 4:
		return protowire.Fixed64Type, true
	default:
		return 0, false
	}
}

// float writes a number. JSON has none for these three; they are spelled as
// protobuf's JSON mapping does.
func (b *buffer) float(f float64) {
	switch {
	case math.IsNaN(f):
		b.text(`"NaN"`)
	case math.IsInf(f, 1):
		b.text(`"Infinity"`)
	case math.IsInf(f, -1):
		b.text(`"-Infinity"`)
	default:
		b.text(strconv.FormatFloat(f, 'g', -1, 64))
	}
}
