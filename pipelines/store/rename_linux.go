package store

import "golang.org/x/sys/unix"

// renameNew renames a file if no file has its new name.
func renameNew(pending, final string) error {
	return unix.Renameat2(unix.AT_FDCWD, pending, unix.AT_FDCWD, final, unix.RENAME_NOREPLACE)
}
