package node

import "testing"

// TestSummaryIsOfAllNodes asks each of two nodes: both tell the figures of both, the leases that only the leader knows and
// the rules of the one that sends.
func TestSummaryIsOfAllNodes(t *testing.T) {
	first := run(t, settings(t.TempDir())).ready()
	second := run(t, joining(t.TempDir(), first)).ready()
	first.occupy("chat:a")
	second.occupy("chat:b")
	for _, r := range []*running{first, second} {
		eventually(t, "a summary of both nodes", func() bool {
			s := r.boot.Load().summary(t.Context())
			connections, open, ages := 0, 0, 0
			for _, m := range s.Members {
				if m.Figures != nil {
					connections += m.Figures.Connections
					open += m.Figures.Open
				}
				if m.LeaseAgeMs != nil {
					ages++
				}
			}
			return s.Node == r.ID() && len(s.Members) == 2 && connections == 2 && open == 2 && ages == 2 &&
				s.Occupied == 2 && s.RulesFrom == s.Leader && len(s.Partitions.Nodes) == 2
		})
	}
	_, last, events := first.boot.Load().liveEvents(0, 10)
	if last != 2 || len(events) != 2 || events[0].Type != "occupied" || events[0].App == "" || events[1].Seq != 2 {
		t.Errorf("events up to %d: %+v", last, events)
	}
	if open, counts, err := second.boot.Load().query(t.Context(), events[0].App, "chat:a"); !open || counts[0] != 1 || err != nil {
		t.Errorf("chat:a is told as %v, %v, %v", open, counts, err)
	}
	if open, _, err := second.boot.Load().query(t.Context(), events[0].App, "chat:none"); open || err != nil {
		t.Errorf("a channel that nobody uses is told as open: %v, %v", open, err)
	}
	eventually(t, "the meter's peak", func() bool {
		rows, err := first.boot.Load().meterRows("", "day", 31)
		if err != nil {
			t.Fatal(err)
		}
		return len(rows) > 0 && rows[len(rows)-1].Channels.Peak == 2 && rows[len(rows)-1].Connections.Peak == 2
	})
	if _, err := first.boot.Load().meterRows("", "week", 1); err == nil {
		t.Error("a week is taken for a unit")
	}
}
