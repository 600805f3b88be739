package vllm_test

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// FuzzParse: any log gets a verdict for each line, accounts for all of them,
// and makes records whose text a JSON reader takes.
func FuzzParse(f *testing.F) {
	for _, name := range samples(f) {
		log, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(log)
	}
	f.Add([]byte(busy()))
	f.Fuzz(func(t *testing.T, log []byte) {
		p := newParser(t)
		for i, line := range lines(log) {
			line.Cut = i%7 == 3
			before := p.Held()
			list, outcome, err := p.Parse(nil, line)
			if err != nil {
				t.Fatal(err)
			}
			check(t, list)
			released := 0
			for i := range list {
				released += len(list[i].Held)
			}
			if outcome.Verdict != parsers.Held {
				released++
			}
			if before+1 != p.Held()+released {
				t.Fatalf("line %d: held %d, then %d, released %d", i+1, before, p.Held(), released)
			}
		}
		p = restart(t, p)
		list, _ := p.Flush(time.Time{}, nil)
		check(t, list)
		if p.Held() != 0 {
			t.Fatalf("%d lines are left", p.Held())
		}
	})
}

func check(t *testing.T, list []parsers.Draft) {
	t.Helper()
	for i := range list {
		envelope(&list[i].Record)
		if err := audit.Validate(list[i].Record.Append(nil, 1)); err != nil {
			t.Fatalf("%v: %s", err, list[i].Record.Append(nil, 1))
		}
	}
}

// FuzzRestore: bytes that are taken for a state are one: they can be flushed,
// and their snapshot restores to the same state.
func FuzzRestore(f *testing.F) {
	for _, log := range []string{busy(), received("chatcmpl-a", "'p'") + finished("chatcmpl-a")} {
		p := newParser(f)
		for _, line := range text(log) {
			if _, _, err := p.Parse(nil, line); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(p.Snapshot())
	}
	f.Fuzz(func(t *testing.T, snapshot []byte) {
		p := newParser(t)
		if p.Restore(snapshot) != nil {
			return
		}
		p = restart(t, p)
		for _, line := range text(access("10.0.0.1:1", chat, 200) + received("chatcmpl-a", "'p'")) {
			line.Data = bytes.Clone(line.Data)
			if _, _, err := p.Parse(nil, line); err != nil {
				t.Fatal(err)
			}
		}
		p.Flush(time.Time{}, nil)
		if p.Held() != 0 {
			t.Fatalf("%d lines are left", p.Held())
		}
	})
}
