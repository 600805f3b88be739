// Package journald reads the systemd journal.
//
// The journal can be read without CGO only through journalctl, so this is the
// one place where the agent runs another program: `journalctl --output=json
// --follow` from the committed cursor on. The journal itself is the source
// that keeps what the agent has not made durable, so the promise is that of a
// file: each entry's message is handed over once, in the order in which
// journalctl shows the entries, across restart, kill and the death of the child.
//
// Entries have no byte offsets. Lines are counted (see package pushed), and
// the position is the count together with the cursor of the last entry. An
// entry whose message has line ends becomes several lines, which are made
// durable together; an entry without message moves the cursor only.
//
// What the journal drops before it was read leaves no number behind: when the
// entry at the cursor is gone, a gap of cause [CauseRotated] with from = to
// stands in the place.
package journald

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"time"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/internal/pushed"
)

// Causes of the gaps of this input. The gaps are empty, from = to: how many
// lines are missing in the place is not known.
const (
	// CauseRotated: the journal no longer has the entry at the position, and
	// maybe more behind it.
	CauseRotated = "journal_rotated"
	// CauseUnreadable: one entry was skipped, because its JSON is longer than
	// four times MaxLine or not what it should be.
	CauseUnreadable = "journal_unreadable"
)

// journalPath is the path of lines without a unit and of gaps.
const journalPath = "journal"

// limits are the waits that no user needs to know.
type limits struct {
	retry    time.Duration // until journalctl is started again, at first
	maxRetry time.Duration
	ask      time.Duration // for one answer of journalctl
}

func defaultLimits() limits {
	return limits{retry: time.Second, maxRetry: 30 * time.Second, ask: time.Minute}
}

// Input reads the journal. Run may be called once at a time.
type Input struct {
	config Config
	deps   Deps
	limits limits
}

var _ inputs.Input = (*Input)(nil)

// New checks the configuration. It starts nothing.
func New(config Config, deps Deps) (*Input, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if config.Start == "" {
		config.Start = StartBeginning
	}
	if config.MaxLine == 0 {
		config.MaxLine = DefaultMaxLine
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Memory == nil {
		deps.Memory = inputs.NewMemory(config.MaxLine)
	}
	return &Input{config: config, deps: deps, limits: defaultLimits()}, nil
}

// Run implements inputs.Input. That journalctl is not installed is an error at
// once; later failures of it are tried again.
func (in *Input) Run(ctx context.Context, resume []inputs.Position, to inputs.Appender) error {
	program := in.deps.Journalctl
	if program == "" {
		program = "journalctl"
	}
	program, err := exec.LookPath(program)
	if err != nil {
		return fmt.Errorf("the journal is read through journalctl, which is not to be had: %w; install systemd or remove the input", err)
	}
	feed, err := pushed.Open(pushed.Config{Name: in.config.Name, MaxLine: in.config.MaxLine, Memory: in.deps.Memory, Now: in.deps.Now}, resume, to)
	if err != nil {
		return err
	}
	feeding, stop := context.WithCancel(ctx)
	fed := make(chan error, 1)
	go func() { fed <- feed.Run(feeding) }()
	r := &reader{
		config: &in.config, limits: in.limits, program: program, feed: feed, now: in.deps.Now,
		log: in.deps.Logger.With("input", in.config.Name),
	}
	r.run(ctx)
	stop()
	return <-fed
}

// reader hands over what journalctl says. There is one a Run.
type reader struct {
	config  *Config
	limits  limits
	program string
	feed    *pushed.Feed
	now     func() time.Time
	log     *slog.Logger

	// Of the running child.
	from    string          // cursor at which it was told to begin
	hole    *pushed.Hole    // before the next entry
	next    pushed.Delivery // entries that were read and not handed over
	entries int             // that were handed over
}

// errEnded is why a child ended that gave no reason.
var errEnded = errors.New("it ended by itself")

// errFeed is wrapped when the feed has ended: the input ends too.
var errFeed = errors.New("hand over entries")

// run starts journalctl again and again until ctx or the feed ends.
func (r *reader) run(ctx context.Context) {
	retry := r.limits.retry
	for {
		err := r.follow(ctx)
		if ctx.Err() != nil || errors.Is(err, errFeed) {
			return
		}
		if r.entries > 0 {
			retry = r.limits.retry
		}
		r.log.WarnContext(ctx, "journalctl ended; starting it again", "error", err, "after", retry.String())
		timer := time.NewTimer(retry)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		retry = min(2*retry, r.limits.maxRetry)
	}
}

// follow runs one child from the committed cursor on, and returns why it ended.
func (r *reader) follow(ctx context.Context) error {
	r.hole, r.next, r.entries = nil, pushed.Delivery{}, 0
	if err := r.begin(ctx); err != nil {
		return err
	}
	c, err := startChild(ctx, r.log, r.program, r.arguments())
	if err != nil {
		return err
	}
	framer := pushed.NewFramer(4*r.config.MaxLine + 64<<10)
	for {
		readErr := framer.Fill(c.stdout)
		if err := r.take(ctx, framer); err != nil {
			c.stop()
			return err
		}
		if readErr != nil {
			// An unfinished last entry is read again from the cursor.
			if err := c.wait(readErr); err != nil {
				return err
			}
			return errEnded
		}
	}
}

// begin finds out where to go on.
func (r *reader) begin(ctx context.Context) error {
	r.from = r.feed.Cursor()
	if r.from == "" {
		if r.config.Start != StartEnd {
			return nil
		}
		last, err := r.ask(ctx, append(r.config.selection(), "--lines=1"))
		if err != nil || last == nil {
			return err // an empty journal ends at its beginning
		}
		r.from = last.cursor
		return r.hand(ctx, pushed.Delivery{Cursor: r.from, Hole: &pushed.Hole{Path: journalPath, Cause: inputs.CauseStartEnd}})
	}
	// Without the selection: it may be another one than when the entry was read.
	at, err := r.ask(ctx, []string{"--lines=1", "--cursor=" + r.from})
	if err != nil {
		return err
	}
	if at == nil || at.cursor != r.from {
		r.log.WarnContext(ctx, "the journal no longer has the entry that was read last; entries behind it may be gone unread")
		r.hole = &pushed.Hole{Path: journalPath, Cause: CauseRotated}
	}
	return nil
}

// arguments of the child that follows. It begins at the cursor and not after
// it: when the entry there is gone, --after-cursor skips the one that follows.
func (r *reader) arguments() []string {
	args := append([]string{"--output-fields=MESSAGE,_SYSTEMD_UNIT", "--follow", "--no-tail"}, r.common()...)
	args = append(args, r.config.selection()...)
	switch {
	case r.from != "":
		args = append(args, "--cursor="+r.from)
	case r.config.Since > 0:
		since := r.now().Add(-r.config.Since)
		args = append(args, fmt.Sprintf("--since=@%d.%06d", since.Unix(), since.Nanosecond()/1000))
	}
	return args
}

func (r *reader) common() []string {
	args := []string{"--output=json", "--all", "--no-pager"}
	if r.config.Directory != "" {
		args = append(args, "--directory="+r.config.Directory)
	}
	return args
}

// ask returns the one entry that journalctl shows, or nil for none.
func (r *reader) ask(ctx context.Context, args []string) (*entry, error) {
	ctx, cancel := context.WithTimeout(ctx, r.limits.ask)
	defer cancel()
	c, err := startChild(ctx, r.log, r.program,
		append(append([]string{"--output-fields=_SYSTEMD_UNIT", "--quiet"}, r.common()...), args...))
	if err != nil {
		return nil, err
	}
	framer := pushed.NewFramer(64 << 10)
	var answer *entry
	for {
		readErr := framer.Fill(c.stdout)
		for data, cut, ok := framer.Next(); ok; data, cut, ok = framer.Next() {
			e, err := parseEntry(data)
			if cut != nil {
				err = errTooLong
			}
			if err != nil {
				c.stop()
				return nil, fmt.Errorf("read answer of journalctl: %w", err)
			}
			answer = &e
		}
		if readErr != nil {
			return answer, c.wait(readErr)
		}
	}
}

// take hands over the entries that are whole.
func (r *reader) take(ctx context.Context, framer *pushed.Framer) error {
	for {
		data, cut, ok := framer.Next()
		if !ok {
			return r.flush(ctx)
		}
		e, err := parseEntry(data)
		if cut != nil {
			err = fmt.Errorf("%w: %d bytes", errTooLong, cut.Length)
		}
		if err != nil {
			r.log.WarnContext(ctx, "an entry of the journal can not be read and is skipped; a gap is recorded", "error", err)
			if r.hole == nil {
				r.hole = &pushed.Hole{Path: journalPath, Cause: CauseUnreadable}
			}
			continue
		}
		if err := r.accept(ctx, e); err != nil {
			return err
		}
	}
}

// accept adds an entry to the next delivery. The entry at the cursor was
// handed over before; that it is there shows that nothing is missing.
func (r *reader) accept(ctx context.Context, e entry) error {
	first := r.from
	r.from = ""
	if e.cursor == first {
		r.hole = nil
		return nil
	}
	if r.hole != nil {
		if err := r.flush(ctx); err != nil {
			return err
		}
		r.next.Hole, r.hole = r.hole, nil
	}
	path := journalPath
	if e.unit != "" {
		path += ":" + e.unit
	}
	written := e.written
	if written.IsZero() {
		written = time.Unix(0, 0) // the journal keeps lines for years
	}
	for _, message := range e.messages {
		r.next.Lines = append(r.next.Lines, pushed.Line{Path: path, Data: message, Written: written})
	}
	r.next.Cursor = e.cursor
	r.entries++
	return nil
}

// flush makes durable what was accepted. An unread gap waits for the entry
// behind it, whose cursor it is committed with.
func (r *reader) flush(ctx context.Context) error {
	err := r.hand(ctx, r.next)
	clear(r.next.Lines)
	r.next = pushed.Delivery{Lines: r.next.Lines[:0]}
	return err
}

func (r *reader) hand(ctx context.Context, d pushed.Delivery) error {
	if err := r.feed.Append(ctx, d); err != nil {
		return fmt.Errorf("%w: %w", errFeed, err)
	}
	return nil
}
