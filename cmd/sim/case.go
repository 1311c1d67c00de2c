package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Case is what decides a run: a seed, or what is left of it after faults and clients were taken away.
type Case struct {
	Seed    uint64  `json:"seed"`
	Nodes   int     `json:"nodes"`             // 0: three to seven, by the seed
	Minutes float64 `json:"minutes"`           // simulated, from the start of the cluster until it is judged
	Without []int   `json:"without,omitempty"` // faults of the seed's schedule that do not take place
	Idle    []int   `json:"idle,omitempty"`    // clients that do nothing
	Log     bool    `json:"log,omitempty"`     // the nodes say what they do, on stderr
}

// Outcome is what became of a Case.
type Outcome struct {
	Case       Case          `json:"case"`
	Violations []string      `json:"violations,omitempty"`
	Report     string        `json:"report,omitempty"` // violations, schedule and timeline
	Faults     []int         `json:"faults"`           // indices of those that took place
	Clients    int           `json:"clients"`
	Simulated  time.Duration `json:"simulated"`
	Tally      Tally         `json:"tally"`
}

// Tally counts what a run consisted of.
type Tally struct {
	Faults, Attaches, Events, Requests, Gaps, Snapshots, Messages, Heard, Resumes, Lost int
}

// calm is how long before its end a run is left alone: to heal, to settle, to vacate, and to be told of it.
const calm = 75 * time.Second

// Options is the kind of cluster that the case plays on.
func (c Case) Options() Options {
	o := Options{Nodes: c.Nodes, Idle: c.Idle}
	if o.Nodes == 0 {
		o.Nodes = 3 + int(c.Seed%5)
	}
	// Chosen by digits of the seed that have nothing to do with each other.
	o.Hasty = c.Seed%4 == 3
	if c.Seed/4%3 == 1 {
		o.EventsMax = 40
	}
	o.RestartGrace = []time.Duration{10 * time.Second, 20 * time.Second}[c.Seed/12%2]
	o.VacateDelay = []time.Duration{3 * time.Second, 5 * time.Second}[c.Seed/24%2]
	return o.withDefaults()
}

// Schedule is what happens in the case, and the place of each of its faults in the schedule of the seed.
func (c Case) Schedule() (Schedule, []int) {
	span := time.Duration(c.Minutes*float64(time.Minute)) - calm
	var out Schedule
	var places []int
	for i, f := range Random(random(c.Seed, 1), span, c.Options()) {
		if !slices.Contains(c.Without, i) {
			out, places = append(out, f), append(places, i)
		}
	}
	return out, places
}

// Play runs the case in the bubble it is called in.
func (c Case) Play(o Options) (h *History, found []Violation, err error) {
	s, err := New(c.Seed, o)
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	schedule, _ := c.Schedule()
	h, found = s.Run(schedule)
	return h, found, nil
}

// Conclude puts together what a case came to.
func (c Case) Conclude(h *History, found []Violation, timeline bool) Outcome {
	schedule, places := c.Schedule()
	out := Outcome{
		Case: c, Faults: places, Clients: c.Options().Clients, Simulated: h.End.Sub(h.Began),
		Tally: tallyOf(h, schedule),
	}
	for _, v := range found {
		out.Violations = append(out.Violations, v.String())
	}
	if len(found) > 0 || timeline {
		var b strings.Builder
		o := c.Options()
		fmt.Fprintf(&b, "%d nodes, vacate delay %v, restart grace %v, events kept: %d (0: all)\n", o.Nodes, o.VacateDelay, o.RestartGrace, o.EventsMax)
		Report(&b, c.Seed, schedule, h, found)
		out.Report = b.String()
	}
	return out
}

func tallyOf(h *History, schedule Schedule) Tally {
	t := Tally{Faults: len(schedule), Attaches: len(h.Attachments), Events: len(h.Log()), Requests: len(h.Receipts), Snapshots: len(h.Snapshots)}
	for _, r := range h.Receipts {
		for _, e := range r.Events {
			if e.Type == Gap && r.Accepted {
				t.Gaps++
			}
		}
	}
	for _, m := range h.Messages {
		if !m.Acked.IsZero() {
			t.Messages++
		}
	}
	for _, l := range h.Listenings {
		t.Heard += len(l.Heard)
		t.Resumes += l.Resumes
		if l.Gap != "" {
			t.Lost++
		}
	}
	return t
}

// Add adds the counts of another run.
func (t *Tally) Add(o Tally) {
	t.Faults += o.Faults
	t.Attaches += o.Attaches
	t.Events += o.Events
	t.Requests += o.Requests
	t.Gaps += o.Gaps
	t.Messages += o.Messages
	t.Heard += o.Heard
	t.Resumes += o.Resumes
	t.Lost += o.Lost
	t.Snapshots += o.Snapshots
}

func (t Tally) String() string {
	return fmt.Sprintf("%d faults, %d attaches, %d events, %d webhook requests, %d gaps told, %d snapshots, %d messages, heard %d times, %d resumptions, %d told of a gap",
		t.Faults, t.Attaches, t.Events, t.Requests, t.Gaps, t.Snapshots, t.Messages, t.Heard, t.Resumes, t.Lost)
}
