package config

import (
	"encoding/json"

	"innkeeper/transport/limits"
)

// OfNewApps are the limits of an app that is made while the cluster runs. What was validated has no error, else it is a
// *limits.Problem.
func (l *Limits) OfNewApps() (set limits.Set, err error) {
	doc, err := json.Marshal(l.NewApps)
	if err == nil && l.NewApps != nil {
		err = set.UnmarshalJSON(doc)
	}
	return set, err
}

func (c checker) limits() {
	_, err := c.cfg.Limits.OfNewApps()
	if p, ok := limits.AsProblem(err); ok {
		c.bad("limits.new_apps."+p.Field, "%s", p.Text)
	}
}
