package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// writer appends sample lines to the logs, a few at a time, as servers do.
type writer struct {
	dir   string
	files []*logFile
	lines map[string]uint64 // written, by log
}

type logFile struct {
	name    string
	samples [][]byte // lines with their LF
	next    int
	f       *os.File
}

// pace is the pause between two writes to the logs.
const pace = 150 * time.Millisecond

func newWriter(dir string) (*writer, error) {
	w := &writer{dir: dir, lines: make(map[string]uint64)}
	for _, name := range []string{"vllm.log", "gateway.jsonl", "nginx.log"} {
		data, err := samples.ReadFile("samples/" + name)
		if err != nil {
			return nil, err
		}
		l := &logFile{name: name, samples: bytes.SplitAfter(bytes.TrimRight(data, "\n"), []byte("\n"))}
		last := len(l.samples) - 1
		l.samples[last] = append(l.samples[last], '\n')
		if err := l.open(dir); err != nil {
			return nil, err
		}
		w.files = append(w.files, l)
	}
	return w, nil
}

func (l *logFile) open(dir string) (err error) {
	l.f, err = os.OpenFile(filepath.Join(dir, l.name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	return err
}

// write appends bursts of lines to each log.
func (w *writer) write(ctx context.Context, bursts int) error {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for range bursts {
		for _, l := range w.files {
			for range len(l.samples)/2 + 1 {
				if _, err := l.f.Write(l.samples[l.next%len(l.samples)]); err != nil {
					return fmt.Errorf("write %s: %w", l.name, err)
				}
				l.next++
				w.lines[l.name]++
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// rotate renames a log and goes on in a new file, as logrotate with create does.
func (w *writer) rotate(name string) error {
	for _, l := range w.files {
		if l.name != name {
			continue
		}
		path := filepath.Join(w.dir, name)
		if err := os.Rename(path, path+".1"); err != nil {
			return err
		}
		return errors.Join(l.f.Close(), l.open(w.dir))
	}
	return fmt.Errorf("there is no log %s", name)
}

func (w *writer) total() (n uint64) {
	for _, lines := range w.lines {
		n += lines
	}
	return n
}
