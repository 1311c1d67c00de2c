package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// voice is one publisher on one channel. What it says is numbered 0, 1, 2, …
type voice struct{ publisher, channel int }

// sayings is what a voice said and what of it was acknowledged.
type sayings struct {
	said  int
	acked []uint64 // a bit per number
}

func (s *sayings) ack(number int) {
	for len(s.acked) <= number/64 {
		s.acked = append(s.acked, 0)
	}
	s.acked[number/64] |= 1 << (number % 64)
}

func (s *sayings) isAcked(number int) bool {
	return number/64 < len(s.acked) && s.acked[number/64]&(1<<(number%64)) != 0
}

// count is how many were acknowledged.
func (s *sayings) count() (n int) {
	for i := range s.said {
		if s.isAcked(i) {
			n++
		}
	}
	return n
}

// ear is what one subscriber heard. It belongs to one goroutine.
type ear struct {
	name   string
	voices map[voice]*hearing
	faults []string // what was heard twice or out of order, the first few
	heard  int
}

// hearing is what a subscriber heard of one voice.
type hearing struct {
	next int
	gaps [][2]int // numbers left out, from and up to
}

// faultsMax bounds what is told of one kind of fault.
const faultsMax = 5

func newEar(name string) *ear { return &ear{name: name, voices: map[voice]*hearing{}} }

func (e *ear) hear(v voice, number int) {
	h := e.voices[v]
	if h == nil {
		h = &hearing{}
		e.voices[v] = h
	}
	switch {
	case number < h.next:
		if len(e.faults) < faultsMax {
			e.faults = append(e.faults, fmt.Sprintf("%s heard number %d of publisher %d on channel %d behind number %d", e.name, number, v.publisher, v.channel, h.next-1))
		}
		return
	case number > h.next:
		h.gaps = append(h.gaps, [2]int{h.next, number - 1})
	}
	h.next = number + 1
	e.heard++
}

// missed lists acknowledged messages that a subscriber of some channels did not hear.
func (e *ear) missed(channels []int, all map[voice]*sayings) (list []string) {
	for v, s := range all {
		if !slices.Contains(channels, v.channel) {
			continue
		}
		h := e.voices[v]
		if h == nil {
			h = &hearing{}
		}
		for _, gap := range append(slices.Clone(h.gaps), [2]int{h.next, s.said - 1}) {
			for n := gap[0]; n <= gap[1]; n++ {
				if s.isAcked(n) {
					list = append(list, fmt.Sprintf("%s did not hear number %d of publisher %d on channel %d, which was acknowledged (it heard %d to the end of %d)", e.name, n, v.publisher, v.channel, h.next-1, s.said-1))
				}
			}
		}
	}
	slices.Sort(list)
	return list
}

// The data of a message is the publisher and the number.
func saying(publisher, number int) string {
	return strconv.Itoa(publisher) + ":" + strconv.Itoa(number)
}

func readSaying(data string) (publisher, number int, ok bool) {
	a, b, _ := strings.Cut(data, ":")
	publisher, err := strconv.Atoi(a)
	number, err2 := strconv.Atoi(b)
	return publisher, number, err == nil && err2 == nil
}
