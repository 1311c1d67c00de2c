package dispatch

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
)

// AblyForm says which of the forms of an integration rule a rule has. The zero value is batched.
type AblyForm struct {
	Single bool // a request for each event instead of a batch
	Plain  bool // with Single: the event alone, what is known about it in headers
	// KeyName and KeySecret sign requests with X-Ably-Signature; "" signs none.
	KeyName, KeySecret string
}

// Item is one event in the form of an integration rule.
type Item struct {
	ID          string          // stable
	Source      string          // such as channel.lifecycle
	Name        string          // such as channel.opened
	Channel     string          //
	Serial      string          // orders the items of one channel
	TimestampMs int64           // Unix milliseconds
	Data        json.RawMessage // of a batched item

	// Of a single request.
	Field   string            // the name of the list that holds One; "" is "data" with One itself
	One     json.RawMessage   //
	Payload []byte            // of a plain one
	Type    string            // content type of Payload
	About   map[string]string // headers of a plain one, behind "X-Ably-Message-"
}

// AblyRequest makes the request of a rule for items: one when the rule is single.
func AblyRequest(r *Rule, site string, items []Item) (body []byte, headers map[string]string, err error) {
	headers = map[string]string{"X-Ably-Version": "1.2", "Content-Type": "application/json"}
	switch {
	case !r.Ably.Single:
		body, err = json.Marshal(batchedItems(r, items))
	case r.Ably.Plain:
		it := &items[0]
		body, headers["Content-Type"] = it.Payload, it.Type
		for name, value := range map[string]string{
			"Appid": r.App, "Channel": it.Channel, "Rule-Id": r.ID, "Site": site, "Source": it.Source,
		} {
			headers["X-Ably-Envelope-"+name] = headerText(value)
		}
		for name, value := range it.About {
			headers["X-Ably-Message-"+name] = headerText(value)
		}
	default:
		it := &items[0]
		envelope := map[string]any{
			"source": it.Source, "appId": r.App, "channel": it.Channel, "site": site, "ruleId": r.ID, "timestamp": it.TimestampMs,
		}
		if it.Field == "" {
			envelope["data"] = it.One
		} else {
			envelope[it.Field] = []json.RawMessage{it.One}
		}
		body, err = json.Marshal(envelope)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("dispatch: rule %q: %w", r.ID, err)
	}
	if r.Ably.KeyName != "" {
		mac := hmac.New(sha256.New, []byte(r.Ably.KeySecret))
		mac.Write(body)
		headers["X-Ably-Key"] = r.Ably.KeyName
		headers["X-Ably-Signature"] = base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return body, headers, nil
}

type batched struct {
	Items []batchedItem `json:"items"`
}

type batchedItem struct {
	WebhookID string          `json:"webhookId"`
	Source    string          `json:"source"`
	Serial    string          `json:"serial"`
	Timestamp int64           `json:"timestamp"`
	Name      string          `json:"name"`
	Data      json.RawMessage `json:"data"`
}

func batchedItems(r *Rule, items []Item) batched {
	b := batched{Items: make([]batchedItem, len(items))}
	for i := range items {
		it := &items[i]
		b.Items[i] = batchedItem{r.ID, it.Source, it.Serial, it.TimestampMs, it.Name, it.Data}
	}
	return b
}

// headerText is a value as a header can carry it: names of channels may hold anything.
func headerText(s string) string {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			quoted := strconv.QuoteToASCII(s)
			return quoted[1 : len(quoted)-1]
		}
	}
	return s
}

// item is an event about a channel's life. What it says of the occupancy is as of now.
func (s *httpSink) item(ctx context.Context, e *Event) (Item, error) {
	metrics, active := noMetrics, e.Kind == Opened
	if active && s.counts != nil {
		var err error
		if metrics, err = s.counts(ctx, e.App, e.Channel); err != nil {
			return Item{}, fmt.Errorf("the occupancy of %q: %w", e.Channel, err)
		}
	}
	data, err := json.Marshal(map[string]any{
		"channelId": e.Channel, "name": e.Channel,
		"status": map[string]any{"isActive": active, "occupancy": map[string]any{"metrics": metrics}},
	})
	if err != nil {
		return Item{}, err
	}
	name := "channel." + e.Kind.String()
	return Item{
		ID: e.ID, Source: SourceChannelLifecycle, Name: name, Channel: e.Channel, Serial: serialOf(e), TimestampMs: e.TimeMs,
		Data: data, One: data, Payload: data, Type: "application/json",
		About: map[string]string{"Name": name, "Id": e.ID, "Timestamp": strconv.FormatInt(e.TimeMs, 10)},
	}, nil
}

// serialOf is an event's id as a serial: the cluster's series, a colon, the seq.
func serialOf(e *Event) string {
	series := e.ID
	for i := len(series) - 1; i >= 0; i-- {
		if series[i] == '-' {
			series = series[:i]
			break
		}
	}
	return series + ":" + strconv.FormatUint(e.Seq, 10)
}

var noMetrics = json.RawMessage(`{"connections":0,"publishers":0,"subscribers":0,"presenceConnections":0,"presenceMembers":0,"presenceSubscribers":0}`)
