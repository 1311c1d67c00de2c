package channel

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// The bounds of a summary, which is sent with every annotation.
const (
	// summaryClients is how many client ids are listed under one name; beyond it the list is clipped and only the total
	// goes on counting.
	summaryClients = 200
	// summaryNames and summaryTypes are how many names one type has, and how many types there are. Others are annotations
	// like any, and count for nothing.
	summaryNames = 200
	summaryTypes = 50
	// summaryBytes is where the text of a summary begins to leave out what still comes: types and names, and client ids as
	// above.
	summaryBytes = 64 << 10
)

// The ways in which annotations are counted: what stands behind the colon of their type.
const (
	TotalV1    = "total.v1"    // how many there are
	FlagV1     = "flag.v1"     // which clients made one
	DistinctV1 = "distinct.v1" // by name, which clients made one
	UniqueV1   = "unique.v1"   // likewise, and each client counts for the last name only
	MultipleV1 = "multiple.v1" // by name, how much each client counts for
)

// AnnotationMethod is the way in which annotations of a type are counted. It is "" for a type that is none.
func AnnotationMethod(typ string) string {
	namespace, method, ok := strings.Cut(typ, ":")
	if !ok || namespace == "" {
		return ""
	}
	switch method {
	case TotalV1, FlagV1, DistinctV1, UniqueV1, MultipleV1:
		return method
	}
	return ""
}

// summary counts the annotations of one message. Types and names stand in the order in which they came.
type summary struct {
	types  []*tallied
	cached []byte
}

// tallied is what the annotations of one type come to.
type tallied struct {
	typ, method string
	total       int64 // of total.v1
	names       []*named
}

// named is what those of one name come to; flags have one without a name.
type named struct {
	name         string
	clients      []string // in order of arrival
	counts       map[string]int64
	unidentified int64
}

// take counts one annotation.
func (s *summary) take(m *Message) {
	method := AnnotationMethod(m.Edit.Type)
	i := slices.IndexFunc(s.types, func(t *tallied) bool { return t.typ == m.Edit.Type })
	if method == "" || i < 0 && (m.Edit.Action == Unannotate || len(s.types) == summaryTypes) {
		return
	}
	s.cached = nil
	if i < 0 {
		i = len(s.types)
		s.types = append(s.types, &tallied{typ: m.Edit.Type, method: method})
	}
	t := s.types[i]
	if m.Edit.Action == Annotate {
		t.add(m.Name, m.ClientID, max(m.Edit.Count, 1))
	} else {
		t.remove(m.Name, m.ClientID)
	}
	if t.total == 0 && len(t.names) == 0 {
		s.types = slices.Delete(s.types, i, i+1)
	}
}

func (t *tallied) add(name, client string, count int64) {
	switch t.method {
	case TotalV1:
		t.total++
		return
	case FlagV1:
		name = ""
	case UniqueV1:
		t.names = slices.DeleteFunc(t.names, func(n *named) bool { return n.name != name && n.drop(client) })
	}
	if t.method != MultipleV1 {
		count = 0
	}
	i := slices.IndexFunc(t.names, func(n *named) bool { return n.name == name })
	if i < 0 {
		if len(t.names) == summaryNames {
			return
		}
		i = len(t.names)
		t.names = append(t.names, &named{name: name, counts: make(map[string]int64)})
	}
	n := t.names[i]
	if client == "" {
		n.unidentified += count
		return
	}
	if _, known := n.counts[client]; !known {
		n.clients = append(n.clients, client)
	}
	n.counts[client] += count
}

// remove takes back what a client's annotations of a name count for. Without a name that is all of the client's where a
// client counts once; of a total it is one.
func (t *tallied) remove(name, client string) {
	switch t.method {
	case TotalV1:
		t.total--
		return
	case FlagV1:
		name = ""
	}
	all := name == "" && t.method == UniqueV1
	t.names = slices.DeleteFunc(t.names, func(n *named) bool { return (all || n.name == name) && n.drop(client) })
}

// drop takes a client out and says whether nothing is left.
func (n *named) drop(client string) (empty bool) {
	if client == "" {
		n.unidentified = 0
	} else if _, known := n.counts[client]; known {
		delete(n.counts, client)
		i := slices.Index(n.clients, client)
		n.clients = slices.Delete(n.clients, i, i+1)
	}
	return len(n.clients) == 0 && n.unidentified == 0
}

// text is the summary as JSON, nil when nothing is counted. It must not be written to.
func (s *summary) text() []byte {
	if len(s.types) == 0 {
		return nil
	}
	if s.cached != nil {
		return s.cached
	}
	b := []byte{'{'}
	for i, t := range s.types {
		if i > 0 {
			if len(b) >= summaryBytes {
				break
			}
			b = append(b, ',')
		}
		b = append(appendQuoted(b, t.typ), ':')
		switch t.method {
		case TotalV1:
			b = append(strconv.AppendInt(append(b, `{"total":`...), t.total, 10), '}')
		case FlagV1:
			b = t.names[0].appendList(b)
		default:
			b = append(b, '{')
			for j, n := range t.names {
				if j > 0 {
					if len(b) >= summaryBytes {
						break
					}
					b = append(b, ',')
				}
				b = append(appendQuoted(b, n.name), ':')
				if t.method == MultipleV1 {
					b = n.appendCounts(b)
				} else {
					b = n.appendList(b)
				}
			}
			b = append(b, '}')
		}
	}
	s.cached = append(b, '}')
	return s.cached
}

func (n *named) appendList(b []byte) []byte {
	b = strconv.AppendInt(append(b, `{"total":`...), int64(len(n.clients)), 10)
	b = append(b, `,"clientIds":[`...)
	shown := 0
	for ; n.shows(shown, b); shown++ {
		if shown > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, n.clients[shown])
	}
	b = append(b, `],"clipped":`...)
	return append(strconv.AppendBool(b, shown < len(n.clients)), '}')
}

func (n *named) appendCounts(b []byte) []byte {
	total := n.unidentified
	for _, c := range n.counts {
		total += c
	}
	b = strconv.AppendInt(append(b, `{"total":`...), total, 10)
	b = append(b, `,"clientIds":{`...)
	shown := 0
	for ; n.shows(shown, b); shown++ {
		if shown > 0 {
			b = append(b, ',')
		}
		c := n.clients[shown]
		b = strconv.AppendInt(append(appendQuoted(b, c), ':'), n.counts[c], 10)
	}
	b = strconv.AppendInt(append(b, `},"totalUnidentified":`...), n.unidentified, 10)
	b = strconv.AppendBool(append(b, `,"clipped":`...), shown < len(n.clients))
	return append(strconv.AppendInt(append(b, `,"totalClientIds":`...), int64(len(n.clients)), 10), '}')
}

// shows says whether client i is listed behind what the summary has already.
func (n *named) shows(i int, b []byte) bool {
	return i < min(len(n.clients), summaryClients) && len(b) < summaryBytes
}

func appendQuoted(b []byte, s string) []byte {
	q, _ := json.Marshal(s) // a string always can be
	return append(b, q...)
}
