package main

import (
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// TestReadOnlyFileSystem starts on a data dir whose file system turned read-only, as many do after a fault.
func TestReadOnlyFileSystem(t *testing.T) {
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("needs to mount a small file system: %v", err)
	}
	t.Cleanup(func() { exec.Command("umount", mount).Run() })
	s := newSite(t, filepath.Join(mount, "data"))
	p := s.serve(t).ready(s)
	s.attach(t, "chat:a")
	p.kill()
	remount := func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("tmpfs", mount, "tmpfs", syscall.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(syscall.MS_RDONLY)
	s.serve(t).refused(exitRefused, s.dir, "read-only file system", "for writing")
	remount(0)
	s.serve(t).ready(s)
	if list := s.occupied(t); len(list) != 1 {
		t.Errorf("occupied: %+v", list)
	}
}
