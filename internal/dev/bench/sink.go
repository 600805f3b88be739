package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
)

// sink is a plain HTTP server that takes conditional PUTs and keeps payloads.
type sink struct {
	listener net.Listener
	server   *http.Server

	mu       sync.Mutex
	payloads map[string][]byte
	taken    map[string]time.Time // when the payload was there
	stalled  bool                 // takes nothing
}

func newSink() (*sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback
	if err != nil {
		return nil, err
	}
	s := &sink{listener: l, payloads: make(map[string][]byte), taken: make(map[string]time.Time)}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.server.Serve(l) }() // ends with close
	return s, nil
}

func (s *sink) url() string  { return "http://" + s.listener.Addr().String() }
func (s *sink) close() error { return s.server.Close() }

// ServeHTTP stores payloads and accepts the rest.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.stalled {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPut {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if strings.Contains(r.URL.Path, "/svc=chat/") {
		s.mu.Lock()
		s.payloads[r.URL.Path], s.taken[r.URL.Path] = body, time.Now()
		s.mu.Unlock()
	}
	w.WriteHeader(http.StatusCreated)
}

func (s *sink) bytes() (n int64) {
	for _, p := range s.payloads {
		n += int64(len(p))
	}
	return n
}

// records calls visit with each record line of the payloads.
func (s *sink) records(visit func(path, line string)) error {
	for path, p := range s.payloads {
		z, err := zstd.NewReader(bytes.NewReader(p))
		if err != nil {
			return err
		}
		lines := bufio.NewScanner(z)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			visit(path, lines.Text())
		}
		z.Close()
		if err := lines.Err(); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// acknowledged returns how long after a line was written its batch was taken.
func (s *sink) acknowledged(written func(offset int64) (time.Time, bool)) (times []time.Duration, err error) {
	err = s.records(func(path, line string) {
		var offset int64
		text, ok := quoted(line, `"offset":`)
		if _, err := fmt.Sscanf(text, "%d", &offset); !ok || err != nil {
			return
		}
		if at, ok := written(offset); ok {
			times = append(times, s.taken[path].Sub(at))
		}
	})
	return times, err
}

// count returns how many distinct lines the records name, and how many records
// name one that was named before. A record that joins several lines stands for
// each of them; lines that make no record of their own are counted by the
// coverage record.
func (s *sink) count(key string) (distinct, repeated int, err error) {
	seen := make(map[string]struct{})
	err = s.records(func(_, line string) {
		if strings.Contains(line, `"event":"agent.coverage"`) {
			distinct += covered(line)
			return
		}
		id, ok := quoted(line, key)
		if !ok {
			return
		}
		if _, known := seen[id]; known {
			repeated++
		}
		seen[id] = struct{}{}
	})
	if err != nil {
		return 0, 0, err
	}
	if len(seen) == 0 {
		return 0, 0, errors.New("the sink got no record")
	}
	return distinct, repeated, nil
}

func covered(line string) (n int) {
	for {
		_, rest, ok := strings.Cut(line, `"lines":`)
		if !ok {
			return n
		}
		lines := 0
		if _, err := fmt.Sscanf(rest, "%d", &lines); err == nil {
			n += lines
		}
		line = rest
	}
}

// quoted returns what stands behind key up to the next delimiter.
func quoted(line, key string) (string, bool) {
	_, rest, ok := strings.Cut(line, key)
	if !ok {
		return "", false
	}
	end := strings.IndexAny(rest, `",}`)
	return rest[:max(end, 0)], end > 0
}
