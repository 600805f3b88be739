package capture

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// sealer encrypts texts to the auditor's keys, in the format of age
// (age-encryption.org/v1) with its armor: a field of a record, as text, is a
// file that `age --decrypt` reads. Each text has a key of its own.
type sealer struct {
	recipients []age.Recipient
	names      string // for the record's field key
	buffer     bytes.Buffer
}

// maxName is how much of a recipient a record shows: all of an X25519 one.
const maxName = 62

func newSealer(recipients []string) (*sealer, error) {
	if len(recipients) == 0 {
		return nil, nil
	}
	s := &sealer{}
	var names []string
	for _, text := range recipients {
		list, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil || len(list) != 1 {
			return nil, errors.Join(fmt.Errorf("%.*q is not an age recipient", maxName, text), err)
		}
		s.recipients = append(s.recipients, list[0])
		names = append(names, text[:min(len(text), maxName)])
	}
	s.names = strings.Join(names, ",")
	return s, nil
}

// append appends the encrypted text.
func (s *sealer) append(dst, text []byte) ([]byte, error) {
	s.buffer.Reset()
	armored := armor.NewWriter(&s.buffer)
	w, err := age.Encrypt(armored, s.recipients...)
	if err != nil {
		return dst, fmt.Errorf("encrypt to %s: %w", s.names, err)
	}
	if _, err = w.Write(text); err == nil {
		err = w.Close()
	}
	if err = errors.Join(err, armored.Close()); err != nil {
		return dst, fmt.Errorf("encrypt to %s: %w", s.names, err)
	}
	return append(dst, s.buffer.Bytes()...), nil
}

// room is the longest text that takes at most size bytes in a record when it is
// encrypted. 48 bytes become 64 characters and a line end, which JSON escapes;
// each recipient has a stanza in the header.
func (s *sealer) room(size int) int {
	const fixed, stanza = 512, 2560 // the hybrid recipients' stanza is the longest
	return max(0, (size-fixed-stanza*len(s.recipients))/66*48)
}

// Encrypt encrypts a text to the recipients, as the contents of records are.
func Encrypt(text []byte, recipients []string) ([]byte, error) {
	s, err := newSealer(recipients)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, errors.New("there is no recipient")
	}
	return s.append(nil, text)
}
