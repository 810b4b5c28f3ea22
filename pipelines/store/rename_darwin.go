package store

import "golang.org/x/sys/unix"

// renameNew renames a file if no file has its new name.
func renameNew(pending, final string) error {
	return unix.RenamexNp(pending, final, unix.RENAME_EXCL)
}
