package totals

import "slices"

// A Visitor is told by a Feed. What it is given is only good until it returns; it
// must not call the Totals.
type Visitor interface {
	// Reset says that everything that was visited before is void, and gives the
	// settings of what follows.
	Reset(Settings)
	// Run brings a counter that is new or has moved. Counters are numbered from 0,
	// and new ones come in order.
	Run(number int, r Run)
	// Duration brings a histogram likewise, with numbers of their own.
	Duration(number int, d *Duration)
}

// A Feed tells one reader what has moved since it last asked.
type Feed struct {
	t         *Totals
	reset     bool // the reader has to forget what it knows
	runsTold  int  // counters below were told once, and come again if they move
	durations []uint32
	runs      []uint32 // of those: moved since
	timesTold int      // as runsTold, for histograms
}

// Feed returns the feed, which begins anew. There is one: a second reader would take
// what the first one needs.
func (t *Totals) Feed() *Feed {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.feed.t = t
	t.feed.reset = true
	return &t.feed
}

// feedStep is how many entries are told while jobs have to wait.
const feedStep = 1000

// Next tells the visitor what has moved, in steps between which jobs are let in, and
// ends when there is nothing more. All of one entry is of one moment; and every job
// that was applied before the call has been told.
func (f *Feed) Next(v Visitor) {
	for f.step(v) {
	}
}

func (f *Feed) step(v Visitor) (more bool) {
	t := f.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.reset {
		f.begin(v)
	}
	left := feedStep
	for ; f.runsTold < t.runs.len && left > 0; left-- {
		v.Run(f.runsTold, t.export(t.runs.at(uint32(f.runsTold))))
		f.runsTold++
	}
	for ; f.timesTold < len(t.durations) && left > 0; left-- {
		v.Duration(f.timesTold, &t.durations[f.timesTold].Duration)
		f.timesTold++
	}
	f.runs, left = drain(f.runs, left, func(number uint32) {
		r := t.runs.at(number)
		r.state &^= untold
		v.Run(int(number), t.export(r))
	})
	f.durations, left = drain(f.durations, left, func(number uint32) {
		d := t.durations[number]
		d.state &^= untold
		v.Duration(int(number), &d.Duration)
	})
	return left == 0
}

// drain takes numbers from the end of a list.
func drain(list []uint32, left int, tell func(uint32)) ([]uint32, int) {
	n := min(left, len(list))
	for _, number := range list[len(list)-n:] {
		tell(number)
	}
	return list[:len(list)-n], left - n
}

func (f *Feed) begin(v Visitor) {
	for _, number := range f.runs {
		if int(number) < f.t.runs.len {
			f.t.runs.at(number).state &^= untold
		}
	}
	for _, number := range f.durations {
		if int(number) < len(f.t.durations) {
			f.t.durations[number].state &^= untold
		}
	}
	f.runs, f.durations = f.runs[:0], f.durations[:0]
	f.runsTold, f.timesTold = 0, 0
	f.reset = false
	v.Reset(f.t.settings.clone())
}

// knowsRun says that the reader has been told of a counter; of others it will be.
func (f *Feed) knowsRun(number uint32) bool { return int(number) < f.runsTold && !f.reset }

func (f *Feed) knowsDuration(number uint32) bool { return int(number) < f.timesTold && !f.reset }

func (s *Settings) clone() Settings {
	c := *s
	c.Bounds, c.Labels = slices.Clone(s.Bounds), slices.Clone(s.Labels)
	return c
}
