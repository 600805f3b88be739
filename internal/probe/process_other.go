//go:build !linux

package probe

// Listener returns the process that answers at the target's port. This system
// does not tell.
func (t Target) Listener() Process { return Process{} }
