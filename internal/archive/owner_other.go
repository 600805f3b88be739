//go:build !unix

package archive

import "io/fs"

// othersMayWrite can not be told from the mode of a file here; the folder's
// access list decides.
func othersMayWrite(fs.FileInfo) bool { return false }
