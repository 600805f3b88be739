package admin

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/auditail/auditail/internal/config"
)

// Taps hands out records as they pass. While nobody looks it costs one atomic
// load for each chunk.
type Taps struct {
	watching atomic.Int32

	mu    sync.Mutex
	views map[*view]struct{}
}

// view is one who looks.
type view struct {
	input string // empty: all
	lines chan []byte
	lost  atomic.Int64 // records that did not fit
}

const (
	// maxViews bounds the copies that are made of a record.
	maxViews = 16
	// viewLines is how many records may wait for one who looks.
	viewLines = 1024
	// tapWrite is how long one who looks may take for a record.
	tapWrite = 10 * time.Second
	// LostHeader begins a line that counts records which were left out before it.
	LostHeader = "auditail-tap-lost "
)

// NewTaps returns a place where nobody looks yet.
func NewTaps() *Taps { return &Taps{views: make(map[*view]struct{})} }

// Watched tells whether somebody looks: otherwise Pass need not be called.
func (t *Taps) Watched() bool { return t != nil && t.watching.Load() > 0 }

// Pass shows a record line of an input, without LF, to those who look. It does
// not keep record and never waits.
func (t *Taps) Pass(input string, record []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var line []byte
	for v := range t.views {
		if v.input != "" && v.input != input {
			continue
		}
		if line == nil {
			line = append(bytes.Clone(record), '\n')
		}
		select {
		case v.lines <- line:
		default:
			v.lost.Add(1)
		}
	}
}

func (t *Taps) open(input string) *view {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.views) >= maxViews {
		return nil
	}
	v := &view{input: input, lines: make(chan []byte, viewLines)}
	t.views[v] = struct{}{}
	t.watching.Store(int32(len(t.views))) //nolint:gosec // at most maxViews
	return v
}

func (t *Taps) close(v *view) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.views, v)
	t.watching.Store(int32(len(t.views))) //nolint:gosec // at most maxViews
}

// tap streams records, one JSON object a line, until the client goes away.
func (s *Server) tap(w http.ResponseWriter, r *http.Request) {
	input := r.URL.Query().Get("input")
	if known := s.inputs(); input != "" && !slices.Contains(known, input) {
		meant := ""
		if near, found := config.Nearest(input, known); found {
			meant = fmt.Sprintf("; did you mean %q?", near)
		}
		http.Error(w, fmt.Sprintf("there is no input %q in the configuration that runs%s It has: %s", input, cmp.Or(meant, "."), strings.Join(known, ", ")), http.StatusNotFound)
		return
	}
	v := s.deps.Tap.open(input)
	if v == nil {
		http.Error(w, "too many taps are open: close one", http.StatusServiceUnavailable)
		return
	}
	defer s.deps.Tap.close(v)
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := http.NewResponseController(w)
	if err := out.Flush(); err != nil {
		return
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case line := <-v.lines:
			if err := writeTap(out, w, v, line); err != nil {
				return
			}
		}
	}
}

// writeTap writes what waits, beginning with line, and how much was lost. A view
// that is always full is told so now and then all the same.
func writeTap(out *http.ResponseController, w http.ResponseWriter, v *view, line []byte) error {
	if err := out.SetWriteDeadline(time.Now().Add(tapWrite)); err != nil {
		return err
	}
	for n := 0; line != nil; n++ {
		if _, err := w.Write(line); err != nil {
			return err
		}
		if n == viewLines {
			break
		}
		line = v.next()
	}
	if lost := v.lost.Swap(0); lost > 0 {
		if _, err := w.Write([]byte(LostHeader + strconv.FormatInt(lost, 10) + "\n")); err != nil {
			return err
		}
	}
	return out.Flush()
}

// next returns a line that waits, or nil.
func (v *view) next() []byte {
	select {
	case line := <-v.lines:
		return line
	default:
		return nil
	}
}

// inputs are the names that can be tapped.
func (s *Server) inputs() (names []string) {
	status := s.deps.Status()
	for i := range status.Inputs {
		names = append(names, status.Inputs[i].Name)
	}
	return append(names, ownInput)
}

// ownInput is under which the agent's own records are tapped.
const ownInput = "agent"
