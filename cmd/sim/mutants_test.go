package sim

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// mutant is a node with a planted bug: a place of the source reads otherwise. The node under test carries no switch
// for it; the build is told to take another text for the file.
type mutant struct {
	name     string
	file     string // from the module's root
	old, new string // old must stand there exactly once
	also     []edit // other places that would hide the bug
	run      string // the tests that must fail
	want     string // a promise that must be among the violations, as a regular expression
}

// edit is one place that reads otherwise.
type edit struct{ file, old, new string }

var mutants = []mutant{
	{
		name: "a new owner waits for nobody",
		file: "channel/barrier.go",
		old:  `return len(b.live) > 0 && len(b.Missing()) == 0`,
		new:  `return len(b.live) > 0`,
		// The search for copies of messages asks the same members, and so waits for them as well.
		also: []edit{{"channel/handoff.go", `if h.cfg.Hosts == nil || t.heritage != nil {`, `if true {`}},
		run:  "TestMoveBehindCut", want: "G3",
	},
	{
		name: "an attach is confirmed before the commit",
		file: "channel/state.go",
		old:  `if s.owed == 0 || s.isHeld() && s.phase != occupied {`,
		new:  `if s.owed == 0 {`,
		run:  "TestAttachBehindCut", want: "G2",
	},
	{
		name: "the duty to vacate lives in a timer alone",
		file: "channel/partition.go",
		old:  `o.occupied = append(o.occupied, h)`,
		new:  `_ = h`,
		run:  "TestKilledWithItsClients/owner|TestAllKilled", want: "G2",
	},
	{
		name: "what a receiver refused is passed over",
		file: "transport/dispatch/pump.go",
		old:  `l.busy, l.tried = 0, l.busy`,
		new:  `p.sent(now, lane)`,
		run:  "TestAllKilled", want: "G4",
	},
	{
		name: "a node without a lease keeps its clients",
		file: "cmd/node/boot.go",
		old:  `o.gateway.Fence(held)`,
		new:  `o.gateway.Fence(true)`,
		run:  "TestAttachBehindCut", want: "G9",
	},
	{
		name: "what a dead node held stays counted",
		file: "channel/partition.go",
		old:  `p.dropHolder(g, p.marks+1)`,
		new:  `_ = g`,
		run:  "TestKilledWithItsClients", want: "G2",
	},
	{
		name: "silence is death at once",
		file: "cluster/decide.go",
		old:  `case now >= max(d.heard[p], d.since)+cfg.LeaseTTL+cfg.LeaseMargin:`,
		new:  `case now >= max(d.heard[p], d.since)+cfg.LeaseTTL/2:`,
		run:  "TestSeeds", want: "G",
	},
}

// TestPlantedBugs builds nodes with a bug each and shows that the checkers find it. Where the source has changed so that
// a bug can no longer be planted, the place must be found anew.
func TestPlantedBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("builds everything once per bug")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			began := time.Now()
			out, err := m.judge(t, root)
			if err == nil {
				t.Fatalf("%s passes with this bug", m.run)
			}
			found := regexp.MustCompile(`(?m)^ *(` + m.want + `)\d?: .*`).FindString(out)
			if found == "" {
				t.Fatalf("no violation of %s in:\n%s", m.want, out)
			}
			t.Logf("found in %.1f s: %s", time.Since(began).Seconds(), strings.TrimSpace(found))
		})
	}
}

// judge runs the tests against the mutated node and returns what they print.
func (m mutant) judge(t *testing.T, root string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	replaced := map[string]string{}
	for i, e := range append([]edit{{m.file, m.old, m.new}}, m.also...) {
		source := filepath.Join(root, filepath.FromSlash(e.file))
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), e.old); n != 1 {
			t.Fatalf("%s has %q %d times, want once", e.file, e.old, n)
		}
		changed := filepath.Join(dir, fmt.Sprintf("changed%d.go", i))
		if err := os.WriteFile(changed, []byte(strings.Replace(string(text), e.old, e.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		replaced[source] = changed
	}
	overlay := filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]map[string]string{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-short", "-failfast", "-vet=off", "-count=1",
		"-overlay", overlay, "-run", "^("+m.run+")$", "./cmd/sim")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	return string(out), err
}
