package framing

import (
	"crypto/sha256"
	"regexp"

	"github.com/auditail/auditail/inputs"
)

// Framer frames the files of one input, one after the other. One goroutine
// uses it.
type Framer struct {
	config     Config
	multiline  bool
	start      *regexp.Regexp // nil: no such pattern
	continuing *regexp.Regexp // nil: no such pattern
	maxLine    int
	longest    int // bytes of a physical line that is not handed over by its head
	span       int // bytes that wait for a clean cut at most

	memory  arena
	out     []Line
	streams [Streams]stream
	pending []group // since the last clean cut, by their first bytes
	ready   int     // so many of pending are finished from the front on
	reach   int     // where the last byte of those stands
	held    int     // physical lines since the last clean cut
	cut     int     // the last clean cut
	done    int64   // physical lines before it
}

// Line is what a parser gets: one physical line or several.
type Line struct {
	Offset   int // of the first byte in the window
	Size     int // bytes of all physical lines, which need not adjoin
	Physical int
	// Text lies in the window or in the framer, until Reset.
	Text    []byte
	Cut     *inputs.Cut
	Partial bool
}

// group is what is being joined to a line.
type group struct {
	line     Line
	end      int // behind its last physical line, in the window
	finished bool
}

// stream is what a stream is in the middle of.
type stream struct {
	open   bool
	group  int    // index in pending, when open
	more   bool   // the last part was split by the runtime
	lines  int    // joined so far; parts of a split line count once
	joined []byte // the text, when it has several parts
	parts  int
}

// Window is what a framer is shown: the bytes of a file from a clean cut on.
type Window struct {
	Data  []byte
	Place int64 // of Data in the file
	// Final ends every line with Data, an unterminated last one too.
	Final bool
	// Expired ends the open line of a stream, when it still ends at that place.
	Expired [Streams]int64
	// MaxLines is how many lines are handed over, a few more may come.
	MaxLines int
}

// Framed is what a window holds up to its last clean cut.
type Framed struct {
	Lines    []Line // until the next call of Frame
	Size     int    // of the window up to the cut
	Physical int64  // lines up to the cut
	// Long: nothing comes before a physical line that is too long to be framed
	// in memory.
	Long bool
	// Open is for each stream the place where the line ends that is still
	// open, 0 when none is.
	Open [Streams]int64
}

// Reset makes the memory free that texts lie in.
func (f *Framer) Reset() {
	f.memory.reset()
	for i := range f.streams {
		if s := &f.streams[i]; cap(s.joined) > mostBlock {
			s.joined = nil
		}
	}
}

// Frame hands over the lines of a window up to its last clean cut.
func (f *Framer) Frame(file File, w Window) Framed {
	f.begin()
	at, long := 0, false
	for at < len(w.Data) && len(f.out) < w.MaxLines {
		size := file.encoding.LineEnd(w.Data[at:], w.Place+int64(at))
		terminated := size >= 0
		if !terminated {
			size = len(w.Data) - at
		}
		if size > f.longest {
			f.finishAll(true)
			long = true
			break
		}
		if !terminated && !w.Final {
			break
		}
		if at+size-f.cut > f.span || f.held == maxHeld {
			f.finishAll(true)
		}
		f.take(file, w, at, size, terminated)
		at += size
	}
	if at == len(w.Data) && w.Final {
		f.finishAll(false)
	}
	var framed Framed
	for i := range f.streams {
		s := &f.streams[i]
		if !s.open {
			continue
		}
		end := w.Place + int64(f.pending[s.group].end)
		if end == w.Expired[i] && len(f.out) < w.MaxLines {
			f.finish(s, false)
		} else {
			framed.Open[i] = end
		}
	}
	f.release()
	if len(f.out) == 0 {
		f.memory.forget()
	}
	framed.Lines, framed.Size, framed.Physical = f.out, f.cut, f.done
	framed.Long = long && f.cut == 0
	return framed
}

func (f *Framer) begin() {
	f.memory.mark()
	clear(f.out)
	f.out = f.out[:0]
	clear(f.pending)
	f.pending = f.pending[:0]
	f.ready, f.reach, f.held, f.cut, f.done = 0, 0, 0, 0, 0
	for i := range f.streams {
		f.streams[i].open = false
	}
}

// take deals with a physical line of the window.
func (f *Framer) take(file File, w Window, at, size int, terminated bool) {
	raw := w.Data[at : at+size : at+size]
	if terminated {
		raw = raw[:size-file.encoding.FeedSize()]
	}
	p := file.wrapper.peel(&f.memory, file.encoding.decode(&f.memory, raw, w.Place+int64(at)), terminated)
	s := &f.streams[p.stream]
	f.held++
	switch {
	case !s.open:
		f.open(s, p, at, size)
	case s.more:
		if f.fits(s, len(p.text)) {
			f.join(s, p.text, at, size, nil)
		} else {
			f.finish(s, true)
			f.open(s, p, at, size)
		}
	case !f.continues(p.text):
		f.finish(s, false)
		f.open(s, p, at, size)
	case s.lines == f.config.MaxLines || !f.fits(s, 1+len(p.text)):
		f.finish(s, true)
		f.open(s, p, at, size)
	default:
		f.join(s, p.text, at, size, []byte{'\n'})
		s.lines++
	}
	if s.more = p.more; !s.more && !f.multiline {
		f.finish(s, false)
	}
	f.release()
}

// continues tells whether a line belongs to the one before it.
func (f *Framer) continues(text []byte) bool {
	switch {
	case f.start != nil:
		return !f.start.Match(text)
	case f.continuing != nil:
		return f.continuing.Match(text)
	default:
		return false
	}
}

// fits tells whether so many bytes more can be joined to a stream's line.
func (f *Framer) fits(s *stream, more int) bool {
	return len(f.pending[s.group].line.Text)+more <= f.maxLine
}

// open begins a line.
func (f *Framer) open(s *stream, p peeled, at, size int) {
	s.open, s.group, s.parts, s.lines = true, len(f.pending), 1, 1
	f.pending = append(f.pending, group{line: Line{Offset: at, Size: size, Physical: 1, Text: p.text}, end: at + size})
}

// join adds a part to a line.
func (f *Framer) join(s *stream, text []byte, at, size int, between []byte) {
	g := &f.pending[s.group]
	if s.parts == 1 {
		s.joined = append(s.joined[:0], g.line.Text...)
	}
	s.parts++
	s.joined = append(s.joined, between...)
	s.joined = append(s.joined, text...)
	g.line.Text = s.joined
	g.line.Size += size
	g.line.Physical++
	g.end = at + size
}

// finish ends the open line of a stream. limited: not because it was over.
func (f *Framer) finish(s *stream, limited bool) {
	g := &f.pending[s.group]
	if s.parts > 1 {
		g.line.Text = f.memory.keep(append(f.memory.room(len(s.joined)), s.joined...))
	}
	g.line.Partial = limited || s.more
	if text := g.line.Text; len(text) > f.maxLine {
		g.line.Cut = &inputs.Cut{Length: int64(len(text)), SHA256: sha256.Sum256(text)}
		g.line.Text = text[:f.maxLine]
	}
	g.finished = true
	s.open = false
}

func (f *Framer) finishAll(limited bool) {
	for i := range f.streams {
		if s := &f.streams[i]; s.open {
			f.finish(s, limited)
		}
	}
	f.release()
}

// release hands over what stands before a clean cut: finished lines none of
// which reaches behind the first byte of what is not finished.
func (f *Framer) release() {
	for f.ready < len(f.pending) && f.pending[f.ready].finished {
		f.reach = max(f.reach, f.pending[f.ready].end)
		f.ready++
		if f.ready == len(f.pending) || f.pending[f.ready].line.Offset >= f.reach {
			f.handOver()
		}
	}
}

func (f *Framer) handOver() {
	for i := range f.ready {
		line := &f.pending[i].line
		f.out = append(f.out, *line)
		f.done += int64(line.Physical)
		f.held -= line.Physical
	}
	f.cut = f.reach
	left := copy(f.pending, f.pending[f.ready:])
	clear(f.pending[left:])
	f.pending = f.pending[:left]
	for i := range f.streams {
		f.streams[i].group -= f.ready
	}
	f.ready = 0
}

// Head turns the head of a physical line that is longer than can be framed into
// what a parser gets of it: decoded, and out of its wrapper when it fits it
// all the same. place is where it stands in the file.
func (f *Framer) Head(file File, head []byte, place int64) []byte {
	if file.encoding.wide() {
		head = head[:len(head)-int(place+int64(len(head)))%2]
	}
	text := file.wrapper.peel(&f.memory, file.encoding.decode(&f.memory, head, place), false).text
	return text[:min(len(text), f.maxLine)]
}

// Encoding returns how the characters of a file are encoded.
func (f File) Encoding() Encoding { return f.encoding }

// Decided tells whether anything is known of the file.
func (f File) Decided() bool { return f.encoding != "" }
