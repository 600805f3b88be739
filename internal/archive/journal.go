package archive

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/auditail/auditail/seal"
)

// Journal keeps, in a file of the auditor's, which payloads were found sound, so
// that an interrupted verification goes on where it was.
//
// Of a payload in the journal the file is read and its SHA-256 compared with the
// signed manifest again, and every signature, the chain and the coverage are
// checked anew: whoever changes the archive between two runs is found out, whatever
// the journal says. What is believed is that a file of that digest unpacks to the
// records of the signed root, and what its coverage and gap records say. Whoever
// can write the journal and holds the agent's keys could lie about these, so the
// file must be the auditor's own; lines that were damaged are not believed.
//
// It is used by one Verify at a time.
type Journal struct {
	file    *os.File
	writer  *bufio.Writer
	old     *bufio.Scanner
	earlier *os.File
	head    *journalEntry // the next of the old ones
	pending int
	err     error // first of writing
}

// journalEntry is a payload without a violation.
type journalEntry struct {
	Origin   string       `json:"origin"`
	Batch    uint64       `json:"batch"`
	Manifest string       `json:"manifest"` // SHA-256 of the file, in hex
	Plain    int64        `json:"plain"`
	Records  uint64       `json:"records"`
	Spans    []journalled `json:"spans"`
	Notices  []Finding    `json:"notices,omitempty"`
}

type journalled struct {
	Source     string `json:"source"`
	Generation string `json:"generation"`
	Unit       string `json:"unit,omitempty"`
	From       uint64 `json:"from"`
	To         uint64 `json:"to"`
}

const (
	// maxJournalLine bounds what a damaged journal can take of memory.
	maxJournalLine = 32 << 20
	// journalFlush is after how many payloads the journal is written out.
	journalFlush = 32
	// journalSum is how many hex digits of the SHA-256 of a line stand before it.
	journalSum = 32
)

// OpenJournal opens the journal in a file, and makes it when there is none. It
// refuses a file that others may write. The caller ends it with Close or Remove.
func OpenJournal(name string) (*Journal, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600) //nolint:gosec // the user names it
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("open journal %s: %w", name, errNotRegular)
	case othersMayWrite(name, info):
		err = fmt.Errorf("open journal %s: others than you may write it: remove it, or chmod 600 and chown it if you know what it holds", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	earlier, err := os.Open(name) //nolint:gosec // the same file
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open journal: %w", err), f.Close())
	}
	// Not what this run appends.
	old := bufio.NewScanner(io.LimitReader(earlier, info.Size()))
	old.Buffer(nil, maxJournalLine)
	j := &Journal{file: f, writer: bufio.NewWriter(f), old: old, earlier: earlier}
	if info.Size() > 0 {
		j.writer.WriteByte('\n') //nolint:errcheck // Flush reports it; a line that was torn ends here
	}
	j.advance()
	return j, nil
}

// advance reads the next old entry; damaged lines are passed over.
func (j *Journal) advance() {
	j.head = nil
	for j.head == nil && j.old.Scan() {
		sum, text, _ := bytes.Cut(j.old.Bytes(), []byte(" "))
		if string(sum) != journalSumOf(text) {
			continue
		}
		e := new(journalEntry)
		if json.Unmarshal(text, e) == nil {
			j.head = e
		}
	}
}

func journalSumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:journalSum]
}

// find returns the old entry of a manifest, nil when there is none. It is asked
// in the order of Verify, which is that of the entries.
func (j *Journal) find(m *seal.Manifest, digest seal.Digest) *journalEntry {
	for j.head != nil {
		origin, err := seal.ParseOrigin(j.head.Origin)
		order := -1
		if err == nil {
			order = cmp.Or(cmp.Compare(origin.Agent, m.Origin.Agent), cmp.Compare(origin.Epoch, m.Origin.Epoch), cmp.Compare(j.head.Batch, m.Batch))
		}
		if order > 0 {
			return nil
		}
		found := j.head
		j.advance()
		if order == 0 && origin == m.Origin && found.Manifest == digest.String() {
			return found
		}
	}
	return nil
}

// add writes the entry of a step whose payload was found sound.
func (j *Journal) add(s *step) {
	e := journalEntry{
		Origin: s.manifest.Origin.String(), Batch: s.manifest.Batch, Manifest: seal.DigestOf(s.file).String(),
		Plain: s.summary.Plain, Records: s.summary.Records, Notices: s.contents.findings,
	}
	for _, at := range s.contents.spans {
		e.Spans = append(e.Spans, journalled{Source: at.source, Generation: at.generation, Unit: at.unit, From: at.from, To: at.to})
	}
	text, err := json.Marshal(e)
	if err != nil || len(text) > maxJournalLine-journalSum-2 {
		return // it will be checked again
	}
	_, err = fmt.Fprintf(j.writer, "%s %s\n", journalSumOf(text), text)
	if j.pending++; j.pending == journalFlush && err == nil {
		j.pending, err = 0, j.writer.Flush()
	}
	if j.err == nil && err != nil {
		j.err = fmt.Errorf("write journal: %w", err)
	}
}

// contents returns what the records of the batch were found to say.
func (e *journalEntry) contents() *contents {
	c := &contents{findings: e.Notices}
	for _, at := range e.Spans {
		c.spans = append(c.spans, span{source: at.Source, generation: at.Generation, unit: at.Unit, from: at.From, to: at.To})
	}
	return c
}

// Close writes out what is pending and keeps the file for the next run.
func (j *Journal) Close() error {
	err := cmp.Or(j.err, j.writer.Flush())
	return errors.Join(err, j.earlier.Close(), j.file.Close())
}

// Remove ends the journal of a verification that came to its end.
func (j *Journal) Remove() error {
	return errors.Join(j.earlier.Close(), j.file.Close(), os.Remove(j.file.Name()))
}
