//go:build !windows

package access

// Others has nothing to say: modes do.
func Others(string) (read, write bool, err error) { return false, false, nil }
