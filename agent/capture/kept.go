package capture

import (
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/auditail/auditail/audit"
)

// kept is what is kept of some content.
type kept struct {
	mode         Mode
	downgraded   bool // less than the policy says, because that failed
	truncated    bool
	bytes, parts int64
	hmac         []byte
	text         []byte  // without the finds
	finds        []found // what was found, and where in text its place is; of encrypted text only what
	enc          []byte
	key          string // recipients of enc
}

// find is a value that was found: the same find is the same value. The value
// itself is not kept, but the beginning of its keyed hash.
type find struct {
	kind string
	id   [8]byte
}

type found struct {
	find
	at int
}

// maxPlaceholder is the longest placeholder: "[_20000]" and a type.
const maxPlaceholder = len("[_20000]") + MaxType

// MaxType is the longest name of a type of finds.
const MaxType = 32

func (k *kept) reset(mode Mode) {
	*k = kept{mode: mode, hmac: k.hmac[:0], text: k.text[:0], finds: k.finds[:0], enc: k.enc[:0]}
}

// downgrade leaves what the mode hashed keeps.
func (k *kept) downgrade() {
	k.mode, k.downgraded = Hashed, true
	k.forgetText()
}

func (k *kept) forgetText() {
	k.text, k.finds, k.enc, k.key = k.text[:0], k.finds[:0], k.enc[:0], ""
}

// limit leaves what the mode keeps too: what was held may be more than the
// complete record may have.
func (k *kept) limit(mode Mode) {
	mode = both(k.mode, mode)
	if mode == k.mode {
		return
	}
	k.forgetText()
	if k.mode = Hashed; mode == None {
		k.mode, k.hmac, k.bytes, k.parts, k.truncated = None, k.hmac[:0], 0, 0, false
	}
}

// appendCounts appends how often each type was found: {"CARD":1,"IBAN":2}.
func (k *kept) appendCounts(dst []byte) []byte {
	counts := make(map[string]int64)
	for i := range k.finds {
		counts[k.finds[i].kind]++
	}
	dst = append(dst, '{')
	for i, kind := range slices.Sorted(maps.Keys(counts)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(audit.AppendString(dst, kind), ':')
		dst = strconv.AppendInt(dst, counts[kind], 10)
	}
	return append(dst, '}')
}

// most returns a bound of what cut says that n bytes take.
func (k *kept) most(n int) int {
	if k.mode == Encrypted {
		return n
	}
	return 6 * n
}

// cut returns how long the head of text is that takes at most room, whole
// characters only, and how much it takes: its bytes when it is encrypted, and
// else its bytes as a string of JSON.
func (k *kept) cut(text []byte, room int) (n, size int) {
	for i := 0; i < len(text); {
		_, width := utf8.DecodeRune(text[i:])
		takes := width
		switch c := text[i]; {
		case k.mode == Encrypted:
		case c == '\n', c == '\r', c == '\t', c == '"', c == '\\':
			takes = 2
		case c < ' ':
			takes = 6
		case width == 1 && c >= utf8.RuneSelf:
			takes = 3 // U+FFFD
		}
		if size+takes > room {
			return i, size
		}
		size += takes
		i += width
	}
	return len(text), size
}

// heldVersion opens what append makes: flags, bytes and parts as varints, then
// mode, hash, text, encrypted text and its key, each behind its length; then the
// number of finds, and for each type, the beginning of its hash, and its place.
const heldVersion = 2

func (k *kept) append(dst []byte) []byte {
	var flags uint64
	if k.truncated {
		flags |= 1
	}
	if k.downgraded {
		flags |= 2
	}
	dst = binary.AppendUvarint(append(dst, heldVersion), flags)
	dst = binary.AppendVarint(dst, k.bytes)
	dst = binary.AppendVarint(dst, k.parts)
	for _, text := range [...][]byte{[]byte(k.mode), k.hmac, k.text, k.enc, []byte(k.key)} {
		dst = binary.AppendUvarint(dst, uint64(len(text)))
		dst = append(dst, text...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(k.finds)))
	for i := range k.finds {
		f := &k.finds[i]
		dst = binary.AppendUvarint(dst, uint64(len(f.kind)))
		dst = append(append(dst, f.kind...), f.id[:]...)
		dst = binary.AppendUvarint(dst, uint64(f.at)) //nolint:gosec // an index
	}
	return dst
}

// parse reads what append made. It reports false for anything else.
func (k *kept) parse(b []byte) bool {
	r := reader{rest: b}
	version, flags := r.bytes(1), r.unsigned()
	k.reset("")
	k.bytes, k.parts = r.signed(), r.signed()
	k.truncated, k.downgraded = flags&1 != 0, flags&2 != 0
	k.mode = Mode(r.text())
	k.hmac = append(k.hmac, r.text()...)
	k.text = append(k.text, r.text()...)
	k.enc = append(k.enc, r.text()...)
	k.key = string(r.text())
	at := uint64(0)
	for n := r.unsigned(); n > 0 && !r.failed; n-- {
		f := found{find: find{kind: string(r.text())}}
		copy(f.id[:], r.bytes(len(f.id)))
		next := r.unsigned()
		if next < at || next > uint64(len(k.text)) && k.mode != Encrypted {
			return false
		}
		at = next
		f.at = int(next) //nolint:gosec // an index into text
		k.finds = append(k.finds, f)
	}
	return !r.failed && len(r.rest) == 0 && version[0] == heldVersion && k.mode.known()
}

// reader reads numbers and texts one behind the other.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) unsigned() uint64 {
	v, n := binary.Uvarint(r.rest)
	return v * r.took(n)
}

func (r *reader) signed() int64 {
	v, n := binary.Varint(r.rest)
	return v * int64(r.took(n)) //nolint:gosec // 0 or 1
}

// took goes n bytes on and returns 1, or 0 when there was nothing to read.
func (r *reader) took(n int) uint64 {
	if n <= 0 || r.failed {
		r.failed = true
		return 0
	}
	r.rest = r.rest[n:]
	return 1
}

func (r *reader) text() []byte {
	n := r.unsigned()
	if n > uint64(len(r.rest)) {
		r.failed = true
		return nil
	}
	return r.bytes(int(n)) //nolint:gosec // at most the length of rest
}

func (r *reader) bytes(n int) []byte {
	if r.failed || n > len(r.rest) {
		r.failed = true
		return make([]byte, n)
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}
