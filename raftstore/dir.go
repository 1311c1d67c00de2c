package raftstore

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const (
	logFile  = "log.db"  // entries, terms and votes
	nodeFile = "node.id" // id of the node; its presence says that there must be a log
	lockFile = "lock"    // locked while a process has the dir open

	lockTimeout = time.Second // how long to wait for a process that is just ending
)

var (
	bucketLogs   = []byte("logs")
	bucketStable = []byte("stable")
	bucketMeta   = []byte("meta")
	keyNode      = []byte("node")
	keyFormat    = []byte("format")
)

const dirFormat = 1

// dir is a Disk in a directory: log.db, snapshots/, node.id and lock.
type dir struct {
	path string
	node string

	cluster atomic.Pointer[string] // id of the cluster; nil while unknown

	mu    sync.Mutex
	lock  *os.File  // guarded by mu; nil while closed
	db    *bbolt.DB // guarded by mu; nil while closed
	inUse bool      // guarded by mu; a session lasts
}

// OpenDir opens a data dir, making it if it is not there. It holds a lock until closed: a second process gets ErrInUse.
// Other errors are TruncatedError, CorruptError or the operating system's.
func OpenDir(path string) (Disk, error) {
	if err := os.MkdirAll(path, 0o750); err != nil {
		return nil, fmt.Errorf("data dir: %w", err)
	}
	d := &dir{path: path}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.open(); err != nil {
		return nil, err
	}
	return d, nil
}

// IsNew says whether OpenDir would make a node where none is: path is not there, or holds neither log nor node id.
func IsNew(path string) bool {
	for _, name := range []string{logFile, nodeFile} {
		if _, err := os.Stat(filepath.Join(path, name)); !errors.Is(err, os.ErrNotExist) {
			return false // what is wrong with it, OpenDir says
		}
	}
	return true
}

func (d *dir) NodeID() string { return d.node }

func (d *dir) ClusterID() string {
	if id := d.cluster.Load(); id != nil {
		return *id
	}
	return ""
}

// Close closes the file and lets go of the lock.
func (d *dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.inUse || d.db == nil {
		return nil
	}
	return d.closeDB()
}

func (d *dir) closeDB() (err error) {
	if d.db != nil {
		err = guard(d.logPath(), d.db.Close)
	}
	if d.lock != nil {
		err = errors.Join(err, d.lock.Close())
	}
	d.db, d.lock = nil, nil
	return err
}

func (d *dir) logPath() string { return filepath.Join(d.path, logFile) }

func (d *dir) start() (session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.inUse {
		return nil, fmt.Errorf("data dir %s: %w", d.path, errors.New("this process uses it already"))
	}
	if d.db == nil {
		if err := d.open(); err != nil {
			return nil, err
		}
	}
	s, err := newDirSession(d)
	if err != nil {
		return nil, err
	}
	d.inUse = true
	return s, nil
}

// release ends a session.
func (d *dir) release() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inUse = false
	if d.db == nil {
		return nil
	}
	return d.closeDB()
}

// open opens the file and makes sure that it is whole and belongs to the node of this dir. mu is held.
func (d *dir) open() (err error) {
	defer func() {
		if err != nil {
			d.closeDB()
		}
	}()
	if d.lock, err = lockDir(d.path); err != nil {
		return err
	}
	known, err := readNodeFile(filepath.Join(d.path, nodeFile))
	if err != nil {
		return err
	}
	// A missing or empty file is a new one to bbolt. A node that lost its log must not start as if it never voted.
	// Snapshots are as good a sign of it as its id is.
	old, err := hasSnapshots(d.path)
	if err != nil {
		return err
	}
	if err := checkLogFile(d.logPath(), known != "" || old); err != nil {
		return err
	}
	if err := guard(d.logPath(), d.openDB); err != nil {
		return err
	}
	if d.node == "" {
		d.node = known
	}
	err = guard(d.logPath(), func() error { return d.identify(known) })
	if err == nil && known == "" {
		err = writeNodeFile(d.path, d.node)
	}
	return err
}

// lockDir locks the dir for this process. The lock goes with the file, so it cannot outlive the process. It is taken
// before anything is read: what another process is writing would look damaged.
func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(path, lockFile), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("data dir: %w", err)
	}
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("data dir %s: lock: %w", path, err)
		}
		if time.Since(start) >= lockTimeout {
			f.Close()
			return nil, fmt.Errorf("data dir %s is %w: stop that one, or give this node a directory of its own", path, ErrInUse)
		}
	}
}

func (d *dir) openDB() (err error) {
	var file *os.File
	defer func() {
		if d.db == nil && file != nil {
			// bbolt forgets both when it panics; the mapping it leaves behind would keep the lock.
			syscall.Flock(int(file.Fd()), syscall.LOCK_UN)
			file.Close()
		}
	}()
	db, err := bbolt.Open(d.logPath(), 0o640, &bbolt.Options{
		Timeout: lockTimeout,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			file, err = os.OpenFile(name, flag, mode)
			return file, err
		},
		NoFreelistSync: true, // found again by a scan on open; saves writing it with each entry
		FreelistType:   bbolt.FreelistMapType,
		NoStatistics:   true,
	})
	if errors.Is(err, berrors.ErrTimeout) {
		return fmt.Errorf("data dir %s is %w", d.path, ErrInUse)
	}
	if err != nil {
		if errors.Is(err, berrors.ErrInvalid) || errors.Is(err, berrors.ErrChecksum) || errors.Is(err, berrors.ErrVersionMismatch) {
			return &CorruptError{File: d.logPath(), Cause: err}
		}
		return fmt.Errorf("open %s: %w", d.logPath(), err)
	}
	d.db = db
	return nil
}

// identify reads the node's id from the file, or draws one for a new file.
func (d *dir) identify(known string) error {
	return d.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketLogs, bucketStable, bucketMeta} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		node := string(meta.Get(keyNode))
		switch {
		case node == "" && known != "":
			return &CorruptError{File: d.logPath(), Cause: fmt.Errorf("it is empty, yet %s says node %s", nodeFile, known)}
		case node == "":
			node = newNodeID()
			if err := meta.Put(keyNode, []byte(node)); err != nil {
				return err
			}
			if err := meta.Put(keyFormat, []byte{dirFormat}); err != nil {
				return err
			}
		case known != "" && node != known:
			return &CorruptError{File: d.logPath(), Cause: fmt.Errorf("it is of node %s, yet %s says %s", node, nodeFile, known)}
		}
		if f := meta.Get(keyFormat); len(f) != 1 || f[0] != dirFormat {
			return &CorruptError{File: d.logPath(), Cause: fmt.Errorf("unknown format %v", f)}
		}
		d.node = node
		d.noteCluster(tx.Bucket(bucketStable).Get(keyCluster))
		return nil
	})
}

// noteCluster takes note of the cluster's id, as it is on the disk.
func (d *dir) noteCluster(id []byte) {
	if len(id) > 0 {
		d.cluster.Store(new(string(id)))
	}
}

func newNodeID() string {
	b := make([]byte, 10)
	rand.Read(b)
	return strings.ToLower(base32.StdEncoding.EncodeToString(b))
}

// readNodeFile returns "" where there is none.
func readNodeFile(path string) (string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("data dir: %w", err)
	}
	id := strings.TrimSpace(string(b))
	if id == "" {
		return "", &CorruptError{File: path, Cause: errors.New("it is empty")}
	}
	return id, nil
}

// writeNodeFile makes the file whole or not at all.
func writeNodeFile(dir, id string) error {
	path := filepath.Join(dir, nodeFile)
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("data dir: %w", err)
	}
	_, err = f.WriteString(id + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("data dir: %w", err)
	}
	return nil
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
