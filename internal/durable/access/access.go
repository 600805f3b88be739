// Package access tells whether others than the owner may use a file, where modes do
// not say it: on Windows, by the file's access list.
//
// Others are whom nobody chose: everyone, all who logged on, all users of the
// machine or the domain, guests. A list that names single accounts or groups of
// somebody's own is that person's decision, as the group of a file is on Unix.
package access

import (
	"fmt"
	"strings"
)

// entry is one line of an access list that allows something.
type entry struct {
	account string // a SID, such as S-1-1-0
	rights  uint32
	inherit bool // it is only for what is made in the folder
}

// Rights of an access mask, by [MS-DTYP] 2.4.3 and "File Access Rights Constants".
const (
	readData     = 0x1
	writeData    = 0x2 // in a folder: add a file
	appendData   = 0x4 // in a folder: add a folder
	deleteChild  = 0x40
	deleteIt     = 0x10000
	changeList   = 0x40000
	takeIt       = 0x80000
	genericAll   = 0x10000000
	genericWrite = 0x40000000
	genericRead  = 0x80000000

	reads  = readData | genericRead | genericAll
	writes = writeData | appendData | deleteChild | deleteIt | changeList | takeIt | genericWrite | genericAll
)

// others tells what a list lets others do. Entries that deny do not count: a list
// that needs them is refused rather than misread.
func others(list []entry) (read, write bool) {
	for _, e := range list {
		if e.inherit || !isOthers(e.account) {
			continue
		}
		read = read || e.rights&reads != 0
		write = write || e.rights&writes != 0
	}
	return read, write
}

// isOthers knows the accounts that stand for many ([MS-DTYP] 2.4.2.4).
func isOthers(sid string) bool {
	switch sid {
	case "S-1-1-0", // Everyone
		"S-1-5-2", "S-1-5-4", "S-1-5-7", "S-1-5-11", "S-1-5-15", // by network, interactive, anonymous, authenticated, this organization
		"S-1-5-32-545", "S-1-5-32-546", "S-1-5-32-554": // Users, Guests, what came before Windows 2000
		return true
	}
	// Users, guests and computers of a domain.
	domain := strings.HasPrefix(sid, "S-1-5-21-")
	return domain && (strings.HasSuffix(sid, "-513") || strings.HasSuffix(sid, "-514") || strings.HasSuffix(sid, "-515"))
}

// Mend is the command that takes a file from others. It leaves it to the system and
// to administrators, whose names are other ones in other languages.
func Mend(name string) string {
	return fmt.Sprintf(`icacls "%s" /inheritance:r /grant:r *S-1-5-18:F *S-1-5-32-544:F (and /grant the account of the service)`, name)
}
