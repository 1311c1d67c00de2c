package node

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"innkeeper/channel"
	"innkeeper/cluster"
	"innkeeper/raftstore"
	"innkeeper/transport/auth"
	"innkeeper/transport/rest"
)

// The tables of the log that are about credentials.
const (
	tableNonces      = "nonces"      // key name and hash of the nonce → who claimed it
	tableRevocations = "revocations" // see revocationKey → auth.Revocation as JSON
	tableApps        = "apps"        // app id → auth.App as JSON
)

// kindTable is a request on a link: have you applied this version of that table, and drawn your conclusions?
const kindTable = 10

// spreadTimeout bounds how long a change of credentials waits for a node that does not answer. Such a node has lost its
// lease before long, and learns of the change when it comes back.
const spreadTimeout = 2 * time.Second

// authority is what the cluster agrees on about credentials: the apps of the configuration and those provisioned at run
// time, revoked tokens and used nonces. One goroutine (follow) lets the node's keys follow the tables of the log; the observer
// has them looked at once more before the node serves.
type authority struct {
	b      *boot
	static []auth.Key // of the configuration

	catalog atomic.Pointer[catalog] // of the apps made at run time

	looking sync.Mutex // held by look

	mu      sync.Mutex
	seen    map[string]uint64 // by table: the version that has been drawn conclusions from
	changed chan struct{}     // closed when seen changes
}

func newAuthority(b *boot, static []auth.Key) *authority {
	a := &authority{b: b, static: static, seen: map[string]uint64{}, changed: make(chan struct{})}
	a.catalog.Store(&catalog{})
	return a
}

// follow applies the tables whenever they change, until the boot ends.
func (a *authority) follow() {
	for {
		a.look()
		select {
		case <-a.b.store.TablesChanged():
		case <-a.b.quit:
			return
		}
	}
}

// look draws conclusions from whatever has changed in the tables until now.
func (a *authority) look() {
	a.looking.Lock()
	defer a.looking.Unlock()
	apps, revocations := a.apply(tableApps, a.applyApps), a.apply(tableRevocations, a.applyRevocations)
	limited := a.apply(tableLimits, a.applyLimits)
	if apps && !limited { // whose an app is counts for limits, too
		rows, _ := a.b.store.Rows(tableLimits)
		a.applyLimits(rows)
	}
	if apps || revocations || limited {
		a.b.gateway.CredentialsChanged()
		a.mu.Lock()
		close(a.changed)
		a.changed = make(chan struct{})
		a.mu.Unlock()
	}
}

// apply lets do look at a table that has changed.
func (a *authority) apply(table string, do func([]raftstore.Row)) bool {
	a.mu.Lock()
	seen := a.seen[table]
	a.mu.Unlock()
	if a.b.store.TableVersion(table) == seen {
		return false
	}
	rows, version := a.b.store.Rows(table)
	do(rows)
	a.mu.Lock()
	a.seen[table] = version
	a.mu.Unlock()
	return true
}

func (a *authority) applyRevocations(rows []raftstore.Row) {
	list := make([]auth.Revocation, 0, len(rows))
	for _, r := range rows {
		var one auth.Revocation
		if err := json.Unmarshal(r.Value, &one); err != nil {
			a.b.log.Error("a revocation in the log cannot be read; it is left out", "err", err)
			continue
		}
		list = append(list, one)
	}
	a.b.keys.ReplaceRevocations(list)
}

// wait returns when this node has drawn its conclusions from a version of a table.
func (a *authority) wait(ctx context.Context, table string, version uint64) error {
	for {
		a.mu.Lock()
		seen, changed := a.seen[table], a.changed
		a.mu.Unlock()
		if seen >= version {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-a.b.quit:
			return errors.New("the node is being stopped")
		}
	}
}

// spread returns when all members have drawn their conclusions from a version of a table, or did not answer in time.
func (a *authority) spread(ctx context.Context, table string, version uint64) error {
	ctx, cancel := context.WithTimeout(ctx, spreadTimeout)
	defer cancel()
	payload := append(binary.AppendUvarint(nil, version), table...)
	var all sync.WaitGroup
	for _, m := range a.b.store.View().Members {
		if m.State == raftstore.Dead || m.Node == a.b.node.disk.NodeID() {
			continue
		}
		all.Go(func() {
			if _, err := a.b.cluster.Request(ctx, m.Node, kindTable, payload); err != nil {
				a.b.log.Warn("a node was not told of changed credentials in time; it learns of them from the log", "peer", m.Node, "err", err)
			}
		})
	}
	err := a.wait(ctx, table, version)
	all.Wait()
	return err
}

// onTable answers spread on another node.
func (a *authority) onTable(ctx context.Context, _ cluster.Peer, payload []byte) ([]byte, error) {
	version, n := binary.Uvarint(payload)
	if n <= 0 {
		return nil, errors.New("bad request for a table")
	}
	return nil, a.wait(ctx, string(payload[n:]), version)
}

// ClaimNonce implements rest.Authority.
func (a *authority) ClaimNonce(ctx context.Context, keyName, nonce string, until time.Time) (bool, error) {
	hash := sha256.Sum256([]byte(nonce))
	claim := make([]byte, 8) // tells a claim that is sent again from another one
	rand.Read(claim)
	_, err := a.b.store.Put(ctx, raftstore.Put{
		Table: tableNonces, Key: keyName + " " + string(hash[:16]), Value: claim, IfAbsent: true, ExpireMs: until.UnixMilli(),
		NoWait: true, // what counts is that the leader took it
	})
	if errors.Is(err, raftstore.ErrExists) {
		return false, nil
	}
	return err == nil, unreachable(err)
}

// revocationLeeway is how much longer than the tokens it ends a revocation is kept: clocks of nodes differ.
const revocationLeeway = 5 * time.Minute

// Revoke implements rest.Authority.
func (a *authority) Revoke(ctx context.Context, list []auth.Revocation) error {
	var newest uint64
	for _, r := range list {
		value, err := json.Marshal(r)
		if err != nil {
			return err
		}
		// A later revocation of the same target stands beside this one: it may give time that this one does not.
		hash := sha256.Sum256([]byte(r.Target))
		version, err := a.b.store.Put(ctx, raftstore.Put{
			Table: tableRevocations, Key: fmt.Sprintf("%s %s %d", r.KeyName, hex.EncodeToString(hash[:16]), r.IssuedBeforeMs), Value: value,
			ExpireMs: time.UnixMilli(r.IssuedBeforeMs).Add(auth.RevocableTTLMax + revocationLeeway).UnixMilli(),
		})
		if err != nil {
			return unreachable(err)
		}
		newest = max(newest, version)
	}
	return a.spread(ctx, tableRevocations, newest)
}

// CreateApp implements rest.Authority.
func (a *authority) CreateApp(ctx context.Context, app *auth.App) error {
	value, err := json.Marshal(app)
	if err != nil {
		return err
	}
	version, err := a.b.store.Put(ctx, raftstore.Put{Table: tableApps, Key: app.ID, Value: value, IfAbsent: true})
	if err != nil {
		return unreachable(err)
	}
	if err := a.limitNewApp(ctx, app.ID); err != nil {
		return unreachable(err)
	}
	if err := a.spread(ctx, tableApps, version); err != nil {
		return err
	}
	fixtures, _ := app.Fixtures() // checked when the app was made
	for _, f := range fixtures {
		a.b.gateway.Present(app.ID, f.Name, f.Members)
	}
	return nil
}

// DeleteApp implements rest.Authority.
func (a *authority) DeleteApp(ctx context.Context, id string) error {
	if _, ok := a.b.store.Row(tableApps, id); !ok {
		return rest.ErrNotProvisioned
	}
	version, err := a.b.store.Delete(ctx, tableApps, id)
	if err != nil {
		return unreachable(err)
	}
	a.b.gateway.Absent(id)
	return a.spread(ctx, tableApps, version)
}

// unreachable makes clients hear of a log that did not answer in time what they hear of a channel that does not: try
// again.
func unreachable(err error) error {
	if errors.Is(err, raftstore.ErrUnknownOutcome) || errors.Is(err, raftstore.ErrClosed) {
		return &notReached{err}
	}
	return err
}

type notReached struct{ error }

// Refusal is how package protocol asks.
func (*notReached) Refusal() channel.Refusal { return channel.NotOwner }

func (e *notReached) Unwrap() error { return e.error }

var _ rest.Authority = (*authority)(nil)
