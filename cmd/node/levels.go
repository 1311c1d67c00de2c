package node

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"innkeeper/raftstore"
	"innkeeper/transport/admin"
	"innkeeper/transport/limits"
	"innkeeper/transport/meter"
)

// tableLevels says how limits stand: scope and name → a byte with the level, then levelRow as JSON.
const tableLevels = "limit-levels"

// levelRow is what is known of a limit's level.
type levelRow struct {
	SinceMs int64 `json:"since_ms"`
}

// limitNotice is the limit of an event, as rules with the source limits send it.
type limitNotice struct {
	Name      string `json:"name"`
	Scope     string `json:"scope"` // app or account
	ID        string `json:"id"`    // of the scope
	Value     int64  `json:"value"`
	Threshold int64  `json:"threshold"`
	Refused   uint64 `json:"refused,omitempty"` // in the last second
}

// String is the notice for people.
func (n limitNotice) String() string {
	text := fmt.Sprintf("%s of %s %s: %d of %d", n.Name, n.Scope, n.ID, n.Value, n.Threshold)
	if n.Refused > 0 {
		text += fmt.Sprintf(", %d refused", n.Refused)
	}
	return text
}

// levelKey is the row of a limit's level.
func levelKey(k limits.Key) string { return string(k.Scope) + "/" + k.Name.String() }

// level is how a limit stands, as the leader saw it last, and since when; 0 is unknown.
func (l *limiting) level(k limits.Key) (level limits.Level, sinceMs int64) {
	row, ok := l.b.store.Row(tableLevels, levelKey(k))
	if !ok || len(row.Value) == 0 {
		return limits.Calm, 0
	}
	var about levelRow
	json.Unmarshal(row.Value[1:], &about) // what cannot be read is unknown
	return limits.Level(row.Value[0]), about.SinceMs
}

// usage is how a limit stands, for operators.
func (l *limiting) usage(k limits.Key) limitsUsage {
	level, since := l.level(k)
	u := limitsUsage{Level: level.String(), SinceMs: since}
	l.mu.Lock()
	defer l.mu.Unlock()
	u.Value = l.values[k]
	return u
}

// stats is how all limits stand, for metrics.
func (l *limiting) stats() (list []admin.LimitStats) {
	refused := l.gates.Refusals()
	for _, s := range l.gates.Scopes() {
		for n := range limits.NumNames {
			limit := s.Limits[n]
			if limit == (limits.Limit{}) {
				continue
			}
			k := limits.Key{Scope: s.ID, Name: n}
			level, _ := l.level(k)
			l.mu.Lock()
			value := l.values[k]
			l.mu.Unlock()
			list = append(list, admin.LimitStats{
				Scope: s.ID.Kind(), ID: s.ID.ID(), Limit: n.String(), Soft: limit.Soft, Hard: limit.Hard,
				Value: value, Measured: !n.Single(), Level: int(level), Refused: refused[s.ID][n],
			})
		}
	}
	return list
}

// watch looks at all limits once a second and, on the leader, tells the apps of those whose level has changed.
func (l *limiting) watch(ctx context.Context, now time.Time) {
	apps, _ := l.b.metering.open()
	leads := l.b.store.IsLeader() && l.b.held.Load()
	var notices []raftstore.Notice
	l.mu.Lock()
	if leads {
		l.lead()
	} else {
		l.watches = nil
	}
	values := map[limits.Key]int64{}
	refused := map[limits.Scope][limits.NumNames]uint64{}
	if leads {
		refused = l.leader.Refusals()
	}
	for _, s := range l.gates.Scopes() {
		for n := range limits.NumNames {
			if s.Limits[n] == (limits.Limit{}) {
				continue
			}
			k := limits.Key{Scope: s.ID, Name: n}
			met := refused[s.ID][n]
			value := l.value(k, apps, met, s.Has)
			values[k] = value
			if leads {
				if notice := l.look(now, k, s, value, met); notice != nil {
					notices = append(notices, *notice)
				}
			}
		}
	}
	l.values = values
	l.mu.Unlock()
	for _, n := range notices {
		if err := l.b.store.Notify(ctx, n); err != nil { // it is looked at again in a second
			l.b.log.Warn("it was not noted how a limit stands; tried again", "limit", n.Key, "err", err)
			l.mu.Lock()
			l.watches = nil
			l.mu.Unlock()
			return
		}
	}
}

// value is how much there is of what is limited, of which met was refused; l.mu is held.
func (l *limiting) value(k limits.Key, apps map[string]meter.Now, met uint64, has func(string) bool) (value int64) {
	switch {
	case k.Name.AtOnce():
		for app, now := range apps {
			if !has(app) {
				continue
			}
			if k.Name == limits.Channels {
				value += now.Channels
			} else {
				value += now.Connections
			}
		}
	case k.Name.Rate():
		value = int64(math.Round(l.asked[k]))
	case k.Name.Single():
		value = int64(met)
	}
	return value
}

// look says whom to tell of a limit, nil for nobody; l.mu is held.
func (l *limiting) look(now time.Time, k limits.Key, s limits.ScopeLimits, value int64, met uint64) *raftstore.Notice {
	w := l.watches[k]
	if w == nil {
		w = &limits.Watch{}
		w.Level, _ = l.level(k)
		if l.watches == nil {
			l.watches = map[limits.Key]*limits.Watch{}
		}
		l.watches[k] = w
	}
	was, limit, seen := w.Level, s.Limits[k.Name], value
	if k.Name.Single() {
		seen, limit = 0, limits.Limit{}
	}
	if !w.See(now, limit, seen, met > 0) {
		return nil
	}
	about, _ := json.Marshal(levelRow{now.UnixMilli()})
	n := &raftstore.Notice{Table: tableLevels, Key: levelKey(k), Level: byte(w.Level), About: about, TimeMs: now.UnixMilli()}
	l.b.log.Info("a limit stands differently", "scope", k.Scope, "limit", k.Name, "level", w.Level, "was", was, "value", value)
	if w.Level < was {
		return n // all is well again: nobody is told
	}
	notice := limitNotice{Name: k.Name.String(), Scope: k.Scope.Kind(), ID: k.Scope.ID(), Value: value, Threshold: s.Limits[k.Name].Hard, Refused: met}
	n.Kind = raftstore.LimitOver
	if w.Level == limits.Near {
		n.Kind, notice.Threshold = raftstore.LimitNear, s.Limits[k.Name].Near()
	}
	text, _ := json.Marshal(notice)
	n.Text, n.Apps = string(text), l.b.appsOf(s.Has)
	return n
}

// appsOf are the apps of a scope, in order.
func (b *boot) appsOf(has func(app string) bool) (list []string) {
	all, err := steering{b.authority}.apps()
	if err != nil {
		return nil
	}
	for _, a := range all {
		if has(a.ID) {
			list = append(list, a.ID)
		}
	}
	return list
}
