// Package capture decides what of a prompt or an answer is kept, and takes out of
// records what nobody may keep.
//
// Its promise: nothing but what the policy keeps leaves this package, and it is
// asked before the first byte reaches the agent's disk, also for content that
// waits for the rest of its record. When something fails, less is kept, never
// more, and the record says so. Secrets are kept in no mode.
package capture

import (
	"bytes"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/auditail/auditail/agent/capture/keyed"
	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/internal/redact"
	"github.com/auditail/auditail/parsers"
)

// MaxText is the most bytes a content's text takes in a record, encoded.
const MaxText = 384 << 10

// Config comes from the user.
type Config struct {
	Default    Mode
	Rules      []Rule           // the first that fits decides
	Detectors  []redact.Pattern // beside the built-in ones
	Recipients []string         // age recipients, of the mode encrypted
	Unparsed   Mode             // of lines that no parser knows: Hashed or Encrypted
	Pseudonyms bool             // keep keyed hashes in place of user ids
}

// detectTime bounds the detectors' time for one content.
const detectTime = time.Second

// Policy applies a configuration to the records of one input. It is not safe for
// concurrent use.
type Policy struct {
	rules    []Rule // that can fit the input
	fallback Mode
	key      keyed.Key
	hasher   *keyed.Hasher
	users    *keyed.Hasher // nil: user ids stay as they are
	sealer   *sealer       // nil without recipients
	detect   *redact.Detectors
	scrubber *Scrubber
	unparsed Mode

	spans   []redact.Span
	kept    kept
	numbers map[find]int   // of the finds in the record in hand
	last    map[string]int // highest number of each type
	text    []byte
}

// New returns the policy of an input.
func New(cfg Config, key keyed.Key, input string) (*Policy, error) {
	p := &Policy{
		fallback: cfg.Default, unparsed: cfg.Unparsed, key: key, hasher: keyed.NewHasher(key), scrubber: NewScrubber(),
		numbers: make(map[find]int), last: make(map[string]int),
	}
	if cfg.Pseudonyms {
		p.users = keyed.NewPseudonymizer(key)
	}
	var err error
	if p.sealer, err = newSealer(cfg.Recipients); err != nil {
		return nil, err
	}
	if p.detect, err = redact.New(cfg.Detectors, detectTime); err != nil {
		return nil, err
	}
	modes := []Mode{cfg.Default, cfg.Unparsed}
	for _, rule := range cfg.Rules {
		modes = append(modes, rule.Mode)
		if rule.Input == "" || rule.Input == input {
			p.rules = append(p.rules, rule)
		}
	}
	for _, mode := range modes {
		switch {
		case !mode.known():
			return nil, fmt.Errorf("capture mode %q is not none, hashed, redacted, encrypted or full", mode)
		case mode == Encrypted && p.sealer == nil:
			return nil, errors.New("capture mode encrypted needs recipients")
		}
	}
	if cfg.Unparsed != Hashed && cfg.Unparsed != Encrypted {
		return nil, fmt.Errorf("unparsed lines are hashed or encrypted, not %q", cfg.Unparsed)
	}
	return p, nil
}

// fieldSet names the fields of one direction.
type fieldSet struct{ mode, hmac, bytes, parts, text, enc, key, truncated, redacted audit.Field }

func fieldsOf(d parsers.Direction) fieldSet {
	if d == parsers.Returned {
		return fieldSet{
			audit.OutputMode, audit.OutputHMAC, audit.OutputBytes, audit.OutputParts, audit.OutputText,
			audit.OutputEnc, audit.OutputKey, audit.OutputTruncated, audit.OutputRedacted,
		}
	}
	return fieldSet{
		audit.InputMode, audit.InputHMAC, audit.InputBytes, audit.InputParts, audit.InputText,
		audit.InputEnc, audit.InputKey, audit.InputTruncated, audit.InputRedacted,
	}
}

// Scrub takes secrets out of all that a line said, but the content. It is the
// first that happens to a draft: what comes behind may remember a model's name.
func (p *Policy) Scrub(d *parsers.Draft) { p.scrubber.Record(&d.Record) }

// Apply writes what is kept of the content, and pseudonyms for user ids. The
// record has its user and its model by then.
func (p *Policy) Apply(d *parsers.Draft) {
	r := &d.Record
	clear(p.numbers)
	clear(p.last)
	p.apply(r, &d.Input, parsers.Entered)
	p.apply(r, &d.Output, parsers.Returned)
	p.digest(r, &d.System, audit.PromptSystemHMAC)
	p.digest(r, &d.Arguments, audit.ToolHMAC)
	p.pseudonymize(r)
	p.release()
}

// apply writes into the record what is kept of the content.
func (p *Policy) apply(r *audit.Record, c *parsers.Content, d parsers.Direction) {
	k := &p.kept
	switch {
	case len(c.Applied) > 0:
		if !k.parse(c.Applied) {
			r.Flag(audit.CaptureDowngraded)
			return
		}
		k.limit(p.mode(r, d))
	case c.Parts == 0:
		return
	default:
		p.keep(k, c, p.mode(r, d))
	}
	p.write(r, k, fieldsOf(d))
}

// digest writes the keyed hash of content of which nothing more is ever kept.
func (p *Policy) digest(r *audit.Record, c *parsers.Content, f audit.Field) {
	k := &p.kept
	switch {
	case len(c.Applied) > 0:
		if !k.parse(c.Applied) {
			r.Flag(audit.CaptureDowngraded)
			return
		}
		k.limit(both(Hashed, p.mode(r, parsers.Entered)))
	case c.Parts == 0:
		return
	default:
		p.keep(k, c, both(Hashed, p.mode(r, parsers.Entered)))
	}
	r.SetText(f, k.hmac)
}

// pseudonymize puts keyed hashes in the place of user ids. A name would undo it.
func (p *Policy) pseudonymize(r *audit.Record) {
	if p.users == nil {
		return
	}
	for _, f := range [...]audit.Field{audit.ActorID, audit.ActorOnBehalfOf, audit.ApprovalBy} {
		if r.Has(f) {
			p.text = p.users.Hash(p.text[:0], r.Text(f))
			r.SetText(f, p.text)
		}
	}
	r.Clear(audit.ActorName)
}

// keep makes of the content what the mode keeps.
func (p *Policy) keep(k *kept, c *parsers.Content, mode Mode) {
	k.reset(mode)
	if mode == None {
		return
	}
	k.hmac = p.hasher.Hash(k.hmac, c.Text)
	k.bytes, k.parts, k.truncated = int64(len(c.Text)), int64(c.Parts), c.Truncated
	if mode == Hashed {
		return
	}
	text := c.Text[:min(len(c.Text), MaxText+maxFind)]
	if !p.search(text, mode) {
		k.downgrade()
		return
	}
	if len(text) < len(c.Text) || mode == Redacted && c.Truncated {
		text = text[:p.untilSafe(text)]
	}
	whole := p.fill(k, text)
	k.truncated = k.truncated || !whole || len(text) < len(c.Text)
	if mode == Encrypted {
		p.seal(k)
	}
}

// maxFind is more than anything that the detectors find is long. They look so
// much further than what is kept, so that the cut tears no find.
const maxFind = 20 << 10

// search finds what must not be kept of the text.
func (p *Policy) search(text []byte, mode Mode) bool {
	if mode != Redacted {
		p.spans = redact.Secrets(p.spans[:0], text)
		return true
	}
	var err error
	p.spans, err = p.detect.Find(p.spans[:0], text)
	return err == nil
}

// tail is how much of the end of a text is left out when it goes on unseen: half
// a card number is not found.
const tail = 64

// untilSafe returns where the text ends without its tail, and forgets the finds
// that reach into it.
func (p *Policy) untilSafe(text []byte) int {
	end := max(0, len(text)-tail)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	for n := len(p.spans); n > 0 && p.spans[n-1].End > end; n-- {
		end = min(end, p.spans[n-1].Start)
		p.spans = p.spans[:n-1]
	}
	return end
}

// fill takes the text without the finds, as much as a record has room for, and
// tells whether that was all.
func (p *Policy) fill(k *kept, text []byte) bool {
	at, room := 0, MaxText
	if k.mode == Encrypted {
		room = p.sealer.room(MaxText)
	}
	tight := k.most(len(text))+len(p.spans)*maxPlaceholder > room
	for _, span := range p.spans {
		piece := text[at:span.Start]
		n, size := len(piece), 0
		if tight {
			n, size = k.cut(piece, room)
		}
		k.text = append(k.text, piece[:n]...)
		if room -= size + maxPlaceholder; n < len(piece) || room < 0 {
			return false
		}
		f := found{find: find{kind: span.Type}, at: len(k.text)}
		copy(f.id[:], p.hasher.Sum(text[span.Start:span.End]))
		k.finds = append(k.finds, f)
		at = span.End
	}
	n := len(text) - at
	if tight {
		n, _ = k.cut(text[at:], room)
	}
	k.text = append(k.text, text[at:at+n]...)
	return at+n == len(text)
}

// seal encrypts the text. Its placeholders are numbered by themselves: what it
// shares with other content is not known once nobody here can read it.
func (p *Policy) seal(k *kept) {
	clear(p.numbers)
	clear(p.last)
	var err error
	if k.enc, err = p.sealer.append(k.enc, p.render(k)); err != nil {
		k.downgrade()
		return
	}
	clear(p.numbers)
	clear(p.last)
	k.key, k.text = p.sealer.names, k.text[:0]
}

// render returns the text with a placeholder for each find: the same number for
// the same value. It is valid until the next call.
func (p *Policy) render(k *kept) []byte {
	if len(k.finds) == 0 {
		return k.text
	}
	p.text = p.text[:0]
	at := 0
	for i := range k.finds {
		f := &k.finds[i]
		p.text = append(p.text, k.text[at:f.at]...)
		p.text = appendPlaceholder(p.text, f.kind, p.number(f.find))
		at = f.at
	}
	p.text = append(p.text, k.text[at:]...)
	return p.text
}

func (p *Policy) number(f find) int {
	n := p.numbers[f]
	if n == 0 {
		p.last[f.kind]++
		n = p.last[f.kind]
		p.numbers[f] = n
	}
	return n
}

// write writes what is kept into the record.
func (p *Policy) write(r *audit.Record, k *kept, f fieldSet) {
	r.SetString(f.mode, string(k.mode))
	if k.downgraded {
		r.Flag(audit.CaptureDowngraded)
	}
	if k.mode == None {
		return
	}
	r.SetText(f.hmac, k.hmac)
	r.SetInt(f.bytes, k.bytes)
	r.SetInt(f.parts, k.parts)
	if k.mode == Redacted || k.mode == Full {
		r.SetText(f.text, p.render(k))
	}
	r.SetText(f.enc, k.enc)
	r.SetString(f.key, k.key)
	if len(k.finds) > 0 {
		p.text = k.appendCounts(p.text[:0])
		r.SetJSON(f.redacted, p.text)
	}
	if k.truncated {
		r.SetBool(f.truncated, true)
		r.Flag(audit.Truncated)
	}
}

// Hold is the Capture of parsers.Config: it appends what the policy keeps of
// content that waits for the rest of its record.
func (p *Policy) Hold(dst []byte, c *parsers.Content, d parsers.Direction) []byte {
	p.keep(&p.kept, c, p.modeOfHeld(c, d))
	dst = p.kept.append(dst)
	p.release()
	return dst
}

// release lets go of the memory of a long text: there may be many inputs.
func (p *Policy) release() {
	const most = 64 << 10
	if cap(p.text) > most {
		p.text = nil
	}
	if cap(p.kept.text) > most {
		p.kept.text = nil
	}
	if cap(p.kept.enc) > most {
		p.kept.enc = nil
		p.sealer.buffer = bytes.Buffer{}
	}
	if cap(p.spans) > 1000 {
		p.spans = nil
	}
	if cap(p.kept.finds) > 1000 {
		p.kept.finds = nil
	}
}
