package protocol

import "innkeeper/channel"

// Bodies of REST replies.

// AppendErrorBody appends {"error":{…}}.
func AppendErrorBody(dst []byte, f Format, err *ErrorInfo) []byte {
	w := writer{b: dst, f: f}
	outer := w.openMap()
	w.error(err)
	return w.end(outer)
}

// AppendTime appends the reply of GET /time: an array of one number.
func AppendTime(dst []byte, f Format, ms int64) []byte {
	w := writer{b: dst, f: f}
	outer := w.openArray()
	w.item()
	w.int(ms)
	return w.end(outer)
}

// AppendPublished appends the reply of a publish: the channel, the base of the message ids and the serial of each
// message.
func AppendPublished(dst []byte, f Format, name, messageID, channelSerial string, messages int) []byte {
	w := writer{b: dst, f: f}
	outer := w.openMap()
	w.keyStr("channel", name)
	w.published(messageID, channelSerial, messages)
	return w.end(outer)
}

func (w *writer) published(messageID, channelSerial string, messages int) {
	w.keyStr("messageId", messageID)
	w.key("serials")
	list := w.openArray()
	for i := range messages {
		w.item()
		w.messageSerial(channelSerial, i)
	}
	w.close(list)
}

// AppendChannelDetails appends the ChannelDetails of one channel, with all categories of its occupancy.
func AppendChannelDetails(dst []byte, f Format, name string, active bool, c *channel.Counts) []byte {
	w := writer{b: dst, f: f}
	w.channelDetails(name, active, c)
	return w.b
}

// AppendChannels appends an array of the ChannelDetails of open channels.
func AppendChannels(dst []byte, f Format, list []channel.Listed) []byte {
	w := writer{b: dst, f: f}
	outer := w.openArray()
	for i := range list {
		w.item()
		w.channelDetails(list[i].Name, true, &list[i].Counts)
	}
	return w.end(outer)
}

// AppendChannelNames appends an array of the names of open channels.
func AppendChannelNames(dst []byte, f Format, list []channel.Listed) []byte {
	w := writer{b: dst, f: f}
	outer := w.openArray()
	for i := range list {
		w.item()
		w.str(list[i].Name)
	}
	return w.end(outer)
}

func (w *writer) channelDetails(name string, active bool, c *channel.Counts) {
	outer := w.openMap()
	w.keyStr("channelId", name)
	w.keyStr("name", name)
	w.key("status")
	status := w.openMap()
	w.key("isActive")
	w.bool(active)
	w.key("occupancy")
	occupancy := w.openMap()
	w.key("metrics")
	w.metrics(c, AllCategories)
	w.close(occupancy)
	w.close(status)
	w.close(outer)
}
