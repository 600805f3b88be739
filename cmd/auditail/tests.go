package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/auditail/auditail/agent"
	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/parsers"
)

// runTest takes the lines of a [[test]] through its input and returns the first
// thing that is not as the test says.
func runTest(ctx context.Context, cfg *config.Config, t *config.Test) (err error) {
	dir, err := os.MkdirTemp("", "auditail-test-*")
	if err != nil {
		return fmt.Errorf("lay out sample: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var records [][]byte
	var why []string // of lines that did not parse
	ignored := 0
	data := []byte(strings.Join(t.Lines, "\n") + "\n")
	err = tryLines(ctx, cfg, cfg.Inputs.Find(t.Input), t.Name, data, dir, func(_ parsers.Parser, tried agent.Tried) error {
		switch {
		case tried.Record != nil:
			records = append(records, bytes.Clone(tried.Record))
		case tried.Verdict == parsers.Unparsed:
			why = append(why, linesText(tried))
		case tried.Verdict == parsers.Ignored:
			ignored += len(tried.Lines)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case len(why) != t.Unparsed:
		return fmt.Errorf("%d lines did not parse, %d are expected not to: %s", len(why), t.Unparsed, strings.Join(why, "; "))
	case ignored != t.Ignored:
		return fmt.Errorf("%d lines are ignored, %d are expected to be", ignored, t.Ignored)
	case len(records) != len(t.Records):
		return fmt.Errorf("the lines make %d records, %d are expected", len(records), len(t.Records))
	}
	for i, want := range t.Records {
		if err := compareRecord(records[i], want); err != nil {
			return fmt.Errorf("record %d: %w", i+1, err)
		}
	}
	return nil
}

// compareRecord returns the first field that is not as expected.
func compareRecord(record []byte, want config.Expectation) error {
	var tree map[string]json.RawMessage
	if err := json.Unmarshal(record, &tree); err != nil {
		return fmt.Errorf("read record back: %w", err)
	}
	for _, w := range want {
		got := lookup(tree, w.Field)
		switch {
		case got == nil && w.Value == "":
		case got == nil:
			return fmt.Errorf("%s is absent, %s is expected", w.Field, asJSON(w.Value))
		case w.Value == "":
			return fmt.Errorf("%s is %s, it is expected to be absent", w.Field, printable(string(got)))
		case !sameValue(got, w.Value):
			return fmt.Errorf("%s is %s, %s is expected", w.Field, printable(string(got)), asJSON(w.Value))
		}
	}
	return nil
}

// sameValue compares a value of a record with one of the configuration. Times
// are compared as points in time, so that a test does not depend on how a zone is
// written.
func sameValue(got json.RawMessage, want any) bool {
	var a, b any
	if json.Unmarshal(got, &a) != nil || json.Unmarshal([]byte(asJSON(want)), &b) != nil {
		return false
	}
	if x, ok := a.(string); ok {
		if y, ok := b.(string); ok && x != y {
			t, err1 := time.Parse(time.RFC3339Nano, x)
			u, err2 := time.Parse(time.RFC3339Nano, y)
			return err1 == nil && err2 == nil && t.Equal(u)
		}
	}
	return reflect.DeepEqual(a, b)
}

func asJSON(value any) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Sprint(value)
	}
	return strings.TrimSpace(b.String())
}
