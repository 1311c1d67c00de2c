package sim

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// line is one entry of a timeline.
type line struct {
	at   time.Time
	text string
}

// Timeline prints what happened, in order of time: everything that was done to the cluster, and of the channels named
// everything that clients, the log and the receivers knew.
func Timeline(w io.Writer, h *History, channels map[string]bool) {
	var lines []line
	add := func(at time.Time, format string, args ...any) {
		if !at.IsZero() {
			lines = append(lines, line{at, fmt.Sprintf(format, args...)})
		}
	}
	for _, n := range h.Notes {
		add(n.At, "%s", n.Text)
	}
	for _, a := range h.Attachments {
		if !channels[a.Channel] {
			continue
		}
		who := fmt.Sprintf("    %s: client %d at node %d", a.Channel, a.Client, a.Node)
		add(a.Asked, "%s asks", who)
		add(a.Confirmed, "%s is attached (%s)", who, strings.Join(a.Modes.metrics(), " "))
		add(a.Left, "%s is gone: %s", who, a.Why)
	}
	for _, e := range h.Log() {
		if channels[e.Channel] {
			add(at(e), "        %s: event %d, %s%s", e.Channel, e.Seq, e.Type, ends(e))
		}
	}
	for _, r := range h.Receipts {
		for _, e := range r.Events {
			if channels[e.Channel] {
				add(r.At, "            %s: %s received event %d, %s of %s, accepted: %v", e.Channel, r.Rule, e.Seq, e.Type, clock(at(e)), r.Accepted)
			}
		}
	}
	for _, m := range h.Messages {
		if !channels[m.Channel] {
			continue
		}
		text := data(m.Client, m.Number)
		add(m.Asked, "    %s: client %d publishes %s", m.Channel, m.Client, text)
		add(m.Acked, "    %s: client %d hears that %s is published as %s", m.Channel, m.Client, text, m.Serial)
	}
	for _, l := range h.Listenings {
		if !channels[l.Channel] {
			continue
		}
		add(l.From, "    %s: client %d listens anew", l.Channel, l.Client)
		if l.Gap != "" {
			add(l.To, "    %s: client %d is told of a gap: %s", l.Channel, l.Client, l.Gap)
		}
		for _, x := range l.Heard {
			add(x.At, "            %s: client %d hears %s, %s", l.Channel, l.Client, data(x.Client, x.Number), x.Serial)
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	for _, l := range lines {
		fmt.Fprintf(w, "%s  %s\n", clock(l.at), l.text)
	}
}

// ends names the occupied that a vacated ends.
func ends(e Event) string {
	if e.Ends == 0 {
		return ""
	}
	return fmt.Sprintf(" (ends %d)", e.Ends)
}

// reportMax bounds how many violations of one promise a report spells out.
const reportMax = 6

// Report prints violations, the schedule and the timeline of the channels concerned.
func Report(w io.Writer, seed uint64, schedule Schedule, h *History, found []Violation) {
	fmt.Fprintf(w, "seed %d: %d violations\n", seed, len(found))
	channels := make(map[string]bool)
	of := make(map[string]int)
	for _, v := range found {
		if of[v.Promise]++; of[v.Promise] > reportMax {
			continue
		}
		fmt.Fprintf(w, "  %v\n", v)
		if len(channels) < 3 && v.Channel != "" {
			channels[v.Channel] = true
		}
	}
	for _, promise := range sorted(of) {
		if more := of[promise] - reportMax; more > 0 {
			fmt.Fprintf(w, "  … and %d more of %s\n", more, promise)
		}
	}
	fmt.Fprintf(w, "schedule:\n%v", schedule)
	fmt.Fprintf(w, "timeline of %s:\n", strings.Join(sorted(channels), ", "))
	Timeline(w, h, channels)
}
