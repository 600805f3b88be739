//go:build !linux

package sdnotify

// Reloading returns the message that the service loads its configuration again.
// Ready has to follow, whatever came of it.
func Reloading() string { return reloading }
