package problems

import (
	"container/list"
	"sync"
)

// A Book is the problems that no store has yet: MaxKept at most. When it is full, the one
// not seen for longest makes room, uncounted. The zero value is an empty one. Its methods
// may be called from several goroutines.
type Book struct {
	mu     sync.Mutex
	places map[Key]*list.Element
	pages  list.List // of *Problem, the last noted first
}

// Note counts problems. It costs some microseconds for each, however many there are.
func (b *Book) Note(found []Problem) {
	for i := range found {
		p := found[i] // the caller's stays as it is
		p.bound()
		b.note(&p)
	}
}

func (b *Book) note(p *Problem) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if place, ok := b.places[p.Key]; ok {
		place.Value.(*Problem).Add(p)
		b.pages.MoveToFront(place)
		return
	}
	if b.pages.Len() == MaxKept {
		oldest := b.pages.Back()
		delete(b.places, oldest.Value.(*Problem).Key)
		b.pages.Remove(oldest)
	}
	b.place(p, b.pages.PushFront(p))
}

func (b *Book) place(p *Problem, at *list.Element) {
	if b.places == nil {
		b.places = map[Key]*list.Element{}
	}
	b.places[p.Key] = at
}

// Changes takes all problems out, the last noted first, to be stored. Give them back with
// [Book.Unsaved] if that fails.
func (b *Book) Changes() []Problem {
	b.mu.Lock()
	defer b.mu.Unlock()
	changes := b.all()
	b.pages.Init()
	clear(b.places)
	return changes
}

// Unsaved gives back what Changes returned and could not be stored. Where there is no room
// for all of it beside what was noted since, its oldest goes.
func (b *Book) Unsaved(changes []Problem) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range changes {
		p := &changes[i]
		if place, ok := b.places[p.Key]; ok {
			place.Value.(*Problem).Add(p)
		} else if b.pages.Len() < MaxKept {
			b.place(p, b.pages.PushBack(p))
		}
	}
}

// Waiting returns what Changes would, and leaves it in.
func (b *Book) Waiting() []Problem {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all()
}

// Len is how many different problems wait.
func (b *Book) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pages.Len()
}

func (b *Book) all() []Problem {
	var all []Problem
	for e := b.pages.Front(); e != nil; e = e.Next() {
		all = append(all, *e.Value.(*Problem))
	}
	return all
}
