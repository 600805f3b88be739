package config

import (
	"net/netip"
	"slices"
	"strings"
)

// Identity declares who stands behind an API key, a name or an address in the
// logs. At least one of KeyIDs, Users and Addresses is there; a line that shows
// any of them belongs to the principal.
type Identity struct {
	Input     string   `toml:"input"`       // empty: every input
	ID        string   `toml:"id,required"` // of the principal, as records have it
	Name      string   `toml:"name"`
	Type      string   `toml:"type" oneof:"human service ai_agent system unknown"`
	Roles     []string `toml:"roles"`
	KeyIDs    []string `toml:"key_ids"`   // names or fingerprints of API keys, never the keys
	Users     []string `toml:"users"`     // names that the logs give
	Addresses []string `toml:"addresses"` // addresses, or networks such as 10.20.0.0/16
}

// Zone names the site of client addresses.
type Zone struct {
	Name      string   `toml:"name,required"`
	Addresses []string `toml:"addresses,required"` // addresses, or networks such as 10.20.0.0/16
}

// Prefix parses an element of Addresses, which Load has checked.
func Prefix(address string) netip.Prefix {
	if prefix, err := netip.ParsePrefix(address); err == nil {
		return prefix
	}
	single, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(single, single.BitLen())
}

func (k *checker) identities(inputs []string) {
	type mark struct{ input, kind, text string }
	seen := map[mark]path{}
	once := func(at path, m mark) {
		if first, twice := seen[m]; twice {
			k.wrong(at, "%s %q is declared already: %s", m.kind, m.text, k.root.at(first...).value.place())
		}
		seen[m] = at
	}
	for i := range k.config.Identity {
		e, at := &k.config.Identity[i], path{"identity", i}
		if e.Input != "" && !slices.Contains(inputs, e.Input) && k.err == nil {
			k.err = unknown(k.root.at(at.key("input")...).value, "input", e.Input, " in identity", inputs)
		}
		if len(e.KeyIDs)+len(e.Users)+len(e.Addresses) == 0 {
			k.wrong(at, `identity %q is never met; give it key_ids, users or addresses, such as key_ids = ["k_5c1e77a2"]`, e.ID)
		}
		for j, id := range e.KeyIDs {
			at := append(at.key("key_ids"), j)
			if isRawKey(id) && k.err == nil {
				value := k.root.at(at...).value
				k.err = value.hide(value).errorf("an API key must not stand in the file; write its fingerprint, which auditail keys fingerprint prints")
			}
			once(at, mark{e.Input, "key id", id})
		}
		for j, user := range e.Users {
			once(append(at.key("users"), j), mark{e.Input, "user", user})
		}
		for j, address := range e.Addresses {
			at := append(at.key("addresses"), j)
			once(at, mark{e.Input, "address", k.network(at, "identity.addresses", address)})
		}
	}
	for i := range k.config.Zone {
		for j, address := range k.config.Zone[i].Addresses {
			at := append(path{"zone", i, "addresses"}, j)
			once(at, mark{"", "zone address", k.network(at, "zone.addresses", address)})
		}
	}
}

// network checks an address or network and returns it in one form.
func (k *checker) network(at path, what, text string) string {
	prefix := Prefix(text)
	switch {
	case !prefix.IsValid():
		k.wrong(at, `each value of %s must be an address or a network, such as "10.20.4.17" or "10.20.0.0/16"`, what)
	case prefix != prefix.Masked():
		k.wrong(at, "%s: %s has bits behind the mask; write %s for the network or %s for the address", what, text, prefix.Masked(), prefix.Addr())
	case prefix.Addr().Is4In6() || prefix.Addr().Zone() != "":
		k.wrong(at, "%s: write %s without a zone and IPv4 addresses as such", what, text)
	}
	return prefix.String()
}

// isRawKey recognises the API keys that are most likely to be written here.
func isRawKey(text string) bool {
	for _, prefix := range []string{"sk-", "Bearer ", "Basic ", "AIza", "hf_", "gsk_"} {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}
