package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"innkeeper/raftstore"
	"innkeeper/transport/admin"
)

type backupCmd struct {
	operatorFlags
	File  string `arg:"" help:"File to write. It must not be there yet."`
	Stale bool   `help:"Take what the node has, though the leader cannot be asked."`
}

func (backupCmd) Help() string {
	return `The file holds all that the cluster has agreed on: occupied channels, events, how far sinks are, keys and namespaces that were made over the API. It holds no messages. The cluster goes on meanwhile. The file appears when it is whole and was read back; keep it as secret as the keys in it.`
}

// Run writes the file beside its place, checks it, and puts it there.
func (c backupCmd) Run(w world) error {
	base, err := baseURL("admin", c.Admin)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(c.File); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there already", c.File)
	}
	u := base.JoinPath("backup")
	if c.Stale {
		u.RawQuery = url.Values{"consistency": {"stale"}}.Encode()
	}
	ctx, cancel := w.untilSignal()
	defer cancel()
	resp, err := stream(ctx, u, c.token(w))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	info, err := keep(resp.Body, c.File)
	if err != nil {
		return err
	}
	if why := resp.Header.Get(admin.StaleHeader); why != "" {
		fmt.Fprintf(w.stderr, "innkeeper: the backup may lack the newest that was agreed on, see docs/operations.md: %s\n", why)
	}
	fmt.Fprintf(w.stdout, "%s: %s\n", c.File, contents(info))
	return nil
}

// keep writes a backup to a file that appears when it is whole.
func keep(from io.Reader, path string) (info raftstore.BackupInfo, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp") // readable by this user alone
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok { // of a name that nobody gave
			err = fmt.Errorf("%s cannot be written: %w", path, e.Err)
		}
		return info, err
	}
	defer os.Remove(f.Name()) // of no effect once it has its name
	_, err = io.Copy(f, from)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return info, fmt.Errorf("the backup broke off: %w", err)
	}
	if info, err = raftstore.CheckBackup(f.Name()); err != nil {
		return info, err
	}
	if err := os.Link(f.Name(), path); err != nil { // refuses to overwrite, unlike a rename
		return info, err
	}
	return info, nil
}

func contents(i raftstore.BackupInfo) string {
	return fmt.Sprintf("cluster %s as of %s: seq %d, %d channels occupied, %d partitions",
		i.ClusterID, time.UnixMilli(i.TimeMs).UTC().Format(time.RFC3339), i.LastSeq, i.Occupied, i.Partitions)
}

type restoreCmd struct {
	File    string `arg:"" help:"Backup to restore."`
	DataDir string `required:"" placeholder:"DIR" help:"Data directory to make; it must be empty or not be there."`
}

func (restoreCmd) Help() string {
	return `Makes the one node of a new cluster, which begins with what the backup holds and has an id of its own. Start it with this data directory, and other nodes with empty ones that join it. See docs/operations.md for what consumers of events must do.`
}

// Run restores the backup.
func (c restoreCmd) Run(w world) error {
	r, err := raftstore.Restore(c.File, c.DataDir)
	if err != nil {
		return err
	}
	fmt.Fprintf(w.stdout, "%s holds node %s of the new cluster %s\nfrom %s\n", c.DataDir, r.NodeID, r.ClusterID, contents(r.Backup))
	return nil
}
