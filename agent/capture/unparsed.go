package capture

import (
	"github.com/auditail/auditail/agent/capture/keyed"
	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/internal/redact"
)

// Unparsed makes agent.unparsed records of the lines that no parser knows: a
// keyed hash over them, each with its LF, and when the configuration says so the
// lines themselves, encrypted. It is not safe for concurrent use.
type Unparsed struct {
	policy *Policy
	hasher *keyed.Hasher
	lines  []byte // of the record in the making; only when they are encrypted
	room   int
	cut    bool
}

// Unparsed returns what makes the records of the policy's input.
func (p *Policy) Unparsed() *Unparsed {
	u := &Unparsed{policy: p, hasher: keyed.NewHasher(p.key)}
	if p.unparsed == Encrypted {
		u.room = p.sealer.room(MaxText)
	}
	return u
}

// HasRoom tells whether a line fits into the record in the making. A line that
// alone is too long for one still has its hash, and is cut.
func (u *Unparsed) HasRoom(line []byte) bool {
	return u.room == 0 || len(u.lines)+len(line)+1 <= u.room
}

// Begin begins a record.
func (u *Unparsed) Begin() {
	u.hasher.Reset()
	u.lines, u.cut = u.lines[:0], false
}

// Add adds a line, without its LF.
func (u *Unparsed) Add(line []byte) {
	u.hasher.Write(line)
	u.hasher.Write(lineFeed)
	if u.room == 0 {
		return
	}
	if n := u.room - len(u.lines) - 1; n < len(line) {
		line, u.cut = line[:max(0, n)], true
	}
	u.lines = append(append(u.lines, line...), '\n')
}

var lineFeed = []byte{'\n'} //nolint:gochecknoglobals // a constant

// End writes what is kept of the lines, and takes secrets out of the rest of the
// record.
func (u *Unparsed) End(r *audit.Record) {
	p := u.policy
	p.scrubber.Record(r)
	p.text = u.hasher.Append(p.text[:0])
	r.SetText(audit.LossHMAC, p.text)
	if u.room == 0 {
		return
	}
	p.spans = redact.Secrets(p.spans[:0], u.lines)
	p.text = mask(p.text[:0], u.lines, p.spans, false)
	if u.cut || len(p.text) > u.room {
		p.text = p.text[:min(len(p.text), u.room)] // placeholders can be longer than what they stand for
		r.Flag(audit.Truncated)
	}
	var err error
	if p.kept.enc, err = p.sealer.append(p.kept.enc[:0], p.text); err != nil {
		r.Flag(audit.CaptureDowngraded)
	} else {
		r.SetText(audit.LossEnc, p.kept.enc)
	}
	p.release()
	if cap(u.lines) > 64<<10 {
		u.lines = nil
	}
}
