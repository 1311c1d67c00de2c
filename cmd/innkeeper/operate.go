package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// post has a node do something, or the one that it points to, and decodes the answer.
func post[T any](w world, flags operatorFlags, query url.Values, path ...string) (v T, err error) {
	base, err := baseURL("admin", flags.Admin)
	if err != nil {
		return v, err
	}
	ctx, cancel := w.untilSignal()
	defer cancel()
	u := base.JoinPath(path...)
	u.RawQuery = query.Encode()
	body, err := call(ctx, http.MethodPost, u, flags.token(w))
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return v, fmt.Errorf("%s answers something else than a node of this version: %w; is it the admin address?", base.Redacted(), err)
	}
	return v, nil
}

type clusterLeaderCmd struct {
	Transfer leaderTransferCmd `cmd:"" help:"Hand leadership to the node that is most up to date."`
}

type leaderTransferCmd struct {
	operatorFlags
}

func (leaderTransferCmd) Help() string {
	return `For maintenance of the node that leads, or of its disk. Clients notice nothing: the leader owns no channels by leading. A node that is stopped with SIGTERM hands leadership over by itself.`
}

// Run hands leadership over and says who leads.
func (c leaderTransferCmd) Run(w world) error {
	got, err := post[struct{ Leader string }](w, c.operatorFlags, nil, "cluster", "leader", "transfer")
	if err != nil {
		return err
	}
	fmt.Fprintf(w.stdout, "%s leads\n", got.Leader)
	return nil
}

type clusterRemoveCmd struct {
	operatorFlags
	Node  string `arg:"" help:"Id of the node, as innkeeper cluster members lists it."`
	Force bool   `help:"Also when the node is dead by agreement and seems to run all the same."`
}

func (clusterRemoveCmd) Help() string {
	return `For a node that will not come back: it loses its vote and is no longer listed. A node that is alive is refused: stop it first, and it is dead some seconds later at the latest. A removed node that starts again on its data directory joins as a new member.`
}

// Run removes the node.
func (c clusterRemoveCmd) Run(w world) error {
	query := url.Values{}
	if c.Force {
		query.Set("force", "true")
	}
	got, err := post[struct{ Removed string }](w, c.operatorFlags, query, "cluster", "members", url.PathEscape(c.Node), "remove")
	if err != nil {
		return err
	}
	fmt.Fprintf(w.stdout, "%s is removed\n", got.Removed)
	return nil
}

// stream makes one request whose answer may take long, and returns it if it is good.
func stream(ctx context.Context, u *url.URL, token string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := do(r, token)
	if err == nil && resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	_, err = answerOf(resp, err)
	return nil, err
}
