// Package identity says who stands behind an API key, a name or an address in a
// log, as the configuration declares it.
//
// Its promise: a record names a principal only on evidence that the line carries,
// says what the evidence is (actor.basis), and calls nothing verified that was
// not but an API key that the configuration knows. What the log proved stays so.
package identity

import (
	"net/netip"

	"github.com/auditail/auditail/audit"
)

// Entry declares a principal and how lines show it. A line that shows any of
// KeyIDs, Users and Addresses belongs to it.
type Entry struct {
	Input string // empty: every input
	ID    string // actor.id
	Name  string // actor.name; may be empty
	Type  string // actor.type; may be empty
	Roles []string

	KeyIDs    []string // as actor.key_id has them
	Users     []string // names that the log gives, as actor.id has them
	Addresses []netip.Prefix
}

// Zone declares the site of addresses.
type Zone struct {
	Name      string // client.zone
	Addresses []netip.Prefix
}

// Map answers for one input. It is not safe for concurrent use.
type Map struct {
	keys      map[string]*principal
	users     map[string]*principal
	addresses []network
	zones     []network
	places    map[string]place // what was found for addresses met before
}

// principal is an entry, with its roles as records carry them.
type principal struct {
	Entry
	roles []byte
}

// network is a prefix with what it stands for.
type network struct {
	prefix    netip.Prefix
	own       bool // of an entry for this input
	principal *principal
	zone      string
}

// place is what an address stands for.
type place struct {
	principal *principal // may be nil
	zone      string
}

// maxPlaces bounds what is remembered of addresses: log lines choose them.
const maxPlaces = 4096

// New returns the map of an input. Entries that name the input come before those
// for all inputs, longer prefixes before shorter ones.
func New(entries []Entry, zones []Zone, input string) *Map {
	m := &Map{keys: map[string]*principal{}, users: map[string]*principal{}, places: map[string]place{}}
	for _, own := range []bool{true, false} {
		for i := range entries {
			if e := &entries[i]; own && e.Input == input || !own && e.Input == "" {
				m.add(e, own)
			}
		}
	}
	for _, z := range zones {
		for _, prefix := range z.Addresses {
			m.zones = append(m.zones, network{prefix: prefix, zone: z.Name})
		}
	}
	return m
}

func (m *Map) add(e *Entry, own bool) {
	p := &principal{Entry: *e}
	if len(e.Roles) > 0 {
		var r audit.Record
		r.SetStrings(audit.ActorRoles, e.Roles...)
		p.roles = r.Text(audit.ActorRoles)
	}
	for _, id := range e.KeyIDs {
		if m.keys[id] == nil {
			m.keys[id] = p
		}
	}
	for _, user := range e.Users {
		if m.users[user] == nil {
			m.users[user] = p
		}
	}
	for _, prefix := range e.Addresses {
		m.addresses = append(m.addresses, network{prefix: prefix, own: own, principal: p})
	}
}

// Empty tells whether the map knows nobody and no zone.
func (m *Map) Empty() bool {
	return m == nil || len(m.keys)+len(m.users)+len(m.addresses)+len(m.zones) == 0
}

// Apply completes actor.* and client.zone of a record. It reports whether it
// knew the actor. A nil map leaves the record as it is.
func (m *Map) Apply(r *audit.Record) (known bool) {
	if m.Empty() {
		return false
	}
	var at place
	if ip := r.Text(audit.ClientIP); ip != nil && len(m.addresses)+len(m.zones) > 0 {
		at = m.find(ip)
		if at.zone != "" {
			r.SetString(audit.ClientZone, at.zone)
		}
	}
	user := r.Text(audit.ActorID)
	key := m.keys[string(r.Text(audit.ActorKeyID))]
	switch {
	case key != nil && !r.Bool(audit.ActorVerified):
		key.identify(r, key.beside(user))
		r.SetString(audit.ActorBasis, "api_key")
		r.SetBool(audit.ActorVerified, true) // as the format has it: an API key that the map knows
		r.Unflag(audit.ActorUnverified)
	case user != nil:
		p := m.users[string(user)]
		if p == nil {
			return false
		}
		p.identify(r, audit.ActorName)
	case at.principal != nil:
		at.principal.identify(r, audit.ActorName)
		r.SetString(audit.ActorBasis, "ip")
		r.SetBool(audit.ActorVerified, false)
		r.Flag(audit.ActorUnverified)
	default:
		return false
	}
	return true
}

// find returns what an address stands for. The text comes from the log.
func (m *Map) find(text []byte) place {
	if known, ok := m.places[string(text)]; ok {
		return known
	}
	if len(m.places) >= maxPlaces {
		clear(m.places)
	}
	found := m.look(string(text))
	m.places[string(text)] = found
	return found
}

func (m *Map) look(text string) (found place) {
	address, err := netip.ParseAddr(text)
	if err != nil {
		return place{}
	}
	address = address.Unmap().WithZone("")
	best := network{}
	for _, n := range m.addresses {
		if n.prefix.Contains(address) && n.before(&best) {
			best = n
		}
	}
	found.principal = best.principal
	best = network{}
	for _, n := range m.zones {
		if n.prefix.Contains(address) && n.before(&best) {
			best = n
		}
	}
	found.zone = best.zone
	return found
}

// before tells whether n is the better answer: the input's own first, then the
// longer prefix, then the first one declared.
func (n *network) before(other *network) bool {
	if !other.prefix.IsValid() || n.own != other.own {
		return !other.prefix.IsValid() || n.own
	}
	return n.prefix.Bits() > other.prefix.Bits()
}

// beside returns where the name that a log gives goes when the key says who it
// was: a service acts for whom it names, others are called so there.
func (p *principal) beside(user []byte) audit.Field {
	if user != nil && (p.Type == "service" || p.Type == "ai_agent" || p.Type == "system") {
		return audit.ActorOnBehalfOf
	}
	return audit.ActorName
}

// identify makes the principal the record's actor and fills what else the
// configuration knows. The name in the log stays, in the field beside.
func (p *principal) identify(r *audit.Record, beside audit.Field) {
	if named := r.Text(audit.ActorID); string(named) != p.ID && !r.Has(beside) {
		r.SetText(beside, named)
	}
	r.SetString(audit.ActorID, p.ID)
	if p.Name != "" {
		r.SetString(audit.ActorName, p.Name)
	}
	if p.Type != "" && (!r.Has(audit.ActorType) || string(r.Text(audit.ActorType)) == "unknown") {
		r.SetString(audit.ActorType, p.Type)
	}
	if p.roles != nil && !r.Has(audit.ActorRoles) {
		r.SetJSON(audit.ActorRoles, p.roles)
	}
}
