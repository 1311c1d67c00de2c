package rest

import (
	"net/http"
	"sync"

	"innkeeper/transport/auth"
	"innkeeper/transport/protocol"
)

const (
	// batchBodyBytes is the longest body of a batch publish.
	batchBodyBytes = 2 << 20
	// batchAtOnce is how many of a batch's publishes are under way at the same time.
	batchAtOnce = 16
)

// batch serves POST /messages: some messages for some channels, or several such. Each channel has its own outcome.
func (c *call) batch() *protocol.ErrorInfo {
	id, err := c.identify(c.r, c.query)
	if err != nil {
		return err
	}
	body, err := c.body(batchBodyBytes)
	if err != nil {
		return err
	}
	format, err := bodyFormat(c.r.Header.Get("Content-Type"), body)
	if err != nil {
		return err
	}
	specs, alone, err := protocol.DecodeBatch(format, body)
	if err != nil {
		return err
	}
	if err := checkBatch(specs); err != nil {
		return err
	}
	results := c.publishBatch(id, specs)
	failed := false
	for _, list := range results {
		for i := range list {
			failed = failed || list[i].Error != nil
		}
	}
	switch {
	case c.version >= 3:
		c.reply(http.StatusCreated, protocol.AppendBatch(nil, c.format, results, alone))
	case !failed:
		c.reply(http.StatusCreated, protocol.AppendFlatBatch(nil, c.format, results))
	default:
		err := protocol.NewError(protocol.CodeBatch)
		c.failWith(err, func(f protocol.Format) []byte { return protocol.AppendFailedBatch(nil, f, err, results) })
	}
	return nil
}

func checkBatch(specs []protocol.BatchSpec) *protocol.ErrorInfo {
	channels, mentions := map[string]bool{}, 0
	for i := range specs {
		if len(specs[i].Channels) == 0 {
			return protocol.Errorf(protocol.CodeBadBody, "spec %d of the batch names no channels", i)
		}
		for _, name := range specs[i].Channels {
			channels[name] = true
		}
		mentions += len(specs[i].Channels)
	}
	switch {
	case len(specs) == 0:
		return protocol.Errorf(protocol.CodeBadBody, "the batch is empty")
	case len(channels) > protocol.BatchChannelsMax:
		return protocol.Errorf(protocol.CodeTooManyChannels, "the batch names more than %d channels", protocol.BatchChannelsMax)
	case mentions > protocol.BatchMentionsMax:
		return protocol.Errorf(protocol.CodeTooManyChannels, "the batch names its channels more than %d times", protocol.BatchMentionsMax)
	}
	return nil
}

// publishBatch publishes everything that can be. Specs follow each other, so that two for one channel keep their order.
func (c *call) publishBatch(id auth.Identity, specs []protocol.BatchSpec) [][]protocol.BatchResult {
	results := make([][]protocol.BatchResult, len(specs))
	for i := range specs {
		spec := &specs[i]
		results[i] = make([]protocol.BatchResult, len(spec.Channels))
		slots := make(chan struct{}, batchAtOnce)
		var all sync.WaitGroup
		for n, given := range spec.Channels {
			slots <- struct{}{}
			all.Go(func() {
				results[i][n] = c.publishOne(id, given, spec)
				<-slots
			})
		}
		all.Wait()
	}
	return results
}

func (c *call) publishOne(id auth.Identity, given string, spec *protocol.BatchSpec) protocol.BatchResult {
	r := protocol.BatchResult{Channel: given}
	name, err := protocol.ParseName(given)
	if err == nil && name.Qualifier != "" {
		err = protocol.Errorf(protocol.CodeNoCapability, "operation not permitted: nothing can be published on [%s]", name.Qualifier)
	}
	if err == nil {
		p, bad := c.readPublish(id, name, spec.Messages, spec.TooMany)
		if err = bad; err == nil {
			r.MessageID, r.Messages = p.ID, len(p.Messages)
			r.ChannelSerial, err = c.put(id, name, p)
		}
	}
	r.Error = err
	return r
}
