package raftstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

// deleteChunk is how many entries one transaction deletes: appends wait for it.
const deleteChunk = 512

// dirSession is a data dir in use.
type dirSession struct {
	raft.SnapshotStore
	dir    *dir
	db     *bbolt.DB
	syncs  atomic.Uint64
	killed atomic.Bool

	writing sync.Mutex // held for a whole change of the log, disk included

	mu          sync.Mutex // held for moments, inside writing
	first, last uint64     // guarded by mu, changed with writing held; 0, 0: no entries
}

func newDirSession(d *dir) (*dirSession, error) {
	snaps, err := raft.NewFileSnapshotStoreWithLogger(d.path, snapshotsKept, hclog.NewNullLogger())
	if err != nil {
		return nil, fmt.Errorf("data dir %s: %w", d.path, err)
	}
	s := &dirSession{SnapshotStore: snaps, dir: d, db: d.db}
	if err := guard(s.file(), s.measure); err != nil {
		return nil, err
	}
	return s, nil
}

// measure finds the first and last entry and makes sure that none is missing between them.
func (s *dirSession) measure() error {
	return s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketLogs).Cursor()
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			if len(k) != 8 {
				return &CorruptError{File: s.file(), Cause: fmt.Errorf("entry with key %x", k)}
			}
			index := binary.BigEndian.Uint64(k)
			if s.last != 0 && index != s.last+1 {
				return &CorruptError{File: s.file(), Cause: fmt.Errorf("entry %d follows entry %d", index, s.last)}
			}
			if s.first == 0 {
				s.first = index
			}
			s.last = index
		}
		return nil
	})
}

func (s *dirSession) file() string   { return s.dir.logPath() }
func (s *dirSession) fsyncs() uint64 { return s.syncs.Load() }
func (s *dirSession) kill()          { s.killed.Store(true) }
func (s *dirSession) close() error   { return s.dir.release() }

func (s *dirSession) FirstIndex() (uint64, error) {
	first, _ := s.bounds()
	return first, nil
}

func (s *dirSession) LastIndex() (uint64, error) {
	_, last := s.bounds()
	return last, nil
}

func (s *dirSession) bounds() (first, last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first, s.last
}

func (s *dirSession) setBounds(first, last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first, s.last = first, last
}

func (s *dirSession) GetLog(index uint64, l *raft.Log) error {
	return s.view(func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucketLogs).Get(indexKey(index))
		if v == nil {
			return raft.ErrLogNotFound
		}
		// Copied, since v is the mapped file.
		if err := decodeLogEntry(append([]byte(nil), v...), index, l); err != nil {
			return &CorruptError{File: s.file(), Cause: err}
		}
		return nil
	})
}

func (s *dirSession) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

func (s *dirSession) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	first, last, replace, err := newLogBounds(s.first, s.last, logs)
	if err != nil {
		return err
	}
	err = s.update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketLogs)
		if replace {
			if err := tx.DeleteBucket(bucketLogs); err != nil {
				return err
			}
			if b, err = tx.CreateBucket(bucketLogs); err != nil {
				return err
			}
		}
		b.FillPercent = 0.95 // entries are appended
		for _, l := range logs {
			if err := b.Put(indexKey(l.Index), appendLogEntry(nil, l)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		s.setBounds(first, last)
	}
	return err
}

// DeleteRange deletes a prefix in several transactions (what remains is contiguous after each) and a suffix in one.
func (s *dirSession) DeleteRange(lo, hi uint64) error {
	for {
		done, err := s.deleteSome(lo, hi)
		if done || err != nil {
			return err
		}
	}
}

func (s *dirSession) deleteSome(lo, hi uint64) (done bool, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	done = true
	if hi < s.last && lo <= s.first && s.first+deleteChunk <= hi {
		hi, done = s.first+deleteChunk-1, false
	}
	first, last, err := cutBounds(s.first, s.last, lo, hi)
	if err != nil || first == s.first && last == s.last {
		return true, err
	}
	err = s.update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketLogs)
		for i := max(lo, s.first); i <= min(hi, s.last); i++ {
			if err := b.Delete(indexKey(i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		s.setBounds(first, last)
	}
	return done, err
}

func (s *dirSession) Set(key, val []byte) error {
	err := s.update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketStable).Put(key, val) })
	if err == nil && bytes.Equal(key, keyCluster) {
		s.dir.noteCluster(val)
	}
	return err
}

func (s *dirSession) Get(key []byte) (val []byte, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		if v := tx.Bucket(bucketStable).Get(key); v != nil {
			val = append([]byte{}, v...)
		}
		return nil
	})
	return val, err
}

func (s *dirSession) SetUint64(key []byte, val uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, val))
}

func (s *dirSession) GetUint64(key []byte) (uint64, error) {
	v, err := s.Get(key)
	if err != nil || v == nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, &CorruptError{File: s.file(), Cause: fmt.Errorf("number %q has %d bytes", key, len(v))}
	}
	return binary.BigEndian.Uint64(v), nil
}

func (s *dirSession) view(fn func(*bbolt.Tx) error) error {
	return guard(s.file(), func() error { return s.db.View(fn) })
}

func (s *dirSession) update(fn func(*bbolt.Tx) error) error {
	if s.killed.Load() {
		return errKilled
	}
	err := guard(s.file(), func() error { return s.db.Update(fn) })
	if err != nil {
		return fmt.Errorf("write %s: %w", s.file(), err)
	}
	s.syncs.Add(2) // data, then the header that makes it count
	return nil
}

func indexKey(index uint64) []byte { return binary.BigEndian.AppendUint64(nil, index) }
