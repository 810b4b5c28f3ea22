package transforms

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
)

// Custom is a step of another package, which changes a picture's pixels and leaves its size. It is a struct whose fields, each
// with its name in JSON, are its parameters.
type Custom interface {
	Name() string    // in a list's JSON
	Validate() error // of the parameters
	// Change works on m in place. In training r is to be its only chance, so that the same Key gives the same pixels; for
	// scoring it is nil, and what is random does nothing.
	Change(m *Image, r *rand.Rand)
}

var customs struct {
	sync.RWMutex
	steps []Step
}

// Register has Parse know a custom step by its name; step's values do not matter. It is meant for init, so that each program that
// loads a model whose list has the step knows it, and panics if there is a step of that name already. A model's hash tells
// parameters of steps apart and not what they do: a step that changes in what it does wants another name.
func Register(step Custom) {
	name, t := step.Name(), reflect.TypeOf(step)
	if t.Kind() != reflect.Struct {
		panic(fmt.Sprintf("transforms: the step %q is a %v: want a struct", name, t))
	}
	for _, s := range known() {
		if s.Name() == name {
			panic(fmt.Sprintf("transforms: there is a step %q already", name))
		}
	}
	customs.Lock()
	defer customs.Unlock()
	customs.steps = append(customs.steps, Of(step))
}

// known are all steps that there are.
func known() []Step {
	customs.RLock()
	defer customs.RUnlock()
	return append(steps[:len(steps):len(steps)], customs.steps...)
}

// Of makes a step for a List of a custom one.
func Of(step Custom) Step { return custom{step} }

type custom struct{ Custom }

func (custom) size(w, h int) (int, int) { return w, h }

func (s custom) apply(v *view, r *rand.Rand) error {
	m, err := v.writable()
	if err == nil {
		s.Change(m, r)
	}
	return err
}

func (s custom) MarshalJSON() ([]byte, error) { return json.Marshal(s.Custom) }
