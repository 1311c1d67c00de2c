package protocol

// Bounds of one batch publish.
const (
	BatchSpecsMax    = 100
	BatchChannelsMax = 100    // distinct ones, over all specs
	BatchMentionsMax = 10_000 // of channels, distinct or not, over all specs
)

// BatchSpec is some messages for some channels. Each channel gets all of them or none.
type BatchSpec struct {
	Channels []string
	Messages []Message
	TooMany  bool // there were more than MaxMessages
}

// DecodeBatch reads the body of a batch publish: a spec or an array of them; alone says which. Of channels it keeps one more
// than BatchMentionsMax, so that more are seen.
func DecodeBatch(f Format, b []byte) (specs []BatchSpec, alone bool, err *ErrorInfo) {
	d, err := newDecoder(f, b)
	if err != nil {
		return nil, false, bodyError(err)
	}
	switch k := d.src.kind(); k {
	case kindMap:
		specs, alone = []BatchSpec{d.batchSpec(BatchMentionsMax + 1)}, true
	case kindArray:
		room := BatchMentionsMax + 1
		d.src.openArray()
		for d.src.more() {
			if len(specs) == BatchSpecsMax {
				d.src.skip()
				d.refuse("a batch has %d specs at most", BatchSpecsMax)
				continue
			}
			if k := d.src.kind(); k != kindMap {
				d.src.skip()
				d.refuse("a spec of a batch has to be an object, this is %s", k)
				continue
			}
			spec := d.batchSpec(room)
			room -= len(spec.Channels)
			specs = append(specs, spec)
		}
	case kindNone:
	default:
		return nil, false, Errorf(CodeBadBody, "the body has to be a batch spec or an array of them, this is %s", k)
	}
	if err := d.finish(); err != nil {
		return nil, false, bodyError(err)
	}
	return specs, alone, nil
}

// refuse keeps the first error of a body.
func (d *decoder) refuse(format string, args ...any) {
	if d.err == nil {
		d.err = Errorf(CodeBadBody, format, args...)
	}
}

// batchSpec reads a spec, of which it keeps so many channels as there is room for.
func (d *decoder) batchSpec(room int) (s BatchSpec) {
	name := func() {
		if len(s.Channels) < room {
			s.Channels = append(s.Channels, d.string("channels"))
		} else {
			d.src.skip()
		}
	}
	d.src.openMap()
	for d.src.more() {
		switch string(d.src.key()) {
		case "channels":
			if d.src.kind() == kindString {
				name()
				continue
			}
			d.array("channels", name)
		case "messages":
			if d.src.kind() == kindMap {
				s.Messages = append(s.Messages, d.message())
				continue
			}
			s.Messages, s.TooMany = d.messages("message")
		default:
			d.src.skip()
		}
	}
	return s
}

// BatchResult is what became of a spec on one channel.
type BatchResult struct {
	Channel       string
	MessageID     string
	ChannelSerial string
	Messages      int
	Error         *ErrorInfo // nil: published
}

// AppendBatch appends the reply to a batch publish: what became of each spec, alone when only one was asked for as such.
func AppendBatch(dst []byte, f Format, results [][]BatchResult, alone bool) []byte {
	w := writer{b: dst, f: f}
	if alone {
		w.batchResults(results[0])
		return w.b
	}
	outer := w.openArray()
	for _, r := range results {
		w.item()
		w.batchResults(r)
	}
	return w.end(outer)
}

func (w *writer) batchResults(list []BatchResult) {
	failed := 0
	for i := range list {
		if list[i].Error != nil {
			failed++
		}
	}
	outer := w.openMap()
	w.keyInt("successCount", int64(len(list)-failed))
	w.keyInt("failureCount", int64(failed))
	w.key("results")
	w.batchList(list)
	w.close(outer)
}

func (w *writer) batchList(list []BatchResult) {
	outer := w.openArray()
	for i := range list {
		r := &list[i]
		w.item()
		one := w.openMap()
		w.keyStr("channel", r.Channel)
		if r.Error != nil {
			w.error(r.Error)
		} else {
			w.published(r.MessageID, r.ChannelSerial, r.Messages)
		}
		w.close(one)
	}
	w.close(outer)
}

// AppendFlatBatch appends the reply that clients older than version 3 read: the results of all specs in one array.
func AppendFlatBatch(dst []byte, f Format, results [][]BatchResult) []byte {
	w := writer{b: dst, f: f}
	w.batchList(flat(results))
	return w.b
}

// AppendFailedBatch appends what such clients read when something failed.
func AppendFailedBatch(dst []byte, f Format, err *ErrorInfo, results [][]BatchResult) []byte {
	w := writer{b: dst, f: f}
	outer := w.openMap()
	w.error(err)
	w.key("batchResponse")
	w.batchList(flat(results))
	return w.end(outer)
}

func flat(results [][]BatchResult) (list []BatchResult) {
	for _, r := range results {
		list = append(list, r...)
	}
	return list
}

// AppendEnvelope appends a reply wrapped for clients that cannot read status and headers. body is in the same format.
func AppendEnvelope(dst []byte, f Format, status int, body []byte, headers map[string]string) []byte {
	w := writer{b: dst, f: f}
	outer := w.openMap()
	w.keyInt("statusCode", int64(status))
	if len(body) > 0 {
		w.key("response")
		w.b = append(w.b, body...)
	}
	w.key("headers")
	w.stringMap(headers)
	return w.end(outer)
}
