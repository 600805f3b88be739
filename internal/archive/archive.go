// Package archive reads a sealed archive and says what is wrong with it.
//
// Its promise: verification never fails open. Whatever could not be checked is
// a finding, and keys, expected sizes and expected ends come from the auditor,
// never from the archive. Memory is bounded whatever the archive holds:
// payloads and listings are streamed, compressed data can not make it grow.
package archive
