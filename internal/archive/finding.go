package archive

import (
	"strconv"
	"strings"
)

// Level says how much a finding weighs.
type Level string

// The levels.
const (
	// Violation: something is missing, was changed, or could not be checked.
	Violation Level = "violation"
	// Notice: something an auditor should know, that the agent itself signed or
	// that the auditor accepted beforehand.
	Notice Level = "notice"
)

// Code names a kind of finding for programs. Codes do not change their meaning.
type Code string

// What is wrong with the archive as a set of files.
const (
	NoSeals        Code = "no-seals"        // nothing is sealed here
	UnknownFile    Code = "unknown-file"    // a name that the layout does not know
	NotRegular     Code = "not-regular"     // a symbolic link, pipe or device
	TemporaryFile  Code = "temporary-file"  // left over by an interrupted write (notice)
	OutsideFile    Code = "outside-file"    // beside seals/ and records/, not looked at (notice)
	VersionsDiffer Code = "versions-differ" // overwritten in a store that keeps versions
	VersionsRepeat Code = "versions-repeat" // written several times with the same bytes (notice)
	VersionHidden  Code = "version-hidden"  // a delete marker hides it (a notice once its term is over)
	Unreadable     Code = "unreadable"      // there, but reading it fails
	KeyUnknown     Code = "key-unknown"     // the trust file names no key for this agent
	LogAbsent      Code = "log-absent"      // the trust file names an agent that is not here
)

// What is wrong with an epoch as a whole.
const (
	IdentityMissing Code = "identity-missing"  // no identity.vkey
	IdentityWrong   Code = "identity-wrong"    // identity.vkey is not a trusted key
	IdentityRetired Code = "identity-retired"  // identity.vkey is a key that was rotated out before
	EpochMissing    Code = "epoch-missing"     // a number between epochs that are there
	EpochNotClosed  Code = "epoch-not-closed"  // followed by another epoch
	EpochAfterClose Code = "epoch-after-close" // another epoch, though an agent goes on in the one that it closed
	OpenReason      Code = "open-reason"       // the reason that an epoch gives is not so
	ExpectedSize    Code = "expected-size"     // fewer manifests than the auditor expects
	SilentEnd       Code = "silent-end"        // the next batch was due before the expected end
	StartedAt       Code = "started-at"        // checked from the middle, as asked for (notice)
)

// What is wrong with a manifest.
const (
	BatchMissing         Code = "batch-missing"          // a hole in the numbering
	BatchesMissing       Code = "batches-missing"        // the rest of a hole too long to list
	BatchMisplaced       Code = "batch-misplaced"        // the manifest of another batch or log
	ManifestInvalid      Code = "manifest-invalid"       // not in the one form
	SignatureWrong       Code = "signature-wrong"        // not signed by the trusted key
	RatchetWrong         Code = "ratchet-wrong"          // not signed by the key the one before named
	ChainBroken          Code = "chain-broken"           // the one before is not the file it names
	RecordsBroken        Code = "records-broken"         // the running record count does not continue
	LinesBroken          Code = "lines-broken"           // line counts do not balance
	TimeBackwards        Code = "time-backwards"         // sealed before the one before, or opened after it was sealed (notice)
	TimeAhead            Code = "time-ahead"             // sealed in the future of this machine's clock (notice)
	TermShort            Code = "term-short"             // kept for less than the auditor asks for
	KeyRotated           Code = "key-rotated"            // another identity key was signed in (notice)
	Silence              Code = "silence"                // came later than the one before promised (notice)
	SSHSignatureMissing  Code = "sshsig-missing"         // no .manifest.sig
	SSHSignatureWrong    Code = "sshsig-wrong"           // .manifest.sig does not verify
	SSHSignatureStray    Code = "sshsig-stray"           // .manifest.sig without a manifest
	CheckpointMissing    Code = "checkpoint-missing"     // the last manifests are under no signed head
	CheckpointInvalid    Code = "checkpoint-invalid"     // does not parse or verify
	CheckpointRoot       Code = "checkpoint-root"        // signs another tree
	CheckpointAhead      Code = "checkpoint-ahead"       // signs more manifests than are there
	CheckpointUnchecked  Code = "checkpoint-unchecked"   // signed, but its tree is not known here (notice)
	CosignatureUnchecked Code = "cosignature-unchecked"  // of a witness that no policy names, or of an unknown tree (notice)
	CosignatureWrong     Code = "cosignature-wrong"      // does not verify, or over another tree
	CosignatureAhead     Code = "cosignature-ahead"      // a witness saw more manifests than are there
	QuorumMissing        Code = "quorum-missing"         // the last manifests stand under no head that a quorum cosigned
	WitnessedWrong       Code = "witnessed-wrong"        // a manifest names a cosigned head that the log never had
	AcceptedButNotFound  Code = "accepted-but-not-found" // a line of the accept file met nothing (notice)

)

// What is wrong with a payload.
const (
	PayloadUnnamed  Code = "payload-unnamed" // no manifest names this file
	PayloadMissing  Code = "payload-missing"
	PayloadExpired  Code = "payload-expired" // missing, its term is over (notice)
	PayloadDigest   Code = "payload-digest"
	PayloadEncoding Code = "payload-encoding"
	PayloadSize     Code = "payload-size"
	PayloadRecords  Code = "payload-records"
	PayloadRoot     Code = "payload-root"
	PayloadLine     Code = "payload-line"
)

// What is wrong with the records of a payload.
const (
	RecordForm      Code = "record-form"      // does not end in the agent's id and number
	RecordOrder     Code = "record-order"     // agent.seq does not rise
	CoverageMissing Code = "coverage-missing" // the last record is not agent.coverage
	CoverageInvalid Code = "coverage-invalid" // agent.coverage or loss does not make sense
	CoverageHole    Code = "coverage-hole"    // bytes of a source that no batch read
	CoverageOverlap Code = "coverage-overlap" // bytes of a source that were read twice
	CoverageLines   Code = "coverage-lines"   // not the lines the manifest counts
	UnparsedLines   Code = "unparsed-lines"   // not the unparsed lines the manifest counts
	Gap             Code = "gap"              // a signed agent.gap: loss the agent owned up to (notice)
)

// acceptable are the violations that an incident can explain: a host that was
// rebuilt, a payload that was never delivered, or that an agent whose state was set
// back delivered before it noticed (no manifest names it). Changed bytes and signatures that
// do not verify have no innocent explanation and can not be accepted away. The
// path of each names one batch, epoch or end of a log: what is accepted can not
// grow afterwards.
func (c Code) acceptable() bool {
	switch c {
	case LogAbsent, EpochMissing, EpochNotClosed, EpochAfterClose, OpenReason, SilentEnd, BatchMissing, CheckpointMissing,
		QuorumMissing, PayloadMissing, PayloadUnnamed, CoverageHole, CoverageOverlap:
		return true
	default:
		return false
	}
}

// Finding is one thing the verifier found.
type Finding struct {
	Level Level  `json:"level"`
	Code  Code   `json:"code"`
	Path  string `json:"path"` // in the archive; names in it may be an attacker's
	What  string `json:"what"`
}

// String returns the finding as one line that is safe on a terminal.
func (f Finding) String() string {
	return string(f.Level) + " " + Printable(f.Path) + ": " + Printable(f.What)
}

// Printable returns s with everything escaped that is not printable, so that
// names and bytes of the archive can not drive a terminal.
func Printable(s string) string {
	clean := func(r rune) bool { return r != '�' && strconv.IsPrint(r) }
	if !strings.ContainsFunc(s, func(r rune) bool { return !clean(r) }) {
		return s
	}
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}
