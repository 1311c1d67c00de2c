package node

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"innkeeper/cmd/node/config"
	"innkeeper/raftstore"
	"innkeeper/transport/auth"
)

// catalog is what the log says about apps: those that were made at run time, and what was added to apps of the
// configuration. It is immutable.
type catalog struct {
	apps       map[string]auth.App
	namespaces map[namespacePlace]config.Namespace
}

type namespacePlace struct{ app, namespace string }

// namespace is one that was made at run time.
func (a *authority) namespace(app, id string) (config.Namespace, bool) {
	all := a.catalog.Load().namespaces
	n, ok := all[namespacePlace{app, id}]
	if !ok {
		n, ok = all[namespacePlace{app, ""}] // what holds for the whole app
	}
	return n, ok
}

// configured says whether the configuration has an app.
func (a *authority) configured(id string) bool {
	return slices.ContainsFunc(a.b.node.cfg.Apps, func(c config.App) bool { return c.ID == id })
}

// applyApps takes over what the log says about apps.
func (a *authority) applyApps(rows []raftstore.Row) {
	next := &catalog{apps: map[string]auth.App{}, namespaces: map[namespacePlace]config.Namespace{}}
	keys := slices.Clone(a.static)
	for _, r := range rows {
		var app auth.App
		err := json.Unmarshal(r.Value, &app)
		var own []auth.Key
		if err == nil {
			own, err = app.AuthKeys()
		}
		if err != nil {
			a.b.log.Error("an app in the log cannot be read; it is left out", "app", r.Key, "err", err)
			continue
		}
		if app.Extends != a.configured(app.ID) {
			a.b.log.Warn("an app stands in the log and was not made there, or stands in the configuration as well; what the log has of it is left out", "app", app.ID)
			continue
		}
		keys = append(keys, own...)
		next.apps[app.ID] = app
		most, _ := app.PresenceMembers() // checked when the app was made
		if most != nil {
			next.namespaces[namespacePlace{app.ID, ""}] = config.Namespace{PresenceMembers: most}
		}
		for _, n := range app.Namespaces {
			ns, err := namespaceOf(n)
			if err != nil {
				a.b.log.Error("a namespace in the log cannot be read; it is left out", "app", app.ID, "namespace", n.ID, "err", err)
				continue
			}
			if ns.PresenceMembers == nil {
				ns.PresenceMembers = most
			}
			next.namespaces[namespacePlace{app.ID, n.ID}] = ns
		}
	}
	before := a.catalog.Swap(next)
	a.b.keys.Replace(keys)
	a.b.applyRules(before, next)
}

// namespaceOf is a namespace of the log as the configuration has it.
func namespaceOf(n auth.Namespace) (config.Namespace, error) {
	if n.Config != nil {
		given, err := decodeMap(n.Config)
		if err != nil {
			return config.Namespace{}, err
		}
		ns, problems := config.ReadNamespace(config.App{ID: "app"}, given)
		if len(problems) > 0 {
			return ns, errors.New(problems[0].String())
		}
		return ns, nil
	}
	ns := config.Namespace{ID: n.ID, OccupiedBy: n.OccupiedBy, PresenceMembers: n.PresenceMembers, MutableMessages: n.MutableMessages}
	if n.VacatedDelayMs != nil {
		ns.VacatedDelay = new(time.Duration(*n.VacatedDelayMs) * time.Millisecond)
	}
	return ns, nil
}
