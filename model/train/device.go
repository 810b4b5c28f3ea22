package train

import (
	"context"
	"maps"
	"slices"

	"github.com/logobeam/logobeam/model"
)

// Device computes gradients with parameters of its own, and changes these. Devices that train in step have a part of each
// batch each; since all of them take the same step with the sum of their gradients, their parameters stay the same.
//
// One method is called at a time, from any goroutine, but for Load. What a device is made of is its Job.
type Device interface {
	// Load makes a part of a batch ready, of at least one image: an accelerator begins to copy it. It is called while
	// Gradient works on the part of another slot. The part holds still until Gradient of its slot has returned. A slot may
	// be loaded again without that having been called.
	Load(slot int, p Part) error
	// Gradient works out the gradient of the summed loss of the part in the slot, for all parameters of Job.Learn, and keeps
	// it on the device. It changes no parameters, but a device that is alone and clips nothing may take the step at for
	// those whose gradient would be costly to keep.
	//
	// A loss or a gradient that is not finite is no error: the loss or SquaredNorm tells, and no parameter has been changed
	// but those whose step was taken before that could be known.
	Gradient(ctx context.Context, slot int, at SolverStep) (Outcome, error)
	// ReadGradient and WriteGradient copy the gradient to the host and from there: that of all parameters of Job.Learn, one
	// after another. They are not called if the device is alone. WriteGradient may come without a Gradient before it.
	ReadGradient(dst []float32) error
	WriteGradient(src []float32) error
	// SquaredNorm is the sum of the gradient's squares in float64, always added in the same order; NaN or infinite if a
	// value is. Those of which Gradient has taken the step need not be in it.
	SquaredNorm() (float64, error)
	// Update takes a step of the solver along the gradient.
	Update(at SolverStep) error
	// Read brings Job.Learn on the host up to date, and Write takes over what the host has changed there.
	Read() error
	Write() error
	// Close waits for what is under way and frees what the device holds.
	Close() error
}

// Opener opens a device.
type Opener struct {
	// Kind says what computes, as "cpu" or "gpu": a run is resumed with as many devices of the same kind.
	Kind string
	Open func(Job) (Device, error)
}

// MarshalText is the kind: what a model's card and a run's state say of a device.
func (o Opener) MarshalText() ([]byte, error) { return []byte(o.Kind), nil }

// UnmarshalText reads the kind alone: what opens the device is to be found by it.
func (o *Opener) UnmarshalText(text []byte) error {
	*o = Opener{Kind: string(text)}
	return nil
}

// CPU opens the processor as a device, which computes on Job.Config.Cores goroutines and works in the Job's memory.
var CPU = Opener{"cpu", func(j Job) (Device, error) { return newCPU(j) }}

// Job is what a device is opened for: a phase of a training.
type Job struct {
	Network model.Network // its input is that of training
	// Params are all parameters by name, frozen ones included. The values of those in Learn are the same memory.
	Params model.Params
	// Learn are the parameters that are trained, in the order of the layers, weights before biases. All others stay as
	// they are. The memory is this device's alone.
	Learn []Parameter
	// Config has Batch, Slices and Cores as they fall to this device: Batch is the most images of a Part.
	Config Config
	// Alone says that there is no other device.
	Alone bool
}

// Parameter is a parameter that is trained, with what the solver keeps of it, on the host.
type Parameter struct {
	Name    string
	Layer   int // of the network
	Values  []float32
	Moments [][]float32 // of SGD the momentum, if it is above 0; of AdamW the first and the second
	Average []float32   // moving average of Values; nil for none
	Decay   float64     // weight decay
	Rate    float64     // multiplies SolverStep.Rate
}

// Part is a device's part of a batch.
type Part struct {
	Images  []float32 // [n][H*W*C]
	Targets []float32 // [n][classes]: what each class has of the label, times the weight of the image, as in crossEntropy
	Labels  []int     // [n]: the classes that are right
}

// SolverStep is a step of the solver: see solver.update for its formulas.
type SolverStep struct {
	Number int     // from 1, of the phase
	Rate   float64 // learning rate
	Keep   float32 // share of the moving average that stays
	Scale  float32 // multiplies the gradient beforehand; 1 in a step that is not clipped
}

// Outcome is what a step tells.
type Outcome struct {
	Loss  float64 // sum over the images, each times its weight
	Right int     // images the network had right before the step
}

// jobs are what the devices of a configuration are opened for. The first has the memory of params and learn themselves.
func jobs(net model.Network, params model.Params, learn []Parameter, cfg Config) []Job {
	n := len(cfg.devices())
	list := make([]Job, n)
	for i := range list {
		c := cfg
		c.Batch, c.Slices = (cfg.Batch+n-1)/n, (cfg.Slices+n-1)/n
		c.Cores = max(1, cfg.cores()*(i+1)/n-cfg.cores()*i/n)
		list[i] = Job{Network: net, Params: params, Learn: learn, Config: c, Alone: n == 1}
		if i > 0 {
			list[i].Params, list[i].Learn = maps.Clone(params), slices.Clone(learn)
			for k := range list[i].Learn {
				p := &list[i].Learn[k]
				p.Values, p.Average, p.Moments = slices.Clone(p.Values), slices.Clone(p.Average), slices.Clone(p.Moments)
				for m := range p.Moments {
					p.Moments[m] = slices.Clone(p.Moments[m])
				}
				list[i].Params[p.Name] = p.Values
			}
		}
	}
	return list
}
