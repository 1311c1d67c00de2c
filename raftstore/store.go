package raftstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// Keys of the stable store that are ours. Raft's own start with capital letters.
var (
	keyCluster = []byte("innkeeper.cluster") // id of the cluster this log belongs to
	keyPending = []byte("innkeeper.init")    // init command that this node bootstrapped with, until it is committed
)

// stopTimeout bounds the steps of stopping, for a disk that never comes back.
const stopTimeout = 10 * time.Second

// Store is one node's part of the partition log.
type Store struct {
	// static after Open
	config    Config
	log       *slog.Logger
	fsm       *fsm
	disk      *guardedDisk
	stream    *stream
	raft      *raft.Raft
	proposer  proposer
	collector collector
	reads     reads
	stats     counters

	leaderChanged chan struct{} // cap 1, for LeaderChanged
	changed       chan struct{} // cap 1, for Changed
	leaderMoved   chan struct{} // cap 1, from raft's observer to watch
	placed        chan struct{} // cap 1, from the FSM to watch
	applied       signal        // fired after each batch with events
	tabled        signal        // fired after each batch with table commands
	tablesChanged chan struct{} // cap 1, for TablesChanged

	ctx      context.Context // ends when stopping begins
	cancel   context.CancelFunc
	started  atomic.Bool // raft is set
	cut      atomic.Bool // off the network, for good; set by Kill, a fatal error and the end of Close
	trimming atomic.Bool

	loops sync.WaitGroup // watch, proposer.run and what they start

	mu      sync.Mutex
	refuse  bool           // guarded by mu; no new futures
	futures sync.WaitGroup // Add with mu held and refuse unset
	fatal   error          // guarded by mu

	stopping atomic.Bool   // stop has begun
	stopped  chan struct{} // closed when all is over
	err      error         // of stopping; set before stopped is closed
}

// Open starts the store of a node on its disk. If the disk has no state, the node waits to be bootstrapped or to be
// added by a leader.
func Open(config Config) (*Store, error) {
	if err := config.complete(); err != nil {
		return nil, fmt.Errorf("partition log: %w", err)
	}
	s := &Store{
		config: config, log: config.Logger,
		leaderChanged: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		leaderMoved: make(chan struct{}, 1), placed: make(chan struct{}, 1),
		tablesChanged: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	session, err := config.Disk.start()
	if err != nil {
		return nil, fmt.Errorf("partition log: %w", err)
	}
	s.disk = &guardedDisk{
		session: session, timeout: config.DiskTimeout, stats: &s.stats,
		leading:  func() bool { return s.started.Load() && s.IsLeader() },
		stop:     s.fail,
		stopping: s.cut.Load,
	}
	s.fsm = newFSM(s.fail, s.onApplied)
	s.stream = newStream(&config, s.nodeAt)
	if err := s.start(); err != nil {
		s.stream.Close()
		s.cancel()
		return nil, errors.Join(fmt.Errorf("partition log: %w", err), session.close())
	}
	return s, nil
}

// start brings up raft and the loops, or leaves nothing running.
func (s *Store) start() error {
	id, err := s.disk.session.Get(keyCluster)
	if err != nil {
		return err
	}
	if want := s.config.ClusterID; want != "" && len(id) > 0 && string(id) != want {
		return fmt.Errorf("%s %w: it is of cluster %s, this node is configured for %s", s.disk.file(), ErrWrongCluster, id, want)
	}
	pending, err := s.disk.session.Get(keyPending)
	if err != nil {
		return err
	}
	if err := s.startRaft(); err != nil {
		return err
	}
	s.collector = collector{apply: s.applyFuture, spawn: s.spawn, stats: &s.stats}
	s.proposer = proposer{
		send: s.send, leader: s.Leader, current: s.epoch, taken: s.taken, spawn: s.spawnLoop, stats: &s.stats,
	}
	s.proposer.init()
	s.loops.Go(func() { s.proposer.run(s.ctx) })
	s.loops.Go(func() { s.watch(string(id)) })
	if len(pending) > 0 {
		s.loops.Go(func() { s.found(pending) })
	}
	return nil
}

// startRaft makes raft run. What is damaged on the disk shows here, as an error or as a panic of raft.
func (s *Store) startRaft() error {
	logger := newRaftLogger(s.log)
	transport := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:          s.stream,
		MaxPool:         3,
		MaxRPCsInFlight: 1, // no pipelining: it can deadlock, and gains nothing with entries of this size
		Timeout:         s.config.RPCTimeout,
		Logger:          logger,
	})
	log, err := newCachedLog(cachedEntries, s.disk)
	if err == nil {
		err = checkSnapshots(s.disk)
	}
	if err == nil {
		err = guard(s.disk.file(), func() error {
			s.raft, err = raft.NewRaft(s.config.raft(logger), s.fsm, log, s.disk, s.disk, transport)
			return snapshotError(s.disk.file(), err)
		})
	}
	if err == nil {
		err = s.failure()
	}
	if err != nil {
		s.cutOff()
		transport.Close()
		if s.raft != nil {
			s.raft.Shutdown().Error()
		}
		return err
	}
	s.raft.RegisterObserver(raft.NewObserver(nil, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.RaftState, raft.LeaderObservation:
			nudge(s.leaderMoved)
		}
		return false
	}))
	nudge(s.leaderMoved) // what happened before the observer was there
	s.started.Store(true)
	return nil
}

// cutOff takes the node off the network, and the FSM off the log, for good.
func (s *Store) cutOff() {
	s.cut.Store(true)
	s.fsm.halted.Store(true)
	s.stream.Close()
}

// fail is how a fatal error stops the store: cut off at once, reported, and then stopped in the background.
func (s *Store) fail(err *FatalError) {
	s.cutOff()
	s.mu.Lock()
	first := s.fatal == nil
	if first {
		s.fatal = err
	}
	s.mu.Unlock()
	if !first || !s.started.Load() { // a store that does not start says so by the error of Open
		return
	}
	s.log.Error("partition log stops", "error", err)
	go s.config.OnFatal(err) // not waited for: it may wait for Close
	go s.stop(false)         // Close waits for its end
}

func (s *Store) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fatal
}

// Close stops the node in good order: a leader hands over first. It waits for everything to end. The error is the
// fatal one, if the store had stopped by itself, or that of closing the disk.
func (s *Store) Close() error {
	s.stop(true)
	<-s.stopped
	return errors.Join(s.failure(), s.err)
}

// Kill stops the node as a crash would: nothing is sent, stored or applied from here on. It waits for everything to
// end. For tests.
func (s *Store) Kill() {
	s.cutOff()
	s.disk.kill()
	s.stop(false)
	<-s.stopped
}

// stop ends everything, if nobody has begun to.
func (s *Store) stop(graceful bool) {
	if s.stopping.Swap(true) {
		return
	}
	defer close(s.stopped)
	if graceful {
		s.handOver()
	}
	s.cancel()
	s.collector.close()
	s.mu.Lock()
	s.refuse = true
	s.mu.Unlock()
	if s.cut.Load() {
		s.disk.kill() // blocked writes return
	}
	// Futures are answered while raft runs: by a commit, or by a leader that steps down without a majority. After its
	// shutdown some never are.
	ok := waitFor(s.futures.Wait)
	s.cutOff()
	ok = ok && waitFor(func() { s.raft.Shutdown().Error() }) && waitFor(s.loops.Wait)
	if !ok {
		s.err = fmt.Errorf("partition log: %s does not return; left open", s.disk.file())
		return
	}
	s.err = s.disk.close()
}

// handOver gives leadership away, if there is somebody to take it.
func (s *Store) handOver() {
	if s.cut.Load() || !s.IsLeader() || !s.votersElsewhere() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*s.config.Election)
	defer cancel()
	if err := s.Transfer(ctx); err != nil {
		s.log.Info("leadership not handed over", "error", err)
	}
}

// waitFor runs wait and reports whether it came back within stopTimeout.
func waitFor(wait func()) bool {
	done := make(chan struct{})
	go func() { // ends with wait; only a disk that hangs makes it outlive the store
		defer close(done)
		wait()
	}()
	t := time.NewTimer(stopTimeout)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

// spawn is future for the collector, which spawns nothing any more once it is closed.
func (s *Store) spawn(fn func()) { s.future(fn) }

// future runs fn on a goroutine that stop waits for, unless stopping has begun.
func (s *Store) future(fn func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse {
		return false
	}
	s.futures.Go(fn)
	return true
}

// spawnLoop runs fn, which ends by itself, on a goroutine that stop waits for if it has not begun.
func (s *Store) spawnLoop(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse {
		go fn()
		return
	}
	s.loops.Go(fn)
}

// await waits for a raft call, for as long as ctx and ApplyTimeout allow. The call goes on behind it.
func (s *Store) await(ctx context.Context, call func() error) error {
	result := make(chan error, 1)
	if !s.future(func() { result <- call() }) {
		return ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.ApplyTimeout)
	defer cancel()
	select {
	case err := <-result:
		return s.raftError(err)
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, ctx.Err())
	}
}

// raftError translates raft's errors.
func (s *Store) raftError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		leader := s.Leader()
		if leader == s.config.NodeID {
			leader = ""
		}
		return &NotLeaderError{Leader: leader}
	case errors.Is(err, raft.ErrRaftShutdown):
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
}

// applyFuture takes a command through raft and returns what the FSM said.
func (s *Store) applyFuture(cmd []byte) (any, error) {
	f := s.raft.Apply(cmd, s.config.ApplyTimeout)
	if err := f.Error(); err != nil {
		return nil, s.raftError(err)
	}
	return f.Response(), nil
}

// apply takes a control command through raft. An error that the FSM answers is returned as error.
func (s *Store) apply(ctx context.Context, cmd []byte) (result any, err error) {
	if err := checkCommand(cmd); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	done := make(chan struct{})
	var r any
	err = s.await(ctx, func() error {
		defer close(done)
		f := s.raft.Apply(cmd, s.config.ApplyTimeout)
		if err := f.Error(); err != nil {
			return err
		}
		r = f.Response()
		return nil
	})
	if err != nil {
		return nil, err
	}
	<-done
	if refused, ok := r.(error); ok {
		return nil, refused
	}
	return r, nil
}
