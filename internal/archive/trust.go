package archive

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/auditail/auditail/seal"
)

// maxListLine is the longest line of a trust or accept file.
const maxListLine = 4096

// Trust holds the identity keys that the auditor trusts, by log. A log may have
// several: one for each time the host was enrolled anew.
type Trust map[seal.Log][]ed25519.PublicKey

// ParseTrust reads a trust file: one C2SP verifier key a line, named
// <organization>/<agent>, and the lines of a witness policy, if there is one;
// empty lines and lines that start with # are comments. An error names the line
// and says what would be right.
func ParseTrust(r io.Reader) (Trust, Policy, error) {
	trust, policy := make(Trust), Policy{}
	err := eachLine(r, func(line string) error {
		if isPolicyLine(line) {
			return policy.add(line)
		}
		name, key, err := seal.ParseVKey(line)
		if err != nil {
			return fmt.Errorf("%w; `auditail keys show` prints it in one line", err)
		}
		log, err := seal.ParseLog(name)
		if err != nil {
			return fmt.Errorf("%w; the key's name must be <organization>/<agent>", err)
		}
		if slices.ContainsFunc(trust[log], func(k ed25519.PublicKey) bool { return k.Equal(key) }) {
			return fmt.Errorf("the key of %s stands here twice; remove one line", log)
		}
		trust[log] = append(trust[log], key)
		return nil
	})
	if err == nil {
		err = policy.complete()
	}
	if err == nil && len(trust) == 0 {
		err = errors.New("no key in it; write one verifier key a line, as `auditail keys show` prints it")
	}
	if err != nil {
		return nil, Policy{}, err
	}
	return trust, policy, nil
}

// ParsePolicy reads a file that holds a witness policy alone.
func ParsePolicy(r io.Reader) (Policy, error) {
	var policy Policy
	if err := eachLine(r, policy.add); err != nil {
		return policy, err
	}
	if !policy.decided {
		return policy, errors.New("no quorum line in it; write witness, group and quorum lines")
	}
	return policy, policy.complete()
}

// logs returns the trusted logs of an agent name, sorted.
func (t Trust) logs(agent string) []seal.Log {
	var logs []seal.Log
	for log := range t {
		if log.Agent == agent {
			logs = append(logs, log)
		}
	}
	slices.SortFunc(logs, func(a, b seal.Log) int { return strings.Compare(a.String(), b.String()) })
	return logs
}

// Incident is a violation that the auditor knows and accepts beforehand.
type Incident struct {
	Code Code
	Path string
}

// Accepted holds the incidents that the auditor accepts: a violation listed
// here is reported as a notice.
type Accepted map[Incident]bool

// ParseAccepted reads an accept file: one "<code> <path>" a line, as a finding
// shows them in JSON; what follows behind a second blank is a remark. Empty
// lines and lines that start with # are comments.
func ParseAccepted(r io.Reader) (Accepted, error) {
	accepted := make(Accepted)
	err := eachLine(r, func(line string) error {
		words := strings.Fields(line)
		if len(words) < 2 {
			return fmt.Errorf("%q is not <code> <path>, as in \"epoch-not-closed seals/gpu-07/0001/000000000041.manifest\"", line)
		}
		incident := Incident{Code: Code(words[0]), Path: words[1]}
		if !incident.Code.acceptable() {
			return fmt.Errorf("a finding %q can not be accepted: only missing batches, payloads and coverage, "+
				"epochs without close and silent ends can", words[0])
		}
		accepted[incident] = true
		return nil
	})
	return accepted, err
}

// eachLine calls take for every line that is not empty and no comment, and puts
// the line number before its error.
func eachLine(r io.Reader, take func(line string) error) error {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(make([]byte, 0, maxListLine), maxListLine)
	for n := 1; scanner.Scan(); n++ {
		line := bytes.TrimSpace(scanner.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if err := take(string(line)); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if errors.Is(scanner.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("a line has more than %d bytes", maxListLine)
	}
	return scanner.Err()
}
