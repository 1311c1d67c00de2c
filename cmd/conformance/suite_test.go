package conformance

import (
	"flag"
	"fmt"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var only = flag.String("check", "", "run only checks whose section and name match this expression")

// check is one thing the protocol asks of the server.
type check struct {
	section string // of the protocol
	name    string
	run     func(*env)
	sizes   []int // of clusters it makes sense on; nil is all
	alone   bool  // runs when nobody else does: it breaks nodes, or would hear too much of others
}

// suite is every check, by section.
func suite() []check {
	return slices.Concat(
		rules(), connections(), resuming(), frames(), attaching(), channelParams(), messages(), ephemerals(), edits(), presence(), membership(), occupancy(),
		clientSerials(), rewinding(), restBasics(), restHistory(), enumeration(), batches(), stats(), metachannels(), credentials(), capabilities(),
		authFailures(), tokens(), revocations(), integrationRules(), limitations(), provisioning(), errorCodes(), nodeDeaths(),
	)
}

// sizes are the clusters that all checks run on.
var sizes = []int{1, 3}

// formats are the encodings that all checks run in.
var formats = []string{"json", "msgpack"}

func (c *check) String() string { return "§" + c.section + " " + c.name }

// failure is what a check panics with when it failed.
type failure struct{ text string }

// outcome is what became of a check in one format.
type outcome struct {
	check  *check
	format string
	failed string // "" for a pass
}

// TestConformance runs every check in every format on every cluster.
func TestConformance(t *testing.T) {
	wanted := regexp.MustCompile(*only)
	all := slices.DeleteFunc(suite(), func(c check) bool { return !wanted.MatchString(c.String()) })
	seen := map[string]bool{}
	for i := range all {
		if seen[all[i].String()] {
			t.Errorf("two checks are called %s", &all[i])
		}
		seen[all[i].String()] = true
	}
	runs := 0
	for _, size := range sizes {
		t.Run(fmt.Sprintf("nodes=%d", size), func(t *testing.T) {
			var list []outcome
			synctest.Test(t, func(t *testing.T) { list = play(t, size, all) })
			runs += len(list)
			for _, o := range list {
				t.Run(o.format+"/"+o.check.String(), func(t *testing.T) {
					if o.failed != "" {
						t.Error(o.failed)
					}
				})
			}
		})
	}
	t.Logf("%d checks, %d runs", len(all), runs)
	if *only == "" && (len(all) < 150 || runs < 300) {
		t.Errorf("%d checks in %d runs; want 150 in 300 at least", len(all), runs)
	}
}

// play starts a cluster and runs checks on it: first all that get on with each other, then the others one by one.
func play(t *testing.T, size int, all []check) []outcome {
	w := start(t, size)
	defer w.stop()
	var list []outcome
	var later []int
	for i := range all {
		c := &all[i]
		if c.sizes != nil && !slices.Contains(c.sizes, size) {
			continue
		}
		for _, format := range formats {
			if c.alone {
				later = append(later, len(list))
			}
			list = append(list, outcome{check: c, format: format})
		}
	}
	var wg sync.WaitGroup
	for i := range list {
		if !list[i].check.alone {
			wg.Go(func() { list[i].failed = w.try(i, &list[i]) })
		}
	}
	wg.Wait()
	for _, i := range later {
		list[i].failed = w.try(i, &list[i])
	}
	return list
}

// try runs one check and says why it failed.
func (w *world) try(number int, o *outcome) (failed string) {
	e := &env{world: w, number: number, format: o.format, check: o.check}
	defer e.end()
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			failed = p.text
		default:
			failed = fmt.Sprintf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	o.check.run(e)
	return ""
}

// env is what a check is given: clients at nodes of its choice, in one format, and names that nobody else uses.
type env struct {
	*world
	number  int
	format  string
	check   *check
	names   int
	hosts   int
	clients []*client
}

// fatalf ends the check as failed.
func (e *env) fatalf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if at := caller(); at != "" {
		text += " (" + at + ")"
	}
	panic(failure{text})
}

// caller is the lines of the check that led to what failed, the innermost first.
func caller() string {
	var lines []string
	for line := range strings.Lines(string(debug.Stack())) {
		file, _, _ := strings.Cut(strings.TrimSpace(line), " +")
		if i := strings.LastIndex(file, "/section"); i >= 0 && strings.Contains(file, "_test.go:") {
			lines = append(lines, file[i+1:])
		}
	}
	return strings.Join(lines, " < ")
}

// is fails unless got equals want.
func (e *env) is(what string, got, want any) {
	if !equal(got, want) {
		e.fatalf("%s is %s, want %s", what, show(got), show(want))
	}
}

func (e *env) ok(what string, ok bool) {
	if !ok {
		e.fatalf("not so: %s", what)
	}
}

// name is a channel name that no other check uses.
func (e *env) name(base string) string {
	e.names++
	return fmt.Sprintf("%s-%d-%d", base, e.number, e.names)
}

// within polls what no frame tells of; a poll costs fake time only.
func (e *env) within(d time.Duration, what string, ok func() bool) {
	for end := time.Now().Add(d); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			e.fatalf("not within %v: %s", d, what)
		}
	}
}

// end closes what the check left open.
func (e *env) end() {
	for _, c := range e.clients {
		c.cut()
	}
}

// clusters is the sizes that have several nodes.
var clusters = []int{3}

// sleep passes seconds of fake time.
func (e *env) sleep(seconds int) { time.Sleep(time.Duration(seconds) * time.Second) }

// resumed fails unless an ATTACHED says that nothing was missed.
func (e *env) resumed(f m) {
	if f.int("flags")&resumed == 0 || f.has("error") {
		e.fatalf("not RESUMED: %s", show(f))
	}
}
