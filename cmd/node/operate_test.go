package node

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"innkeeper/transport/admin"
)

// TestOperateACluster hands leadership over, and removes a node once it is dead.
func TestOperateACluster(t *testing.T) {
	first := run(t, settings(t.TempDir())).ready()
	lone := first.boot.Load()
	if _, err := lone.transfer(t.Context()); statusOf(err) != http.StatusConflict {
		t.Errorf("a node alone has nobody to lead: got %v", err)
	}
	second := run(t, joining(t.TempDir(), first)).ready()
	third := run(t, joining(t.TempDir(), first)).ready()
	all := []*running{first, second, third}
	first.until("votes", func() bool { return first.voters() == 3 })

	leader, err := first.boot.Load().transfer(t.Context())
	if err != nil || leader == first.ID() {
		t.Fatalf("leads %s, %v", leader, err)
	}
	var elsewhere *admin.Elsewhere
	first.until("the new leader", func() bool {
		_, err := first.boot.Load().transfer(t.Context())
		return errors.As(err, &elsewhere) && elsewhere.Leader == leader
	})

	var b *boot
	var dead *running
	for _, n := range all {
		switch {
		case n.ID() == leader:
			b = n.boot.Load()
		case n != first:
			dead = n
		}
	}
	if err := b.remove(t.Context(), "nobody", false); statusOf(err) != http.StatusNotFound {
		t.Errorf("nobody: got %v", err)
	}
	for _, force := range []bool{false, true} {
		if err := b.remove(t.Context(), dead.ID(), force); statusOf(err) != http.StatusConflict {
			t.Errorf("a living node, force %v: got %v", force, err)
		}
	}
	dead.Kill()
	dead.cancel()
	first.until("removal", func() bool { return b.remove(t.Context(), dead.ID(), false) == nil })
	if members, servers := b.store.View().Members, b.store.Servers(); len(members) != 2 || len(servers) != 2 {
		t.Errorf("members %+v, servers %+v", members, servers)
	}
	c := first.occupy("chat:a") // two of two still commit
	c.alive()
}

// statusOf is the status of a refusal.
func statusOf(err error) int {
	if e, ok := errors.AsType[*admin.Refusal](err); ok {
		return e.Status
	}
	return 0
}

// TestBackupWithoutALeader says how to have one all the same, in the words of the API and in those of the command.
func TestBackupWithoutALeader(t *testing.T) {
	cfg := settings(t.TempDir())
	cfg.Node.Join, cfg.Node.BootstrapExpect = []string{freeAddr(t)}, 0
	n := run(t, cfg)
	<-n.Started()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := n.boot.Load().backup(ctx, false)
	if err == nil {
		t.Fatal("a node without a leader knows what is newest")
	}
	says(t, err, "consistency=stale", "--stale")
}
