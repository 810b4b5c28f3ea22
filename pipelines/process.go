package pipelines

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/infer"
	"github.com/logobeam/logobeam/pipelines/classifier"
)

// shared is what the chunks of one process and model have in common.
type shared struct {
	*classifier.Classifier
	hash   string
	arenas sync.Pool
}

var loaded sync.Map // by wanted: func() (*shared, error)

// wanted is a model's folder and the precision asked for.
type wanted struct {
	dir       string
	precision model.Precision
}

// share gives the process's classifier of a model's folder, the built-in one for "", in the precision asked for, the
// model's own for "". The folder is read the first time, and again after forget.
func share(dir string, precision model.Precision) (*shared, error) {
	load, _ := loaded.LoadOrStore(wanted{dir, precision}, sync.OnceValues(func() (*shared, error) {
		c, err := classifier.Load(context.Background(), dir, precision) // whoever asks first loads it for all
		if err != nil {
			return nil, err
		}
		return &shared{Classifier: c, hash: c.Model.Hash()}, nil
	}))
	return load.(func() (*shared, error))()
}

// forget lets the next share read the model's folder again. Whoever has the former classifier keeps it.
func forget(dir string, precision model.Precision) { loaded.Delete(wanted{dir, precision}) }

// arena lends a worker its buffers.
func (s *shared) arena(batch int) *infer.Arena {
	if a, ok := s.arenas.Get().(*infer.Arena); ok && a.Batch() >= batch {
		return a
	}
	return s.Plan.NewArena(batch)
}

// free takes them back.
func (s *shared) free(a *infer.Arena) { s.arenas.Put(a) }

var semaphores sync.Map // by what they count and its number: *semaphore.Weighted

// processWide is the process's one semaphore over n of something, whatever the number of chunks under way.
func processWide(what string, n int64) *semaphore.Weighted {
	s, _ := semaphores.LoadOrStore(fmt.Sprint(what, n), semaphore.NewWeighted(n))
	return s.(*semaphore.Weighted)
}
