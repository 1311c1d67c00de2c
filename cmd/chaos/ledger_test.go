package main

import (
	"strings"
	"testing"
)

func TestLedger(t *testing.T) {
	v := voice{publisher: 3, channel: 7}
	said := func(n int, refused ...int) map[voice]*sayings {
		s := &sayings{said: n}
		for i := range n {
			s.ack(i)
		}
		for _, i := range refused {
			s.acked[i/64] &^= 1 << (i % 64)
		}
		if s.count() != n-len(refused) {
			t.Fatalf("%d of %d are acknowledged", s.count(), n)
		}
		return map[voice]*sayings{v: s}
	}
	for what, test := range map[string]struct {
		said   map[voice]*sayings
		heard  []int
		missed int
		faults int
	}{
		"all":                     {said(4), []int{0, 1, 2, 3}, 0, 0},
		"nothing":                 {said(70), nil, 70, 0},
		"the end":                 {said(4), []int{0, 1}, 2, 0},
		"the beginning":           {said(4), []int{2, 3}, 2, 0},
		"one":                     {said(100), without(100, 65), 1, 0},
		"one that was refused":    {said(100, 65), without(100, 65), 0, 0},
		"a refused one heard":     {said(3, 1), []int{0, 1, 2}, 0, 0},
		"twice":                   {said(3), []int{0, 1, 1, 2}, 0, 1},
		"out of order":            {said(3), []int{0, 2, 1}, 1, 1},
		"all again":               {said(3), []int{0, 1, 2, 0, 1, 2}, 0, 3},
		"the last, which was not": {said(3, 2), []int{0, 1}, 0, 0},
	} {
		e := newEar("x")
		for _, n := range test.heard {
			e.hear(v, n)
		}
		missed := e.missed([]int{7}, test.said)
		if len(missed) != test.missed || len(e.faults) != test.faults {
			t.Errorf("%s: missed %d, want %d; faults %d, want %d: %s", what, len(missed), test.missed, len(e.faults), test.faults, strings.Join(append(missed, e.faults...), "; "))
		}
		if other := e.missed([]int{8}, test.said); len(other) != 0 {
			t.Errorf("%s: missed %v on a channel it does not hear", what, other)
		}
	}
}

// without is the numbers up to n, but for one.
func without(n, one int) (list []int) {
	for i := range n {
		if i != one {
			list = append(list, i)
		}
	}
	return list
}

func TestSayings(t *testing.T) {
	if p, n, ok := readSaying(saying(12, 345)); p != 12 || n != 345 || !ok {
		t.Errorf("%d %d %v", p, n, ok)
	}
	for _, bad := range []string{"", "1", "x:1", "1:x", "1:2:3"} {
		if _, _, ok := readSaying(bad); ok {
			t.Errorf("%q is read", bad)
		}
	}
}
