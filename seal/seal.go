// Package seal is the evidence: hashes, trees, manifests, checkpoints and
// signatures of sealed batches, and the checks that find what was changed.
// It is pure: no files, no network, no clock. Auditors and receivers use it
// without the agent.
//
// Two levels. The record lines of a batch (bytes without LF) are the leaves of
// an RFC 6962 Merkle tree whose root stands in the batch's [Manifest]. Each
// manifest file is one leaf of the agent's own log, whose signed head is a C2SP
// tlog-checkpoint ([Checkpoint]). A manifest is a signed note (x/mod
// sumdb/note) with two signatures: by the agent's identity key, and by a
// one-time key that the previous manifest named and that was erased after use
// (the ratchet), so that whoever takes the host's keys can not rewrite what was
// sealed before. Beside it lies an SSHSIG that ssh-keygen(1) verifies.
//
// A manifest's text has a fixed order of lines, single spaces and LF:
//
//	auditail/manifest@v1
//	origin <organization>/<agent>/<epoch4>
//	batch <number>
//	kind data | heartbeat | open <reason> | rotate | close
//	stream <environment> <service> <class>, or -
//	records <from> <to>
//	root <base64 of the root over the record lines>
//	plain <bytes of the uncompressed payload>
//	lines <read> <recorded> <unparsed> <ignored> <held>
//	opened <RFC 3339 UTC>
//	sealed <RFC 3339 UTC>
//	next-by <RFC 3339 UTC, or - for kind close>
//	keep-until <RFC 3339 UTC, or - without a payload>
//	boot <boot id> <uptime in seconds>
//	schema <id> sha256:<hex>
//	agent <version> sha256:<hex of the binary>
//	config sha256:<hex of the effective configuration>
//	witnessed <size> <base64 root>
//	ratchet <base64 of the next batch's public key>
//	<hex sha256>  <path of the payload>          (kind data only)
//	<hex sha256>  <path of the previous manifest; of identity.vkey for kind open>
//
// The last two are coreutils checksum lines, so `sha256sum -c` in the archive's
// root checks payloads and chain.
package seal
