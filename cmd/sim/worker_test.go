package sim

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
)

var worker = flag.Bool("worker", false, "play the cases that stdin names as lines of JSON; used by cmd/simulate")

// OutcomeMark begins the line on stdout that tells an outcome.
const OutcomeMark = "outcome "

// TestWorker plays cases that another process hands out. It exists because a bubble of fake time needs a test.
func TestWorker(t *testing.T) {
	if !*worker {
		t.Skip("only at the hands of cmd/simulate")
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var order struct {
			Case
			Timeline bool `json:"timeline"`
		}
		if err := json.Unmarshal(lines.Bytes(), &order); err != nil {
			t.Fatalf("%v in %q", err, lines.Text())
		}
		b, err := json.Marshal(playCase(t, order.Case, order.Timeline))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("%s%s\n", OutcomeMark, b)
	}
}

// playCase plays a case in a bubble of its own and judges it outside.
func playCase(t *testing.T, c Case, timeline bool) (out Outcome) {
	t.Run(fmt.Sprint(c.Seed), func(t *testing.T) {
		o := c.Options()
		if c.Log {
			o.Log = os.Stderr
		}
		var h *History
		var found []Violation
		synctest.Test(t, func(t *testing.T) {
			var err error
			if h, found, err = c.Play(o); err != nil {
				t.Fatal(err)
			}
		})
		if h != nil {
			more, unknown := CheckOrder(h)
			if unknown > 0 {
				fmt.Fprintf(os.Stderr, "seed %d: the order of %d channels could not be judged in time\n", c.Seed, unknown)
			}
			out = c.Conclude(h, append(found, more...), timeline)
		}
	})
	return out
}
