package seal

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A name is a path segment of the archive, a key name and a configuration
// value at once, so it is narrow enough for all three.
var name = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// ValidName tells whether s may name an agent, an environment, a service, a
// retention class, or one segment of an organization.
func ValidName(s string) bool { return name.MatchString(s) }

// ValidOrganization tells whether every "/"-separated segment is a valid name.
func ValidOrganization(s string) bool {
	for segment := range strings.SplitSeq(s, "/") {
		if !ValidName(segment) {
			return false
		}
	}
	return true
}

// Log names an agent's log in all its epochs: the name of its trusted key and
// its SSHSIG principal.
type Log struct {
	Organization string // one or more names joined by "/"
	Agent        string
}

// String returns <organization>/<agent>.
func (l Log) String() string { return l.Organization + "/" + l.Agent }

// ParseLog parses what Log.String returns.
func ParseLog(s string) (Log, error) {
	at := strings.LastIndexByte(s, '/')
	if at < 0 {
		return Log{}, fmt.Errorf("log name %q is not <organization>/<agent>", s)
	}
	l := Log{Organization: s[:at], Agent: s[at+1:]}
	if !ValidOrganization(l.Organization) || !ValidName(l.Agent) {
		return Log{}, fmt.Errorf("log name %q: every segment must match %s", s, name)
	}
	return l, nil
}

// Origin names one epoch of an agent's log.
type Origin struct {
	Log
	Epoch int // 1 to 9999
}

// MaxEpoch is the highest epoch an origin can name.
const MaxEpoch = 9999

// String returns <organization>/<agent>/<epoch4>.
func (o Origin) String() string { return o.Log.String() + "/" + epoch4(o.Epoch) }

// RatchetName is the key name of the one-time keys of the epoch.
func (o Origin) RatchetName() string { return o.String() + "/ratchet" }

// ParseOrigin parses what Origin.String returns.
func ParseOrigin(s string) (Origin, error) {
	at := strings.LastIndexByte(s, '/')
	if at < 0 {
		return Origin{}, fmt.Errorf("origin %q is not <organization>/<agent>/<epoch>", s)
	}
	log, err := ParseLog(s[:at])
	if err != nil {
		return Origin{}, fmt.Errorf("origin %q: %w", s, err)
	}
	epoch, err := parseDigits(s[at+1:], 4)
	if err != nil || epoch == 0 {
		return Origin{}, fmt.Errorf("origin %q: the epoch is not four digits from 0001", s)
	}
	return Origin{Log: log, Epoch: int(epoch)}, nil
}

func epoch4(epoch int) string { return fmt.Sprintf("%04d", epoch) }

func seq12(n uint64) string { return fmt.Sprintf("%012d", n) }

// parseDigits parses exactly width decimal digits.
func parseDigits(s string, width int) (uint64, error) {
	if len(s) != width {
		return 0, fmt.Errorf("%q is not %d digits", s, width)
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("%q is not %d digits", s, width)
		}
	}
	return strconv.ParseUint(s, 10, 64)
}

// Stream is the ordered sequence of batches of one service and one retention class.
type Stream struct {
	Environment string
	Service     string
	Class       string
}

// IsZero tells the stream of batches without a payload.
func (s Stream) IsZero() bool { return s == Stream{} }

// String returns the stream as the manifest writes it.
func (s Stream) String() string {
	if s.IsZero() {
		return "-"
	}
	return s.Environment + " " + s.Service + " " + s.Class
}

// Suffixes of the files of a batch in the archive.
const (
	ManifestSuffix  = ".manifest"
	SignatureSuffix = ".manifest.sig"
	PayloadSuffix   = ".ndjson.zst"
)

// SealsPath is the folder of an epoch's seals, relative to the archive root.
func (o Origin) SealsPath() string { return "seals/" + o.Agent + "/" + epoch4(o.Epoch) }

// IdentityPath is where the key that an epoch opened with stands.
func (o Origin) IdentityPath() string { return o.SealsPath() + "/identity.vkey" }

// ManifestPath is the archive path of a batch's manifest.
func (o Origin) ManifestPath(batch uint64) string {
	return o.SealsPath() + "/" + seq12(batch) + ManifestSuffix
}

// SignaturePath is the archive path of the SSHSIG over a batch's manifest.
func (o Origin) SignaturePath(batch uint64) string {
	return o.SealsPath() + "/" + seq12(batch) + SignatureSuffix
}

// CheckpointPath is the archive path of the checkpoint of the given tree size.
func (o Origin) CheckpointPath(size uint64) string {
	return o.SealsPath() + "/checkpoint/" + seq12(size)
}

// PayloadPath is the archive path of a batch's records. opened chooses the day.
func (o Origin) PayloadPath(s Stream, opened time.Time, batch uint64) string {
	return "records/env=" + s.Environment + "/svc=" + s.Service + "/class=" + s.Class +
		"/day=" + opened.UTC().Format(time.DateOnly) + "/collector=" + o.Agent + "/" +
		epoch4(o.Epoch) + "-" + seq12(batch) + PayloadSuffix
}

// ObjectKind tells what an archive path holds.
type ObjectKind uint8

// The kinds of objects.
const (
	PayloadObject ObjectKind = iota + 1
	IdentityObject
	ManifestObject
	SignatureObject
	CheckpointObject
	CosignatureObject
)

// ObjectName is a parsed archive path.
type ObjectName struct {
	Kind   ObjectKind
	Agent  string
	Epoch  int
	Number uint64 // batch number; tree size of a checkpoint or cosignature
	Stream Stream // of a payload
	Day    string // of a payload, YYYY-MM-DD
	KeyID  string // of a cosignature, 8 hex digits
}

// ParsePath parses an archive path. Every path that it accepts is clean and
// relative: it can not leave the archive.
func ParsePath(path string) (ObjectName, error) {
	parts := strings.Split(path, "/")
	if parts[0] == "records" {
		return parsePayloadPath(path, parts)
	}
	bad := fmt.Errorf("%q is not a path of the archive layout", path)
	if parts[0] != "seals" || len(parts) < 4 || !ValidName(parts[1]) {
		return ObjectName{}, bad
	}
	epoch, err := parseDigits(parts[2], 4)
	if err != nil || epoch == 0 {
		return ObjectName{}, bad
	}
	o := ObjectName{Agent: parts[1], Epoch: int(epoch)}
	file := parts[len(parts)-1]
	number := func(digits string) bool {
		o.Number, err = parseDigits(digits, 12)
		return err == nil
	}
	switch {
	case len(parts) == 4 && file == "identity.vkey":
		o.Kind = IdentityObject
		return o, nil
	case len(parts) == 4 && strings.HasSuffix(file, SignatureSuffix) && number(strings.TrimSuffix(file, SignatureSuffix)):
		o.Kind = SignatureObject
		return o, nil
	case len(parts) == 4 && strings.HasSuffix(file, ManifestSuffix) && number(strings.TrimSuffix(file, ManifestSuffix)):
		o.Kind = ManifestObject
		return o, nil
	case len(parts) == 5 && parts[3] == "checkpoint" && number(file):
		o.Kind = CheckpointObject
		return o, nil
	}
	digits, id, ok := strings.Cut(file, "-")
	if len(parts) == 5 && parts[3] == "cosignature" && ok && number(digits) && keyID.MatchString(id) {
		o.Kind, o.KeyID = CosignatureObject, id
		return o, nil
	}
	return ObjectName{}, bad
}

var keyID = regexp.MustCompile(`^[0-9a-f]{8}$`)

func parsePayloadPath(path string, parts []string) (ObjectName, error) {
	bad := fmt.Errorf("%q is not a path of the archive layout", path)
	if len(parts) != 7 {
		return ObjectName{}, bad
	}
	var values [5]string
	for i, key := range [5]string{"env=", "svc=", "class=", "day=", "collector="} {
		value, ok := strings.CutPrefix(parts[i+1], key)
		if !ok || !ValidName(value) {
			return ObjectName{}, bad
		}
		values[i] = value
	}
	if _, err := time.Parse(time.DateOnly, values[3]); err != nil {
		return ObjectName{}, bad
	}
	stem, ok := strings.CutSuffix(parts[6], PayloadSuffix)
	epochText, numberText, dash := strings.Cut(stem, "-")
	epoch, epochErr := parseDigits(epochText, 4)
	number, numberErr := parseDigits(numberText, 12)
	if !ok || !dash || epochErr != nil || epoch == 0 || numberErr != nil {
		return ObjectName{}, bad
	}
	return ObjectName{
		Kind: PayloadObject, Agent: values[4], Epoch: int(epoch), Number: number,
		Stream: Stream{Environment: values[0], Service: values[1], Class: values[2]}, Day: values[3],
	}, nil
}
