package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// checkTLS says with which certificate the server would answer, for which names and
// until when.
func (c Config) checkTLS(now time.Time) (string, error) {
	if err := c.checkListen(); err != nil {
		return "", err
	}
	if c.TLSCert == "" {
		return "plain HTTP on a loopback address", nil
	}
	if err := c.checkFiles(); err != nil {
		return "", err
	}
	files := &certificateFiles{cert: c.TLSCert, key: c.TLSKey}
	if err := files.load(); err != nil {
		return "", err
	}
	leaf := files.current.Leaf
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	switch {
	case now.After(leaf.NotAfter):
		return "", fmt.Errorf("%s expired on %s: agents refuse it; renew it, a running server takes it up by itself", c.TLSCert, clock(leaf.NotAfter))
	case now.Before(leaf.NotBefore):
		return "", fmt.Errorf("%s is good from %s on only: agents refuse it until then; is the clock of this host right?", c.TLSCert, clock(leaf.NotBefore))
	case len(names) == 0:
		return "", fmt.Errorf("%s names no host (subjectAltName): agents refuse it; have it issued for the name in their url", c.TLSCert)
	}
	return fmt.Sprintf("%s and its key match; for %s, until %s", c.TLSCert, strings.Join(names, ", "), clock(leaf.NotAfter)), nil
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Finding is one thing that Check looked at.
type Finding struct {
	What string `json:"what"`
	OK   bool   `json:"ok"`
	// Detail says what is fine or what is wrong, in one sentence.
	Detail string `json:"detail"`
}

// Check looks at everything that Run would need, without serving and without
// touching what a running server is receiving.
func Check(ctx context.Context, c Config, d Deps) []Finding {
	var all []Finding
	add := func(what, good string, err error) {
		f := Finding{What: what, OK: err == nil, Detail: good}
		if err != nil {
			f.Detail = err.Error()
		}
		all = append(all, f)
	}
	p, err := openPlaces(ctx, c, d, true)
	if err != nil {
		add("directories", "", err)
	} else {
		add("store", p.store.String()+" is writable", p.store.probe(ctx))
		enrolments, err := p.registry.list(ctx)
		add("registry", fmt.Sprintf("%s: %d agents", p.state, len(enrolments)), err)
		if c.WitnessKey != "" { // else the first start makes one
			w, err := readWitness(d, c.WitnessKey)
			if err == nil {
				err = p.compareWitness(ctx, c.WitnessKey, w.WitnessKey)
			}
			add("witness", c.WitnessKey+" is read, and that of the other servers over the store", err)
		}
	}
	tls, err := c.checkTLS(d.Now())
	add("tls", tls, err)
	l, err := Listen(ctx, c)
	if err == nil {
		err = l.Close()
	}
	add("listen", c.Listen+" is free", err)
	return all
}
