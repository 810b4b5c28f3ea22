package fetch

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// local reads a file. It looks before it opens and opens without waiting, as a pipe would wait for a writer for ever.
func (s *scheduler) local(w *watch, h *hold, path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, localError(err)
	}
	if !info.Mode().IsRegular() {
		return nil, reject(NotAFile, "it is a %s", describe(info.Mode()))
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, localError(err)
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return nil, localError(err)
	}
	if !info.Mode().IsRegular() {
		return nil, reject(NotAFile, "it is a %s", describe(info.Mode()))
	}
	if err := checkSize(info.Size(), s.cfg.MaxBytes); err != nil {
		return nil, err
	}
	data, err := w.read(h, file, info.Size(), s.cfg.MaxBytes)
	var e *Error
	switch {
	case err == nil || errors.As(err, &e):
		return data, err
	case w.ctx.Err() != nil:
		return nil, reject(Timeout, "it was not read whole within %v", s.cfg.Timeout)
	}
	return nil, localError(err)
}

func describe(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "folder"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

func localError(err error) *Error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return reject(NotFound, "no such file")
	case errors.Is(err, fs.ErrPermission):
		return reject(Permission, "%v", err)
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ELOOP):
		return reject(NotFound, "%v", err)
	}
	return reject(Unreadable, "%v", err)
}
