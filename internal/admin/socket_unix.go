//go:build !windows

package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
)

const (
	socketMode  = 0o600
	maxSockPath = 104 // sun_path of the systems that have the shortest one, with its NUL
)

func listenSocket(ctx context.Context, path string) (net.Listener, error) {
	if len(path) >= maxSockPath {
		return nil, fmt.Errorf("the path of the admin socket, %s, is longer than the %d bytes that systems allow: set admin.socket to a shorter one", path, maxSockPath-1)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove the admin socket of an earlier run: %w", err)
	}
	// It is made under another name first, so that nobody can connect before its
	// mode is set.
	temporary := path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove the admin socket of an earlier run: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", temporary)
	if err != nil {
		return nil, fmt.Errorf("listen on the admin socket %s: %w", path, err)
	}
	unix, ok := l.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("listen on the admin socket %s: not a unix socket", path), l.Close())
	}
	unix.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(temporary, socketMode), os.Rename(temporary, path)); err != nil {
		return nil, errors.Join(fmt.Errorf("make the admin socket %s: %w", path, err), l.Close())
	}
	return &socket{UnixListener: unix, path: path}, nil
}

// socket is a listener that takes its file away.
type socket struct {
	*net.UnixListener
	path string
}

func (s *socket) Close() error {
	return errors.Join(s.UnixListener.Close(), os.Remove(s.path))
}

func dialSocket(ctx context.Context, path string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "unix", path)
}
