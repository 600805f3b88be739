package access

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Others tells whether others may read a file, and whether they may write, replace
// or remove it.
func Others(name string) (read, write bool, err error) {
	descriptor, err := windows.GetNamedSecurityInfo(name, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return false, false, &os.PathError{Op: "read the access list of", Path: name, Err: err}
	}
	list, _, err := descriptor.DACL()
	if errors.Is(err, windows.ERROR_OBJECT_NOT_FOUND) || err == nil && list == nil {
		return true, true, nil // without a list everything is allowed, as on FAT
	}
	if err != nil {
		return false, false, &os.PathError{Op: "read the access list of", Path: name, Err: err}
	}
	var entries []entry
	for i := range uint32(list.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(list, i, &ace); err != nil {
			return false, false, &os.PathError{Op: "read the access list of", Path: name, Err: err}
		}
		if ace.Header.AceType != windows.ACCESS_ALLOWED_ACE_TYPE {
			continue
		}
		entries = append(entries, entry{
			account: (*windows.SID)(unsafe.Pointer(&ace.SidStart)).String(),
			rights:  uint32(ace.Mask),
			inherit: ace.Header.AceFlags&windows.INHERIT_ONLY_ACE != 0,
		})
	}
	read, write = others(entries)
	return read, write, nil
}

// Mkdir makes a folder that the system, administrators and the account of this
// process may use, and nobody else. What is made in it inherits that.
func Mkdir(name string) error {
	path, attributes, err := private(name)
	if err == nil {
		err = windows.CreateDirectory(path, attributes)
	}
	if err != nil {
		return &os.PathError{Op: "mkdir", Path: name, Err: err}
	}
	return nil
}

// Create makes an empty file that the system, administrators and the account of
// this process may use, and nobody else. It fails with fs.ErrExist when it exists.
func Create(name string) error {
	path, attributes, err := private(name)
	if err != nil {
		return &os.PathError{Op: "create", Path: name, Err: err}
	}
	h, err := windows.CreateFile(path, windows.GENERIC_WRITE, 0, attributes, windows.CREATE_NEW, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err == nil {
		err = windows.CloseHandle(h)
	}
	if err != nil {
		return &os.PathError{Op: "create", Path: name, Err: err}
	}
	return nil
}

func private(name string) (*uint16, *windows.SecurityAttributes, error) {
	path, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, nil, err
	}
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, nil, fmt.Errorf("find the account of this process: %w", err)
	}
	// SDDL: a protected list, that files and folders below inherit.
	descriptor, err := windows.SecurityDescriptorFromString(
		"D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;" + user.User.Sid.String() + ")")
	if err != nil {
		return nil, nil, fmt.Errorf("make an access list: %w", err)
	}
	attributes := &windows.SecurityAttributes{SecurityDescriptor: descriptor}
	attributes.Length = uint32(unsafe.Sizeof(*attributes))
	return path, attributes, nil
}
