// Package file follows log files.
//
// It keeps the promise of package inputs for files that are renamed,
// truncated, copied, deleted, replaced and written to by others at any time:
// every byte of a file is handed over once, in order, or reported as a gap.
//
// How: a file is known by its content, a hash of its head and of the 1 KiB
// before the position, and only then by device and inode; after every read the
// bytes before it are looked at again, so that what was read belongs to the
// content it is counted for. Descriptors are kept until a rotated file was
// read to its end. Directories are watched through fsnotify and listed anyway;
// files that are written to are polled.
package file

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/internal/framing"
)

// Input follows the files of one configured input. Run or Scan may be called
// once at a time, Lag at any time.
type Input struct {
	config Config
	deps   Deps
	limits limits
	events func() (*fsnotify.Watcher, error)

	sources atomic.Int64
	unread  atomic.Int64
	failing atomic.Pointer[[]inputs.Unreadable]
}

var (
	_ inputs.Input   = (*Input)(nil)
	_ inputs.Scanner = (*Input)(nil)
	_ inputs.Lagger  = (*Input)(nil)
)

// limits are the waits and sizes that no user needs to know.
type limits struct {
	poll      time.Duration // between two looks at the sizes of files that are written to
	list      time.Duration // between two listings of the directories, at least
	rest      time.Duration // between two listings when nothing stirs and events tell all
	grace     time.Duration // a rotated file that did not change for so long is over
	settled   time.Duration // a rotated file that was read and did not change for so long has nothing left
	deleted   time.Duration // a deleted file that did not change for so long is let go
	cool      time.Duration // a file that did not change for so long is no more polled
	retry     time.Duration // until a file that can not be read is tried again
	parked    time.Duration // between two looks at a rotated file that was read to its end
	maxOpen   int           // descriptors kept for files that have nothing to read
	readSize  int           // bytes of a chunk; a longer line makes it grow
	maxLines  int           // lines of a chunk: so few that even of short ones the records stay within what buffer and agent keep from one chunk to the next
	listShare time.Duration // a listing that took t is followed by none for listShare*t
}

func defaultLimits() limits {
	return limits{
		poll: 20 * time.Millisecond, list: time.Second, rest: 30 * time.Second, grace: 5 * time.Second, settled: time.Second, deleted: 30 * time.Second,
		cool: 10 * time.Second, retry: time.Second, parked: 10 * time.Second,
		maxOpen: 512, readSize: 1 << 20, maxLines: 2 << 10, listShare: 20,
	}
}

// New checks the configuration. It does not touch the disk.
func New(config Config, deps Deps) (*Input, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Memory == nil {
		deps.Memory = inputs.NewMemory(config.MaxLine)
	}
	return &Input{config: config, deps: deps, limits: defaultLimits(), events: fsnotify.NewWatcher}, nil
}

// Run implements inputs.Input.
func (in *Input) Run(ctx context.Context, resume []inputs.Position, to inputs.Appender) error {
	f, err := in.follower(resume, to)
	if err != nil {
		return err
	}
	return f.run(ctx)
}

// Scan implements inputs.Scanner: it reads what is there, an unterminated last
// line included, and returns. A file that can not be read is an error, after
// all others were read.
func (in *Input) Scan(ctx context.Context, resume []inputs.Position, to inputs.Appender) error {
	f, err := in.follower(resume, to)
	if err != nil {
		return err
	}
	f.scan = true
	return f.scanOnce(ctx)
}

// Lag implements inputs.Lagger.
func (in *Input) Lag() inputs.Lag {
	lag := inputs.Lag{Sources: int(in.sources.Load()), Bytes: in.unread.Load()}
	if failing := in.failing.Load(); failing != nil {
		lag.Unreadable = *failing
	}
	return lag
}

func (in *Input) follower(resume []inputs.Position, to inputs.Appender) (*follower, error) {
	in.sources.Store(0)
	in.unread.Store(0)
	f := &follower{
		in: in, config: &in.config, limits: in.limits, log: in.deps.Logger.With("input", in.config.Name),
		now: in.deps.Now, to: to, memory: in.deps.Memory,
		byIdent:  map[fileID]*generation{},
		byName:   map[string]*generation{},
		byRoot:   map[string][]*generation{},
		byBase:   map[string][]*generation{},
		suspects: map[fileID]suspect{},
		copies:   map[fileID]int64{},
		noted:    map[string]struct{}{},
		failures: map[string]failure{},
		fresh:    len(resume) == 0,
		work:     make(chan inputs.Chunk),
		accepted: make(chan error),
		durable:  make(chan error),
	}
	if lines := in.config.framing(); !lines.Plain() {
		var err error
		if f.framer, err = framing.New(lines, in.config.MaxLine); err != nil {
			return nil, err
		}
	}
	for _, glob := range in.config.Paths {
		f.patterns = append(f.patterns, parsePattern(glob))
	}
	for _, glob := range in.config.Rotated {
		f.rotated = append(f.rotated, parsePattern(glob))
	}
	for _, position := range resume {
		if position.Token == nil {
			continue
		}
		g, err := resumedGeneration(position.Generation, position.Token)
		if err != nil {
			return nil, fmt.Errorf("read position of generation %s: %w", position.Generation, err)
		}
		f.add(g)
	}
	return f, nil
}
