package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/seal"
)

// report is what the demo reads out of the archive, without the agent's help.
type report struct {
	dir      string
	batches  uint64
	lines    seal.Lines
	payloads []string // in batch order, those of the logs only
	records  []record
	ids      map[string]int
	places   map[string]int
}

// record is the part of an audit record that the table shows.
type record struct {
	ID      string `json:"id"`
	Time    string `json:"time"`
	Event   string `json:"event"`
	Outcome string `json:"outcome"`
	Reason  string `json:"reason"`
	Actor   struct {
		ID string `json:"id"`
	} `json:"actor"`
	Client struct {
		IP string `json:"ip"`
	} `json:"client"`
	Model struct {
		Name, ID, Version, Revision, Basis string
	} `json:"model"`
	Usage struct {
		Input  *int64 `json:"input_tokens"`
		Output *int64 `json:"output_tokens"`
	} `json:"usage"`
	Source struct {
		ID, Generation string
		Offset         int64
	} `json:"source"`
}

// readManifests adds up the manifests of the archive.
func readManifests(dir string) (*report, error) {
	r := &report{dir: dir, ids: make(map[string]int), places: make(map[string]int)}
	err := filepath.WalkDir(filepath.Join(dir, "seals"), func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // nothing has arrived yet
		}
		if err != nil || !strings.HasSuffix(path, seal.ManifestSuffix) {
			return err
		}
		file, err := os.ReadFile(path) //nolint:gosec // our own folder
		if err != nil {
			return err
		}
		text, err := seal.SplitNote(file)
		if err != nil {
			return err
		}
		m, err := seal.ParseText(text)
		if err != nil {
			return err
		}
		r.add(m)
		return nil
	})
	return r, err
}

func (r *report) add(m *seal.Manifest) {
	r.batches++
	r.lines.Read += m.Lines.Read
	r.lines.Recorded += m.Lines.Recorded
	r.lines.Unparsed += m.Lines.Unparsed
	r.lines.Ignored += m.Lines.Ignored
	if m.Kind == seal.Data && m.Stream.Service != "auditail" {
		r.payloads = append(r.payloads, m.PayloadPath)
	}
}

// readArchive reads all records as well.
func readArchive(dir string) (*report, error) {
	r, err := readManifests(dir)
	if err != nil {
		return nil, err
	}
	for _, path := range r.payloads {
		if err := r.readPayload(filepath.Join(dir, filepath.FromSlash(path))); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
	}
	return r, nil
}

func (r *report) readPayload(name string) error {
	f, err := os.Open(name) //nolint:gosec // our own folder
	if err != nil {
		return err
	}
	z, err := zstd.NewReader(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	defer z.Close()
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var rec record
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			return errors.Join(err, f.Close())
		}
		r.ids[rec.ID]++
		if !strings.HasPrefix(rec.Event, "agent.") {
			r.places[fmt.Sprint(rec.Source)]++
			r.records = append(r.records, rec)
		}
	}
	return errors.Join(lines.Err(), f.Close())
}

// tableRows is how many records of each log the table shows.
const tableRows = 5

// printTable shows who used which model.
func (r *report) printTable(w io.Writer) {
	say("who used which model (the first %d records of each log)", tableRows)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "   TIME\tWHO\tMODEL, EXACT VERSION\tBASIS\tFROM\tOUTCOME\tTOKENS IN/OUT\tLOG")
	shown := make(map[string]int)
	for i := range r.records {
		rec := &r.records[i]
		if rec.Event != "model.inference" || shown[rec.Source.ID] == tableRows {
			continue
		}
		shown[rec.Source.ID]++
		fmt.Fprintf(t, "   %s\t%s\t%s\t%s\t%s\t%s\t%s/%s\t%s\n", short(rec.Time, 19), or(rec.Actor.ID), rec.model(), or(rec.Model.Basis),
			or(rec.Client.IP), rec.outcome(), number(rec.Usage.Input), number(rec.Usage.Output), rec.Source.ID)
	}
	_ = t.Flush() // a terminal
}

func (rec *record) model() string {
	version := rec.Model.Revision
	if version == "" {
		version = rec.Model.Version
	}
	name := or(rec.Model.Name)
	if version == "" {
		return name
	}
	return name + " @ " + short(version, 12)
}

func (rec *record) outcome() string {
	if rec.Reason == "" {
		return rec.Outcome
	}
	return rec.Outcome + " (" + rec.Reason + ")"
}

func or(s string) string {
	if s == "" {
		return "·"
	}
	return s
}

func short(s string, n int) string { return s[:min(len(s), n)] }

func number(n *int64) string {
	if n == nil {
		return "·"
	}
	return fmt.Sprint(*n)
}

// check compares what was written with what the archive holds.
func (r *report) check(w io.Writer, written map[string]uint64) error {
	var total uint64
	for _, n := range written {
		total += n
	}
	repeated := 0
	for _, n := range r.ids {
		repeated += n - 1
	}
	for _, n := range r.places {
		repeated += n - 1
	}
	lost := int64(total) - int64(r.lines.Read) //nolint:gosec // small numbers
	fmt.Fprintf(w, "\n   lines written %d, read %d = recorded %d + unparsed %d + ignored %d\n   lost %d, repeated %d\n",
		total, r.lines.Read, r.lines.Recorded, r.lines.Unparsed, r.lines.Ignored, lost, repeated)
	if lost != 0 || repeated != 0 || r.lines.Read != r.lines.Recorded+r.lines.Unparsed+r.lines.Ignored {
		return errors.New("the counts do not agree")
	}
	return nil
}
