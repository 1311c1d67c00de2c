package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"innkeeper/cluster"
	"innkeeper/cmd/node"
	"innkeeper/transport/dispatch"
)

type clusterCmd struct {
	Status      clusterStatusCmd      `cmd:"" help:"Show who leads and whether all is well."`
	Members     clusterMembersCmd     `cmd:"" help:"List the nodes."`
	Partitions  clusterPartitionsCmd  `cmd:"" help:"List the partitions and who owns them."`
	Repartition clusterRepartitionCmd `cmd:"" help:"Change the number of partitions while all goes on."`
	Rules       clusterRulesCmd       `cmd:"" help:"List the event rules and how far they are."`
	Leader      clusterLeaderCmd      `cmd:"" help:"Have another node lead."`
	Remove      clusterRemoveCmd      `cmd:"" help:"Forget a dead node."`
}

// adminFlags are what all commands that ask the admin API take.
type adminFlags struct {
	Admin string `default:"127.0.0.1:8180" placeholder:"HOST:PORT" help:"Admin address of any node. Default: ${default}."`
	JSON  bool   `name:"json" help:"Show the node's answer as it is."`
}

// show asks for a path and prints the answer: as it is, or as draw draws it.
func show[T any](w world, flags adminFlags, path string, draw func(ctx context.Context, base *url.URL, v T, out io.Writer) error) error {
	base, err := baseURL("admin", flags.Admin)
	if err != nil {
		return err
	}
	ctx, cancel := w.untilSignal()
	defer cancel()
	if flags.JSON {
		body, err := call(ctx, http.MethodGet, base.JoinPath(path), "")
		if err != nil {
			return err
		}
		_, err = w.stdout.Write(body)
		return err
	}
	v, err := get[T](ctx, base, path)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	if err := draw(ctx, base, v, table); err != nil {
		return err
	}
	return table.Flush()
}

type clusterStatusCmd struct {
	adminFlags
}

// Run shows the cluster as one node sees it.
func (c clusterStatusCmd) Run(w world) error {
	return show(w, c.adminFlags, "/cluster", func(_ context.Context, _ *url.URL, s cluster.Status, out io.Writer) error {
		states := map[string]int{}
		linksDown := 0
		for _, m := range s.Members {
			states[m.State]++
			if m.State == "alive" && m.Link != "up" && m.Link != "self" {
				linksDown++
			}
		}
		unowned, alone := 0, 0
		for _, p := range s.Table {
			if p.Owner == "" {
				unowned++
			}
			if p.Follower == "" {
				alone++
			}
		}
		fmt.Fprintf(out, "cluster\t%s\n", orDash(s.ClusterID))
		fmt.Fprintf(out, "seen by\t%s (boot %s)\n", s.Node, s.Boot)
		fmt.Fprintf(out, "leader\t%s (term %d)\n", orDash(s.Leader), s.Term)
		fmt.Fprintf(out, "lease of this node\t%s\n", lease(s.LeaseMs))
		fmt.Fprintf(out, "members\t%s\n", counts(states, "alive", "leaving", "joining", "dead"))
		fmt.Fprintf(out, "log\t%s\n", margin(s))
		fmt.Fprintf(out, "links from this node down\t%d\n", linksDown)
		fmt.Fprintf(out, "partitions\t%d, %d without an owner, %d without a copy (table version %d)\n", len(s.Table), unowned, alone, s.Version)
		if s.ColdMs > 0 {
			fmt.Fprintf(out, "last full stop\t%s\n", time.UnixMilli(s.ColdMs).UTC().Format(time.RFC3339))
		}
		return nil
	})
}

// margin says how many of the voters may fail from now on, by those that the node sees: itself and whom it is linked with.
// What the cluster agreed on would not do: without a majority nobody is declared dead.
func margin(s cluster.Status) string {
	seen := map[string]bool{}
	for _, m := range s.Members {
		if m.State != "dead" && (m.Link == "self" || m.Link == "up") {
			seen[m.Node] = true
		}
	}
	voters, unseen := 0, 0
	for _, server := range s.Servers {
		if server.Voter {
			voters++
			if !seen[server.Node] {
				unseen++
			}
		}
	}
	text := fmt.Sprintf("%d servers, %d vote", len(s.Servers), voters)
	if unseen > 0 {
		text += fmt.Sprintf(", %d of these not seen", unseen)
	}
	spare := voters - unseen - (voters/2 + 1)
	if voters > 0 && spare < 0 {
		return text + fmt.Sprintf(": no majority, %d must come back", -spare)
	}
	return text + fmt.Sprintf(", %d may fail", max(spare, 0))
}

type clusterMembersCmd struct {
	adminFlags
}

// Run lists the nodes.
func (c clusterMembersCmd) Run(w world) error {
	return show(w, c.adminFlags, "/cluster", func(_ context.Context, _ *url.URL, s cluster.Status, out io.Writer) error {
		role := map[string]string{}
		for _, server := range s.Servers {
			role[server.Node] = "copies"
			if server.Voter {
				role[server.Node] = "votes"
			}
		}
		if s.Leader != "" {
			role[s.Leader] = "leads"
		}
		fmt.Fprintln(out, "NODE\tSTATE\tLOG\tPARTITIONS\tLINK\tGOSSIP\tCLIENTS\tADMIN\tCLUSTER")
		for _, m := range s.Members {
			seen := "silent"
			if m.Gossips {
				seen = "seen"
			}
			fmt.Fprintf(out, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", m.Node, m.State, orDash(role[m.Node]), m.Owned,
				orDash(m.Link), seen, orDash(m.Client), orDash(m.Admin), orDash(m.Cluster))
		}
		return nil
	})
}

type clusterPartitionsCmd struct {
	adminFlags
	Node string `placeholder:"NODE" help:"Only those that this node owns or keeps a copy of."`
}

// Run lists the partitions.
func (c clusterPartitionsCmd) Run(w world) error {
	return show(w, c.adminFlags, "/cluster", func(_ context.Context, _ *url.URL, s cluster.Status, out io.Writer) error {
		fmt.Fprintln(out, "PARTITION\tOWNER\tCOPY\tEPOCH")
		for _, p := range s.Table {
			if c.Node == "" || p.Owner == c.Node || p.Follower == c.Node {
				fmt.Fprintf(out, "%d\t%s\t%s\t%d\n", p.Partition, orDash(p.Owner), orDash(p.Follower), p.Epoch)
			}
		}
		return nil
	})
}

type clusterRulesCmd struct {
	adminFlags
}

func (clusterRulesCmd) Help() string {
	return `The leader sends the events of all rules, so the node that is asked passes on to it. Counts are of the leader's process, since its start.`
}

// Run lists the rules as the leader has them.
func (c clusterRulesCmd) Run(w world) error {
	return show(w, c.adminFlags, "/rules", func(ctx context.Context, base *url.URL, s dispatch.Status, out io.Writer) error {
		if !s.Leading {
			var err error
			if s, err = leadersRules(ctx, base, s); err != nil {
				return err
			}
		}
		if !s.Leading {
			fmt.Fprintln(out, "no leader could be asked; cursors are as of the node that was, and nothing is being sent as far as it knows")
		}
		fmt.Fprintln(out, "APP\tRULE\tFORMAT\tSTATE\tCURSOR\tLAST\tBEHIND\tOLDEST\tSENT\tREQUESTS\tFAILED\tLAST ERROR")
		for _, r := range s.Rules {
			fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%d\t%d\t%d\t%s\n", r.App, r.Rule, r.Format, ruleState(s.Leading, r),
				r.Cursor, r.Last, r.Lag, seconds(r.LagSeconds), r.Sent, r.Attempts, r.Failures, lastError(r))
		}
		return nil
	})
}

// leadersRules asks the leader, or returns what there is when that is not possible.
func leadersRules(ctx context.Context, base *url.URL, have dispatch.Status) (dispatch.Status, error) {
	s, err := get[cluster.Status](ctx, base, "/cluster")
	if err != nil {
		return have, err
	}
	for _, m := range s.Members {
		if m.Node != s.Leader || m.Node == "" {
			continue
		}
		leader := *base
		if leader.Host = node.Reachable(m.Admin, m.Cluster); leader.Host == "" {
			break
		}
		if theirs, err := get[dispatch.Status](ctx, &leader, "/rules"); err == nil {
			return theirs, nil
		}
	}
	return have, nil
}

func ruleState(leading bool, r dispatch.RuleStatus) string {
	switch {
	case !leading:
		return "unknown"
	case r.InBackoff:
		return "failing"
	case r.Held > 0:
		return "sending"
	default:
		return "idle"
	}
}

func lastError(r dispatch.RuleStatus) string {
	if r.LastError == "" {
		return "-"
	}
	text := strings.Join(strings.Fields(r.LastError), " ")
	return fmt.Sprintf("%s: %.100s", r.ErrorTime.UTC().Format(time.RFC3339), text)
}

func seconds(s float64) string {
	if s == 0 {
		return "-"
	}
	return time.Duration(s * float64(time.Second)).Round(100 * time.Millisecond).String()
}

func lease(ms int64) string {
	if ms <= 0 {
		return "not held"
	}
	return fmt.Sprintf("held, %v left", time.Duration(ms)*time.Millisecond)
}

// counts lists how many there are of each kind, those that there are none of left out.
func counts(n map[string]int, kinds ...string) string {
	var parts []string
	for _, kind := range kinds {
		if n[kind] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[kind], kind))
		}
	}
	return orDash(strings.Join(parts, ", "))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
