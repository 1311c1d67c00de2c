package protocol

import (
	"strings"

	"innkeeper/channel"
)

// Flags is the bit set of ATTACH and ATTACHED. The upper bits are channel modes.
type Flags int64

// The flags and, from bit 16 on, the channel modes.
const (
	FlagHasPresence  Flags = 1 << 0
	FlagHasBacklog   Flags = 1 << 1
	FlagResumed      Flags = 1 << 2
	FlagTransient    Flags = 1 << 4
	FlagAttachResume Flags = 1 << 5
	FlagHasObjects   Flags = 1 << 7

	ModePresence            Flags = 1 << 16
	ModePublish             Flags = 1 << 17
	ModeSubscribe           Flags = 1 << 18
	ModePresenceSubscribe   Flags = 1 << 19
	ModeAnnotationPublish   Flags = 1 << 21
	ModeAnnotationSubscribe Flags = 1 << 22
	ModeObjectSubscribe     Flags = 1 << 24
	ModeObjectPublish       Flags = 1 << 25
)

// AllModes is every mode; DefaultModes is what an ATTACH that names none asks for.
const (
	AllModes = ModePresence | ModePublish | ModeSubscribe | ModePresenceSubscribe | ModeAnnotationPublish |
		ModeAnnotationSubscribe | ModeObjectSubscribe | ModeObjectPublish
	DefaultModes = ModePresence | ModePublish | ModeSubscribe | ModePresenceSubscribe | ModeAnnotationPublish
)

// modeNames is in the order in which ModeNames lists them.
var modeNames = [...]struct {
	mode Flags
	name string
}{
	{ModePublish, "publish"},
	{ModeSubscribe, "subscribe"},
	{ModePresence, "presence"},
	{ModePresenceSubscribe, "presence_subscribe"},
	{ModeAnnotationPublish, "annotation_publish"},
	{ModeAnnotationSubscribe, "annotation_subscribe"},
	{ModeObjectPublish, "object_publish"},
	{ModeObjectSubscribe, "object_subscribe"},
}

// Modes is the mode bits of f alone.
func (f Flags) Modes() Flags { return f & AllModes }

// Has says whether all bits of g are set.
func (f Flags) Has(g Flags) bool { return f&g == g }

// ParseModes reads the modes parameter: lower-case names joined by commas, in any letter case and with blanks around
// them. Names it does not know are ignored, as unknown parameters are.
func ParseModes(list string) Flags {
	var f Flags
	for s := range strings.SplitSeq(list, ",") {
		s = strings.TrimSpace(s)
		for _, m := range modeNames {
			if strings.EqualFold(m.name, s) {
				f |= m.mode
			}
		}
	}
	return f
}

// ModeNames is the modes of f in the form ParseModes reads.
func ModeNames(f Flags) string {
	var b strings.Builder
	for _, m := range modeNames {
		if f&m.mode != 0 {
			if b.Len() > 0 {
				b.WriteByte(',')
			}
			b.WriteString(m.name)
		}
	}
	return b.String()
}

// RequestedModes is what an ATTACH asks for: the modes parameter, else the mode bits of flags, else the default set.
func RequestedModes(params map[string]string, flags Flags) Flags {
	if list, ok := params["modes"]; ok {
		if m := ParseModes(list); m != 0 {
			return m
		}
		return DefaultModes
	}
	if m := flags.Modes(); m != 0 {
		return m
	}
	return DefaultModes
}

// ModeCounts is what one attachment that was granted these modes adds to a channel's occupancy. PresenceMembers stays
// 0: members are not attachments.
func ModeCounts(granted Flags) channel.Counts {
	var c channel.Counts
	c[channel.Connections] = 1
	set := func(mode Flags, cat channel.Category) {
		if granted&mode != 0 {
			c[cat] = 1
		}
	}
	set(ModePublish, channel.Publishers)
	set(ModeSubscribe, channel.Subscribers)
	set(ModePresence, channel.PresenceConnections)
	set(ModePresenceSubscribe, channel.PresenceSubscribers)
	set(ModeObjectPublish, channel.ObjectPublishers)
	set(ModeObjectSubscribe, channel.ObjectSubscribers)
	return c
}
