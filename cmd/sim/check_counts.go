package sim

// metricNames are the counts that an attachment alone decides.
var metricNames = []string{"connections", "publishers", "subscribers", "presenceConnections", "presenceSubscribers"}

// CheckCounts judges G6: no count is ever negative, and what nodes said after churn had stopped equals what clients hold.
func CheckCounts(h *History) []Violation {
	l := list{promise: "G6"}
	want := make(map[string]map[string]int)
	for _, a := range h.Attachments {
		if a.Confirmed.IsZero() || !a.Left.IsZero() {
			continue
		}
		if want[a.Channel] == nil {
			want[a.Channel] = make(map[string]int)
		}
		for _, m := range a.Modes.metrics() {
			want[a.Channel][m]++
		}
	}
	for _, c := range h.Counts {
		for _, m := range sorted(c.Metrics) {
			if c.Metrics[m] < 0 {
				l.add(c.Channel, c.At, "node %d says %s = %d", c.Node, m, c.Metrics[m])
			}
		}
		if c.At.Before(h.Quiet) {
			continue
		}
		for _, m := range metricNames {
			if got := c.Metrics[m]; got != want[c.Channel][m] {
				l.add(c.Channel, c.At, "node %d says %s = %d at %s, clients hold %d", c.Node, m, got, clock(c.At), want[c.Channel][m])
			}
		}
	}
	return l.found
}
