package protocol

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"innkeeper/channel"
)

// ErrorInfo is an error as clients see it. On the wire message, code and statusCode are always there: a client that
// misses one of them drops the whole frame.
//
// Functions of this package that return *ErrorInfo return a nil pointer for success; do not store such a result in a
// variable of type error without looking at it first.
type ErrorInfo struct {
	Message    string
	Code       int
	StatusCode int
	Href       string            // where to read more; "" leaves it out
	Detail     map[string]string // facts for programs; nil leaves it out
}

// Error is the text for logs.
func (e *ErrorInfo) Error() string {
	return e.Message + " (" + strconv.Itoa(e.Code) + "/" + strconv.Itoa(e.StatusCode) + ")"
}

// Errorf makes an error of a code. The status is the table's; a code the table lacks gets code/100.
func Errorf(code int, format string, args ...any) *ErrorInfo {
	msg := format
	if len(args) > 0 {
		msg = fmt.Sprintf(format, args...)
	}
	return &ErrorInfo{Message: msg, Code: code, StatusCode: StatusOf(code)}
}

// NewError makes an error of a code with the table's own text.
func NewError(code int) *ErrorInfo {
	return &ErrorInfo{Message: TextOf(code), Code: code, StatusCode: StatusOf(code)}
}

// WithStatus is a copy of e with another HTTP status.
func (e *ErrorInfo) WithStatus(status int) *ErrorInfo {
	c := *e
	c.StatusCode = status
	return &c
}

// Refused is what a client hears when a channel's owner refused: nothing was done, so it may try again. It is nil for
// channel.Accepted.
func Refused(r channel.Refusal) *ErrorInfo {
	switch r {
	case channel.Accepted:
		return nil
	case channel.NotOwner:
		return Errorf(CodeTimeout, "the channel is moving between nodes and could not be reached in time; try again")
	case channel.Busy:
		return Errorf(CodeBusy, "the channel is too busy to take this now; try again")
	case channel.TooManyMembers:
		return Errorf(CodeTooManyMembers, "the presence set of the channel is full; members have to leave first, or channels.presence_members be raised")
	case channel.MembersTooLarge:
		return NewError(CodeMembersTooLarge)
	case channel.Overtaken:
		return Errorf(CodePresence, "this was refused before, and what was said later was not, so it cannot be done in its turn; say it anew")
	case channel.OutOfTurn:
		return Errorf(CodeContinuityLost, "what this connection published later is on the channel already, and nobody knows any more whether this was taken or refused before; publish it anew if it has to be there")
	case channel.NotMutable:
		return NewError(CodeNotMutable)
	case channel.NotFound:
		return Errorf(CodeNotFound, "no such message: none was published under this serial, or it is not kept any more")
	case channel.NotOwn:
		return Errorf(CodeNoCapability, "operation not permitted with the provided capability: the message is another client's")
	case channel.NotAppendable:
		return Errorf(CodeBadData, "text can be appended only to text of the same encoding")
	case channel.TooLarge:
		return Errorf(CodeTooLarge, "the message would exceed the size limit")
	}
	switch r {
	case channel.TooManyChannels, channel.AccountChannels:
		return NewError(CodeChannelLimit)
	case channel.OpenedTooFast:
		return Errorf(CodeChannelRate, "channels are opened faster than the limit channelRate allows; try again later")
	case channel.TooFast:
		return Errorf(CodeRateChannel, "more is published on the channel than the limit channelMessageRate allows; try again later")
	}
	return Errorf(CodeInternal, "the channel refused the request (%d)", r)
}

// AsError turns any error into what a client may hear of it. An *ErrorInfo in the chain is taken as it is; an error
// with a method Refusal() channel.Refusal goes through Refused; a timeout is 50003; everything else is a plain internal
// error, whose cause belongs in the log. It is nil for nil.
func AsError(err error) *ErrorInfo {
	if err == nil {
		return nil
	}
	var info *ErrorInfo
	if errors.As(err, &info) && info != nil {
		return info
	}
	var refusal interface{ Refusal() channel.Refusal }
	if errors.As(err, &refusal) {
		if e := Refused(refusal.Refusal()); e != nil {
			return e
		}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Errorf(CodeTimeout, "the request took too long")
	}
	return NewError(CodeInternal)
}
