package fetch

import (
	"context"
	"errors"
	"io/fs"

	"github.com/logobeam/logobeam/pipelines/store"
)

// object reads an object of a bucket. The store's client tries again by itself as long as there is time.
func (s *scheduler) object(w *watch, h *hold, t target) ([]byte, error) {
	data, err := s.readObject(w, h, t.path)
	var e *Error
	switch {
	case err == nil || errors.As(err, &e):
		return data, err
	case errors.Is(err, fs.ErrNotExist):
		return nil, reject(NotFound, "the bucket has no such object")
	case errors.Is(err, fs.ErrPermission):
		return nil, reject(Permission, "the object may not be read with the credentials of this program")
	case w.ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded):
		return nil, ofHost(Timeout, "no whole object from %s within %v", t.host(), s.cfg.Timeout)
	}
	return nil, reject(Unreadable, "%v", err)
}

func (s *scheduler) readObject(w *watch, h *hold, location string) ([]byte, error) {
	file, err := store.OpenFile(w.ctx, location)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	size := file.Info().Size
	if err := checkSize(size, s.cfg.MaxBytes); err != nil {
		return nil, err
	}
	body, err := file.Range(w.ctx, 0, size)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	w.idleAfter(s.cfg.IdleTimeout)
	return w.read(h, body, size, s.cfg.MaxBytes)
}
