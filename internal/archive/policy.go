package archive

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/auditail/auditail/seal"
)

// Policy says which witnesses the auditor believes, and how many of them have to
// have seen a log's head. The zero value asks for none.
//
// Its lines are those of C2SP tlog-policy:
//
//	witness <name> <vkey>
//	group <name> <number, any or all> <names of witnesses and groups>
//	quorum <name of a witness or group, or none>
type Policy struct {
	witnesses []seal.WitnessKey
	members   map[string]member
	quorum    string // "" or "none": nothing is asked for
	decided   bool   // there is a quorum line
}

// member is a witness or a group.
type member struct {
	witness *seal.WitnessKey
	least   int // of a group: how many of parts
	parts   []string
}

const noQuorum = "none"

// maxWitnesses bounds what a policy can hold.
const maxWitnesses = 64

// isPolicyLine tells the lines of a policy from verifier keys, which have no spaces.
func isPolicyLine(line string) bool {
	word, _, found := strings.Cut(line, " ")
	return found && slices.Contains([]string{"witness", "group", "quorum"}, word)
}

// add takes one line of a policy. Names have to be defined before they are used.
func (p *Policy) add(line string) error {
	words := strings.Fields(line)
	switch {
	case words[0] == "quorum" && len(words) == 2:
		return p.setQuorum(words[1])
	case words[0] == "witness" && (len(words) == 3 || len(words) == 4): // a URL may follow
		return p.addWitness(words[1], words[2])
	case words[0] == "group" && len(words) >= 4:
		return p.addGroup(words[1], words[2], words[3:])
	}
	return fmt.Errorf("%q is not \"witness <name> <vkey>\", \"group <name> <number, any or all> <names>\" or \"quorum <name>\"", line)
}

func (p *Policy) define(name string, m member) error {
	if _, twice := p.members[name]; twice || name == noQuorum {
		return fmt.Errorf("the name %q is taken", name)
	}
	if p.members == nil {
		p.members = make(map[string]member)
	}
	p.members[name] = m
	return nil
}

func (p *Policy) addWitness(name, vkey string) error {
	key, err := seal.ParseWitnessKey(vkey)
	if err != nil {
		return err
	}
	if len(p.witnesses) == maxWitnesses {
		return fmt.Errorf("more than %d witnesses", maxWitnesses)
	}
	if slices.ContainsFunc(p.witnesses, func(other seal.WitnessKey) bool { return other.Public.Equal(key.Public) || other.Hash() == key.Hash() }) {
		return fmt.Errorf("the key of witness %q stands here twice: one witness would count as two", name)
	}
	p.witnesses = append(p.witnesses, key)
	return p.define(name, member{witness: &key})
}

func (p *Policy) addGroup(name, least string, parts []string) error {
	for i, part := range parts {
		if _, known := p.members[part]; !known {
			return fmt.Errorf("group %q names %q, which no line above defines", name, part)
		}
		if slices.Contains(parts[:i], part) {
			return fmt.Errorf("group %q names %q twice", name, part)
		}
	}
	m := member{parts: parts}
	switch least {
	case "any":
		m.least = 1
	case "all":
		m.least = len(parts)
	default:
		n, err := strconv.Atoi(least)
		if err != nil || n < 1 || n > len(parts) {
			return fmt.Errorf("group %q asks for %q of %d members; write a number, any or all", name, least, len(parts))
		}
		m.least = n
	}
	return p.define(name, m)
}

func (p *Policy) setQuorum(name string) error {
	if _, known := p.members[name]; !known && name != noQuorum {
		return fmt.Errorf("the quorum %q is neither a witness nor a group above, nor none", name)
	}
	if p.decided {
		return errors.New("there is a second quorum line")
	}
	p.quorum, p.decided = name, true
	return nil
}

// complete checks a policy once all its lines are there.
func (p *Policy) complete() error {
	if len(p.members) > 0 && !p.decided {
		return errors.New("the witness policy has no quorum line; write \"quorum <name>\", or \"quorum none\" when cosignatures are welcome and not needed")
	}
	return nil
}

// Demands tells whether the policy asks for any witness.
func (p *Policy) Demands() bool { return p.quorum != "" && p.quorum != noQuorum }

// Witnesses returns the keys of all witnesses. The caller must not change them.
func (p *Policy) Witnesses() []seal.WitnessKey { return p.witnesses }

// Met tells whether the witnesses that cosigned, named by WitnessKey.String, are
// a quorum.
func (p *Policy) Met(cosigned map[string]time.Time) bool {
	signed := make(map[uint32]bool)
	for _, witness := range p.witnesses {
		if _, ok := cosigned[witness.String()]; ok {
			signed[witness.Hash()] = true
		}
	}
	return p.met(signed)
}

// met tells whether those who signed are a quorum.
func (p *Policy) met(signed map[uint32]bool) bool {
	return p.Demands() && p.holds(p.quorum, signed)
}

func (p *Policy) holds(name string, signed map[uint32]bool) bool {
	m := p.members[name]
	if m.witness != nil {
		return signed[m.witness.Hash()]
	}
	n := 0
	for _, part := range m.parts {
		if p.holds(part, signed) {
			n++
		}
	}
	return n >= m.least
}
