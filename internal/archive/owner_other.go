//go:build !unix

package archive

import (
	"io/fs"

	"github.com/auditail/auditail/internal/durable/access"
)

// withoutWaiting is not needed where pipes do not lie in folders.
const withoutWaiting = 0

// othersMayWrite tells whether others may write a file. One whose access list can
// not be read may be theirs.
func othersMayWrite(name string, _ fs.FileInfo) bool {
	_, write, err := access.Others(name)
	return write || err != nil
}
