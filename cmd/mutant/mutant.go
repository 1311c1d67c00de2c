// Package mutant shows that tests can fail: it runs them against a program with a planted bug.
//
// The program under test carries no switch for it: the build is told to take another text for some files. Where the source
// has changed so that a bug can no longer be planted, that fails, and the place must be found anew.
package mutant

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Edit is one place of the source that reads otherwise.
type Edit struct {
	File     string // from the module's root
	Old, New string // Old must stand there exactly once
}

// Apply returns what the file reads with the edit. It fails where the place is not found.
func (e Edit) Apply(root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(e.File)))
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(text), e.Old); n != 1 {
		return "", fmt.Errorf("%s has %q %d times, want once: find the place anew where the bug can be planted", e.File, e.Old, n)
	}
	return strings.Replace(string(text), e.Old, e.New, 1), nil
}

// patience is how long tests may run with a bug. Most end within seconds, but a bug may also keep them from ending: in a
// bubble of fake time, what tries again without a pause does so for ever.
const patience = time.Minute

// Test runs the tests of a package whose names match run, against the module at root with the edits, and returns what they
// print. passed says that they did; an error, that it could not be tried. Tests that run for more than a minute fail with
// Go's panic about it. Files are made in dir.
func Test(ctx context.Context, root, dir, pkg, run string, edits ...Edit) (printed string, passed bool, err error) {
	replaced := map[string]string{}
	for i, e := range edits {
		text, err := e.Apply(root)
		if err != nil {
			return "", false, err
		}
		changed := filepath.Join(dir, fmt.Sprintf("changed%d.go", i))
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			return "", false, err
		}
		replaced[filepath.Join(root, filepath.FromSlash(e.File))] = changed
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": replaced})
	if err != nil {
		return "", false, err
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		return "", false, err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-short", "-failfast", "-vet=off", "-count=1", "-timeout", patience.String(), "-overlay", overlay, "-run", run, pkg)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	return string(out), err == nil, nil
}
