// Package records reads the records of a sealed batch, for outputs that copy
// them somewhere in another form.
//
// Its promise: no record is handed out before the whole payload has proven to be
// what was sealed, and at most one group of records is in memory.
package records

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/internal/wire"
	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/outputs/internal/retry"
	"github.com/auditail/auditail/seal"
)

// maxWindow bounds the memory that a payload's zstd frames may ask for.
const maxWindow = 8 << 20

// Payload returns the payload of a batch; false when it has none to ship.
func Payload(b seal.Batch) (seal.Object, bool) {
	for _, o := range b.Objects {
		if o.Kind == seal.PayloadObject {
			return o, true
		}
	}
	return seal.Object{}, false
}

// Limits say when a group of records is full. A record larger than Bytes is a
// group of its own.
type Limits struct{ Records, Bytes int }

// Each hands the records of a payload, one line of JSON each without its LF, in
// groups to send, which must not keep them. It leaves out the first skip records.
// Errors are those of send; or errors.Is outputs.ErrPermanent, when the payload
// is gone or not what was sealed; or a [wire.LocalError] that may pass.
func Each(payload seal.Object, plain int64, skip int, limits Limits, send func(lines [][]byte) error) error {
	if err := verify(payload); err != nil {
		return err
	}
	file, err := payload.Open()
	if err != nil {
		return &wire.LocalError{Kind: "read batch", Err: fmt.Errorf("open what was sealed: %w", err)}
	}
	defer file.Close()
	decoder, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return fmt.Errorf("%w: read payload: %w", outputs.ErrPermanent, err)
	}
	defer decoder.Close()
	g := group{limits: limits, send: send}
	lines := bufio.NewReaderSize(io.LimitReader(decoder, plain), 64<<10)
	for {
		begin := len(g.text)
		if err := g.readLine(lines); errors.Is(err, io.EOF) {
			return g.flush()
		} else if err != nil {
			return fmt.Errorf("%w: read payload: %w", outputs.ErrPermanent, err)
		}
		if skip > 0 {
			skip--
			g.text = g.text[:begin]
			continue
		}
		if err := g.add(begin); err != nil {
			return err
		}
	}
}

// verify reads the payload once: a body that ends is the sealed one.
func verify(payload seal.Object) error {
	body := &retry.Body{Object: payload}
	_, err := io.Copy(io.Discard, body)
	return errors.Join(err, body.Close())
}

// group collects records. ends are the ends of its records in text.
type group struct {
	limits Limits
	send   func(lines [][]byte) error
	text   []byte
	ends   []int
	lines  [][]byte
}

// readLine appends the next line without its LF; io.EOF behind the last.
func (g *group) readLine(from *bufio.Reader) error {
	for {
		part, err := from.ReadSlice('\n')
		g.text = append(g.text, bytes.TrimSuffix(part, []byte("\n"))...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// add takes the line that begins at begin into the group, which is sent before
// that when it would become too large.
func (g *group) add(begin int) error {
	if n := len(g.ends); n > 0 && (len(g.text) > g.limits.Bytes || n == g.limits.Records) {
		last := bytes.Clone(g.text[begin:])
		g.text = g.text[:begin]
		if err := g.flush(); err != nil {
			return err
		}
		g.text = append(g.text, last...)
	}
	g.ends = append(g.ends, len(g.text))
	return nil
}

func (g *group) flush() error {
	if len(g.ends) == 0 {
		return nil
	}
	g.lines = g.lines[:0]
	begin := 0
	for _, end := range g.ends {
		g.lines = append(g.lines, g.text[begin:end:end])
		begin = end
	}
	err := g.send(g.lines)
	g.text, g.ends = g.text[:0], g.ends[:0]
	return err
}

// Decode reads a record; numbers stay as they are written.
func Decode(line []byte) (map[string]any, error) {
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	var record map[string]any
	if err := decoder.Decode(&record); err != nil {
		return nil, fmt.Errorf("read record: %w", err)
	}
	return record, nil
}

// Text returns a member's text, found by its path; empty when there is none.
func Text(record map[string]any, path ...string) string {
	for _, name := range path[:len(path)-1] {
		record, _ = record[name].(map[string]any)
	}
	text, _ := record[path[len(path)-1]].(string)
	return text
}

// Severity returns a record's severity from 1 to 5; 1 when it has none.
func Severity(record map[string]any) int {
	number, _ := record["severity"].(json.Number)
	n, err := number.Int64()
	if err != nil || n < 1 || n > 5 {
		return 1
	}
	return int(n)
}
