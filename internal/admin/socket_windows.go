package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

const (
	// pipeAccess lets the system, administrators and the account of the agent open
	// the pipe, and nobody else. (SDDL: a protected list; all rights for SYSTEM, for
	// Administrators, and for the owner, who is the account that made it.)
	pipeAccess = "D:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;GA;;;OW)"
	// pipeBuffer is how many bytes wait in the system for the other side.
	pipeBuffer = 64 << 10
	// busyWait is how long a client waits before it asks again for a free instance.
	busyWait = 10 * time.Millisecond
)

// listenSocket makes a named pipe: Windows has unix sockets since 2018 only, and
// package os sets no access list on them. It fails when somebody has a pipe of that
// name already.
func listenSocket(_ context.Context, path string) (net.Listener, error) {
	l, err := listenPipe(path)
	if err != nil {
		return nil, fmt.Errorf("listen on the admin pipe %s: %w", path, err)
	}
	return l, nil
}

func dialSocket(ctx context.Context, path string) (net.Conn, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	for {
		// The agent, or who pretends to be one, must not act as the one who asks.
		h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING,
			windows.FILE_FLAG_OVERLAPPED|windows.SECURITY_SQOS_PRESENT|windows.SECURITY_IDENTIFICATION, 0)
		if err == nil {
			return pipeConn{os.NewFile(uintptr(h), path)}, nil
		}
		if !errors.Is(err, windows.ERROR_PIPE_BUSY) {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(busyWait):
		}
	}
}

// pipeListener accepts one client after the other. There is always an instance of
// the pipe that waits for the next, so nobody is told that there is none.
type pipeListener struct {
	path   string
	access *windows.SecurityAttributes
	stop   windows.Handle // an event: Close was called; it stays for as long as the process
	next   windows.Handle // of Accept alone, which one goroutine calls
	once   sync.Once
}

func listenPipe(path string) (_ *pipeListener, err error) {
	descriptor, err := windows.SecurityDescriptorFromString(pipeAccess)
	if err != nil {
		return nil, fmt.Errorf("make its access list: %w", err)
	}
	l := &pipeListener{path: path, access: &windows.SecurityAttributes{SecurityDescriptor: descriptor}}
	l.access.Length = uint32(unsafe.Sizeof(*l.access))
	if l.stop, err = windows.CreateEvent(nil, 1, 0, nil); err != nil {
		return nil, fmt.Errorf("make an event: %w", err)
	}
	if l.next, err = l.instance(windows.FILE_FLAG_FIRST_PIPE_INSTANCE); err != nil {
		return nil, errors.Join(err, windows.CloseHandle(l.stop))
	}
	return l, nil
}

func (l *pipeListener) instance(flags uint32) (windows.Handle, error) {
	name, err := windows.UTF16PtrFromString(l.path)
	if err != nil {
		return 0, err
	}
	return windows.CreateNamedPipe(name, windows.PIPE_ACCESS_DUPLEX|windows.FILE_FLAG_OVERLAPPED|flags,
		windows.PIPE_TYPE_BYTE|windows.PIPE_REJECT_REMOTE_CLIENTS, windows.PIPE_UNLIMITED_INSTANCES, pipeBuffer, pipeBuffer, 0, l.access)
}

// Accept implements net.Listener.
func (l *pipeListener) Accept() (net.Conn, error) {
	for {
		err := l.connect(l.next)
		if errors.Is(err, windows.ERROR_NO_DATA) { // the client is gone already
			if err = windows.DisconnectNamedPipe(l.next); err == nil {
				continue
			}
		}
		if err != nil {
			return nil, errors.Join(err, windows.CloseHandle(l.next))
		}
		conn := pipeConn{os.NewFile(uintptr(l.next), l.path)}
		if l.next, err = l.instance(0); err != nil {
			return nil, errors.Join(fmt.Errorf("make the next instance of the pipe: %w", err), conn.Close())
		}
		return conn, nil
	}
}

// connect waits for a client, or for Close.
func (l *pipeListener) connect(h windows.Handle) (err error) {
	event, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		return fmt.Errorf("make an event: %w", err)
	}
	defer func() { err = errors.Join(err, windows.CloseHandle(event)) }()
	waiting := &windows.Overlapped{HEvent: event}
	switch err := windows.ConnectNamedPipe(h, waiting); {
	case errors.Is(err, windows.ERROR_PIPE_CONNECTED):
		return nil
	case !errors.Is(err, windows.ERROR_IO_PENDING):
		return err
	}
	which, err := windows.WaitForMultipleObjects([]windows.Handle{event, l.stop}, false, windows.INFINITE)
	if err != nil {
		return fmt.Errorf("wait for a client: %w", err)
	}
	var bytes uint32
	if which == windows.WAIT_OBJECT_0 {
		return windows.GetOverlappedResult(h, waiting, &bytes, false)
	}
	// The system writes to waiting until it says that it does not any more.
	if err := windows.CancelIoEx(h, waiting); err == nil || !errors.Is(err, windows.ERROR_NOT_FOUND) {
		_ = windows.GetOverlappedResult(h, waiting, &bytes, true) // it was cancelled
	}
	return net.ErrClosed
}

// Close implements net.Listener.
func (l *pipeListener) Close() (err error) {
	l.once.Do(func() { err = windows.SetEvent(l.stop) })
	return err
}

// Addr implements net.Listener.
func (l *pipeListener) Addr() net.Addr { return pipeAddr(l.path) }

// pipeConn is one side of a connected pipe.
type pipeConn struct{ *os.File }

func (c pipeConn) LocalAddr() net.Addr  { return pipeAddr(c.Name()) }
func (c pipeConn) RemoteAddr() net.Addr { return pipeAddr(c.Name()) }

type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }
