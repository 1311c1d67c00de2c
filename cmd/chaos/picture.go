package main

import (
	"fmt"
	"html"
	"math"
	"strings"
	"time"
)

// Measures of the picture, in pixels.
const (
	wide      = 1200
	marginL   = 92
	marginR   = 16
	laneH     = 22
	laneGap   = 6
	chartH    = 90
	chartGap  = 30
	headH     = 54
	footH     = 34
	plotWidth = wide - marginL - marginR
)

// inks colour the kinds; kinds that look alike to the cluster share one.
var inks = []struct {
	name  string
	ink   string
	kinds []kind
}{
	{"killed", "#c0392b", []kind{kill, powerCut}},
	{"stopped (SIGSTOP)", "#8e44ad", []kind{pause}},
	{"SIGTERM, drain", "#7f8c8d", []kind{term, drain, rolling}},
	{"cut off", "#d35400", []kind{cut, cutPair, mute, deaf}},
	{"refused", "#e6a100", []kind{refuse, refusePair}},
	{"cable out", "#2c3e50", []kind{dark}},
	{"lossy or slow", "#16a085", []kind{loss, slow}},
	{"disk full", "#6d4c41", []kind{diskFull}},
	{"webhook down", "#2980b9", []kind{hookFails, hookHangs, hookCuts}},
}

func inkOf(k kind) string {
	for _, i := range inks {
		for _, of := range i.kinds {
			if of == k {
				return i.ink
			}
		}
	}
	return "#000000"
}

// picture draws the campaign: a lane per node with its faults, one of the receiver, and below what happened each second.
func (c *campaign) picture() string {
	end := c.ended
	seconds := max(1, int(end.Sub(c.began).Seconds())+1)
	x := func(t time.Time) float64 {
		return marginL + max(0, t.Sub(c.began).Seconds())/float64(seconds)*plotWidth
	}
	lanes := len(c.ps.procs) + 1
	chartsY := headH + lanes*(laneH+laneGap) + 42
	height := chartsY + 3*(chartH+chartGap) + footH
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12">`, wide, height)
	p(`<rect width="100%%" height="100%%" fill="#fff"/>`)
	p(`<text x="%d" y="20" font-size="15" font-weight="600">%s</text>`, marginL, html.EscapeString(c.verdict()))
	at := marginL
	for _, i := range inks {
		p(`<rect x="%d" y="30" width="11" height="11" fill="%s"/><text x="%d" y="40">%s</text>`, at, i.ink, at+15, i.name)
		at += 32 + 7*len(i.name)
	}

	for i := range lanes {
		y := headH + i*(laneH+laneGap)
		name := "receiver"
		if i < len(c.ps.procs) {
			name = c.ps.procs[i].name
		}
		p(`<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%d" y="%d" width="%d" height="%d" fill="#eef3ee"/>`, marginL-8, y+15, name, marginL, y, plotWidth, laneH)
	}
	for _, s := range c.striker.blows {
		hit := s.nodes
		if len(hit) == 0 {
			hit = []int{len(c.ps.procs)}
		}
		for _, i := range hit {
			y := headH + i*(laneH+laneGap)
			title := html.EscapeString(strings.TrimSpace(s.line(c.began)))
			p(`<g><title>%s</title><rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`, title, x(s.from), y, max(1.5, x(s.to)-x(s.from)), laneH, inkOf(s.kind))
			// Until it was ready again, in a lighter tone.
			p(`<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s" opacity="0.35"/>`, x(s.to), y, max(0, x(s.ready)-x(s.to)), laneH, inkOf(s.kind))
			if s.wasLead && len(s.nodes) == 1 {
				p(`<circle cx="%.1f" cy="%d" r="3" fill="#fff" stroke="#000"/>`, x(s.from)+1, y+laneH/2)
			}
			p(`</g>`)
		}
	}
	p(`<text x="%d" y="%d" fill="#555">A dot: the node led when it was hit. Lighter: the fault is over, the node not yet ready.</text>`, marginL, headH+lanes*(laneH+laneGap)+10)

	occupied, vacated, worst := make([]float64, seconds), make([]float64, seconds), make([]float64, seconds)
	seen := map[string]bool{}
	for _, e := range c.receipts {
		if seen[e.ID] {
			continue
		}
		seen[e.ID] = true
		k := min(seconds-1, max(0, int(e.at.Sub(c.began).Seconds())))
		if e.Type == "occupied" {
			occupied[k]++
		} else {
			vacated[k]++
		}
		worst[k] = math.Max(worst[k], e.at.Sub(time.UnixMilli(e.TimeMs)).Seconds())
	}
	held := make([]float64, seconds)
	k := 0
	for i := range held {
		for k < len(c.witness.heldLog) && c.witness.heldLog[k].at.Before(c.began.Add(time.Duration(i+1)*time.Second)) && c.witness.heldLog[k].at.Before(end) {
			k++
		}
		if k > 0 {
			held[i] = float64(c.witness.heldLog[k-1].n)
		}
	}
	c.chart(p, chartsY, "attachments held, as clients see it", "%.0f", line{held, "#27ae60"})
	c.chart(p, chartsY+chartH+chartGap, "events received for the first time, per second: occupied (blue), vacated (grey)", "%.0f", line{vacated, "#7f8c8d"}, line{occupied, "#2980b9"})
	c.chart(p, chartsY+2*(chartH+chartGap), "longest way of an event from its decision to the receiver, per second of receipt", "%.1f s", line{worst, "#c0392b"})

	foot := height - footH + 4
	for t := 0; t <= seconds; t += max(10, seconds/600*60) {
		at := x(c.began.Add(time.Duration(t) * time.Second))
		p(`<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#ccc" stroke-width="0.5"/><text x="%.1f" y="%d" text-anchor="middle" fill="#555">%d s</text>`, at, at, headH, foot-12, at, foot+6, t)
	}
	at2 := x(c.calm)
	p(`<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#000" stroke-dasharray="4 3"/><text x="%.1f" y="%d" text-anchor="end">last fault over</text>`, at2, at2, headH, foot-12, at2-4, foot+22)
	p(`</svg>`)
	return b.String()
}

// line is one value per second.
type line struct {
	values []float64
	ink    string
}

// chart draws lines over a common scale.
func (c *campaign) chart(p func(string, ...any), y int, title, form string, lines ...line) {
	top := 1.0
	for _, l := range lines {
		for _, v := range l.values {
			top = math.Max(top, v)
		}
	}
	p(`<text x="%d" y="%d" fill="#333">%s</text>`, marginL, y-6, html.EscapeString(title))
	p(`<line x1="%d" x2="%d" y1="%d" y2="%d" stroke="#999"/><text x="%d" y="%d" text-anchor="end">%s</text><text x="%d" y="%d" text-anchor="end">0</text>`,
		marginL, wide-marginR, y+chartH, y+chartH, marginL-8, y+10, fmt.Sprintf(form, top), marginL-8, y+chartH)
	for _, l := range lines {
		var points strings.Builder
		for i, v := range l.values {
			fmt.Fprintf(&points, "%.1f,%.1f ", marginL+(float64(i)+0.5)/float64(len(l.values))*plotWidth, float64(y+chartH)-v/top*chartH)
		}
		p(`<polyline points="%s" fill="none" stroke="%s" stroke-width="1.2"/>`, strings.TrimSpace(points.String()), l.ink)
	}
}
