package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/auditail/auditail/seal"
)

// check does what can be done for one batch by itself: the SSH signature and
// the payload. It runs in a worker.
func (s *step) check(ctx context.Context, v *verifier, checker *PayloadChecker) {
	s.checkSignature(ctx, v)
	if s.manifest.Kind == seal.Data {
		s.checkPayload(ctx, v, checker)
		if m := s.manifest; s.present && s.epoch.files.hidden.has(m.Batch) {
			level := Violation
			if v.over(m.KeepUntil) {
				level = Notice
			}
			s.add(level, VersionHidden, m.PayloadPath, "was deleted: a delete marker hides it; the version behind it was verified")
		}
	}
}

func (s *step) add(level Level, code Code, path, format string, args ...any) {
	s.findings = append(s.findings, Finding{Level: level, Code: code, Path: path, What: fmt.Sprintf(format, args...)})
}

func (s *step) checkSignature(ctx context.Context, v *verifier) {
	path := s.epoch.origin.SignaturePath(s.manifest.Batch)
	if !s.epoch.files.signatures.has(s.manifest.Batch) {
		s.add(Violation, SSHSignatureMissing, path, "the SSH signature of the manifest is not there")
		return
	}
	signature, err := v.readSmall(ctx, path)
	if err != nil {
		s.add(Violation, Unreadable, path, "%v", err)
		return
	}
	if err := seal.SSHVerify(s.file, signature, s.key); err != nil {
		s.add(Violation, SSHSignatureWrong, path, "%v", err)
	}
}

func (s *step) checkPayload(ctx context.Context, v *verifier, checker *PayloadChecker) {
	m := s.manifest
	if s.known != nil && s.proven && s.knownPayload(ctx, v) {
		return
	}
	f, err := v.source.Open(ctx, m.PayloadPath)
	switch {
	case errors.Is(err, fs.ErrNotExist) && s.proven && v.over(m.KeepUntil):
		s.add(Notice, PayloadExpired, m.PayloadPath, "expired: it was to be kept until %s, %s after it was sealed", formatTime(m.KeepUntil), m.KeepUntil.Sub(m.Sealed))
		return
	case errors.Is(err, fs.ErrNotExist):
		s.add(Violation, PayloadMissing, m.PayloadPath, "payload owed: it is not there, but was to be kept until %s", formatTime(m.KeepUntil))
		return
	case err != nil:
		s.add(Violation, Unreadable, m.PayloadPath, "%v", err)
		s.unread = true
		return
	}
	if s.proven {
		s.contents = newContents(m, maxWaiting, &checker.walker)
		if v.surveyor != nil {
			s.tallies = newTallies()
			s.contents.tallies = s.tallies
		}
		s.summary, err = checker.Check(f, m, PayloadOptions{Record: s.contents.record, Large: &v.large})
	} else {
		// Nobody vouches for the size that this manifest gives: unpacking could go on
		// for ever.
		s.summary, err = checkDigest(f, m)
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	s.present = true
	s.payloadProblems(err)
	if s.summary.Proven {
		s.contents.end(m)
		s.findings = append(s.findings, s.contents.findings...)
		s.sound = err == nil && !slices.ContainsFunc(s.contents.findings, func(f Finding) bool { return f.Level == Violation })
	}
}

// spans returns the ranges that the batch accounts for. Those of a payload that has
// too many to be kept while it waited are read here, in its turn: one such payload at
// a time is in memory.
func (s *step) spans(ctx context.Context, v *verifier) ([]span, error) {
	if !s.contents.spilled {
		return s.contents.spans, nil
	}
	f, err := v.source.Open(ctx, s.manifest.PayloadPath)
	if err != nil {
		return nil, err
	}
	again := newContents(s.manifest, maxSpans, new(walker))
	summary, err := CheckPayload(f, s.manifest, PayloadOptions{Record: again.record, Large: &v.large})
	err = errors.Join(err, f.Close())
	if err != nil && !summary.Proven {
		return nil, err
	}
	if again.end(s.manifest); again.spilled {
		return nil, fmt.Errorf("its ranges and gaps take more than %d MiB", maxSpans>>20)
	}
	return again.spans, nil
}

// knownPayload takes what an earlier run found in the payload, if it still is
// the file of the manifest.
func (s *step) knownPayload(ctx context.Context, v *verifier) bool {
	f, err := v.source.Open(ctx, s.manifest.PayloadPath)
	if err != nil {
		return false
	}
	summary, err := checkDigest(f, s.manifest)
	if errors.Join(err, f.Close()) != nil {
		return false
	}
	summary.Plain, summary.Records, summary.Proven = s.known.Plain, s.known.Records, true
	s.summary, s.present, s.contents = summary, true, s.known.contents()
	s.findings = append(s.findings, s.contents.findings...)
	return true
}

// over tells whether a term is over. The end that the archive itself claims may
// lie in the future, so that the auditor's clock counts as well.
func (v *verifier) over(term time.Time) bool {
	return !term.After(v.report.Until) && (v.report.UntilGiven || !term.After(v.options.Now))
}

func (s *step) payloadProblems(err error) {
	if err == nil {
		return
	}
	problems := parts(err)
	if len(problems) == 0 || errors.Is(err, errReadPayload) {
		problems = []error{err}
	}
	for _, problem := range problems {
		code := Unreadable
		switch {
		case errors.Is(problem, ErrPayloadDigest):
			code = PayloadDigest
		case errors.Is(problem, ErrPayloadEncoding):
			code = PayloadEncoding
		case errors.Is(problem, ErrPayloadSize):
			code = PayloadSize
		case errors.Is(problem, ErrPayloadRecords):
			code = PayloadRecords
		case errors.Is(problem, ErrPayloadRoot):
			code = PayloadRoot
		case errors.Is(problem, ErrPayloadLine):
			code = PayloadLine
		}
		what := problem.Error()
		if code == PayloadDigest && s.summary.Proven {
			what += "; its records are those that were sealed"
		}
		s.add(Violation, code, s.manifest.PayloadPath, "%s", what)
	}
}
