//go:build !unix

package archive

import "io/fs"

// withoutWaiting is not needed where pipes do not lie in folders.
const withoutWaiting = 0

// othersMayWrite can not be told from the mode of a file here; the folder's
// access list decides.
func othersMayWrite(fs.FileInfo) bool { return false }
