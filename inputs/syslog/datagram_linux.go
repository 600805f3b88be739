package syslog

import (
	"encoding/binary"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// control has space for the one message that we ask the kernel for.
const control = 64

// countDrops asks the kernel to tell with each datagram how many it had no
// space for, socket(7). A unix socket never drops: its senders wait.
func countDrops(socket packets) error {
	udp, ok := socket.(*net.UDPConn)
	if !ok {
		return nil
	}
	raw, err := udp.SyscallConn()
	if err != nil {
		return fmt.Errorf("ask for dropped datagrams: %w", err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
	}); err != nil {
		return fmt.Errorf("ask for dropped datagrams: %w", err)
	}
	if failed != nil {
		return fmt.Errorf("ask for dropped datagrams: %w", failed)
	}
	return nil
}

// receive reads one datagram.
func receive(socket packets, buffer []byte) (datagram, error) {
	var oob [control]byte
	var n, extra, flags int
	var err error
	switch socket := socket.(type) {
	case *net.UDPConn:
		n, extra, flags, _, err = socket.ReadMsgUDPAddrPort(buffer, oob[:])
	case *net.UnixConn:
		n, extra, flags, _, err = socket.ReadMsgUnix(buffer, oob[:])
	default:
		n, _, err = socket.ReadFrom(buffer)
	}
	if err != nil {
		return datagram{}, err
	}
	return datagram{data: buffer[:n], truncated: flags&unix.MSG_TRUNC != 0, dropped: dropped(oob[:extra])}, nil
}

// dropped finds the kernel's count, which is 0 until it drops and not sent then.
func dropped(oob []byte) uint32 {
	for len(oob) > 0 {
		header, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return 0
		}
		if header.Level == unix.SOL_SOCKET && header.Type == unix.SO_RXQ_OVFL && len(data) >= 4 {
			return binary.NativeEndian.Uint32(data)
		}
		oob = rest
	}
	return 0
}
