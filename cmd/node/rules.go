package node

import (
	"bytes"
	"context"

	"innkeeper/cmd/node/config"
	"innkeeper/transport/auth"
	"innkeeper/transport/dispatch"
)

// rulesOfApp are the rules of an app that were made at run time and are on. Those that cannot be served are left out, and
// said so in the node's log. An app that is disabled keeps its rules: its channels are vacated, and sinks have to hear it.
func (b *boot) rulesOfApp(app *auth.App) (rules []dispatch.Rule) {
	var file *config.App
	if app.Extends {
		file = steering{b.authority}.file(app.ID)
	}
	whole := withKeys(file, app)
	for i := range app.Rules {
		one := &app.Rules[i]
		if one.Disabled {
			continue
		}
		rule, problems := ruleOf(file, app, one)
		if len(problems) > 0 {
			b.log.Error("a rule in the log cannot be read; it is left out", "app", app.ID, "rule", one.ID, "err", problems[0])
			continue
		}
		whole.Rules = []config.Rule{rule}
		made, err := rulesOf([]config.App{whole})
		if err != nil { // files of TLS are read on each node
			b.log.Error("a rule in the log cannot be served by this node; it is left out", "app", app.ID, "rule", one.ID, "err", err)
			continue
		}
		made[0].After, made[0].GapFrom = one.After, one.GapFrom
		rules = append(rules, made[0])
	}
	return rules
}

// applyRules has the rules served that were made at run time: what has changed from one catalog to the next.
func (b *boot) applyRules(before, next *catalog) {
	tapped := false
	for id := range union(before.apps, next.apps) {
		was, is := before.apps[id], next.apps[id]
		if sameRules(&was, &is) {
			continue
		}
		there := map[string]bool{} // with the dispatcher
		for _, r := range b.rulesOfApp(&is) {
			if dispatch.IsTap(r.Source) {
				tapped = true
				continue
			}
			there[r.ID] = true
			if err := b.dispatcher.Put(r); err != nil {
				b.log.Error("a rule cannot be served", "app", r.App, "rule", r.ID, "err", err)
			}
		}
		for _, r := range b.rulesOfApp(&was) {
			if dispatch.IsTap(r.Source) {
				tapped = true
			}
			if !there[r.ID] {
				b.dispatcher.Remove(r.App, r.ID)
			}
		}
	}
	if tapped {
		b.setTaps(next)
	}
	if !b.feeding.Load() && b.authority.anyLifecycle(next) {
		if err := b.dispatcher.Put(b.feed()); err != nil {
			b.log.Error("openings and closings cannot be announced", "err", err)
			return
		}
		b.feeding.Store(true)
	}
}

// setTaps has the rules served that owners serve: those of the configuration and those of the log.
func (b *boot) setTaps(c *catalog) {
	rules, err := rulesOf(b.node.cfg.Apps)
	for id := range c.apps {
		app := c.apps[id]
		rules = append(rules, b.rulesOfApp(&app)...)
	}
	var taps []dispatch.Rule
	for _, r := range rules {
		if dispatch.IsTap(r.Source) {
			taps = append(taps, r)
		}
	}
	if err == nil {
		err = b.taps.Set(taps)
	}
	if err != nil {
		b.log.Error("rules about messages, presence and occupancy are not served as they should be", "err", err)
	}
}

func union(a, b map[string]auth.App) map[string]bool {
	ids := make(map[string]bool, len(a)+len(b))
	for id := range a {
		ids[id] = true
	}
	for id := range b {
		ids[id] = true
	}
	return ids
}

// sameRules says whether two states of an app have the same rules and keys, with which they may be signed.
func sameRules(a, b *auth.App) bool {
	if len(a.Rules) != len(b.Rules) || len(a.Keys) != len(b.Keys) {
		return false
	}
	for i := range a.Rules {
		x, y := &a.Rules[i], &b.Rules[i]
		if x.ID != y.ID || x.Disabled != y.Disabled || !bytes.Equal(x.Config, y.Config) {
			return false
		}
	}
	for i := range a.Keys {
		if a.Keys[i].ID != b.Keys[i].ID || a.Keys[i].Secret != b.Keys[i].Secret {
			return false
		}
	}
	return true
}

// rulesSettled returns when the rules are served here that anybody made before the call.
func (b *boot) rulesSettled(ctx context.Context) error {
	if err := b.store.ReadIndex(ctx); err != nil {
		return err
	}
	if version := b.store.TableVersion(tableApps); version > 0 {
		return b.authority.wait(ctx, tableApps, version)
	}
	return nil
}

// lifecycle says whether a rule that was made at run time wants to know when channels of an app open and close.
func (a *authority) lifecycle(app string) bool {
	is, ok := a.catalog.Load().apps[app]
	return ok && hasLifecycle(&is)
}

func (a *authority) anyLifecycle(c *catalog) bool {
	for id := range c.apps {
		if app := c.apps[id]; hasLifecycle(&app) {
			return true
		}
	}
	return false
}

func hasLifecycle(app *auth.App) bool {
	for i := range app.Rules {
		if r := &app.Rules[i]; !r.Disabled && bytes.Contains(r.Config, []byte(`"`+dispatch.SourceChannelLifecycle+`"`)) {
			return true
		}
	}
	return false
}

// lifecycle says for which apps the log knows when channels open and close.
func (b *boot) lifecycle() func(app string) bool {
	configured := lifecyclesOf(&b.node.cfg)
	return func(app string) bool { return configured.of(app) || b.authority.lifecycle(app) }
}
