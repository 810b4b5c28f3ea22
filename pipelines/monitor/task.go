package monitor

import (
	"cmp"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	slots = 4096 // photographs that can be told apart; those under way are some hundred
	tries = 64   // slots looked at before a photograph goes unseen
)

// slot is the place of a photograph under way.
type slot struct {
	ticket atomic.Uint64 // of the task that has it, 0 if none; changed only with the mutex held
	mutex  sync.Mutex    // over the rest

	post, image    string
	stage          Stage
	began, entered time.Duration // as elapsed has it
}

// Task is a photograph under way. The zero Task, and one that has ended, do nothing.
type Task struct {
	monitor *Monitor
	slot    *slot
	ticket  uint64
}

// Begin says that a photograph is under way, in a stage, until the Task's End. post and image are as in the listing: they
// are shown without passwords and queries. Were there thousands under way at one time, some of them would go unseen.
func (m *Monitor) Begin(stage Stage, post, image string) Task {
	if m == nil {
		return Task{}
	}
	ticket := m.tickets.Add(1)
	for i := range uint64(tries) {
		s := &m.slots[(ticket+i)%slots]
		if s.ticket.Load() != 0 || !s.mutex.TryLock() {
			continue
		}
		if s.ticket.Load() != 0 {
			s.mutex.Unlock()
			continue
		}
		now := m.elapsed()
		s.post, s.image, s.stage, s.began, s.entered = post, image, stage, now, now
		s.ticket.Store(ticket)
		s.mutex.Unlock()
		return Task{m, s, ticket}
	}
	return Task{}
}

// Enter says that the photograph has come to another stage.
func (t Task) Enter(stage Stage) {
	if !t.lock() {
		return
	}
	defer t.slot.mutex.Unlock()
	t.slot.stage, t.slot.entered = stage, t.monitor.elapsed()
}

// End says that the photograph is under way no more, whatever became of it.
func (t Task) End() {
	if !t.lock() {
		return
	}
	defer t.slot.mutex.Unlock()
	t.slot.post, t.slot.image = "", "" // they may be long
	t.slot.ticket.Store(0)
}

// lock takes the task's slot if it is its own still.
func (t Task) lock() bool {
	if t.slot == nil {
		return false
	}
	t.slot.mutex.Lock()
	if t.slot.ticket.Load() != t.ticket {
		t.slot.mutex.Unlock()
		return false
	}
	return true
}

// UnderWay is a photograph that is not finished yet.
type UnderWay struct {
	Post  string    `json:"post"`
	Image string    `json:"image"` // a URL without password, query and fragment
	Stage Stage     `json:"stage"`
	Host  string    `json:"host,omitempty"` // of a URL
	Since time.Time `json:"since"`
	Age   Seconds   `json:"age_seconds"`
	Stays Seconds   `json:"stage_seconds"` // in the stage

	ticket uint64 // tells it from any other
}

// oldest finds the photograph that is under way for longest, nil if there is none, and how many there are.
func (m *Monitor) oldest(now time.Duration, f *Fetching) (*UnderWay, int) {
	var o UnderWay
	var began, entered time.Duration
	n := 0
	for i := range m.slots {
		s := &m.slots[i]
		if s.ticket.Load() == 0 {
			continue
		}
		s.mutex.Lock()
		if ticket := s.ticket.Load(); ticket != 0 {
			n++
			if n == 1 || cmp.Or(cmp.Compare(s.began, began), cmp.Compare(ticket, o.ticket)) < 0 {
				o = UnderWay{Post: s.post, Image: s.image, Stage: s.stage, ticket: ticket}
				began, entered = s.began, s.entered
			}
		}
		s.mutex.Unlock()
	}
	if n == 0 {
		return nil, 0
	}
	o.Post, _ = redact(o.Post) // in a listing of images alone it is the image
	o.Image, o.Host = redact(o.Image)
	o.Since, o.Age, o.Stays = m.began.Add(began), seconds(max(now-began, 0)), seconds(max(now-entered, 0))
	if f != nil && f.OldestHost != "" && f.OldestImage == o.Image {
		o.Host = clip(f.OldestHost)
	}
	return &o, n
}

// redact is an image's name as it may be shown, and a post's: of a URL, without password, query and fragment; and a URL's host.
func redact(image string) (shown, host string) {
	scheme, rest, ok := strings.Cut(image, ":")
	switch {
	case ok && strings.EqualFold(scheme, "data"):
		return "data:...", ""
	case !ok || !strings.HasPrefix(rest, "//"):
		if strings.Contains(image, ":/") && strings.ContainsAny(image, "?#@") { // nearly a URL, and perhaps with a password
			image = image[:strings.IndexAny(image, ":?#")+1] + "..."
		}
		return clip(image), ""
	}
	u, err := url.Parse(image)
	if err != nil { // perhaps a password is in it: only what leads to the host is safe to show
		return clip(scheme) + "://...", ""
	}
	u.User, u.Fragment, u.RawFragment, u.ForceQuery = nil, "", "", false
	if u.RawQuery != "" {
		u.RawQuery = "..."
	}
	return clip(u.String()), clip(u.Hostname())
}

// clip keeps what strangers write short, and UTF-8.
func clip(s string) string {
	const most = 300 // bytes
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
