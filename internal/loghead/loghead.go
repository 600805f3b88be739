// Package loghead is the answer of the central server to the question how far it
// holds a log, in the form that server and agent share. It is a claim and proves
// nothing: see outputs.HeadReader.
package loghead

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/auditail/auditail/seal"
)

// Type is the media type of the answer.
const Type = "text/x.auditail.head"

// MaxSize is the most bytes that an answer has.
const MaxSize = 1 << 10

// name is that of no object: see seal.ParsePath.
const name = "/head"

// Path is where the head of an epoch is asked for, below the objects.
func Path(origin seal.Origin) string { return origin.SealsPath() + name }

// ParsePath returns the agent and the epoch of what Path returns; ok is false for
// all other paths.
func ParsePath(path string) (agent string, epoch int, ok bool) {
	folder, ok := strings.CutSuffix(path, name)
	if !ok {
		return "", 0, false
	}
	in, err := seal.ParsePath(folder + "/identity.vkey")
	return in.Agent, in.Epoch, err == nil && in.Kind == seal.IdentityObject
}

// unknown stands for a root that can not be told.
const unknown = "-"

// Format writes a head as the text of a checkpoint (C2SP tlog-checkpoint), with a
// dash in the place of a root that can not be told.
func Format(origin seal.Origin, head seal.Head) string {
	root := unknown
	if head.Root != (seal.Hash{}) {
		root = head.Root.String()
	}
	return fmt.Sprintf("%s\n%d\n%s\n", origin, head.Size, root)
}

// Parse parses what Format returns for this origin, and nothing else.
func Parse(origin seal.Origin, text string) (head seal.Head, err error) {
	lines := strings.Split(text, "\n")
	if len(text) > MaxSize || len(lines) != 4 {
		return seal.Head{}, errors.New("it is not three lines")
	}
	if head.Size, err = strconv.ParseUint(lines[1], 10, 63); err != nil {
		return seal.Head{}, errors.New("its second line is no size")
	}
	if lines[2] != unknown {
		if head.Root, err = tlog.ParseHash(lines[2]); err != nil {
			return seal.Head{}, errors.New("its third line is no root")
		}
	}
	switch {
	case Format(origin, head) != text:
		return seal.Head{}, fmt.Errorf("it is not the head of %s in its one form", origin)
	case head.Size == 0 && head.Root != seal.EmptyRoot():
		return seal.Head{}, errors.New("an empty log has one root")
	}
	return head, nil
}
