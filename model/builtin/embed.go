// Package builtin holds the model that is used when none is named: an EfficientNet-Lite0 that knows 27 brands and photographs without any.
//
//	m, err := builtin.Load()
//	fmt.Println(m.Card.Classes)
//
// Its card, model.json, says what it was made from and how well it does. It is a model like any other that `logobeam train`
// writes; another one put in its place is built in the same way.
package builtin

import (
	"embed"
	"fmt"
	"sync"

	"github.com/logobeam/logobeam/model"
)

//go:embed model.json model.safetensors
var files embed.FS

var load = sync.OnceValues(func() (*model.Model, error) {
	m, err := model.LoadFS(files)
	if err != nil {
		return nil, fmt.Errorf("built-in model: %w", err)
	}
	return m, nil
})

// Load gives the built-in model. It is read once and shared by all callers, who must not change it.
func Load() (*model.Model, error) { return load() }
