package rollup

import (
	"cmp"
	"slices"
)

// A cache keeps the views of whole days. Who uses it holds the lock of Rollups.
type cache struct {
	limit, size int // bytes
	days        map[Day]*dayViews
	clock       uint64 // counts uses
	// moves count, for each day, how often blocks of it were stored: what was read from the
	// store meanwhile can't be told to be of before or after.
	moves map[Day]uint64
}

// dayViews are all stored blocks of a day.
type dayViews struct {
	views []*View // by template; replaced, never changed in place
	size  int
	used  uint64
}

func newCache(limit int) cache {
	return cache{limit: limit, days: map[Day]*dayViews{}, moves: map[Day]uint64{}}
}

// get returns the views of a day; nil if they are not here.
func (c *cache) get(d Day) []*View {
	day := c.days[d]
	if day == nil {
		return nil
	}
	c.clock++
	day.used = c.clock
	return day.views
}

// put keeps the views of a day if there is room, or was for days that were not used
// since a question began.
func (c *cache) put(d Day, views []*View, since uint64) {
	if c.days[d] != nil {
		return
	}
	day := &dayViews{views: views, used: c.clock}
	for _, v := range views {
		day.size += v.size()
	}
	for c.size+day.size > c.limit {
		oldest, ok := c.oldest(since)
		if !ok {
			return
		}
		c.drop(oldest)
	}
	c.clock++
	day.used = c.clock
	c.days[d] = day
	c.size += day.size
}

func (c *cache) oldest(since uint64) (oldest Day, ok bool) {
	least := since
	for d, day := range c.days {
		if day.used <= least {
			oldest, least, ok = d, day.used, true
		}
	}
	return oldest, ok
}

func (c *cache) drop(d Day) {
	if day := c.days[d]; day != nil {
		c.size -= day.size
		delete(c.days, d)
	}
}

// replace puts a view in the place of the one of its template, if its day is here.
func (c *cache) replace(v *View) {
	day := c.days[v.Day]
	if day == nil {
		return
	}
	at, found := slices.BinarySearchFunc(day.views, v.Template, func(v *View, t string) int { return cmp.Compare(v.Template, t) })
	size := v.size()
	views := slices.Clone(day.views)
	if found {
		size -= views[at].size()
		views[at] = v
	} else {
		views = slices.Insert(views, at, v)
	}
	c.days[v.Day] = &dayViews{views: views, size: day.size + size, used: day.used}
	c.size += size
}

func (c *cache) clear() {
	clear(c.days)
	c.size = 0
}
