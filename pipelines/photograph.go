package pipelines

import (
	"errors"
	"fmt"
	"time"

	"github.com/logobeam/logobeam/model/infer"
	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/pipelines/monitor"
	"github.com/logobeam/logobeam/transforms"
)

// Reasons of our own, beside those of fetch and transforms.
const (
	ReasonMalformed = "malformed-row" // the listing breaks its format's rules here
	ReasonPanic     = "panic"         // a fault of this program: please report the photograph
	ReasonNoNumber  = "not-a-number"  // the network answered with no numbers: the model is broken
)

// outcome is what became of a row: an answer, or why there is none.
type outcome struct {
	brand       int32
	frames      int32
	probability float32
	skipped     bool // an earlier night has scored it
	abandoned   bool // whoever was to find out has given up
	reject      *rejection
}

// rejection is what is said of a row that cannot be scored. Rows share it.
type rejection struct {
	stage          monitor.Stage
	reason, detail string
	retryable      bool
}

func rejected(stage monitor.Stage, reason, detail string, retryable bool) outcome {
	return outcome{reject: &rejection{stage, reason, detail, retryable}}
}

// photograph is a row's image on its way through a process.
type photograph struct {
	inquiry *inquiry
	row     int
	image   fetch.Image
	frames  int32
	byName  question
	byBytes question
	content bool // byBytes is for this photograph to answer
	task    monitor.Task
	began   time.Time // to be fetched; zero if it was refused at once
}

// fetched takes what the fetcher got, and waits for a worker that takes it.
func (p *photograph) fetched(image fetch.Image) {
	p.image = image
	if !p.began.IsZero() {
		p.inquiry.scorer.monitor.Spent(monitor.Fetch, time.Since(p.began), 1, int64(len(image.Data)))
	}
	if image.Err != nil {
		image.Release()
		var e *fetch.Error
		if errors.As(image.Err, &e) {
			p.settle(rejected(monitor.Fetch, string(e.Reason), e.Detail, e.Temporary()))
			return
		}
		p.fail(image.Err)
		return
	}
	select {
	case p.inquiry.scorer.fetched <- p:
	case <-p.inquiry.ctx.Done():
		p.abandon()
	}
}

// settle says what became of the photograph to all who asked for it.
func (p *photograph) settle(o outcome) {
	p.task.End()
	if p.content {
		p.inquiry.scorer.answers.tell(p.byBytes, o)
	}
	p.inquiry.scorer.answers.tell(p.byName, o)
	p.inquiry.settle(p.row, o)
}

// abandon gives a photograph up, as the run has ended or fails.
func (p *photograph) abandon() {
	p.image.Release()
	p.settle(outcome{abandoned: true})
}

// fail ends the photograph's inquiry with an error that every other row would meet as well.
func (p *photograph) fail(err error) {
	p.inquiry.cancel(err)
	p.settle(outcome{abandoned: true})
}

// post is the photograph's post.
func (p *photograph) post() string { return p.inquiry.rows.At(p.row).PostID }

// work takes photographs from the fetcher until ended is closed.
func (s *scorer) work(ended <-chan struct{}) {
	room := <-s.rooms
	defer func() { s.rooms <- room }()
	batch := make([]*photograph, 0, s.Batch)
	run := func() {
		if len(batch) > 0 {
			s.infer(room, batch)
			clear(batch) // an old photograph would keep its chunk in memory
			batch = batch[:0]
		}
	}
	for {
		var p *photograph
		select {
		case p = <-s.fetched:
		default:
			run()
			select {
			case p = <-s.fetched:
			case <-ended:
				return
			}
		}
		room.Input(len(batch) * len(s.Views)) // works on the photograph before, which is no part of decoding this one
		if s.decode(p, room, len(batch)) {
			batch = append(batch, p)
		}
		if len(batch) == s.Batch {
			run()
		}
	}
}

// decode takes a photograph as far as the network's input, at a place of the workspace. If it does not come so far, it is settled.
func (s *scorer) decode(p *photograph, room infer.Workspace, at int) (ok bool) {
	data := p.image.Data
	p.task.Enter(monitor.Decode)
	began := time.Now()
	defer func() { // a fault in one photograph's way must not take the others with it
		if fault := recover(); fault != nil {
			ok = false
			p.settle(rejected(monitor.Decode, ReasonPanic, fmt.Sprint(fault), false))
		}
		p.image.Release()
		p.image = fetch.Image{}
		s.monitor.Spent(monitor.Decode, time.Since(began), 1, int64(len(data)))
	}()
	if p.inquiry.ctx.Err() != nil {
		p.settle(outcome{abandoned: true})
		return false
	}
	p.byBytes = askBytes(data)
	o, known, ours := s.answers.ask(p.byBytes, waiter{photo: p})
	if !ours { // then p is another's already, if its answer is not known
		s.monitor.Count(0, 0, 0, 1)
		if known {
			p.settle(o)
		}
		return false
	}
	p.content = true
	header, err := transforms.Inspect(data, s.Images.Limits)
	if err == nil {
		// A picture that takes more than there is for all of them is decoded alone.
		weight := min(max(header.Memory, 1), s.most)
		if err := s.decoding.Acquire(p.inquiry.ctx, weight); err != nil {
			p.settle(outcome{abandoned: true})
			return false
		}
		defer s.decoding.Release(weight)
		err = s.Look(room, at, data, transforms.Key{Epoch: -1, Image: p.inquiry.rows.At(p.row).Image}, s.Images.Limits)
	}
	var e *transforms.Error
	switch {
	case err == nil:
		p.frames = int32(header.Frames)
		p.task.Enter(monitor.Infer)
		return true
	case errors.As(err, &e):
		p.settle(rejected(monitor.Decode, string(e.Reason), e.Explain(), e.Temporary()))
	default:
		p.fail(fmt.Errorf("post %s: %w", p.post(), err))
	}
	return false
}

// infer runs the network on a batch, and settles its photographs.
func (s *scorer) infer(room infer.Workspace, batch []*photograph) {
	began := time.Now()
	settled := 0
	defer func() { // a goroutine that panics would take the process with it
		if fault := recover(); fault != nil {
			err := fmt.Errorf("the network fails on posts %s to %s: %v", batch[0].post(), batch[len(batch)-1].post(), fault)
			for _, p := range batch[settled:] {
				p.fail(err)
			}
		}
		s.monitor.Spent(monitor.Infer, time.Since(began), int64(len(batch)), 0)
	}()
	probs, err := room.Run(len(batch) * len(s.Views))
	if err != nil {
		for _, p := range batch {
			p.fail(err)
		}
		return
	}
	classes := len(s.Classes())
	infer.Softmax(probs, classes)
	probs = s.Pool(probs)
	for k, p := range batch {
		row := probs[k*classes : (k+1)*classes]
		best, x := s.Answer(row)
		settled = k + 1
		if x >= 0 && x <= 1 {
			p.settle(outcome{brand: int32(best), probability: x, frames: p.frames})
		} else {
			p.settle(rejected(monitor.Infer, ReasonNoNumber, "the network's answer is no probability", false))
		}
	}
}
