package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/archive"
	"github.com/auditail/auditail/internal/version"
)

func reportCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "report", Short: "Write documents about an archive", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("which document? `auditail-verify report config` writes what is logged, where, how its integrity is ensured, how long it is kept")
		},
	}
	c.AddCommand(reportConfigCommand())
	return c
}

func reportConfigCommand() *cobra.Command {
	var o archiveOptions
	c := &cobra.Command{
		Use:   "config PATH-OR-URL --trust FILE",
		Short: "What is logged, where it is stored, how integrity is ensured, how long it is kept",
		Long: `Verifies an archive and writes an evidence document about it:
what is logged, where it is stored, how its integrity is ensured and how long it is
kept, all taken from what the agents signed. The verdict stands first; when it is
"NOT intact", exit code 1, "auditail-verify archive" lists the findings.` + sourceHelp,
		Example: `  auditail-verify report config /var/lib/auditail/archive --trust trust.vkey > evidence.txt
  auditail-verify report config s3://acme-audit/v1 --trust trust.vkey --json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("report config takes the path of one archive, found %d arguments", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return o.report(c, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&o.trust, "trust", "", "file with the keys you trust (required)")
	f.StringVar(&o.until, "until", "", "expected end, RFC 3339 (default: the last sealed time found)")
	f.StringVar(&o.accept, "accept", "", "file with incidents that you accept")
	f.BoolVar(&o.json, "json", false, "one JSON object")
	o.source.flags(f)
	return c
}

// evidence is the document's content.
type evidence struct {
	Archive string         `json:"archive"`
	Made    time.Time      `json:"made"`
	Program string         `json:"program"`
	Verdict archive.Report `json:"verification"`
	// Violations are the first of those that the verdict counts.
	Violations []archive.Finding `json:"violations,omitempty"`
	Survey     *archive.Survey   `json:"survey"`
}

func (o *archiveOptions) report(c *cobra.Command, path string) (err error) {
	options, err := o.options()
	if err != nil {
		return err
	}
	source, err := o.source.open(c.Context(), path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	progress := newPrinter(c.OutOrStdout(), c.ErrOrStderr(), false)
	e := evidence{Archive: path, Made: time.Now().UTC().Truncate(time.Second), Program: "auditail-verify " + version.String()}
	e.Survey = new(archive.Survey)
	options.Progress, options.Found, options.Survey = progress.progress, e.found, e.Survey
	e.Verdict, err = archive.Verify(c.Context(), source, options)
	progress.clear()
	if err != nil {
		return unfinished(path, err)
	}
	if o.json {
		err = json.NewEncoder(c.OutOrStdout()).Encode(e)
	} else {
		err = e.print(c.OutOrStdout())
	}
	if err != nil {
		return fmt.Errorf("write the document: %w", err)
	}
	if e.Verdict.Violations > 0 {
		return errViolation
	}
	return nil
}

// maxListed is how many violations the document names.
const maxListed = 50

func (e *evidence) found(f archive.Finding) {
	if f.Level == archive.Violation && len(e.Violations) < maxListed {
		e.Violations = append(e.Violations, f)
	}
}

// print writes the document for people.
func (e *evidence) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	line := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	v, s := &e.Verdict, e.Survey
	result := "intact"
	if v.Violations > 0 {
		result = "NOT intact"
	}
	line("EVIDENCE DOCUMENT")
	line("Archive %s, looked at %s by %s.", clean(e.Archive), e.Made.Format(time.RFC3339), e.Program)
	line("Verdict: %s: %s, %s. What follows is what the agents signed.", result, count(v.Violations, "violation"), count(v.Notices, "notice"))
	whole := "Nothing is left out without being counted."
	if v.Violations > 0 {
		whole = "What the violations are about may lack or be false."
		line("\nVIOLATIONS\n")
		for _, f := range e.Violations {
			line("%s: %s: %s", f.Code, clean(f.Path), clean(f.What))
		}
		if more := v.Violations - uint64(len(e.Violations)); more > 0 {
			line("and %d more, which auditail-verify archive lists", more)
		}
	}
	line("\n1  WHAT IS LOGGED\n")
	line("From %s to %s: %s in %s of %s.", stamp(v.First), stamp(v.Last), count(v.Records, "record"), counted(v.Batches, "batch", "batches"), count(v.Agents, "agent"))
	line("Lines: %d read = %d recorded + %d unparsed + %d ignored + %d held. %s", v.Lines.Read, v.Lines.Recorded, v.Lines.Unparsed, v.Lines.Ignored, v.Lines.Held, whole)
	counts(w, "EVENT", "RECORDS", s.Events)
	counts(w, "KEPT OF PROMPTS", "RECORDS", s.Inputs)
	counts(w, "KEPT OF ANSWERS", "RECORDS", s.Outputs)
	counts(w, "MODEL (EVIDENCE OF ITS VERSION)", "RECORDS", s.Models)
	counts(w, "FIELD", "RECORDS", s.Fields)
	if s.Missing+s.Damaged > 0 {
		line("\nNot counted: the records of %s that are not there and of %d that are damaged.", count(s.Missing, "payload"), s.Damaged)
	}
	line("\n2  WHERE IT IS STORED\n")
	line("Archive\t%s", clean(e.Archive))
	line("Held there\t%s, %s, %d bytes", count(s.Files, "manifest"), count(v.Payloads, "payload"), v.Bytes)
	for _, origin := range s.Origins {
		line("Log\t%s", origin)
	}
	line("Paths\trecords/env=…/svc=…/class=…/day=…/collector=… (zstd, NDJSON); seals/<agent>/<epoch> (text)")
	line("\n3  HOW INTEGRITY IS ENSURED\n")
	line("Each batch has a Merkle root over its records (RFC 6962) in a manifest that names the manifest before it.")
	line("Each manifest is signed with the agent's key and with a one-time key that is erased after use (Ed25519).")
	line("Each manifest is a leaf of the agent's log; %s of these logs in the archive (C2SP).", count(s.Points, "checkpoint"))
	if len(s.Cosigns) == 0 {
		line("No witness off the host has cosigned them.")
	}
	counts(w, "WITNESS (KEY ID)", "COSIGNATURES", s.Cosigns)
	line("\nLOG\tHEAD, MANIFESTS\tROOT")
	for _, h := range v.Heads {
		line("%s\t%d\t%s", h.Origin, h.Size, h.Root)
	}
	line("\nAGENT\tVERSION\tFROM\tTO\tPROGRAM\tCONFIGURATION")
	for _, r := range s.Runs {
		line("%s\t%s\t%s\t%s\t%s\t%s", r.Log, clean(r.Version), stamp(r.First), stamp(r.Last), r.Binary, r.Config)
	}
	line("\n4  HOW LONG IT IS KEPT\n")
	line("LOG\tENVIRONMENT\tSERVICE\tCLASS\tBATCHES\tRECORDS\tTERM\tNEWEST KEPT UNTIL")
	for _, t := range s.Streams {
		term := days(t.Shortest)
		if longest := days(t.Longest); longest != term {
			term += " to " + longest
		}
		line("%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s", t.Log, t.Stream.Environment, t.Stream.Service, t.Stream.Class, t.Batches, t.Records, term, stamp(t.KeepUntil))
	}
	line("\nA payload that is missing before its term is a violation; after it, it has expired.")
	line("\nWHAT THIS DOCUMENT CAN NOT SAY\n")
	line("What a host did not write to its logs; whether the store enforces the terms (Object Lock, immutable files);")
	line("who may read it. The expected end of a log is yours to give: auditail-verify archive --expect-size, --until.")
	return w.Flush()
}

func counts(w io.Writer, name, number string, list []archive.Count) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\t%s\n", name, number)
	for _, c := range list {
		fmt.Fprintf(w, "%s\t%d\n", clean(c.Name), c.N)
	}
}

// clean makes text of records harmless for terminals and tables.
func clean(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	return strconv.Quote(s)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// days spells a term; less than a day in full.
func days(d time.Duration) string {
	const day = 24 * time.Hour
	if d < day {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%d days", (d+time.Hour)/day)
}
