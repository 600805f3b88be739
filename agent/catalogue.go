package agent

import (
	"context"
	"sync"
	"time"

	"github.com/auditail/auditail/agent/catalog"
	"github.com/auditail/auditail/buffer"
)

// flushTime is what a stop leaves the buffer to take the last events.
const flushTime = time.Second

// restoreCatalog goes on with what the model catalog knew when its last events
// were committed: its state lies in the buffer as that of a parser does, so
// events and state are one write.
func (a *Agent) restoreCatalog() {
	if a.cfg.Catalog == nil {
		return
	}
	state := a.buffer.Resume(catalogueSource).Parser
	if state == nil {
		return
	}
	if err := a.cfg.Catalog.Restore(state); err != nil {
		a.log.Error("what the model catalog knew can not be read; it begins anew", "error", err)
	}
}

// withCatalog has the model catalog run beside what reads the inputs, and has
// recorded at the end what it came to know.
func (a *Agent) withCatalog(read func(ctx context.Context) error) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		a.startCatalog(ctx)
		defer a.stopCatalog()
		return read(ctx)
	}
}

// startCatalog returns when questions at first sight have somebody to answer them.
func (a *Agent) startCatalog(ctx context.Context) {
	store := a.cfg.Catalog
	if store == nil {
		return
	}
	running, stop := context.WithCancel(ctx)
	var ended sync.WaitGroup
	ready := make(chan struct{})
	ended.Go(func() { store.Run(running, func() { close(ready) }, a.catalogue) })
	<-ready
	a.catalog = func() {
		stop()
		ended.Wait()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
		defer cancel()
		store.Flush(last, a.catalogue)
	}
}

func (a *Agent) stopCatalog() {
	if a.catalog != nil {
		a.catalog()
		a.catalog = nil
	}
}

// inheritCatalog gives the catalog of the next configuration what the one of
// today, which is stopped, came to know.
func (a *Agent) inheritCatalog(next *Config) {
	if a.cfg.Catalog == nil || next.Catalog == nil {
		return
	}
	if err := next.Catalog.Inherit(a.cfg.Catalog); err != nil {
		a.log.Error("what the model catalog knew can not be taken over; it begins anew", "error", err)
	}
}

// catalogue commits events of the model catalog with its state.
func (a *Agent) catalogue(ctx context.Context, events []catalog.Event, state []byte) error {
	return a.buffer.Append(ctx, a.own.catalogue(events, state))
}

func (o *ownRecords) catalogue(events []catalog.Event, state []byte) *buffer.Entry {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := &buffer.Entry{Stream: o.ownStream(), Input: catalogueSource, Parser: state}
	for i := range events {
		o.record.Reset()
		events[i].Fill(&o.record)
		e.Records = append(o.complete(e.Records, e.Stream, catalogueSource), '\n')
	}
	return e
}
