package identity_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/auditail/auditail/agent/identity"
	"github.com/auditail/auditail/audit"
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, text := range list {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func entries() []identity.Entry {
	return []identity.Entry{
		{ID: "u-alice", Name: "alice@example.com", Type: "human", Roles: []string{"legal", "staff"}, KeyIDs: []string{"key_alice"}, Users: []string{"alice"}},
		{ID: "svc-notebook", Type: "service", KeyIDs: []string{"k_0f93bb10"}, Addresses: prefixes("10.31.0.0/16", "2001:db8:1::/48")},
		{ID: "u-bob", Users: []string{"bob"}, Addresses: prefixes("10.31.9.4/32")},
		{ID: "svc-lab", Input: "lab", KeyIDs: []string{"key_alice"}, Users: []string{"alice"}, Addresses: prefixes("10.0.0.0/8")},
		{ID: "svc-other", Input: "elsewhere", KeyIDs: []string{"key_other"}},
	}
}

func zones() []identity.Zone {
	return []identity.Zone{{Name: "office", Addresses: prefixes("10.0.0.0/8")}, {Name: "lab", Addresses: prefixes("10.31.0.0/16")}}
}

// record makes a record of "field=value" pairs.
func record(pairs string) *audit.Record {
	r := &audit.Record{}
	for pair := range strings.FieldsSeq(pairs) {
		path, value, _ := strings.Cut(pair, "=")
		field, _ := audit.Lookup(path)
		if field == audit.ActorVerified {
			r.SetBool(field, value == "true")
		} else {
			r.SetString(field, value)
		}
	}
	if r.Has(audit.ActorID) && !r.Bool(audit.ActorVerified) {
		r.Flag(audit.ActorUnverified)
	}
	return r
}

// shown is what of a record an identity map can change.
func shown(r *audit.Record) string {
	var b strings.Builder
	for _, f := range []audit.Field{
		audit.ActorID, audit.ActorName, audit.ActorType, audit.ActorBasis, audit.ActorVerified, audit.ActorRoles, audit.ActorOnBehalfOf, audit.ClientZone,
	} {
		switch {
		case f == audit.ActorVerified && r.Has(f):
			fmt.Fprintf(&b, "%s=%v ", f, r.Bool(f))
		case r.Has(f):
			fmt.Fprintf(&b, "%s=%s ", f, r.Text(f))
		}
	}
	if r.Flags()&audit.ActorUnverified != 0 {
		b.WriteString("unverified ")
	}
	return strings.TrimSpace(b.String())
}

func TestApply(t *testing.T) {
	const nobody = "actor.type=unknown actor.basis=none actor.verified=false "
	const header = "actor.type=unknown actor.basis=header actor.verified=false "
	for _, c := range []struct{ name, input, record, want string }{
		{
			"key", "nginx", nobody + "actor.key_id=key_alice",
			`actor.id=u-alice actor.name=alice@example.com actor.type=human actor.basis=api_key actor.verified=true actor.roles=["legal","staff"]`,
		},
		{
			"key of the input first", "lab", nobody + "actor.key_id=key_alice",
			"actor.id=svc-lab actor.type=unknown actor.basis=api_key actor.verified=true",
		},
		{"key of another input", "nginx", nobody + "actor.key_id=key_other", "actor.type=unknown actor.basis=none actor.verified=false"},
		{"unknown key", "nginx", nobody + "actor.key_id=key_unknown", "actor.type=unknown actor.basis=none actor.verified=false"},
		{
			"a service names whom it acts for", "nginx", header + "actor.key_id=k_0f93bb10 actor.id=carol",
			"actor.id=svc-notebook actor.type=service actor.basis=api_key actor.verified=true actor.on_behalf_of=carol",
		},
		{
			"a person's key and another name", "lab", header + "actor.key_id=key_alice actor.id=carol",
			"actor.id=svc-lab actor.name=carol actor.type=unknown actor.basis=api_key actor.verified=true",
		},
		{
			"name", "nginx", header + "actor.id=alice",
			`actor.id=u-alice actor.name=alice@example.com actor.type=human actor.basis=header actor.verified=false actor.roles=["legal","staff"] unverified`,
		},
		{
			"name without a declared one", "nginx", header + "actor.id=bob",
			"actor.id=u-bob actor.name=bob actor.type=unknown actor.basis=header actor.verified=false unverified",
		},
		{"unknown name is not replaced by its address", "nginx", header + "actor.id=carol client.ip=10.31.9.4", "actor.id=carol actor.type=unknown actor.basis=header actor.verified=false client.zone=lab unverified"},
		{
			"name the log proved", "nginx", "actor.type=unknown actor.basis=sso actor.verified=true actor.id=alice actor.key_id=k_0f93bb10",
			`actor.id=u-alice actor.name=alice@example.com actor.type=human actor.basis=sso actor.verified=true actor.roles=["legal","staff"]`,
		},
		{
			"what the log knows stays", "nginx", `actor.type=ai_agent actor.basis=sso actor.verified=true actor.id=alice actor.roles=["root"]`,
			`actor.id=u-alice actor.name=alice@example.com actor.type=ai_agent actor.basis=sso actor.verified=true actor.roles=["root"]`,
		},
		{
			"address, longest prefix", "nginx", nobody + "client.ip=10.31.9.4",
			"actor.id=u-bob actor.type=unknown actor.basis=ip actor.verified=false client.zone=lab unverified",
		},
		{
			"address", "nginx", nobody + "client.ip=10.31.9.5",
			"actor.id=svc-notebook actor.type=service actor.basis=ip actor.verified=false client.zone=lab unverified",
		},
		{
			"address of the input first", "lab", nobody + "client.ip=10.31.9.4",
			"actor.id=svc-lab actor.type=unknown actor.basis=ip actor.verified=false client.zone=lab unverified",
		},
		{
			"IPv6", "nginx", nobody + "client.ip=2001:db8:1::7",
			"actor.id=svc-notebook actor.type=service actor.basis=ip actor.verified=false unverified",
		},
		{
			"IPv4 in IPv6", "nginx", nobody + "client.ip=::ffff:10.31.9.4",
			"actor.id=u-bob actor.type=unknown actor.basis=ip actor.verified=false client.zone=lab unverified",
		},
		{"zone alone", "nginx", nobody + "client.ip=10.1.1.1", "actor.type=unknown actor.basis=none actor.verified=false client.zone=office"},
		{"unknown address", "nginx", nobody + "client.ip=192.0.2.1", "actor.type=unknown actor.basis=none actor.verified=false"},
		{"no address", "nginx", nobody + "client.ip=localhost", "actor.type=unknown actor.basis=none actor.verified=false"},
		{"nothing", "nginx", "", ""},
	} {
		m := identity.New(entries(), zones(), c.input)
		for range 2 { // found, then remembered
			r := record(c.record)
			m.Apply(r)
			if got := shown(r); got != c.want {
				t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
			}
		}
	}
}

// TestEmpty: without entries nothing changes.
func TestEmpty(t *testing.T) {
	for _, m := range []*identity.Map{nil, identity.New(nil, nil, "nginx")} {
		r := record("actor.id=alice actor.basis=header client.ip=10.0.0.1 actor.key_id=key_alice")
		before := shown(r)
		if m.Apply(r); shown(r) != before || !m.Empty() {
			t.Error(shown(r))
		}
	}
}

// TestBounded: the log chooses the addresses; what is remembered of them is bounded.
func TestBounded(t *testing.T) {
	m := identity.New(entries(), nil, "nginx")
	for i := range 20_000 {
		r := record(fmt.Sprintf("actor.basis=none client.ip=10.31.%d.%d", i/256, i%256))
		m.Apply(r)
		want := "svc-notebook"
		if i == 9*256+4 {
			want = "u-bob"
		}
		if i < 256*256 && string(r.Text(audit.ActorID)) != want {
			t.Fatalf("%s: %s", r.Text(audit.ClientIP), shown(r))
		}
		if n := m.Remembered(); n > identity.MaxPlaces {
			t.Fatalf("%d addresses are remembered", n)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	m := identity.New(entries(), zones(), "nginx")
	template := record("actor.type=unknown actor.basis=none actor.verified=false actor.key_id=key_alice client.ip=10.31.9.4")
	var r audit.Record
	apply := func() {
		r.CopyFrom(template)
		m.Apply(&r)
	}
	apply()
	if n := testing.AllocsPerRun(100, apply); n > 0 {
		t.Errorf("%v allocations a record", n)
	}
}

func BenchmarkApply(b *testing.B) {
	m := identity.New(entries(), zones(), "nginx")
	template := record("actor.type=unknown actor.basis=none actor.verified=false actor.key_id=key_alice client.ip=10.31.9.4")
	var r audit.Record
	b.ReportAllocs()
	for b.Loop() {
		r.CopyFrom(template)
		m.Apply(&r)
	}
}
