// Package proxytest is a bad network for tests: a TCP proxy in front of one or
// several servers that cuts, delays, throttles and refuses connections.
//
// What it does to a connection is drawn when that is opened, from a seed, so that
// most connections of a run are hurt in one way or another. It never changes a
// byte: what arrives is what was sent, or less.
package proxytest

import (
	"context"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// Fault is what happens to one connection.
type Fault struct {
	Refuse bool // closed at once
	// CutUp and CutDown close both sides behind so many bytes to or from the server;
	// negative: never. What was sent before may have been taken.
	CutUp, CutDown int64
	Delay          time.Duration // before each piece that passes
	Piece          int           // largest piece; 0: as it comes
	// Mute lets the request pass and swallows the answer: done, but never said.
	Mute bool
	// Hang swallows both ways and ends nothing.
	Hang bool
	// Reset ends with a reset in the place of an end, which drops what is under way.
	Reset bool
}

// None is a connection that nothing happens to.
var None = Fault{CutUp: -1, CutDown: -1} //nolint:gochecknoglobals // a constant

// Proxy listens on Address and passes connections on to its servers in turn.
type Proxy struct {
	Address string

	mu      sync.Mutex
	servers []string
	next    int
	draw    func() Fault
	hurt    map[string]int // by kind
	open    map[net.Conn]struct{}
	closed  bool
}

// Start starts a proxy; it ends with the test. It is kind until Hurt is called.
func Start(t *testing.T, servers ...string) *Proxy {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Address: l.Addr().String(), servers: servers, open: make(map[net.Conn]struct{}), hurt: make(map[string]int)}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.serve(t.Context(), c) })
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close proxy: %v", err)
		}
		p.mu.Lock()
		p.closed = true
		for c := range p.open {
			_ = c.Close() // it may be closed already
		}
		p.mu.Unlock()
		running.Wait()
	})
	return p
}

// Hurt lets a share of the connections from now on, 0 to 1, suffer a fault drawn
// from the seed, and ends those that are open.
func (p *Proxy) Hurt(seed uint64, share float64) {
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // repeatable, guards nothing
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draw = func() Fault {
		if random.Float64() >= share {
			return None
		}
		f, kind := drawn(random)
		p.hurt[kind]++
		return f
	}
	p.cutAll()
}

// drawn draws a fault and says of which kind it is.
func drawn(random *rand.Rand) (f Fault, kind string) {
	f = None
	f.Reset = random.IntN(2) == 0
	switch random.IntN(7) {
	case 0:
		f.Refuse = true
		return f, "refused"
	case 1:
		f.CutUp = random.Int64N(100_000)
		return f, "request cut"
	case 2:
		f.CutDown = random.Int64N(2_000)
		return f, "answer cut"
	case 3:
		f.Mute, f.CutUp = true, 1_000+random.Int64N(50_000)
		return f, "answer lost"
	case 4:
		f.Delay = time.Duration(random.IntN(200)) * time.Millisecond
		return f, "slow"
	case 5:
		f.Hang = true
		return f, "hung"
	default:
		f.Piece, f.Delay = 1+random.IntN(500), time.Millisecond
		f.CutUp = random.Int64N(20_000)
		return f, "in pieces and cut"
	}
}

// Break ends all connections and refuses new ones until Heal.
func (p *Proxy) Break() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draw = func() Fault { return Fault{Refuse: true} }
	p.cutAll()
}

// Heal lets all connections from now on pass, and ends those that are open.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draw = nil
	p.cutAll()
}

// Hurts returns how many connections suffered a fault.
func (p *Proxy) Hurts() int {
	n := 0
	for _, of := range p.ByKind() {
		n += of
	}
	return n
}

// ByKind returns how many connections suffered which kind of fault.
func (p *Proxy) ByKind() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.hurt)
}

func (p *Proxy) cutAll() {
	for c := range p.open {
		_ = c.Close() // it may be closed already
	}
}

func (p *Proxy) accept(c net.Conn) (server string, f Fault, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return "", None, false
	}
	p.open[c] = struct{}{}
	p.next++
	f = None
	if p.draw != nil {
		f = p.draw()
	}
	return p.servers[p.next%len(p.servers)], f, true
}

func (p *Proxy) forget(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

func (p *Proxy) serve(ctx context.Context, client net.Conn) {
	defer client.Close()
	name, f, ok := p.accept(client)
	if !ok {
		return
	}
	defer p.forget(client)
	if f.Refuse {
		return
	}
	server, err := new(net.Dialer).DialContext(ctx, "tcp", name)
	if err != nil {
		return // a server that is down: the client sees a closed connection
	}
	defer server.Close()
	var both sync.WaitGroup
	pass := func(to io.Writer, from io.Reader, cut int64) {
		f.pass(to, from, cut)
		if f.Reset {
			reset(client)
			reset(server)
		}
		_ = client.Close() // one side that ends ends both
		_ = server.Close()
	}
	both.Go(func() {
		if f.Hang {
			pass(io.Discard, client, -1)
			return
		}
		pass(server, client, f.CutUp)
	})
	both.Go(func() {
		if f.Mute || f.Hang {
			pass(io.Discard, server, -1)
			return
		}
		pass(client, server, f.CutDown)
	})
	both.Wait()
}

// reset makes the end of a connection a reset.
func reset(c net.Conn) {
	if c, ok := c.(*net.TCPConn); ok {
		_ = c.SetLinger(0) // it may be closed already
	}
}

// pass copies until the cut, or until one side ends.
func (f *Fault) pass(to io.Writer, from io.Reader, cut int64) {
	size := 32 << 10
	if f.Piece > 0 {
		size = f.Piece
	}
	buffer := make([]byte, size)
	for passed := int64(0); cut < 0 || passed < cut; {
		piece := buffer
		if cut >= 0 {
			piece = buffer[:min(int64(size), cut-passed)]
		}
		n, err := from.Read(piece)
		if f.Delay > 0 {
			time.Sleep(f.Delay)
		}
		if n > 0 {
			if _, err := to.Write(piece[:n]); err != nil {
				return
			}
			passed += int64(n)
		}
		if err != nil {
			return
		}
	}
}
