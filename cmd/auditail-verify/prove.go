package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/archive"
	"github.com/auditail/auditail/seal"
)

func proveCommand() *cobra.Command {
	var trust, batch, output string
	var from sourceOptions
	c := &cobra.Command{
		Use:   "prove RECORD-ID PATH-OR-URL --trust FILE",
		Short: "Write the proof of one record into a small file",
		Long: `Searches an archive for a record and writes its proof:
the record, its path in the batch, the manifest, its path in the log, and the
newest checkpoint with its cosignatures. Whoever has the file and the agent's key
can check it with "auditail-verify proof", without the archive; of all other
records it holds hashes only.

The file is a C2SP transparency log proof (c2sp.org/tlog-proof@v1).` + sourceHelp,
		Example: `  auditail-verify prove 7kjc3fexjgarskvnickqka6zh7 /var/lib/auditail/archive --trust trust.vkey
  auditail-verify prove 7kjc3fexjgarskvnickqka6zh7 . --trust trust.vkey --batch acme/gpu-07/0001=6 -o case-17.tlog-proof`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("prove takes the id of a record and the path of an archive, found %d arguments", len(args))
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&trust, "trust", "", "file with the keys you trust (required)")
	f.StringVar(&batch, "batch", "", "ORIGIN=N: the batch that holds the record, when it is known")
	from.flags(f)
	f.StringVarP(&output, "output", "o", "", "file to write (default: RECORD-ID.tlog-proof)")
	c.RunE = func(c *cobra.Command, args []string) error {
		o := archive.ProveOptions{ID: args[0]}
		var err error
		if o.Trust, _, err = readTrust(trust); err != nil {
			return err
		}
		if batch != "" {
			if o.Batch, err = parseBatch(batch); err != nil {
				return err
			}
		}
		if output == "" {
			output = seal.ProofName(args[0])
		}
		return prove(c, args[1], output, o, &from)
	}
	return c
}

func parseBatch(text string) (*archive.Batch, error) {
	name, number, _ := strings.Cut(text, "=")
	origin, err := seal.ParseOrigin(name)
	if err != nil {
		return nil, fmt.Errorf("--batch: %w", err)
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil {
		return nil, fmt.Errorf("--batch %q is not <organization>/<agent>/<epoch>=<number>", text)
	}
	return &archive.Batch{Origin: origin, Number: n}, nil
}

func prove(c *cobra.Command, path, output string, o archive.ProveOptions, from *sourceOptions) error {
	source, err := from.open(c.Context(), path)
	if err != nil {
		return err
	}
	out := newPrinter(c.OutOrStdout(), c.ErrOrStderr(), false)
	o.Progress = out.progress
	o.Repeated = func(records int) {
		out.clear()
		fmt.Fprintf(c.ErrOrStderr(), "auditail-verify: %d records of this batch have the id %s: the proof is of the first\n", records, o.ID)
	}
	proof, err := archive.Prove(c.Context(), source, o)
	out.clear()
	switch err = errors.Join(err, source.Close()); {
	case errors.Is(err, archive.ErrNoRecord):
		return fmt.Errorf("%s: %w, in the logs that the trust file names", o.ID, archive.ErrNoRecord)
	case errors.Is(err, archive.ErrUnproven):
		fmt.Fprintf(c.ErrOrStderr(), "auditail-verify: %v\n", err)
		return errViolation
	case errors.Is(err, archive.ErrNoArchive):
		return fmt.Errorf("%s: %w", path, err)
	case err != nil:
		return err
	}
	if err := os.WriteFile(output, proof.Text(), 0o600); err != nil {
		return fmt.Errorf("write proof: %w", err)
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "wrote %s: record %d of %d in batch %d\n", output, proof.Index, proof.Leaves, proof.Batch)
	return err
}

func proofCommand() *cobra.Command {
	var trust string
	var asJSON bool
	c := &cobra.Command{
		Use:   "proof FILE --trust FILE",
		Short: "Check the proof of one record",
		Long: `Checks a file that "auditail-verify prove" wrote, with the keys you trust and
nothing else, and prints the record. A proof does not tell that a key was rotated
out: take a key that was stolen out of the trust file, or name witnesses in it, of
whom a quorum has to have cosigned the log's head. Exit 0 when it is proven, 1 when it is not, 2
when that could not be checked.`,
		Example: `  auditail-verify proof 7kjc3fexjgarskvnickqka6zh7.tlog-proof --trust trust.vkey`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("proof takes the path of one proof, found %d arguments", len(args))
			}
			return nil
		},
	}
	c.Flags().StringVar(&trust, "trust", "", "file with the keys you trust (required)")
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object with what the proof shows")
	c.RunE = func(c *cobra.Command, args []string) error {
		keys, policy, err := readTrust(trust)
		if err != nil {
			return err
		}
		return checkProof(c, args[0], keys, &policy, asJSON)
	}
	return c
}

func readTrust(name string) (trust archive.Trust, policy archive.Policy, err error) {
	if name == "" {
		return nil, policy, errors.New("--trust is missing: verification needs the keys you trust, in a file with one verifier key a line")
	}
	err = withFile(name, func(r io.Reader) (err error) {
		trust, policy, err = archive.ParseTrust(r)
		return err
	})
	if err != nil {
		return nil, policy, fmt.Errorf("read trust file: %w", err)
	}
	return trust, policy, nil
}

func checkProof(c *cobra.Command, name string, keys archive.Trust, policy *archive.Policy, asJSON bool) error {
	var file []byte
	err := withFile(name, func(r io.Reader) (err error) {
		file, err = io.ReadAll(io.LimitReader(r, seal.MaxProof+1))
		return err
	})
	if err != nil {
		return fmt.Errorf("read proof: %w", err)
	}
	refuse := func(err error) error {
		fmt.Fprintf(c.ErrOrStderr(), "auditail-verify: %s: %s\n", name, archive.Printable(err.Error()))
		return errViolation
	}
	proof, err := seal.ParseProof(file)
	if err != nil {
		return refuse(err)
	}
	origin, err := proof.Origin()
	if err != nil {
		return refuse(err)
	}
	if len(keys[origin.Log]) == 0 {
		return fmt.Errorf("the trust file has no key for %s, of which the proof is", origin.Log)
	}
	proven, err := proof.Verify(keys[origin.Log], policy.Witnesses())
	if err != nil {
		return refuse(err)
	}
	if policy.Demands() && !policy.Met(proven.Cosigned) {
		return refuse(errors.New("the quorum of witnesses that the trust file names did not cosign the log's head"))
	}
	if n := len(keys[origin.Log]); n > 1 && !policy.Demands() {
		fmt.Fprintf(c.ErrOrStderr(), "auditail-verify: the trust file names %d keys of %s: whoever stole one of them can make proofs, also after it was rotated out; "+
			"take such a key out, or demand the cosignature of a witness\n", n, origin.Log)
	}
	return printProof(c.OutOrStdout(), proof, proven, asJSON)
}

func printProof(w io.Writer, p *seal.Proof, proven *seal.Proven, asJSON bool) error {
	m := proven.Manifest
	if asJSON {
		return json.NewEncoder(w).Encode(map[string]any{
			"cosigned": proven.Cosigned,
			"origin":   m.Origin.String(), "batch": m.Batch, "index": p.Index, "sealed": m.Sealed.UTC(),
			"checkpoint": proven.Checkpoint.Size, "record": json.RawMessage(p.Record),
		})
	}
	for _, name := range slices.Sorted(maps.Keys(proven.Cosigned)) {
		at := proven.Cosigned[name]
		witness, _, _ := strings.Cut(name, "+")
		if _, err := fmt.Fprintf(w, "cosigned  %s by %s\n", at.Format(time.RFC3339), archive.Printable(witness)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "proven    record %d of %d in batch %d of %s\nsealed    %s, in the signed head of %d batches\nrecord    %s\n",
		p.Index, p.Leaves, m.Batch, m.Origin, m.Sealed.UTC().Format(time.RFC3339), proven.Checkpoint.Size, archive.Printable(string(p.Record)))
	return err
}
