package syslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/auditail/auditail/inputs/internal/pushed"
)

// Causes of gaps of this input.
const (
	causeOverflow  = "socket_overflow"    // the kernel dropped datagrams, which came faster than they were read
	causeTruncated = "datagram_truncated" // a datagram was longer than any is expected to be; its head was kept
)

const (
	// maxDatagram is more than UDP carries, and than Linux lets a unix socket
	// carry by default.
	maxDatagram = 256 << 10
	// datagramCost is what a waiting datagram takes beside its bytes.
	datagramCost = 160
	// socketBuffer is what the kernel is asked for. It may give less.
	socketBuffer = 4 << 20
)

// datagram is what one read brought.
type datagram struct {
	data      []byte
	truncated bool
	dropped   uint32 // how many the kernel has dropped since the socket was opened
}

// packets is a socket of datagrams.
type packets interface {
	net.PacketConn
	SetReadBuffer(bytes int) error
}

// datagrams receives until ctx ends and the socket is read out. One goroutine
// reads the socket, which nobody can be asked to wait for, and one waits for
// the buffer.
func (r *run) datagrams(ctx context.Context, conn net.PacketConn) error {
	defer conn.Close()
	socket, ok := conn.(packets)
	if !ok {
		return fmt.Errorf("receive on %s: the socket is of an unknown kind", r.address)
	}
	if err := socket.SetReadBuffer(socketBuffer); err != nil {
		r.log.WarnContext(ctx, "the socket's buffer can not be made larger", "error", err)
	}
	if err := countDrops(socket); err != nil {
		r.log.WarnContext(ctx, "datagrams that the kernel drops are not counted", "error", err)
	}
	q := newQueue(r.limits.waiting)
	var handing sync.WaitGroup
	handing.Go(func() { r.hand(q) })
	err := r.read(ctx, socket, q)
	q.close()
	handing.Wait()
	return errors.Join(err, r.address.Remove())
}

// read puts datagrams into the queue until ctx ends and none is left.
func (r *run) read(ctx context.Context, socket packets, q *queue) error {
	stop := context.AfterFunc(ctx, func() { _ = socket.SetReadDeadline(time.Now().Add(r.limits.drain)) }) // shows in the read
	defer stop()
	buffer := make([]byte, maxDatagram)
	last, draining := uint32(0), false
	for {
		if !draining && ctx.Err() != nil { // put may have waited beyond the deadline
			draining = true
			if err := socket.SetReadDeadline(time.Now().Add(r.limits.drain)); err != nil {
				return fmt.Errorf("receive on %s: %w", r.address, err)
			}
		}
		d, err := receive(socket, buffer)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("receive on %s: %w", r.address, err)
		}
		if d.dropped != 0 && d.dropped != last {
			r.log.WarnContext(ctx, "the kernel dropped datagrams that came faster than the buffer took them", "datagrams", d.dropped-last)
			last = d.dropped
			if !q.put(r.late, &pushed.Hole{Path: r.path, Cause: causeOverflow}, nil) {
				return nil
			}
		}
		line := pushed.Line{Path: r.path, Data: bytes.Clone(r.text(frame{data: d.data})), Seen: r.now()}
		if !q.put(r.late, nil, &line) {
			return nil
		}
		if d.truncated && !q.put(r.late, &pushed.Hole{Path: r.path, Cause: causeTruncated}, nil) {
			return nil
		}
	}
}

// hand makes durable what is in the queue until it is closed and empty.
func (r *run) hand(q *queue) {
	for {
		deliveries, open := q.take()
		for _, d := range deliveries {
			if err := r.feed.Append(r.late, d); err != nil {
				q.close() // the feed's Run returns what is wrong
				return
			}
		}
		if !open {
			return
		}
	}
}

// queue holds datagrams between the socket and the buffer.
type queue struct {
	most  int64
	wake  chan struct{} // holds a token when there is something, or the end
	space chan struct{} // holds a token when something was taken, or at the end

	mu     sync.Mutex
	list   []pushed.Delivery
	size   int64
	closed bool
}

func newQueue(most int64) *queue {
	return &queue{most: most, wake: make(chan struct{}, 1), space: make(chan struct{}, 1)}
}

// put adds a gap or a line. It waits for space, and returns false when there
// will be none.
func (q *queue) put(ctx context.Context, hole *pushed.Hole, line *pushed.Line) bool {
	cost := int64(datagramCost)
	if line != nil {
		cost += int64(len(line.Data))
	}
	for {
		added, open := q.add(hole, line, cost)
		switch {
		case !open:
			return false
		case added:
			signal(q.wake)
			return true
		}
		select {
		case <-q.space:
		case <-ctx.Done():
			return false
		}
	}
}

func (q *queue) add(hole *pushed.Hole, line *pushed.Line, cost int64) (added, open bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false, false
	}
	if q.size > 0 && q.size+cost > q.most {
		return false, true
	}
	q.size += cost
	if hole != nil || len(q.list) == 0 || len(q.list[len(q.list)-1].Lines) >= maxBatch {
		q.list = append(q.list, pushed.Delivery{Hole: hole})
	}
	if line != nil {
		last := &q.list[len(q.list)-1]
		last.Lines = append(last.Lines, *line)
	}
	return true, true
}

// take waits until there is something, and returns all of it; open is false
// when nothing will come any more.
func (q *queue) take() (list []pushed.Delivery, open bool) {
	<-q.wake
	q.mu.Lock()
	defer q.mu.Unlock()
	list, q.list, q.size = q.list, nil, 0
	signal(q.space)
	if q.closed {
		signal(q.wake)
	}
	return list, !q.closed
}

// close lets put fail and take end.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	signal(q.wake)
	signal(q.space)
}

func signal(to chan struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}
