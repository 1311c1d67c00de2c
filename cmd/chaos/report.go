package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// verdict is one line for the one who started it.
func (c *campaign) verdict() string {
	return fmt.Sprintf("seed %d: %d faults in %v on %d nodes, %d events, %d violations, %d other failures",
		c.seed, len(c.striker.blows), c.calm.Sub(c.began).Round(time.Second), c.nodes, len(c.log), len(c.found), len(c.broken))
}

// promises are those that a campaign judges, with what they are judged by.
var promises = []struct{ name, by string }{
	{"G1", "every receipt and the log: alternation, ids, what a vacated ends"},
	{"G2", "every confirmed attach has its occupied; nothing was occupied unasked; at the end nothing is occupied that nobody holds"},
	{"G3", "no vacated while a client surely held the channel"},
	{"G4", "every event of the log was received, in order per channel"},
	{"G5", "every table of consumers that pull is what the whole log says as of its seq"},
	{"G6", "at the end every node counts what clients hold"},
	{"G9", "clients of a node that was cut off were sent away before the others decided anything about their channels"},
}

// report is the campaign in Markdown. picture is the name of the timeline's file.
func (c *campaign) report(picture string) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	f := c.figures()
	p("### Seed %d\n", c.seed)
	where := "each in a network namespace of its own, around a hub that routes between them"
	if !c.network {
		where = "on loopback addresses"
	}
	p("%d nodes, %s; %d channels; vacate delay %v, restart grace %v. %d faults in %v.\n",
		c.nodes, where, c.channels, vacateDelay, campaignGrace, len(c.striker.blows), c.calm.Sub(c.began).Round(time.Second))
	sdk := fmt.Sprintf("%d unmodified ably-js clients", sdkClients)
	if c.sdk == nil {
		sdk = "no official SDK (" + c.sdkWhy + ")"
	}
	p("Load: %d clients of ours and %s: %d attaches asked for, %d confirmed, %d occupied and vacated decided.\n",
		max(6, c.channels*3/10), sdk, f.all, f.confirmed, f.events)
	p("![Timeline](%s)\n", picture)

	p("**Violations: %d.**\n", len(c.found))
	p("| promise | judged by | violations |\n| --- | --- | --- |")
	for _, pr := range promises {
		n := 0
		for _, v := range c.found {
			if v.Promise == pr.name {
				n++
			}
		}
		p("| %s | %s | %d |", pr.name, pr.by, n)
	}
	p("| G1–G3 | per channel, attaches and events are linearizable (porcupine); %d channels took too long to search | as above |", c.unjudged)
	p("")
	for i, v := range c.found {
		if i == 20 {
			p("- … and %d more", len(c.found)-i)
			break
		}
		p("- %s", v)
	}
	if len(c.found) > 0 {
		p("")
	}
	if len(c.broken) > 0 {
		p("\nOther failures:\n")
		for _, s := range c.broken {
			p("- %s", s)
		}
		p("")
	}

	p("| | p50 | p90 | p99 | most |\n| --- | --- | --- | --- | --- |")
	p("| attach asked → confirmed | %v |", f.confirm)
	p("| occupied decided → received | %v |", f.occupied)
	p("| vacated decided → received | %v |", f.vacated)
	p("| last one left, delay over → vacated decided | %v |", f.late)
	p("")
	p("Times include all faults: attaches to nodes that sleep, a receiver that is down. The machine was shared; the longest time it did not run the clients was %s.", short(f.busiest))
	if c.rested > 0 {
		p("%s after the last fault the log said exactly what clients held, and all of it had been received.", short(c.rested))
	}
	c.reportPullers(p)
	p("Requests at the receiver: %d answered, %d answered 500, %d left hanging, %d cut after reading; %d receipts were repeats under the same id.\n",
		f.requests[takes], f.requests[fails], f.requests[hangs], f.requests[cuts], f.repeats)
	c.reportFaults(p)
	c.reportExiles(p)
	return b.String()
}

func (c *campaign) reportFaults(p func(string, ...any)) {
	byKind := map[kind][]*blow{}
	for _, s := range c.striker.blows {
		byKind[s.kind] = append(byKind[s.kind], s)
	}
	p("| fault | times | on the leader | lasted, together | ready again after, at most |\n| --- | --- | --- | --- | --- |")
	for _, k := range slices.Sorted(maps.Keys(byKind)) {
		var lead int
		var total, most time.Duration
		for _, s := range byKind[k] {
			if s.wasLead {
				lead++
			}
			total += s.to.Sub(s.from)
			most = max(most, s.ready.Sub(s.to))
		}
		ready := short(most)
		if strings.HasPrefix(string(k), "webhook") {
			ready = "–"
		}
		p("| %s | %d | %d | %s | %s |", k, len(byKind[k]), lead, short(total), ready)
	}
	p("")
}

func (c *campaign) reportPullers(p func(string, ...any)) {
	var lives, lost, made, seen int
	for _, u := range c.pullers {
		u.mu.Lock()
		lives, lost, made, seen = lives+u.lives, lost+u.lost, made+u.made, seen+len(u.seen)
		u.mu.Unlock()
	}
	p("Consumers that pull: %d, of %d lives together, %d of them begun without a table; %d tables were listed, %d compared with the log.",
		len(c.pullers), lives, lost, made, seen)
}

func (c *campaign) reportExiles(p func(string, ...any)) {
	all := c.exiles()
	if len(all) == 0 {
		return
	}
	p("Nodes that were cut off from the others and sent their clients away:\n")
	p("| at | fault | node | connections sent away | after | first event the others decided for their channels | least margin |\n| --- | --- | --- | --- | --- | --- | --- |")
	for _, e := range all {
		event, margin := "none", "–"
		if e.event > 0 {
			event, margin = "after "+short(e.event), short(e.margin)
		}
		p("| %.1f s | %s, %s | n%d | %d, %d of them by DISCONNECTED | %s – %s | %s | %s |", e.blow.from.Sub(c.began).Seconds(), e.blow.kind,
			short(e.blow.to.Sub(e.blow.from)), e.blow.nodes[0]+1, e.connections, e.told, short(e.first), short(e.last), event, margin)
	}
	p("")
}

// pictureOf is the timeline's file beside a report.
func pictureOf(report string) string {
	return strings.TrimSuffix(report, filepath.Ext(report)) + ".svg"
}
