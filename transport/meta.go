package transport

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"innkeeper/channel"
	"innkeeper/cluster/ring"
	"innkeeper/transport/protocol"
)

// The metachannels, without "[meta]". Each app has its own. Clients read them, only the nodes write to them.
const (
	MetaChannelLifecycle    = "channel.lifecycle"
	MetaConnectionLifecycle = "connection.lifecycle"
	MetaStatsMinute         = "stats:minute"
	MetaClientConnections   = "clientEvents:connections"
	MetaClientRequests      = "clientEvents:apiRequests"
	MetaLog                 = "log"
	MetaLogPush             = "log:push" // nothing is ever on it: there is no push
)

var metachannels = []string{
	MetaChannelLifecycle, MetaConnectionLifecycle, MetaStatsMinute, MetaClientConnections, MetaClientRequests, MetaLog, MetaLogPush,
}

// metaPrefix begins the names of the channels behind metachannels.
const metaPrefix = "[" + protocol.QualifierMeta + "]"

// IsMeta says whether the channel of that name is a metachannel.
func IsMeta(channel string) bool { return strings.HasPrefix(channel, metaPrefix) }

// metachannel says why an app has no such metachannel, nil if it has.
func (g *Gateway) metachannel(app string, name protocol.Name) *protocol.ErrorInfo {
	switch {
	case !slices.Contains(metachannels, name.Base):
		return protocol.Errorf(protocol.CodeBadChannelName, "there is no metachannel %q; known are %s", name.Channel(), strings.Join(metachannels, ", "))
	case name.Base == MetaChannelLifecycle && g.cfg.Lifecycle != nil && !g.cfg.Lifecycle(app):
		return protocol.Errorf(protocol.CodeBadChannelName, "nothing is announced on %q: lifecycle is off for the app %q; the operator turns it on in its configuration (apps: lifecycle: true)", name.Channel(), app)
	}
	return nil
}

// PublishMeta puts a server's message on a metachannel and returns when it is there. Messages of one id are one. An error
// is a *protocol.ErrorInfo or the context's; the message may have been published all the same.
func (g *Gateway) PublishMeta(ctx context.Context, app, meta, event, id string, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	p := &channel.Publish{
		App: app, Name: metaPrefix + meta, Req: g.requestID.Add(1), ID: id,
		Messages: []channel.Message{{Name: event, Encoding: "json", Kind: channel.StringData, Data: text}},
	}
	_, err = g.ask(ctx, ring.Hash(app, p.Name), p.Req, p)
	return err
}

// ChannelDetails is the data of an event about a channel's life.
type ChannelDetails struct {
	ChannelID string        `json:"channelId"`
	Name      string        `json:"name"`
	Region    string        `json:"region,omitempty"`
	Cluster   string        `json:"cluster,omitempty"`
	Status    ChannelStatus `json:"status"`
}

// ChannelStatus is whether a channel is open, and by whom.
type ChannelStatus struct {
	IsActive  bool `json:"isActive"`
	Occupancy struct {
		Metrics json.RawMessage `json:"metrics"`
	} `json:"occupancy"`
}

// DetailsOf describes a channel.
func DetailsOf(name, cluster string, active bool, counts *channel.Counts) ChannelDetails {
	d := ChannelDetails{ChannelID: name, Name: name, Region: cluster, Cluster: cluster, Status: ChannelStatus{IsActive: active}}
	d.Status.Occupancy.Metrics = protocol.AppendMetrics(nil, counts)
	return d
}
