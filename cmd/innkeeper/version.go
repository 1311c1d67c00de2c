package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCmd struct{}

// Run prints one fact a line, so that scripts can pick them.
func (versionCmd) Run(w world) error {
	version, revision, modified := "(devel)", "unknown", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version = cmp.Or(info.Main.Version, version)
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				modified = " (modified)"
			}
		}
	}
	fmt.Fprintf(w.stdout, "innkeeper %s\ngo        %s %s/%s\nrevision  %s%s\n",
		version, runtime.Version(), runtime.GOOS, runtime.GOARCH, revision, modified)
	return nil
}
