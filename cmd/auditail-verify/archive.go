package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/archive"
	"github.com/auditail/auditail/seal"
)

// archiveOptions are the flags of `auditail-verify archive`.
type archiveOptions struct {
	trust  string
	from   []string
	expect []string
	until  string
	term   string
	accept string
	policy string
	resume string
	source sourceOptions
	strict bool
	json   bool
}

func archiveCommand() *cobra.Command {
	var o archiveOptions
	c := &cobra.Command{
		Use:   "archive PATH-OR-URL --trust FILE",
		Short: "Verify a whole archive",
		Long: `Verifies a whole archive: every signature, the chain and the
one-time keys of every log, every payload against its manifest, and that what
the agents read joins without holes. One line a finding on standard output, a
summary last. A finding is a violation or a notice.

The trust file holds one verifier key a line, named <organization>/<agent>, as
"auditail keys show" prints it on the host; # starts a comment. Keys never come
from the archive. Neither does its expected end: without --expect-size or
--until a tail that was cut off cleanly at a checkpoint can not be noticed.

Witnesses are named in the trust file too, or in a file of their own (--policy), by
lines of C2SP tlog-policy: "witness <name> <vkey>", "group <name> <number, any or
all> <names>", and one "quorum <name>". Heads of a log that the quorum did not
cosign are then a violation.

The accept file holds one "<code> <path>" a line, as --json shows them, of
incidents that are known and explained; they become notices.

With --resume FILE an interrupted check goes on from where it was. The file keeps
which payloads were found sound; their files are still compared with the signed
manifests, and all else is checked anew, so that nothing that was changed since
goes unnoticed. The file must be yours alone; a check that came to its end
removes it.` + sourceHelp,
		Example: `  auditail-verify archive /var/lib/auditail/archive --trust trust.vkey
  auditail-verify archive . --trust trust.vkey --expect-size acme/gpu-07/0001=86400 --until 2026-11-21T00:00:00Z --json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("archive takes the path of one archive, found %d arguments", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return o.run(c, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&o.trust, "trust", "", "file with the keys you trust (required)")
	f.StringArrayVar(&o.from, "from", nil, "[ORIGIN=]N: first batch that must be there, of a log whose beginning lies elsewhere")
	f.StringArrayVar(&o.expect, "expect-size", nil, "[ORIGIN=]N: number of manifests that must be there at least; ORIGIN is <organization>/<agent>/<epoch>")
	f.StringVar(&o.until, "until", "", "expected end, RFC 3339 (default: the last sealed time found)")
	f.StringVar(&o.term, "min-term", "", "for how many days every payload has to be kept from its sealing on, such as 184d")
	f.StringVar(&o.policy, "policy", "", "file with the witnesses that must have cosigned, in place of those in the trust file")
	f.StringVar(&o.accept, "accept", "", "file with incidents that you accept")
	f.StringVar(&o.resume, "resume", "", "file that keeps how far the check came, and goes on from there")
	f.BoolVar(&o.strict, "strict", false, "exit with 1 on a notice too")
	f.BoolVar(&o.json, "json", false, "one JSON object a finding, the summary last")
	o.source.flags(f)
	return c
}

func (o *archiveOptions) run(c *cobra.Command, path string) error {
	options, err := o.options()
	if err != nil {
		return err
	}
	source, err := o.source.open(c.Context(), path)
	if err != nil {
		return err
	}
	if o.resume != "" {
		if options.Journal, err = archive.OpenJournal(o.resume); err != nil {
			return errors.Join(err, source.Close())
		}
	}
	out := newPrinter(c.OutOrStdout(), c.ErrOrStderr(), o.json)
	options.Found, options.Progress = out.finding, out.progress
	report, err := archive.Verify(c.Context(), source, options)
	out.clear()
	if j := options.Journal; j != nil && err == nil {
		err = j.Remove()
	} else if j != nil {
		err = errors.Join(err, j.Close())
	}
	switch err = errors.Join(err, source.Close()); {
	case errors.Is(err, context.Canceled) && o.resume != "":
		return errors.New("interrupted: nothing may be concluded; the same command goes on from here")
	case err != nil:
		return unfinished(path, err)
	}
	out.summary(report)
	if out.err != nil {
		return fmt.Errorf("write findings: %w", out.err)
	}
	if report.Violations > 0 || o.strict && report.Notices > 0 {
		return errViolation
	}
	return nil
}

// unfinished says of a check that did not come to its end what the user reads.
func unfinished(path string, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted: nothing may be concluded")
	case errors.Is(err, archive.ErrNoArchive):
		return fmt.Errorf("%s: %w", path, err)
	}
	return err
}

func (o *archiveOptions) options() (archive.Options, error) {
	var options archive.Options
	var err error
	if options.Trust, options.Policy, err = readTrust(o.trust); err != nil {
		return options, err
	}
	if o.policy != "" {
		err := withFile(o.policy, func(r io.Reader) (err error) {
			options.Policy, err = archive.ParsePolicy(r)
			return err
		})
		if err != nil {
			return options, fmt.Errorf("read policy file: %w", err)
		}
	}
	if o.accept != "" {
		err := withFile(o.accept, func(r io.Reader) (err error) {
			options.Accepted, err = archive.ParseAccepted(r)
			return err
		})
		if err != nil {
			return options, fmt.Errorf("read accept file: %w", err)
		}
	}
	if options.From, err = parseBounds("--from", o.from); err != nil {
		return options, err
	}
	if options.ExpectSize, err = parseBounds("--expect-size", o.expect); err != nil {
		return options, err
	}
	if o.term != "" {
		days, err := strconv.ParseUint(strings.TrimSuffix(o.term, "d"), 10, 15)
		if err != nil || !strings.HasSuffix(o.term, "d") {
			return options, fmt.Errorf("--min-term %q is not a number of days like 184d", o.term)
		}
		options.LeastTerm = time.Duration(days) * 24 * time.Hour //nolint:gosec // 15 bits
	}
	if o.until != "" {
		options.Until, err = time.Parse(time.RFC3339, o.until)
		if err != nil {
			return options, fmt.Errorf("--until %q is not a time like 2026-11-21T00:00:00Z", o.until)
		}
	}
	return options, nil
}

// withFile puts the file's name before the error of parse.
func withFile(name string, parse func(io.Reader) error) error {
	f, err := os.Open(name) //nolint:gosec // the user names it
	if err != nil {
		return err
	}
	if err := errors.Join(parse(f), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func parseBounds(flag string, values []string) ([]archive.Bound, error) {
	var bounds []archive.Bound
	for _, value := range values {
		var b archive.Bound
		number := value
		if at := strings.LastIndexByte(value, '='); at >= 0 {
			origin, err := seal.ParseOrigin(value[:at])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", flag, err)
			}
			b.Origin, number = origin, value[at+1:]
		}
		n, err := strconv.ParseUint(number, 10, 63)
		if err != nil {
			return nil, fmt.Errorf("%s %q is not a number or <organization>/<agent>/<epoch>=<number>", flag, value)
		}
		b.N = n
		bounds = append(bounds, b)
	}
	return bounds, nil
}

// printer writes findings and, on a terminal, how far the check is.
type printer struct {
	out      io.Writer
	json     *json.Encoder
	terminal io.Writer // nil in a pipe
	percent  int64
	shown    bool
	err      error // first error of out
}

func newPrinter(out, stderr io.Writer, asJSON bool) *printer {
	p := &printer{out: out, percent: -1}
	if asJSON {
		p.json = json.NewEncoder(out)
	}
	if f, ok := stderr.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.terminal = f
		}
	}
	return p
}

func (p *printer) keep(err error) {
	if p.err == nil {
		p.err = err
	}
}

func (p *printer) finding(f archive.Finding) {
	p.clear()
	if p.json != nil {
		p.keep(p.json.Encode(f))
		return
	}
	_, err := fmt.Fprintln(p.out, f)
	p.keep(err)
}

func (p *printer) progress(done, total int64) {
	if p.terminal == nil || total == 0 {
		return
	}
	const width = 40
	percent := min(done*100/total, 100)
	if percent == p.percent && p.shown {
		return
	}
	p.percent, p.shown = percent, true
	bar := strings.Repeat("=", int(percent*width/100))
	fmt.Fprintf(p.terminal, "\r[%-*s] %3d %%", width, bar, percent)
}

// clear takes the progress bar away.
func (p *printer) clear() {
	if p.shown {
		fmt.Fprint(p.terminal, "\r\x1b[K")
		p.shown = false
	}
}

func (p *printer) summary(r archive.Report) {
	if p.json != nil {
		p.keep(p.json.Encode(map[string]archive.Report{"summary": r}))
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "verified  %s, %s, %s, %s, %s\n", count(r.Agents, "agent"), count(r.Epochs, "epoch"),
		counted(r.Batches, "batch", "batches"), count(r.Payloads, "payload"), count(r.Records, "record"))
	fmt.Fprintf(&b, "lines     %d read = %d recorded + %d unparsed + %d ignored + %d held\n",
		r.Lines.Read, r.Lines.Recorded, r.Lines.Unparsed, r.Lines.Ignored, r.Lines.Held)
	fmt.Fprintf(&b, "bytes     %d in the archive, %d of records uncompressed\n", r.Bytes, r.PlainBytes)
	if !r.First.IsZero() {
		end := "the last sealed time found, not one that you gave"
		if r.UntilGiven {
			end = "as given"
		}
		fmt.Fprintf(&b, "time      %s to %s; expected end %s (%s)\n",
			r.First.Format(time.RFC3339), r.Last.Format(time.RFC3339), r.Until.Format(time.RFC3339), end)
	}
	for _, h := range r.Heads {
		fmt.Fprintf(&b, "head      %s=%d %s\n", h.Origin, h.Size, cmp.Or(h.Root, "(root unknown: not all of its manifests could be read)"))
	}
	verdict := "intact"
	if r.Violations > 0 {
		verdict = "NOT intact"
	}
	fmt.Fprintf(&b, "result    %s: %s, %s\n", verdict, count(r.Violations, "violation"), count(r.Notices, "notice"))
	_, err := io.WriteString(p.out, b.String())
	p.keep(err)
}

func count[N int | uint64](n N, what string) string { return counted(n, what, what+"s") }

func counted[N int | uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
