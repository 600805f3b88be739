//go:build !linux

package syslog

// countDrops does nothing: only Linux counts the datagrams it drops.
func countDrops(packets) error { return nil }

// receive reads one datagram.
func receive(socket packets, buffer []byte) (datagram, error) {
	n, _, err := socket.ReadFrom(buffer)
	return datagram{data: buffer[:n]}, err
}
