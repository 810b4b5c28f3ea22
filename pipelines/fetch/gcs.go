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
	return data, s.explainStore(w, t, err, "the bucket has no such object", "the object may not be read with the credentials of this program")
}

// explainStore makes an *Error of what a store answers.
func (s *scheduler) explainStore(w *watch, t target, err error, missing, forbidden string) error {
	var e *Error
	switch {
	case err == nil || errors.As(err, &e):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return reject(NotFound, "%s", missing)
	case errors.Is(err, fs.ErrPermission):
		return reject(Permission, "%s", forbidden)
	case w.ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded):
		return ofHost(Timeout, "no whole object from %s within %v", t.host(), s.cfg.Timeout)
	}
	return reject(Unreadable, "%v", err)
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
