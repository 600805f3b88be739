package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"

	"github.com/auditail/auditail/agent/capture/keyed"
	"github.com/auditail/auditail/internal/archive"
	"github.com/auditail/auditail/internal/archive/remote"
	"github.com/auditail/auditail/seal"
)

const (
	maxText   = 256 << 20
	maxKeys   = 1 << 20
	maxRecord = 16 << 20 // the longest record of the format
)

func checkTextCommand() *cobra.Command {
	var o textOptions
	c := &cobra.Command{
		Use:   "check-text TEXTFILE --key FILE --record PATH",
		Short: "Tell whether a text is the one behind a record",
		Long: `Compares a text with the keyed hashes of records: what was entered and what came
back (all parts of a message joined by a line feed, whatever the capture mode),
system instructions, arguments of tools, lines that no parser knew; and, as one
line, a user id behind a pseudonym or the API key behind actor.key_id.

The key file holds the agent's capture keys, one <id>:<base64> a line, as "auditail
keys export" escrows them. PATH is a file of records (JSON lines, or a payload of
an archive as it is), a proof that "auditail-verify prove" wrote, or an archive: a
directory, s3://bucket/prefix, or https://host of a central server. This command does not verify it: see the commands archive and proof.

Every match is a line on standard output. A line end behind the text, as editors
leave it, is tried with and without. Exit 0 when something matches, 1 when nothing
does, 2 when that could not be checked: no keyed hash, or no key for it.`,
		Example: `  auditail-verify check-text prompt.txt --key capture.key --record record.json
  age -d -i auditor.key capture.key.age | auditail-verify check-text prompt.txt --key - --record case-17.tlog-proof
  auditail-verify check-text prompt.txt --key capture.key --record /srv/audit --id 7kjc3fexjgarskvnickqka6zh7`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("check-text takes the path of one text, or - for standard input, found %d arguments", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return o.run(c, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&o.key, "key", "", "file with the capture keys, or - for standard input (required)")
	f.StringVar(&o.record, "record", "", "file of records, proof, or archive (required)")
	f.StringVar(&o.id, "id", "", "compare only the record with this id")
	f.BoolVar(&o.json, "json", false, "one JSON object a match")
	o.source.flags(f)
	return c
}

type textOptions struct {
	key, record, id string
	json            bool
	source          sourceOptions
}

func (o *textOptions) run(c *cobra.Command, name string) error {
	switch {
	case o.key == "":
		return errors.New("--key is missing: only who holds the capture keys can tell")
	case o.record == "":
		return errors.New("--record is missing: it names the records to compare with")
	case o.key == "-" && name == "-":
		return errors.New("the key and the text can not both come from standard input")
	}
	data, err := readWhole(c.InOrStdin(), o.key, maxKeys)
	if err != nil {
		return fmt.Errorf("read the capture keys: %w", err)
	}
	keys, err := keyed.Parse(data)
	if err != nil {
		return fmt.Errorf("read the capture keys: %w", err)
	}
	text, err := readWhole(c.InOrStdin(), name, maxText)
	if err != nil {
		return fmt.Errorf("read the text: %w", err)
	}
	search := newTextSearch(keys, text)
	search.id = o.id
	search.found = func(m textMatch) error { return o.print(c.OutOrStdout(), m) }
	if err := eachRecord(c.Context(), o.record, &o.source, search.record); err != nil && !errors.Is(err, errEnough) {
		return fmt.Errorf("read records: %w", err)
	}
	return search.verdict(c.OutOrStdout(), o.json)
}

func (o *textOptions) print(w io.Writer, m textMatch) error {
	if o.json {
		return json.NewEncoder(w).Encode(m)
	}
	_, err := fmt.Fprintf(w, "match     %s %s%s\n", archive.Printable(m.Record), m.Field, m.note())
	return err
}

// readWhole reads a file of at most limit bytes.
func readWhole(stdin io.Reader, name string, limit int64) (data []byte, err error) {
	read := func(r io.Reader) (err error) {
		if data, err = io.ReadAll(io.LimitReader(r, limit+1)); err == nil && int64(len(data)) > limit {
			err = fmt.Errorf("it has more than %d bytes", limit)
		}
		return err
	}
	if name == "-" {
		return data, read(stdin)
	}
	return data, withFile(name, read)
}

// textMatch is a field of a record whose hash is that of the text.
type textMatch struct {
	Record string `json:"record"`
	Field  string `json:"field"`
	Key    string `json:"key,omitempty"` // id of the capture key; of actor.key_id unknown
	Form   string `json:"form,omitempty"`
}

func (m *textMatch) note() string {
	var notes []string
	if m.Key != "" {
		notes = append(notes, "key "+m.Key)
	}
	if m.Form != "" {
		notes = append(notes, m.Form)
	}
	if len(notes) == 0 {
		return ""
	}
	return " (" + strings.Join(notes, ", ") + ")"
}

// textSearch compares a text with records.
type textSearch struct {
	id    string // of the one record to compare; "": all
	found func(textMatch) error

	keys       keyed.Keys
	contents   map[string]string // hash of the text → its form
	pseudonyms map[string]string
	keyIDs     map[string]bool

	records, compared, matches int
	truncated                  int             // records whose hash may be of a part of the text
	missing                    map[string]bool // ids of keys that there are not
}

// Forms of the text, when it is not the text as it is.
const (
	withoutLineEnd = "without the line end behind it"
	withLineEnd    = "with a line end behind it"
)

func newTextSearch(keys keyed.Keys, text []byte) *textSearch {
	s := &textSearch{
		keys: keys, contents: make(map[string]string), pseudonyms: make(map[string]string), keyIDs: make(map[string]bool), missing: make(map[string]bool),
	}
	line := bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	for _, key := range keys {
		content, user := keyed.NewHasher(key), keyed.NewPseudonymizer(key)
		s.contents[string(content.Hash(nil, line))] = withoutLineEnd
		s.contents[string(content.Hash(nil, append(slices.Clip(line), '\n')))] = withLineEnd
		s.contents[string(content.Hash(nil, text))] = "" // last: what it is counts most
		s.pseudonyms[string(user.Hash(nil, line))] = ""
		s.keyIDs[string(keyed.NewKeyIDs(key).Append(nil, line))] = true
	}
	return s
}

// errEnough ends the reading of records early.
var errEnough = errors.New("enough was read")

// textRecord is what of a record can be compared.
type textRecord struct {
	ID      string   `json:"id"`
	Quality []string `json:"quality"`
	Input   struct {
		HMAC string `json:"hmac"`
	} `json:"input"`
	Output struct {
		HMAC string `json:"hmac"`
	} `json:"output"`
	Prompt struct {
		System string `json:"system_hmac"`
	} `json:"prompt"`
	Tool struct {
		HMAC string `json:"hmac"`
	} `json:"tool"`
	Source struct {
		HMAC string `json:"hmac"`
	} `json:"source"`
	Loss struct {
		HMAC string `json:"hmac"`
	} `json:"loss"`
	Actor struct {
		ID         string `json:"id"`
		OnBehalfOf string `json:"on_behalf_of"`
		KeyID      string `json:"key_id"`
	} `json:"actor"`
	Approval struct {
		By string `json:"by"`
	} `json:"approval"`
}

// record compares one line.
func (s *textSearch) record(line []byte) error {
	var r textRecord
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("line %d is not a record: %w", s.records+1, err)
	}
	if s.id != "" && r.ID != s.id {
		return nil
	}
	s.records++
	before := s.compared
	for _, f := range []struct {
		name, hash string
		known      map[string]string
	}{
		{"input.hmac", r.Input.HMAC, s.contents},
		{"output.hmac", r.Output.HMAC, s.contents},
		{"prompt.system_hmac", r.Prompt.System, s.contents},
		{"tool.hmac", r.Tool.HMAC, s.contents},
		{"source.hmac", r.Source.HMAC, s.contents},
		{"loss.hmac", r.Loss.HMAC, s.contents},
		{"actor.id", r.Actor.ID, s.pseudonyms},
		{"actor.on_behalf_of", r.Actor.OnBehalfOf, s.pseudonyms},
		{"approval.by", r.Approval.By, s.pseudonyms},
	} {
		if err := s.compare(r.ID, f.name, f.hash, f.known); err != nil {
			return err
		}
	}
	if s.compared > before && slices.Contains(r.Quality, "truncated") {
		s.truncated++
	}
	if isKeyID(r.Actor.KeyID) {
		s.compared++
		if s.keyIDs[r.Actor.KeyID] {
			return s.match(textMatch{Record: r.ID, Field: "actor.key_id", Form: "of one in four billion keys"})
		}
	}
	if s.id != "" {
		return errEnough
	}
	return nil
}

// isKeyID tells whether actor.key_id is one that an agent made.
func isKeyID(text string) bool {
	digits, ok := strings.CutPrefix(text, "k_")
	_, err := hex.DecodeString(digits)
	return ok && len(digits) == 8 && err == nil
}

func (s *textSearch) compare(record, field, hash string, known map[string]string) error {
	id := keyed.ID(hash)
	if id == "" {
		return nil // no hash, or a user id in clear
	}
	if _, there := s.keys.Find(id); !there {
		s.missing[id] = true
		return nil
	}
	s.compared++
	if form, same := known[hash]; same {
		return s.match(textMatch{Record: record, Field: field, Key: id, Form: form})
	}
	return nil
}

func (s *textSearch) match(m textMatch) error {
	s.matches++
	return s.found(m)
}

// verdict says what may be concluded.
func (s *textSearch) verdict(w io.Writer, asJSON bool) error {
	var missing []string
	for id := range s.missing {
		missing = append(missing, archive.Printable(id))
	}
	slices.Sort(missing)
	switch {
	case s.matches > 0:
		return nil
	case s.records == 0 && s.id != "":
		return fmt.Errorf("there is no record %s", s.id)
	case s.records == 0:
		return errors.New("there is no record")
	case len(missing) > 0:
		return fmt.Errorf("no match, but not all could be checked: the key file lacks %s", strings.Join(missing, ", "))
	case s.compared == 0:
		return fmt.Errorf("there is no keyed hash to compare with in %s", count(s.records, "record"))
	}
	if asJSON {
		return errViolation
	}
	text := fmt.Sprintf("no match  %s in %s\n", counted(s.compared, "keyed hash compared", "keyed hashes compared"), count(s.records, "record"))
	if s.truncated > 0 {
		text += fmt.Sprintf("note      %s flagged truncated: where the log shows only the head of a text, the hash is of that head\n", count(s.truncated, "record"))
	}
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	return errViolation
}

// eachRecord calls visit for each record line in a file, a proof or an archive.
func eachRecord(ctx context.Context, name string, from *sourceOptions, visit func(line []byte) error) error {
	if !remote.IsRemote(name) {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return withFile(name, func(r io.Reader) error { return recordsOf(ctx, r, visit) })
		}
	}
	source, err := from.open(ctx, name)
	if err != nil {
		return err
	}
	return errors.Join(eachPayload(ctx, source, visit), source.Close())
}

func eachPayload(ctx context.Context, source archive.Source, visit func(line []byte) error) error {
	var payloads []string
	err := source.List(ctx, func(e archive.Entry) error {
		if strings.HasPrefix(e.Path, "records/") && path.Ext(e.Path) == ".zst" {
			payloads = append(payloads, e.Path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.Sort(payloads)
	for _, name := range payloads {
		r, err := source.Open(ctx, name)
		if err != nil {
			return err
		}
		if err := errors.Join(recordsOf(ctx, r, visit), r.Close()); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// recordsOf reads the records of one file, by what it begins with.
func recordsOf(ctx context.Context, r io.Reader, visit func(line []byte) error) error {
	in := bufio.NewReader(r)
	head, _ := in.Peek(4) // what is shorter is neither
	switch {
	case len(head) == 4 && (bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) || head[0]&0xf0 == 0x50 && bytes.Equal(head[1:], []byte{0x2a, 0x4d, 0x18})): // RFC 8878, sections 3.1.1 and 3.1.2
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			return err
		}
		defer z.Close()
		return lines(ctx, z, visit)
	case string(head) == "c2sp":
		file, err := io.ReadAll(io.LimitReader(in, seal.MaxProof+1))
		if err != nil {
			return err
		}
		proof, err := seal.ParseProof(file)
		if err != nil {
			return err
		}
		return visit(proof.Record)
	default:
		return lines(ctx, in, visit)
	}
}

func lines(ctx context.Context, r io.Reader, visit func(line []byte) error) error {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxRecord+1)
	for scanner.Scan() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(bytes.TrimSpace(scanner.Bytes())) == 0 {
			continue
		}
		if err := visit(scanner.Bytes()); err != nil {
			return err
		}
	}
	return scanner.Err()
}
