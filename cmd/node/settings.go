package node

import (
	"fmt"
	"regexp"
	"strings"

	"innkeeper/channel"
	"innkeeper/cmd/node/config"
	"innkeeper/transport"
	"innkeeper/transport/dispatch"
	"innkeeper/transport/protocol"
)

// settingsOf answers for each channel with its namespace's settings, or the general ones. provisioned knows the namespaces
// of apps that are not in the configuration, taps what rules want to be told of a channel, limited the limits of an app that
// channels apply themselves (0 is none), lifecycle whether the log knows when channels of an app open and close.
func settingsOf(c config.Config, provisioned func(app, namespace string) (config.Namespace, bool), taps func(app, name string) channel.Taps,
	limited func(app string) (members, rate int), lifecycle func(app string) bool) func(app, name string) channel.Settings {
	general := channel.Settings{
		VacateDelay: c.StateEvents.VacatedDelay, IdleClose: c.Channels.IdleClose, OccupancyInterval: c.Channels.OccupancyInterval,
		Retention: c.Channels.Retention, Known: transport.ResendsFor, MembersMax: c.Channels.PresenceMembers,
	}
	type place struct{ app, namespace string }
	of := func(n config.Namespace) channel.Settings {
		s := general
		if n.VacatedDelay != nil {
			s.VacateDelay = *n.VacatedDelay
		}
		if n.PresenceMembers != nil {
			s.MembersMax = *n.PresenceMembers
		}
		s.OccupiedByConnections = n.OccupiedBy == "connections"
		s.Mutable = n.MutableMessages
		return s
	}
	special := map[place]channel.Settings{}
	for _, a := range c.Apps {
		for _, n := range a.Namespaces {
			special[place{a.ID, n.ID}] = of(n)
		}
	}
	ordinary := func(app, name string) channel.Settings {
		namespace, _, _ := strings.Cut(name, ":")
		if s, ok := special[place{app, namespace}]; ok {
			return s
		}
		if n, ok := provisioned(app, namespace); ok {
			return of(n)
		}
		return general
	}
	return func(app, name string) channel.Settings {
		if transport.IsMeta(name) {
			s := general
			s.Meta = true
			return s
		}
		s := ordinary(app, name)
		members, rate := limited(app)
		if s.MessageRate = rate; members > 0 && (s.MembersMax > members || s.MembersMax == general.MembersMax) {
			s.MembersMax = members
		}
		s.Lifecycle, s.Taps = lifecycle(app), taps(app, name)
		if s.Taps&channel.TapOccupancy != 0 && !s.Lifecycle {
			// The next owner finds in the log of which channels it may have to tell that nobody is there.
			s.Lifecycle, s.ClosedWaits = true, true
		}
		return s
	}
}

// rulesOf are the dispatcher's rules. The configuration was validated: patterns compile. Files may have changed since.
func rulesOf(apps []config.App) ([]dispatch.Rule, error) {
	var rules []dispatch.Rule
	for a, app := range apps {
		for i, r := range app.Rules {
			t := r.Target
			tls, err := t.TLS.Config()
			if err != nil {
				return nil, fmt.Errorf("apps[%d].rules[%d].target.tls.%w", a, i, err)
			}
			out := dispatch.Rule{
				ID: r.ID, App: app.ID, Source: r.Source, URL: t.URL, Format: dispatch.Format(t.Format),
				Headers: t.Headers, Secrets: t.Secrets, TLS: tls, Timeout: orZero(t.Timeout), Lanes: orZero(t.Lanes), Batch: orZero(t.BatchSize),
			}
			if out.Format == dispatch.Ably {
				out.Ably = dispatch.AblyForm{Single: t.Mode == "single" || t.Mode == "plain", Plain: t.Mode == "plain"}
				out.Ably.Encoding, _ = protocol.ParseFormat(t.Encoding)
				out.Ably.KeyName, out.Ably.KeySecret = apps[a].SigningKey(&t)
			}
			if r.Channels != "" {
				out.Channels = regexp.MustCompile(r.Channels)
			}
			if t.Linger != nil {
				if out.Linger = *t.Linger; out.Linger == 0 {
					out.Linger = -1 // none, where zero is the dispatcher's default
				}
			}
			rules = append(rules, out)
		}
	}
	return rules, nil
}

// orZero is what p points to; zero, which is the dispatcher's default, where nothing was given.
func orZero[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
