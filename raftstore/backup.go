package raftstore

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// A backup is a magic string, a frame that says what is in it, a snapshot, and the SHA-256 of all that. Frames are those
// of snapshots.
//
//	head   cluster id, uvarint last seq, uvarint index, varint time (unix ms), uvarint partitions, uvarint occupied channels
const (
	backupMagic      = "innkeeper backup 1\n"
	backupHead  byte = 64
)

// BackupInfo says what a backup holds.
type BackupInfo struct {
	ClusterID  string
	LastSeq    uint64 // of the newest event
	Index      uint64 // raft index it is true for
	TimeMs     int64  // when it was taken, by the node that took it
	Partitions int
	Occupied   int // channels
}

func (i *BackupInfo) append(dst []byte) []byte {
	dst = appendBytes(dst, i.ClusterID)
	dst = binary.AppendUvarint(dst, i.LastSeq)
	dst = binary.AppendUvarint(dst, i.Index)
	dst = binary.AppendVarint(dst, i.TimeMs)
	dst = binary.AppendUvarint(dst, uint64(i.Partitions))
	return binary.AppendUvarint(dst, uint64(i.Occupied))
}

func decodeBackupInfo(b []byte) (BackupInfo, error) {
	d := decoder{rest: b}
	i := BackupInfo{
		ClusterID: d.string(stringBytesMax), LastSeq: d.uvarint(), Index: d.uvarint(), TimeMs: d.varint(),
		Partitions: int(d.uvarint()), Occupied: int(d.uvarint()),
	}
	return i, d.end()
}

// Backup writes what this node has applied, as it is at one moment, while the log goes on. That is its last snapshot until a
// leader has told it, since it was opened, how far the log is committed: entries on its disk may not be. Call ReadIndex
// before for all events that were committed until then; cursors and rows of tables may lack the last moments of a node that
// does not lead. ErrNoCluster on a node that belongs to no cluster yet.
func (s *Store) Backup(w io.Writer) (BackupInfo, error) {
	s.fsm.mu.Lock()
	state := s.fsm.state
	if state.clusterID == "" {
		s.fsm.mu.Unlock()
		return BackupInfo{}, fmt.Errorf("backup: %w", ErrNoCluster)
	}
	info := BackupInfo{
		ClusterID: state.clusterID, LastSeq: state.events.last, Index: state.index, TimeMs: time.Now().UnixMilli(),
		Partitions: len(state.slots), Occupied: state.occupied,
	}
	frozen := state.snapshot()
	s.fsm.mu.Unlock()
	return info, s.op("backup", writeBackup(w, info, frozen))
}

func writeBackup(w io.Writer, info BackupInfo, frozen *snapshot) error {
	sum := sha256.New()
	all := io.MultiWriter(w, sum)
	if _, err := io.WriteString(all, backupMagic); err != nil {
		return err
	}
	fw := frameWriter{w: all}
	fw.frame(backupHead, nil, info.append(nil))
	if fw.err != nil {
		return fw.err
	}
	if err := frozen.write(all); err != nil {
		return err
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

// BackupError says that a file is no backup, or not a whole one.
type BackupError struct {
	File  string
	Cause error
}

func (e *BackupError) Error() string {
	return fmt.Sprintf("backup %s cannot be used: %v", e.File, e.Cause)
}
func (e *BackupError) Unwrap() error { return e.Cause }

// CheckBackup reads a backup to its end and says what it holds. Errors of its contents are BackupErrors.
func CheckBackup(path string) (BackupInfo, error) {
	info, _, err := readBackup(path)
	return info, err
}

func readBackup(path string) (BackupInfo, *state, error) {
	f, err := os.Open(path)
	if err != nil {
		return BackupInfo{}, nil, fmt.Errorf("backup: %w", err)
	}
	defer f.Close()
	info, s, err := parseBackup(f)
	if err != nil {
		return BackupInfo{}, nil, &BackupError{path, err}
	}
	return info, s, nil
}

func parseBackup(f io.ReadSeeker) (info BackupInfo, s *state, err error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return info, nil, err
	}
	magic := make([]byte, len(backupMagic))
	if _, err := io.ReadFull(f, magic); err != nil || string(magic) != backupMagic {
		return info, nil, errors.New("it is no backup of this version")
	}
	size -= sha256.Size
	if size < int64(len(backupMagic)) {
		return info, nil, io.ErrUnexpectedEOF
	}
	sum := sha256.New()
	sum.Write(magic)
	if _, err := io.CopyN(sum, f, size-int64(len(magic))); err != nil {
		return info, nil, unexpected(err)
	}
	want := make([]byte, sha256.Size)
	if _, err := io.ReadFull(f, want); err != nil {
		return info, nil, unexpected(err)
	}
	if !bytes.Equal(sum.Sum(nil), want) {
		return info, nil, errors.New("its checksum is wrong: it is damaged, or was not written to the end")
	}
	if _, err := f.Seek(int64(len(magic)), io.SeekStart); err != nil {
		return info, nil, err
	}
	return decodeBackup(bufio.NewReaderSize(io.LimitReader(f, size-int64(len(magic))), 64<<10))
}

// decodeBackup reads what is between the magic and the checksum.
func decodeBackup(r *bufio.Reader) (info BackupInfo, s *state, err error) {
	kind, head, err := readFrame(r)
	if err == nil && kind != backupHead {
		err = fmt.Errorf("it begins with a frame of kind %d", kind)
	}
	if err == nil {
		info, err = decodeBackupInfo(head)
	}
	if err == nil {
		s, err = readState(r)
	}
	if err != nil {
		return info, nil, unexpected(err)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		return info, nil, errors.New("something follows its end")
	}
	if s.clusterID != info.ClusterID || s.events.last != info.LastSeq || s.occupied != info.Occupied || len(s.slots) != info.Partitions {
		return info, nil, errors.New("its head does not say what is in it")
	}
	return info, s, nil
}
