// Package listen opens what inputs that are sent to listen on: loopback
// addresses, unix sockets, and with TLS other addresses too.
//
// The promise: nothing off the host can connect unless the configuration says
// in so many words that it may, and how it proves who it is.
package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Address is where an input listens.
type Address struct {
	Network string // "tcp", "udp", "unix" or "unixgram"
	Host    string // "host:port", or the absolute path of the socket
}

// String returns the address as Parse reads it.
func (a Address) String() string { return a.Network + ":" + a.Host }

// maxSocketPath is what a socket's name may have in Linux, unix(7); others allow less.
const maxSocketPath = 107

// Parse reads an address as users write it: a network and what lies in it, as
// in "unix:/run/auditail/in.sock". Only the given networks are accepted; the
// first of them is meant when none is written.
func Parse(text string, networks ...string) (Address, error) {
	network, host, found := strings.Cut(text, ":")
	if !found || !slices.Contains([]string{"tcp", "udp", "unix", "unixgram"}, network) {
		network, host = networks[0], text
	}
	a := Address{Network: network, Host: host}
	if !slices.Contains(networks, network) {
		return a, fmt.Errorf("listen = %q: the network must be one of %s", text, strings.Join(networks, ", "))
	}
	if a.socket() {
		switch {
		case !filepath.IsAbs(host):
			return a, fmt.Errorf("listen = %q: the path of a socket must be absolute", text)
		case len(host) > maxSocketPath:
			return a, fmt.Errorf("listen = %q: the path of a socket has at most %d bytes", text, maxSocketPath)
		}
		return a, nil
	}
	_, port, err := net.SplitHostPort(host)
	if err != nil {
		return a, fmt.Errorf("listen = %q: write host:port, such as 127.0.0.1:9428: %w", text, err)
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 && port != "0" {
		return a, fmt.Errorf("listen = %q: the port must be a number from 1 to 65535", text)
	}
	return a, nil
}

func (a Address) socket() bool { return a.Network == "unix" || a.Network == "unixgram" }

// Local tells whether nothing off the host can reach the address.
func (a Address) Local() bool {
	if a.socket() {
		return true
	}
	host, _, err := net.SplitHostPort(a.Host)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// socketMode lets the agent's user and group send.
const socketMode = 0o660

// Stream opens a listener for a network of connections.
func Stream(ctx context.Context, a Address) (net.Listener, error) {
	if err := a.clear(ctx); err != nil {
		return nil, err
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, a.Network, a.Host)
	if err != nil {
		return nil, openError(a, err)
	}
	if err := a.permit(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Packets opens a socket for a network of datagrams. A unix socket is removed
// by the caller after it is closed, with Remove.
func Packets(ctx context.Context, a Address) (net.PacketConn, error) {
	if err := a.clear(ctx); err != nil {
		return nil, err
	}
	var config net.ListenConfig
	c, err := config.ListenPacket(ctx, a.Network, a.Host)
	if err != nil {
		return nil, openError(a, err)
	}
	if err := a.permit(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Remove removes the socket of an address that has one: nobody new can send.
func (a Address) Remove() error {
	if !a.socket() {
		return nil
	}
	if err := os.Remove(a.Host); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove socket: %w", err)
	}
	return nil
}

// clear removes a socket that a crash left behind: one that nobody listens on.
// Anything else under that name stays.
func (a Address) clear(ctx context.Context) error {
	if !a.socket() {
		return nil
	}
	info, err := os.Lstat(a.Host)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look for an old socket: %w", err)
	case info.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("listen on %s: there is something else than a socket under that name", a)
	}
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, a.Network, a.Host)
	if err == nil {
		return errors.Join(fmt.Errorf("listen on %s: another program listens there", a), c.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("listen on %s: ask who listens there: %w", a, err)
	}
	return a.Remove()
}

func (a Address) permit() error {
	if !a.socket() {
		return nil
	}
	if err := os.Chmod(a.Host, socketMode); err != nil {
		return fmt.Errorf("permit the group to send to the socket: %w", err)
	}
	return nil
}

// openError says what is in the way in words that lead to the mending.
func openError(a Address, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen on %s: another program listens there: %w", a, err)
	case errors.Is(err, fs.ErrPermission) && !a.socket():
		return fmt.Errorf("listen on %s: ports below 1024 need CAP_NET_BIND_SERVICE, or choose another: %w", a, err)
	default:
		return fmt.Errorf("listen on %s: %w", a, err)
	}
}
