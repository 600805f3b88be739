package otlp

import (
	"strconv"

	"github.com/auditail/auditail/inputs/internal/web"
)

// buffer is JSON that is being written. It asks the request's share before it
// grows; when that is refused, full says why and what is written is lost.
type buffer struct {
	data  []byte
	share *web.Share
	full  error
	comma bool // the next member or element needs one before it
}

func (b *buffer) room(n int) bool {
	if b.full != nil {
		return false
	}
	data, err := b.share.Grow(b.data, n)
	if err != nil {
		b.full = err
		return false
	}
	b.data = data
	return true
}

func (b *buffer) byte(c byte) {
	if b.room(1) {
		b.data = append(b.data, c)
	}
}

func (b *buffer) bytes(p []byte) {
	if b.room(len(p)) {
		b.data = append(b.data, p...)
	}
}

func (b *buffer) text(s string) {
	if b.room(len(s)) {
		b.data = append(b.data, s...)
	}
}

// reset empties the buffer for the next resource or scope.
func (b *buffer) reset() { b.data, b.comma = b.data[:0], false }

// open begins an object or an array, close ends it.
func (b *buffer) open(c byte) {
	b.byte(c)
	b.comma = false
}

func (b *buffer) close(c byte) {
	b.byte(c)
	b.comma = true
}

// next begins a member or an element.
func (b *buffer) next() {
	if b.comma {
		b.byte(',')
	}
	b.comma = true
}

// key begins a member with one of our keys, which need no escapes.
func (b *buffer) key(name string) {
	b.next()
	b.byte('"')
	b.text(name)
	b.text(`":`)
}

// number writes a member unless it is 0, which stands for unknown.
func (b *buffer) number(key string, n uint64) {
	if n != 0 {
		b.key(key)
		b.text(strconv.FormatUint(n, 10))
	}
}

// hex writes a member of hexadecimal digits unless there are none.
func (b *buffer) hex(key string, digits []byte) {
	if len(digits) > 0 {
		b.key(key)
		b.byte('"')
		b.bytes(digits)
		b.byte('"')
	}
}

const lowerHex = "0123456789abcdef"

// quote writes a string. Bytes that are no UTF-8 stay as they are: the parser
// flags them.
func (b *buffer) quote(s []byte) {
	b.byte('"')
	from := 0
	for i, c := range s {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b.bytes(s[from:i])
		from = i + 1
		switch c {
		case '"', '\\':
			b.bytes([]byte{'\\', c})
		case '\n':
			b.text(`\n`)
		case '\r':
			b.text(`\r`)
		case '\t':
			b.text(`\t`)
		default:
			b.bytes([]byte{'\\', 'u', '0', '0', lowerHex[c>>4], lowerHex[c&15]})
		}
	}
	b.bytes(s[from:])
	b.byte('"')
}
