package protocol

// RuleItem is an event as batched requests of integration rules tell it.
type RuleItem struct {
	Source      string // such as channel.lifecycle
	Name        string // such as channel.opened
	Serial      string // orders the items of one channel
	TimestampMs int64  // Unix milliseconds
	Data        []byte // a value, laid in the format of the request
}

// AppendRuleBatch appends the body of a batched request of an integration rule.
func AppendRuleBatch(dst []byte, f Format, rule string, items []RuleItem) []byte {
	w := writer{b: dst, f: f}
	outer := w.openMap()
	w.key("items")
	list := w.openArray()
	for i := range items {
		it := &items[i]
		w.item()
		one := w.openMap()
		w.keyStr("webhookId", rule)
		w.keyStr("source", it.Source)
		w.keyStr("serial", it.Serial)
		w.keyInt("timestamp", it.TimestampMs)
		w.keyStr("name", it.Name)
		w.key("data")
		w.laid(it.Data)
		w.close(one)
	}
	w.close(list)
	return w.end(outer)
}

// RuleEnvelope is what a request of an integration rule for one event says.
type RuleEnvelope struct {
	Source, App, Channel, Site, Rule string
	TimestampMs                      int64  // Unix milliseconds
	Field                            string // where Value stands: messages, presence or data
	Value                            []byte // laid in the format of the request
}

// AppendRuleEnvelope appends the body of a request of an integration rule for one event.
func AppendRuleEnvelope(dst []byte, f Format, e *RuleEnvelope) []byte {
	w := writer{b: dst, f: f}
	outer := w.openMap()
	w.keyStr("source", e.Source)
	w.keyStr("appId", e.App)
	w.keyStr("channel", e.Channel)
	w.keyStr("site", e.Site)
	w.keyStr("ruleId", e.Rule)
	w.keyInt("timestamp", e.TimestampMs)
	w.key(e.Field)
	w.laid(e.Value)
	return w.end(outer)
}

// AppendRuleMessages appends what a batched item says of messages, or of members: field is the name of their list.
func AppendRuleMessages(dst []byte, f Format, name, site, field string, list []Past) []byte {
	w := writer{b: dst, f: f}
	outer := w.openMap()
	w.keyStr("channelId", name)
	w.keyStr("site", site)
	w.key(field)
	w.pasts(list)
	return w.end(outer)
}

// AppendRuleGap appends what is said where publishes behind a position of a channel were not told.
func AppendRuleGap(dst []byte, f Format, name, after string) []byte {
	w := writer{b: dst, f: f}
	outer := w.openMap()
	w.keyStr("channelId", name)
	w.keyStr("after", after)
	return w.end(outer)
}

// laid writes a value that was laid before, in the writer's format.
func (w *writer) laid(value []byte) { w.b = append(w.b, value...) }
