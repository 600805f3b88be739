package buffer

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/auditail/auditail/seal"
)

// Moved is how far an input went in a generation since its last commit in front
// of damage.
type Moved struct {
	Generation string
	From       []byte // its position then; nil: it was seen for the first time since
	To         []byte // its newest position; nil: it was forgotten since
}

// Damage is a stretch of a segment that was durable and is no frame any more,
// found by a start.
type Damage struct {
	Segment  uint64   `json:"segment"`
	From     int64    `json:"from"`
	To       int64    `json:"to"`
	Cause    string   `json:"-"`
	ReadBack []string `json:"-"` // inputs whose lines from there on are read again
	torn     bool     // see damage
}

func (d *Damage) same(o Damage) bool {
	return d.Segment == o.Segment && d.From == o.From && d.To == o.To
}

// findings are what a start found damaged and did about it. They stand in the
// snapshot that the start began with, in the write that made them good: a later
// start does the same, and records it no second time.
type findings struct {
	// Again names inputs that went back to a position in front of damage. What
	// older segments hold of them from the given commit on counts for nothing:
	// its lines were read again, behind this snapshot.
	Again  map[string]uint64 `json:"again,omitempty"`
	Damage []Damage          `json:"damage,omitempty"`
	Holes  []Hole            `json:"holes,omitempty"`
}

// missed is a half-open run of commits that damage took.
type missed struct{ from, to uint64 }

// loss is an input of which unsealed frames are missing while later ones are there.
type loss struct {
	stream  seal.Stream
	from    uint64      // the first commit that may be missing
	before  *inputState // in front of from; nil: the input was not known
	touched map[string]struct{}
	refusal error // why the input can not go back to before
}

var (
	errNoReader = errors.New("the input can not read anything twice")
	errRecorded = errors.New("what was committed since tells of a loss at the source, which can not be seen twice")
	errStream   = errors.New("the input changed its stream since")
	errSealed   = errors.New("the damage reaches into a sealed batch")
	errCut      = errors.New("its batch was cut since")
)

func (s *inputState) clone() *inputState {
	if s == nil {
		return nil
	}
	c := *s
	c.Positions, c.Ends = maps.Clone(s.Positions), maps.Clone(s.Ends)
	return &c
}

// lose notes that what comes next of an input builds on a frame that is missing.
func (r *replay) lose(input string, stream seal.Stream) {
	if input == "" || r.lost[input] != nil {
		return
	}
	l := &loss{stream: stream, before: r.inputs[input].clone(), touched: make(map[string]struct{})}
	last := max(r.last[input], r.snapshotAt)
	for _, m := range r.misses {
		if m.to > last {
			l.from = m.from
			break
		}
	}
	r.lost[input] = l
}

// follow notes what an input whose frames are missing went on to do.
func (r *replay) follow(meta *entryMeta) {
	l := r.lost[meta.Input]
	if l == nil {
		return
	}
	for _, x := range meta.Ranges {
		l.touched[x.Generation] = struct{}{}
	}
	for _, p := range meta.Positions {
		l.touched[p.Generation] = struct{}{}
	}
	switch {
	case meta.Loss:
		l.refusal = errRecorded
	case meta.Stream != l.stream:
		l.refusal = errStream
	}
}

// balanced tells whether the lines of a commit join what its input held before:
// if not, a commit between the two is missing, even one that read nothing.
func (r *replay) balanced(meta *entryMeta) bool {
	held := uint64(0)
	if s := r.inputs[meta.Input]; s != nil {
		held = s.Held
	}
	l := meta.Lines
	return held+l.Read == l.Recorded+l.Unparsed+l.Ignored+l.Held
}

// goBack asks the inputs that lost frames whether they can read again all that
// they read since, and returns the position of each that can. What is read again
// takes the place of what is there: were only the hole read again, the order of a
// generation's ranges would be another than that of the commits.
func (r *replay) goBack(asked map[string]bool) map[string]rewound {
	back := make(map[string]rewound)
	for _, input := range slices.Sorted(maps.Keys(r.lost)) {
		l := r.lost[input]
		if asked[input] {
			continue
		}
		asked[input] = true
		positions, err := r.reread(input, l)
		if err != nil {
			r.b.log.Error("what damage took from an input can not be read again", "input", input, "reason", err)
			continue
		}
		back[input] = rewound{stream: l.stream, from: l.from, positions: positions}
		r.b.log.Warn("an input reads again what it had read since a damaged frame", "input", input, "commit", l.from)
	}
	return back
}

// rewound is where an input went back to.
type rewound struct {
	stream    seal.Stream
	from      uint64
	positions []Position
}

func (r *replay) reread(input string, l *loss) ([]Position, error) {
	switch {
	case r.b.deps.Reread == nil:
		return nil, errNoReader
	case l.refusal != nil:
		return nil, l.refusal
	case l.from <= r.b.state.SealedThrough[l.stream.String()]:
		return nil, errSealed
	case slices.ContainsFunc(r.closed, func(t *batch) bool { return t.stream == l.stream && t.cutCommit >= l.from }):
		return nil, errCut
	}
	before, now := l.before, r.inputs[input]
	if before == nil {
		before = new(inputState)
	}
	if now == nil {
		now = new(inputState)
	}
	for _, s := range []*inputState{before, now} {
		for generation := range s.Positions {
			if string(before.Positions[generation]) != string(now.Positions[generation]) {
				l.touched[generation] = struct{}{}
			}
		}
	}
	var moved []Moved
	for _, generation := range slices.Sorted(maps.Keys(l.touched)) {
		moved = append(moved, Moved{Generation: generation, From: before.Positions[generation], To: now.Positions[generation]})
	}
	return r.b.deps.Reread(input, moved)
}

// resumeAt takes the positions to which inputs went back.
func (r *replay) resumeAt(back map[string]rewound) {
	for input, at := range back {
		s := r.inputs[input]
		if s == nil {
			s = &inputState{Stream: at.stream, Positions: make(map[string][]byte), Ends: make(map[string]int64)}
			r.inputs[input] = s
		}
		for _, p := range at.positions {
			s.Positions[p.Generation] = p.Token
		}
	}
}

// notice returns what this start has to write down.
func (r *replay) notice(back map[string]rewound) findings {
	f := findings{Holes: r.holes}
	for input, at := range back {
		if f.Again == nil {
			f.Again = make(map[string]uint64)
		}
		f.Again[input] = at.from
	}
	for _, d := range r.damage {
		if !d.torn && !slices.ContainsFunc(r.told.Damage, d.same) {
			d.ReadBack = slices.Sorted(maps.Keys(back))
			f.Damage = append(f.Damage, d)
		}
	}
	return f
}

// keepDamaged gives damaged segments a second name in quarantine, for who wants
// to know what happened to the disk. The agent does without.
func (b *Buffer) keepDamaged(found []Damage) {
	for _, d := range found {
		kept := filepath.Join(b.dir, "quarantine", segmentName(d.Segment)+".damaged")
		err := b.fs.Link(b.segmentPath(d.Segment), kept)
		if err == nil {
			err = b.fs.SyncDir(filepath.Dir(kept))
		}
		if err != nil && !errors.Is(err, os.ErrExist) {
			b.log.Error("a damaged segment can not be kept in quarantine", "segment", segmentName(d.Segment), "error", fmt.Errorf("link: %w", err))
		}
	}
}

// recordDamage writes down what was found damaged.
func (b *Buffer) recordDamage(g *group, found []Damage) error {
	if b.deps.Damaged == nil {
		return nil
	}
	for _, d := range found {
		if err := b.encodeEntry(g, b.deps.Damaged(d)); err != nil {
			return err
		}
	}
	return nil
}
