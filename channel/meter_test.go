package channel

import "testing"

// What moved here was open already: it counts as open, not as opened, and not before all of it has counted itself.
func TestTallies(t *testing.T) {
	h := &Host{}
	ten := &tenure{}
	moved := &activation{tenure: ten, tally: ten.tallies.of(h, "app"), settling: true}
	h.layout.Store(&layout{})
	ten.tallies.settling.Add(1)
	fresh := &activation{tenure: ten, tally: ten.tallies.of(h, "app")}
	p := &partition{id: 3, at: serving, tenure: ten}
	ten.epoch = 9
	if _, ok := p.meter(); ok {
		t.Error("the partition is counted before its channels have counted themselves")
	}
	moved.tallied(false, true)
	moved.settled()
	fresh.tallied(false, true)
	open, ok := p.meter()
	if !ok || open.Part != 3 || open.Epoch != 9 || open.Apps["app"] != 2 {
		t.Errorf("counts %+v (%v), want 2 of app", open, ok)
	}
	if n := h.Meter().Opened["app"]; n != 1 {
		t.Errorf("%d were opened, want 1", n)
	}
	moved.tallied(true, false)
	moved.tallied(false, true)
	if n := h.Meter().Opened["app"]; n != 2 {
		t.Errorf("%d were opened after one closed and opened again, want 2", n)
	}
	p.at = rebuilding
	if _, ok := p.meter(); ok {
		t.Error("a partition that is rebuilt is counted")
	}
}
