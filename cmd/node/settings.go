package node

import (
	"regexp"
	"strings"
	"time"

	"innkeeper/channel"
	"innkeeper/cmd/node/config"
	"innkeeper/transport/dispatch"
)

// settingsOf answers for each channel with its namespace's settings, or the general ones.
func settingsOf(c config.Config) func(app, name string) channel.Settings {
	general := channel.Settings{
		VacateDelay: c.StateEvents.VacatedDelay, IdleClose: c.Channels.IdleClose, OccupancyInterval: c.Channels.OccupancyInterval,
	}
	type place struct{ app, namespace string }
	special := map[place]channel.Settings{}
	for _, a := range c.Apps {
		for _, n := range a.Namespaces {
			s := general
			if n.VacatedDelay != nil {
				s.VacateDelay = time.Duration(*n.VacatedDelay)
			}
			s.OccupiedByConnections = n.OccupiedBy == "connections"
			special[place{a.ID, n.ID}] = s
		}
	}
	return func(app, name string) channel.Settings {
		namespace, _, _ := strings.Cut(name, ":")
		if s, ok := special[place{app, namespace}]; ok {
			return s
		}
		return general
	}
}

// rulesOf are the dispatcher's rules. The configuration was validated: patterns compile.
func rulesOf(apps []config.App) []dispatch.Rule {
	var rules []dispatch.Rule
	for _, a := range apps {
		for _, r := range a.Rules {
			out := dispatch.Rule{
				ID: r.ID, App: a.ID, Source: r.Source, URL: r.Target.URL, Format: dispatch.Format(r.Target.Format),
				Headers: r.Target.Headers, Timeout: r.Target.Timeout,
			}
			if r.Channels != "" {
				out.Channels = regexp.MustCompile(r.Channels)
			}
			rules = append(rules, out)
		}
	}
	return rules
}
