package revocation

import (
	"cmp"
	"slices"

	"refresher/internal/session"
	"refresher/internal/store"
)

// project indexes the revocations of one project. It is guarded by Set.mu.
type project struct {
	held       int                         // number of revocations, including lifted ones
	bySelector map[store.Selector][]*entry // revocations that are not lifted, by descending Until
	byID       []*entry                    // the same revocations, in the order of their ids
}

// projects has the index of each project, by App ID.
type projects map[string]*project

// of returns the index of a project, and creates it if there is none.
func (ps projects) of(app string) *project {
	p := ps[app]
	if p == nil {
		p = &project{bySelector: make(map[store.Selector][]*entry)}
		ps[app] = p
	}
	return p
}

// add adds an entry that is not lifted.
func (p *project) add(e *entry) {
	p.bySelector[e.Selector] = with(p.bySelector[e.Selector], e, byEnd)
	p.byID = with(p.byID, e, byID)
}

// remove removes an entry, if the index contains it.
func (p *project) remove(e *entry) {
	if list := without(p.bySelector[e.Selector], e, byEnd); len(list) > 0 {
		p.bySelector[e.Selector] = list
	} else {
		delete(p.bySelector, e.Selector)
	}
	p.byID = without(p.byID, e, byID)
}

func with(list []*entry, e *entry, order func(a, b *entry) int) []*entry {
	at, _ := slices.BinarySearchFunc(list, e, order)
	return slices.Insert(list, at, e)
}

func without(list []*entry, e *entry, order func(a, b *entry) int) []*entry {
	if at, found := slices.BinarySearchFunc(list, e, order); found {
		return slices.Delete(list, at, at+1)
	}
	return list
}

func byID(a, b *entry) int { return cmp.Compare(a.ID, b.ID) }

func byEnd(a, b *entry) int { return cmp.Or(cmp.Compare(b.Until, a.Until), byID(a, b)) }

// match returns a revocation that is in effect and matches a session. It returns nil if there
// is none.
func (p *project) match(k *session.ResumeClaims, now session.UnixSec) *entry {
	channel := ""
	if k.Identity.RTC != nil {
		channel = k.Identity.RTC.Channel
	}
	for _, s := range [...]store.Selector{
		{App: k.App},
		{App: k.App, Channel: channel},
		{App: k.App, Subject: k.Subject},
		{App: k.App, Channel: channel, Subject: k.Subject},
	} {
		if e := p.find(s, now); e != nil {
			return e
		}
		for _, s.User = range store.UsersOf(&k.Identity, s.Channel != "") {
			if e := p.find(s, now); e != nil {
				return e
			}
		}
	}
	return nil
}

// find returns a revocation that is in effect and has exactly this selector. It returns nil
// if there is none.
func (p *project) find(s store.Selector, now session.UnixSec) *entry {
	if list := p.bySelector[s]; len(list) > 0 && list[0].Standing(now) {
		return list[0]
	}
	return nil
}
