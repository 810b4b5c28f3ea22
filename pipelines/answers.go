package pipelines

import (
	"sync"

	"github.com/zeebo/xxh3"
)

// question is what an answer is remembered by: an image's name, or its bytes.
type question = xxh3.Uint128

func askName(root, image string) question {
	return xxh3.HashString128Seed(image, xxh3.HashString(root))
}
func askBytes(data []byte) question { return xxh3.Hash128Seed(data, 1) }

// waiter is a row whose outcome somebody else is about to find: by its image's name if it has no photograph yet.
type waiter struct {
	inquiry *inquiry
	row     int
	photo   *photograph
}

func (w waiter) settle(o outcome) {
	if w.photo != nil {
		w.photo.settle(o)
	} else {
		w.inquiry.settle(w.row, o)
	}
}

// answers remembers what became of images, so that an image that is named twice, or whose bytes come twice, is worked on
// once. What was asked for least lately is forgotten: the last questions of a certain number are always there, and at most twice
// as many. A nil *answers remembers nothing.
type answers struct {
	mutex    sync.Mutex
	young    map[question]outcome
	old      map[question]outcome // what was young before
	underWay map[question][]waiter
}

// remembered is that number: with some 60 bytes each, 30 MB at most.
const remembered = 1 << 18

func newAnswers() *answers {
	return &answers{young: map[question]outcome{}, underWay: map[question][]waiter{}}
}

// ask looks an answer up. If it is not known, mine says that the question is now the caller's, who has to answer it by
// tell. If it is neither, somebody is at work on it, and w will be settled with what they find.
func (a *answers) ask(q question, w waiter) (o outcome, known, mine bool) {
	if a == nil {
		return outcome{}, false, true
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if o, known = a.young[q]; known {
		return o, true, false
	}
	if o, known = a.old[q]; known {
		a.keep(q, o)
		return o, true, false
	}
	waiting, busy := a.underWay[q]
	if busy {
		a.underWay[q] = append(waiting, w)
		return outcome{}, false, false
	}
	a.underWay[q] = nil
	return outcome{}, false, true
}

// tell answers a question that is the caller's.
func (a *answers) tell(q question, o outcome) {
	if a == nil {
		return
	}
	a.mutex.Lock()
	waiting := a.underWay[q]
	delete(a.underWay, q)
	if !o.abandoned {
		a.keep(q, o)
	}
	a.mutex.Unlock()
	for _, w := range waiting {
		w.settle(o)
	}
}

func (a *answers) keep(q question, o outcome) {
	if len(a.young) >= remembered {
		a.old, a.young = a.young, make(map[question]outcome, remembered)
	}
	a.young[q] = o
}
