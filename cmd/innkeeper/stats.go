package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"

	"innkeeper/transport/meter"
)

type statsCmd struct {
	URL     string `name:"url" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Client address of any node. Default: ${default}."`
	Key     string `placeholder:"KEY" help:"Key of the app, appId.keyId:secret; it needs stats on all channels. Other users of the machine can see it in the list of processes."`
	KeyFile string `name:"key-file" placeholder:"FILE" help:"File that holds the key."`
	Unit    string `default:"minute" enum:"minute,hour,day,month" placeholder:"UNIT" help:"Length of an interval: minute, hour, day or month. Default: ${default}."`
	Start   string `placeholder:"TIME" help:"First interval, like 2026-01-31:15:04 in UTC, or shorter, or a time in ms."`
	End     string `placeholder:"TIME" help:"Last interval. Default: now."`
	Limit   int    `default:"20" placeholder:"N" help:"How many intervals at most, the newest. Default: ${default}."`
	JSON    bool   `name:"json" help:"Show each interval as a line of JSON."`
}

func (statsCmd) Help() string {
	return `Shows what an app had open and did, the newest interval first. Intervals in which nothing happened are left out; one that is not over is marked with *. Peaks are of the whole cluster at one moment.

Examples:
  innkeeper stats --key demo.root:secret
  innkeeper stats --key-file key.txt --url http://n2:8080 --unit month`
}

// Run shows the figures of an app.
func (c statsCmd) Run(w world) error {
	base, err := baseURL("url", c.URL)
	if err != nil {
		return err
	}
	key, err := tailCmd{Key: c.Key, KeyFile: c.KeyFile}.key()
	if err != nil {
		return err
	}
	ctx, cancel := w.untilSignal()
	defer cancel()
	u := base.JoinPath("/stats")
	query := url.Values{"unit": {c.Unit}, "limit": {strconv.Itoa(c.Limit)}, "v": {"6"}}
	for name, value := range map[string]string{"start": c.Start, "end": c.End} {
		if value != "" {
			query.Set(name, value)
		}
	}
	u.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	name, secret, _ := strings.Cut(key, ":")
	r.SetBasicAuth(name, secret)
	body, err := answerOf(http.DefaultClient.Do(r))
	if err != nil {
		return err
	}
	var list []meter.Flat
	if err := json.Unmarshal(body, &list); err != nil {
		return fmt.Errorf("%s answers something else than a node of this version: %w; is it the client address?", base.Redacted(), err)
	}
	if c.JSON {
		enc := json.NewEncoder(w.stdout)
		for i := range list {
			if err := enc.Encode(&list[i]); err != nil {
				return err
			}
		}
		return nil
	}
	return showStats(w, list)
}

// statsColumns are what the table shows.
var statsColumns = []struct{ head, entry string }{
	{"CHANNELS PEAK", "channels.peak"}, {"MEAN", "channels.mean"}, {"MIN", "channels.min"}, {"OPENED", "channels.opened"}, {"REFUSED", "channels.refused"},
	{"CONNECTIONS PEAK", "connections.all.peak"}, {"MEAN", "connections.all.mean"}, {"MIN", "connections.all.min"}, {"REFUSED", "connections.all.refused"},
	{"MESSAGES IN", "messages.inbound.all.all.count"}, {"OUT", "messages.outbound.all.all.count"}, {"REFUSED", "messages.all.all.refused"},
}

func showStats(w world, list []meter.Flat) error {
	if len(list) == 0 {
		fmt.Fprintln(w.stderr, "innkeeper: nothing was open or done in that time")
		return nil
	}
	out := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(out, "INTERVAL (UTC)")
	for _, c := range statsColumns {
		fmt.Fprint(out, "\t", c.head)
	}
	fmt.Fprintln(out)
	for i := range list {
		mark := ""
		if list[i].InProgress != "" {
			mark = "*"
		}
		fmt.Fprint(out, list[i].IntervalID, mark)
		for _, c := range statsColumns {
			fmt.Fprint(out, "\t", strconv.FormatFloat(list[i].Entries[c.entry], 'f', places(c.entry), 64))
		}
		fmt.Fprintln(out)
	}
	return out.Flush()
}

// places is how many decimals of an entry are shown.
func places(entry string) int {
	if strings.HasSuffix(entry, ".mean") {
		return 1
	}
	return 0
}
