package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// row is one line of the table.
type row struct{ metric, measured, target, met string }

func met(ok bool) string {
	if ok {
		return "yes"
	}
	return "**no**"
}

func (b *bench) add(r row) {
	b.rows = append(b.rows, r)
	b.progress("%s: %s (target %s, met: %s)", r.metric, r.measured, r.target, strings.Trim(r.met, "*"))
}

func (b *bench) note(metric, measured, target string) { b.add(row{metric, measured, target, "–"}) }

// atMost reports a figure that should be small.
func (b *bench) atMost(metric string, value float64, unit string, target float64) {
	b.add(row{metric, fmt.Sprintf("%.3g %s", value, unit), fmt.Sprintf("≤ %g %s", target, unit), met(value <= target)})
}

// atLeast reports a figure that should be large.
func (b *bench) atLeast(metric string, value float64, unit string, target float64) {
	b.add(row{metric, fmt.Sprintf("%.0f%s", value, unit), fmt.Sprintf("≥ %.0f%s", target, unit), met(value >= target)})
}

// ratio reports a cost against the floor measured in the same run.
func (b *bench) ratio(metric string, cost, floor time.Duration, target float64) {
	if floor <= 0 {
		b.note(metric, fmt.Sprintf("%.2f µs; the floor is too small to be measured", micros(cost)), fmt.Sprintf("≤ %g ×", target))
		return
	}
	ratio := float64(cost) / float64(floor)
	b.add(row{metric, fmt.Sprintf("%.2f × (%.2f µs, floor %.2f µs)", ratio, micros(cost), micros(floor)), fmt.Sprintf("≤ %g ×", target), met(ratio <= target)})
}

// table writes what was measured, as Markdown.
func (b *bench) table(w io.Writer) {
	fmt.Fprintf(w, "Machine: %s.\n\n| metric | measured | target | met? |\n|---|---|---|---|\n", machine(b.Dir))
	for _, r := range b.rows {
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", r.metric, r.measured, r.target, r.met)
	}
}

// machine says on what was measured; the kind of file system matters, for a memory disk syncs for nothing.
func machine(dir string) string {
	cpu, memory := "unknown CPU", "unknown memory"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		cpu = field(string(text), "model name", cpu)
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kb int64
		if fmt.Sscan(field(string(text), "MemTotal", ""), &kb); kb > 0 {
			memory = fmt.Sprintf("%.1f GB", float64(kb)/(1<<20))
		}
	}
	var u unix.Utsname
	kernel := "unknown kernel"
	if unix.Uname(&u) == nil {
		kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	return fmt.Sprintf("%s, %d CPUs, %s, %s, %s, data on %s, %s", cpu, runtime.NumCPU(), memory, kernel, runtime.Version(), fileSystem(dir), time.Now().Format(time.DateOnly))
}

func field(text, name, missing string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return missing
}

func fileSystem(dir string) string {
	if dir == "" {
		dir = os.TempDir()
	}
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return "an unknown file system"
	}
	switch int64(s.Type) {
	case unix.TMPFS_MAGIC:
		return "tmpfs (fsync costs nothing)"
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs"
	default:
		return fmt.Sprintf("file system %#x", s.Type)
	}
}
