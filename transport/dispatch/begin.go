package dispatch

import "context"

// begin is where a pass begins.
type begin struct {
	after uint64 // behind this seq, where there is no cursor
	gap   uint64 // and not before the sink was told of a gap from here to after; 0: of none
	moved bool   // somebody moved the cursor back and wants all that is behind it, after the gap if there is one
}

// anew is the beginning of a rule.
func (s *sender) anew() begin { return begin{after: s.rule.After, gap: s.rule.GapFrom} }

// place finds the cursor, making one if there is none, and the gap that the sink has to be told of before anything else, whose
// To is 0 when there is none.
//
// While a gap is owed, the cursor stands one event before its end. So whoever leads next knows, and knows too when it was told.
func (s *sender) place(ctx context.Context, from begin) (cursor uint64, missed Event, err error) {
	name, log := s.rule.Cursor(), s.config.Log
	after := from.after
	if from.gap > 0 {
		after--
	}
	_, there := log.Cursors()[name]
	err = insist(ctx, s.config, "ensure cursor", func(ctx context.Context) (err error) {
		cursor, err = log.EnsureCursor(ctx, name)
		if err == nil && !there && after > cursor {
			if err = log.SetCursor(ctx, name, after); err == nil {
				cursor = after
			}
		}
		return err
	})
	switch {
	case err != nil:
	case from.gap > 0 && (!there || cursor == after || from.moved):
		missed = log.Gap(from.gap, max(from.after, cursor))
	case !there && 0 < after && after < cursor: // the log gave up events before there was a cursor
		missed = log.Gap(after+1, cursor)
	}
	return cursor, missed, err
}
