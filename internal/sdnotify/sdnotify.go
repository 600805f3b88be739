// Package sdnotify tells systemd how a service is: ready, reloading, stopping,
// alive, and in one line what it does (sd_notify(3), systemd.service(5)).
//
// Its promise: without systemd it does nothing, and an error never reaches the
// work of the service. A message is one datagram, sent or not. The service manager
// of Windows hears the same messages, by way of package service.
package sdnotify

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Messages of the protocol.
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
	Watchdog = "WATCHDOG=1"

	reloading = "RELOADING=1"
)

// maxStatus bounds the status line, in bytes.
const maxStatus = 400

// Notifier sends to the service manager. The zero value sends nothing.
// Safe for concurrent use.
type Notifier struct {
	address  string
	watchdog time.Duration
	tell     func(messages ...string)
}

type contextKey struct{}

// NewContext returns a context whose notifier calls tell, in place of one that
// sends to systemd. It is called by one goroutine at a time.
func NewContext(ctx context.Context, tell func(messages ...string)) context.Context {
	return context.WithValue(ctx, contextKey{}, tell)
}

// ForProcess returns the notifier of the context or, without one, of the
// environment that this process was started with.
func ForProcess(ctx context.Context) Notifier {
	if tell, ok := ctx.Value(contextKey{}).(func(messages ...string)); ok {
		return Notifier{tell: tell}
	}
	return FromEnvironment(os.Getenv, os.Getpid())
}

// FromEnvironment returns the notifier that the environment describes. The
// watchdog is for the process with the id pid alone: a child that inherits the
// environment must not speak for its parent.
func FromEnvironment(getenv func(string) string, pid int) Notifier {
	n := Notifier{address: getenv("NOTIFY_SOCKET")}
	if !strings.HasPrefix(n.address, "/") && !strings.HasPrefix(n.address, "@") {
		return Notifier{}
	}
	if owner := getenv("WATCHDOG_PID"); owner != "" && owner != strconv.Itoa(pid) {
		return n
	}
	if micros, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && micros > 0 && micros < int64(24*time.Hour/time.Microsecond) {
		n.watchdog = time.Duration(micros) * time.Microsecond
	}
	return n
}

// Enabled tells whether a service manager listens.
func (n Notifier) Enabled() bool { return n.address != "" || n.tell != nil }

// Interval is how often Watchdog has to be sent; 0: the manager does not ask.
// It is half of the time after which the manager acts.
func (n Notifier) Interval() time.Duration { return n.watchdog / 2 }

// Send sends messages as one datagram. The manager reads them in order.
func (n Notifier) Send(messages ...string) (err error) {
	if n.tell != nil {
		n.tell(messages...)
		return nil
	}
	if n.address == "" {
		return nil
	}
	// A name that begins with @ is one of the abstract namespace: package net
	// puts the zero byte there, as sd_notify does.
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.address, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("reach the service manager: %w", err)
	}
	defer func() {
		if closing := conn.Close(); err == nil && closing != nil {
			err = fmt.Errorf("notify the service manager: %w", closing)
		}
	}()
	if _, err := conn.Write([]byte(strings.Join(messages, "\n"))); err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	return nil
}

// Status is the message that shows a line in `systemctl status`. Control
// characters become spaces: a line that comes from elsewhere adds no message.
func Status(line string) string {
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, line)
	if len(line) > maxStatus {
		line = strings.ToValidUTF8(line[:maxStatus], "") + "…"
	}
	return "STATUS=" + line
}
