package raftstore

import "github.com/hashicorp/raft"

// cachedLog keeps the latest entries of a log in memory. Raft's own cache would go on answering with entries from before a
// gap, which the log has replaced: after an installed snapshot they may be such as were never committed.
type cachedLog struct{ *raft.LogCache }

func newCachedLog(entries int, log raft.LogStore) (cachedLog, error) {
	c, err := raft.NewLogCache(entries, log)
	return cachedLog{c}, err
}

func (c cachedLog) StoreLog(l *raft.Log) error { return c.StoreLogs([]*raft.Log{l}) }

func (c cachedLog) StoreLogs(logs []*raft.Log) error {
	first, err := c.FirstIndex()
	if err != nil {
		return err
	}
	last, err := c.LastIndex()
	if err != nil {
		return err
	}
	if len(logs) > 0 && last != 0 && logs[0].Index > last+1 {
		if err := c.DeleteRange(first, last); err != nil {
			return err
		}
	}
	return c.LogCache.StoreLogs(logs)
}
