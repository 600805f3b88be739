package server

import (
	"context"
	"fmt"
)

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
	}
	tls := "plain HTTP on a loopback address"
	if c.TLSCert != "" {
		tls = c.TLSCert + " and its key match"
	}
	add("tls", tls, c.checkFiles())
	l, err := Listen(ctx, c)
	if err == nil {
		err = l.Close()
	}
	add("listen", c.Listen+" is free", err)
	return all
}
