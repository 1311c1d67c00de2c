package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// channel names one of the pool: low ones are popular, high ones mostly held by one client alone.
func (s *Sim) channel(rng *rand.Rand) string {
	f := rng.Float64()
	i := int(f * float64(s.Options.Channels))
	return fmt.Sprintf("%s:%d", [...]string{"room", "room", "fast", "conn"}[i%4], i)
}

// mode draws the modes of an attachment: mostly the default set.
func mode(rng *rand.Rand) Mode {
	switch rng.IntN(10) {
	case 0:
		return Publish
	case 1, 2:
		return Subscribe
	}
	return 0
}

// script is what one client does.
func (s *Sim) script(ctx context.Context, c *Client, rng *rand.Rand) {
	c.Connect(rng.IntN(s.Options.Nodes))
	// Some clients hardly move: what they hold must not be touched by anything.
	pace := []time.Duration{800 * time.Millisecond, 3 * time.Second, 20 * time.Second}[rng.IntN(3)]
	for range 2 {
		c.Attach(s.channel(rng), mode(rng))
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(between(rng, 50*time.Millisecond, 2*pace)):
		}
		held := c.heldNow()
		switch x := rng.IntN(28); {
		case x >= 20:
			if len(held) > 0 {
				channel := held[rng.IntN(len(held))]
				for range 1 + rng.IntN(3) {
					c.Publish(channel)
				}
			}
		case x < 9:
			c.Attach(s.channel(rng), mode(rng))
		case x < 17:
			if len(held) > 0 {
				c.Detach(held[rng.IntN(len(held))])
			}
		case x < 18:
			if rng.IntN(4) == 0 {
				c.Forget()
			}
			c.Drop(true)
		case x < 19:
			c.Drop(false)
			time.Sleep(between(rng, 0, 6*time.Second))
			c.Connect(rng.IntN(s.Options.Nodes))
		default:
			c.Close()
			time.Sleep(between(rng, 0, 6*time.Second))
			c.Connect(rng.IntN(s.Options.Nodes))
		}
	}
}
