package node

import (
	"path/filepath"
	"strings"
	"testing"

	"innkeeper/cmd/mutant"
)

// TestPowerFailuresFindPlantedBugs shows that TestPowerFailsAtEveryStep can fail.
func TestPowerFailuresFindPlantedBugs(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct {
		name, run string
		edit      mutant.Edit
		want      string
	}{
		{
			"an attach is confirmed before the commit", "single",
			mutant.Edit{File: "channel/state.go", Old: `if s.owed == 0 || s.isHeld() && s.phase != occupied {`, New: `if s.owed == 0 {`},
			"no majority has on disk",
		},
		{
			"the duty to vacate lives in a timer alone", "single/vacated",
			mutant.Edit{File: "channel/partition.go", Old: `p.host.cfg.Log.Occupied(p.id, gather(&o.occupied))`, New: `_ = o.occupied`},
			"FAIL: TestPowerFailsAtEveryStep/single_node/vacated",
		},
		{
			"the cursor passes what was only sent", "single",
			mutant.Edit{File: "transport/dispatch/prefix.go", Old: `return p.marks[0].seq - 1`, New: `return p.read`},
			"never arrived",
		},
		{
			"an unknown outcome is taken for success", "leader",
			mutant.Edit{File: "raftstore/proposer.go", Old: `p.stats.retries.Add(1)`, New: `for _, d := range drafts { p.finish(d.items, nil) }; return`},
			"no majority has on disk",
		},
	} {
		t.Run(m.name, func(t *testing.T) {
			if _, err := m.edit.Apply(root); err != nil {
				t.Fatal(err)
			}
			if testing.Short() {
				t.Skip("builds everything once per bug")
			}
			said, passed, err := mutant.Test(t.Context(), root, t.TempDir(), "./cmd/node", "^TestPowerFailsAtEveryStep$/"+m.run, m.edit)
			if err != nil {
				t.Fatal(err)
			}
			if passed || !strings.Contains(said, m.want) {
				t.Errorf("passed: %v; %q is not in:\n%s", passed, m.want, said)
			}
		})
	}
}
