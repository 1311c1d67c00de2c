package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"innkeeper/transport/dispatch"
)

type eventsCmd struct {
	Tail   tailCmd   `cmd:"" help:"Show occupied and vacated events as they happen."`
	Replay replayCmd `cmd:"" help:"Have a rule send events again."`
}

type tailCmd struct {
	URL     string  `name:"url" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Client address of any node. Default: ${default}."`
	Key     string  `placeholder:"KEY" help:"Key of the app, appId.keyId:secret; it needs channel-metadata on all channels. Other users of the machine can see it in the list of processes."`
	KeyFile string  `name:"key-file" placeholder:"FILE" help:"File that holds the key."`
	After   *uint64 `placeholder:"SEQ" help:"Begin behind this event; 0 is the oldest there is. Default: only what is new."`
	Rule    string  `placeholder:"ID" help:"Only what this rule of the app wants."`
	Count   int     `placeholder:"N" help:"End after so many events. Default: end with a signal."`
	JSON    bool    `name:"json" help:"Show each event as a line of JSON."`
}

func (tailCmd) Help() string {
	return `Lines go to the standard output; what is wrong, and gaps where events were forgotten before they could be shown, to the standard error. When the connection is lost it goes on where it was.

Examples:
  innkeeper events tail --key demo.root:secret
  innkeeper events tail --key-file key.txt --url http://n2:8080 --after 0 --json`
}

// Run shows events until a signal, or until there were enough.
func (c tailCmd) Run(w world) error {
	base, err := baseURL("url", c.URL)
	if err != nil {
		return err
	}
	t := &tail{cmd: c, world: w, base: base}
	if t.key, err = c.key(); err != nil {
		return err
	}
	ctx, cancel := w.untilSignal()
	defer cancel()
	if c.After != nil {
		t.at = *c.After
	} else if t.at, err = t.newest(ctx); err != nil {
		return err
	}
	return t.follow(ctx)
}

// key is the given one.
func (c tailCmd) key() (string, error) {
	key := c.Key
	switch {
	case key != "" && c.KeyFile != "":
		return "", &exitError{exitUsage, errors.New("--key and --key-file are both given; choose one")}
	case c.KeyFile != "":
		b, err := os.ReadFile(c.KeyFile)
		if err != nil {
			return "", err
		}
		key = strings.TrimSpace(string(b))
	}
	if name, secret, ok := strings.Cut(key, ":"); !ok || name == "" || secret == "" {
		return "", &exitError{exitUsage, errors.New("a key is needed, as --key appId.keyId:secret or in --key-file")}
	}
	return key, nil
}

// tail is a run of the command.
type tail struct {
	cmd   tailCmd
	world world
	base  *url.URL
	key   string
	at    uint64 // seen up to here
	shown int
}

var errEnough = errors.New("enough events")

// again is the wait before a lost connection is tried again.
const again = time.Second

// follow goes on until ctx ends, there were enough events, or a node refuses for good.
func (t *tail) follow(ctx context.Context) error {
	for {
		err := t.stream(ctx)
		if ctx.Err() != nil || errors.Is(err, errEnough) {
			return nil
		}
		if r, ok := errors.AsType[*refusal](err); ok && r.status < 500 {
			return err
		}
		fmt.Fprintf(t.world.stderr, "innkeeper: the stream ended (%v); trying again\n", err)
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return nil
		}
	}
}

// request asks for events.
func (t *tail) request(ctx context.Context, query url.Values) (*http.Request, error) {
	if t.cmd.Rule != "" {
		query.Set("rule", t.cmd.Rule)
	}
	u := t.base.JoinPath("events")
	u.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	name, secret, _ := strings.Cut(t.key, ":")
	r.SetBasicAuth(name, secret)
	return r, nil
}

// newest is the seq of the newest event that the node has.
func (t *tail) newest(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	r, err := t.request(ctx, url.Values{"limit": {"1"}})
	if err != nil {
		return 0, err
	}
	body, err := answerOf(http.DefaultClient.Do(r))
	if err != nil {
		return 0, err
	}
	var answer struct{ Last uint64 }
	if err := json.Unmarshal(body, &answer); err != nil {
		return 0, fmt.Errorf("%s answers something else than a node: %w", t.base.Redacted(), err)
	}
	return answer.Last, nil
}

// stream shows events until the connection ends, which is always an error.
func (t *tail) stream(ctx context.Context) error {
	r, err := t.request(ctx, url.Values{"after": {strconv.FormatUint(t.at, 10)}})
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		return refusalOf(resp, body)
	}
	return t.messages(resp.Body)
}

// messages takes server-sent events apart: fields, one a line, up to a blank line.
func (t *tail) messages(body io.Reader) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	var id uint64
	var event, data string
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return fmt.Errorf("id %.100q in the stream", value)
			}
			id = n
		case "event":
			event = value
		case "data":
			data = value
		}
		if lines.Text() != "" {
			continue
		}
		if err := t.message(event, data); err != nil {
			return err
		}
		t.at = max(t.at, id)
		event, data = "", ""
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}

// message shows one.
func (t *tail) message(event, data string) error {
	switch {
	case data == "":
		return nil
	case event == "gap":
		var gap struct{ After, First uint64 }
		if err := json.Unmarshal([]byte(data), &gap); err != nil {
			return err
		}
		fmt.Fprintf(t.world.stderr, "innkeeper: the events behind seq %d are forgotten; going on with %d\n", gap.After, gap.First)
		return nil
	case event != "":
		return nil // of a later version
	}
	if err := t.print(data); err != nil {
		return err
	}
	t.shown++
	if t.shown == t.cmd.Count {
		return errEnough
	}
	return nil
}

func (t *tail) print(data string) error {
	if t.cmd.JSON {
		_, err := fmt.Fprintln(t.world.stdout, data)
		return err
	}
	var e struct {
		Seq, Ends     uint64
		Channel, Type string
		TimeMs        int64 `json:"time_ms"`
	}
	if err := json.Unmarshal([]byte(data), &e); err != nil {
		return fmt.Errorf("event %.100q: %w", data, err)
	}
	ends := ""
	if e.Ends > 0 {
		ends = fmt.Sprintf("  (since %d)", e.Ends)
	}
	_, err := fmt.Fprintf(t.world.stdout, "%s  %8d  %-8s  %s%s\n", time.UnixMilli(e.TimeMs).UTC().Format("2006-01-02T15:04:05.000Z"),
		e.Seq, e.Type, printable(e.Channel), ends)
	return err
}

// printable keeps a name from doing things to a terminal.
func printable(name string) string {
	quoted := strconv.QuoteToGraphic(name)
	if quoted == `"`+name+`"` {
		return name
	}
	return quoted
}

type replayCmd struct {
	operatorFlags
	From uint64 `required:"" placeholder:"SEQ" help:"Seq of the first event to send again."`
	Rule string `required:"" placeholder:"ID" help:"The rule."`
	App  string `placeholder:"ID" help:"Its app; needed only where several apps have a rule of that id."`
}

func (replayCmd) Help() string {
	return `All events from SEQ on are sent to the rule's target again, under the ids and seqs they had, as far as the log retains them. Requests that are under way are given up. The rest of the rule's events follow as usual.

Example:
  innkeeper events replay --rule state --from 12345`
}

// Run has the events sent again.
func (c replayCmd) Run(w world) error {
	base, err := baseURL("admin", c.Admin)
	if err != nil {
		return err
	}
	ctx, cancel := w.untilSignal()
	defer cancel()
	rules, err := get[dispatch.Status](ctx, base, "/rules")
	if err != nil {
		return err
	}
	app, err := c.app(rules)
	if err != nil {
		return err
	}
	u := base.JoinPath("rules", app, c.Rule, "replay")
	u.RawQuery = url.Values{"from": {strconv.FormatUint(c.From, 10)}}.Encode()
	if _, err := call(ctx, http.MethodPost, u, c.token(w)); err != nil {
		return err
	}
	fmt.Fprintf(w.stdout, "Rule %s of app %s sends its events again from seq %d on. Watch it with: innkeeper cluster rules\n", c.Rule, app, c.From)
	return nil
}

// app finds the app of the rule.
func (c replayCmd) app(rules dispatch.Status) (string, error) {
	var apps, known []string
	for _, r := range rules.Rules {
		known = append(known, r.App+"/"+r.Rule)
		if r.Rule == c.Rule && (c.App == "" || c.App == r.App) {
			apps = append(apps, r.App)
		}
	}
	switch {
	case len(apps) == 1:
		return apps[0], nil
	case len(apps) > 1:
		return "", fmt.Errorf("the apps %s all have a rule %q; choose one with --app", strings.Join(apps, ", "), c.Rule)
	}
	if c.App != "" {
		return "", fmt.Errorf("the app %q has no rule %q; there are: %s", c.App, c.Rule, orDash(strings.Join(known, ", ")))
	}
	return "", fmt.Errorf("there is no rule %q; there are: %s", c.Rule, orDash(strings.Join(known, ", ")))
}
