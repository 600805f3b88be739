package audit

import "slices"

// Kind is the type of a field's value.
type Kind uint8

// The kinds.
const (
	KindText    Kind = iota // a JSON string
	KindEnum                // a JSON string out of Def.Values
	KindTime                // RFC 3339 with offset
	KindInt                 // a JSON number without fraction
	KindNumber              // any JSON number
	KindBool                // true or false
	KindStrings             // a JSON array of strings
	KindJSON                // an object, or what Def.Shape says
)

// Shape narrows a field of kind JSON.
type Shape uint8

// The shapes.
const (
	Object  Shape = iota
	Objects       // an array of objects
	MapInt        // an object of integers
	MapText       // an object of strings
)

// Def defines a field.
type Def struct {
	Path     string
	Kind     Kind
	Shape    Shape    // of kind JSON
	Required bool     // in every record
	Values   []string // of kind Enum
}

// String returns the dotted path.
func (f Field) String() string { return fields[f].Path }

// Def returns the definition. Its slices must not be changed.
func (f Field) Def() Def { return fields[f] }

// Fields returns all fields in the order they stand in a line.
func Fields() []Field {
	list := make([]Field, fieldCount)
	for i := range list {
		list[i] = Field(i)
	}
	return list
}

// Lookup finds a field by its dotted path.
func Lookup(path string) (Field, bool) {
	for i := range fields {
		if fields[i].Path == path {
			return Field(i), true
		}
	}
	return 0, false
}

// Allows tells whether text is a value that the field's enumeration takes.
func (f Field) Allows(text string) bool {
	return fields[f].Kind != KindEnum || slices.Contains(fields[f].Values, text)
}

// Quality is a set of flags that say how far to trust a record.
type Quality uint16

// The flags.
const (
	TZAssumed         Quality = 1 << iota // the zone of time was assumed
	Truncated                             // content or line was longer than the limit
	Late                                  // written long after it happened
	ModelUnresolved                       // no exact version is known
	ActorUnverified                       // an identity is named but nothing proves it
	ClockUnsynced                         // the host's clock was not synchronised
	FieldsDropped                         // source fields without a mapping were left out
	DuplicateKeys                         // the source object named a key twice; the first one counts
	InvalidUTF8                           // bytes that are not UTF-8 were replaced
	InferredJoin                          // lines were joined by order and time, not by an id
	CaptureDowngraded                     // less was kept of the content than the policy says, because that failed
	SecretMasked                          // a field held a secret, which was taken out
	qualityEnd
)

var qualityNames = [...]string{
	"tz_assumed", "truncated", "late", "model_unresolved", "actor_unverified",
	"clock_unsynced", "fields_dropped", "duplicate_keys", "invalid_utf8", "inferred_join",
	"capture_downgraded", "secret_masked",
}

func (q Quality) append(dst []byte) []byte {
	dst = append(dst, '[')
	for i, name := range qualityNames {
		if q&(1<<i) == 0 {
			continue
		}
		if dst[len(dst)-1] != '[' {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, '"'), name...), '"')
	}
	return append(dst, ']')
}
