package protocol

// The error codes this server uses or has to recognise. Names say the cause, comments when to use it.
const (
	CodeBadRequest         = 40000 // anything malformed without a code of its own
	CodeBadBody            = 40001
	CodeBadParamName       = 40002
	CodeBadParamValue      = 40003
	CodeBadHeader          = 40004
	CodeBadCredential      = 40005 // key or token text that cannot be read
	CodeBadConnectionID    = 40006
	CodeBadContentLength   = 40008
	CodeTooLarge           = 40009 // message or body over its size limit
	CodeBadChannelName     = 40010
	CodeStalePage          = 40011 // enumeration cursor no longer valid: start again
	CodeBadClientID        = 40012 // clientId of a message against the identity
	CodeBadData            = 40013 // data or encoding
	CodeBadMessageName     = 40016
	CodeBadVersion         = 40017
	CodeBatch              = 40020 // some of a batch failed, for clients that expect an error then
	CodeBadPublish         = 40030
	CodeBadMessageID       = 40031
	CodeBadExtras          = 40032
	CodeTooManyMessages    = 40034
	CodeBadRegexp          = 40035 // of an integration rule's channels
	CodeForcedNack         = 40099 // asked for by _forceNack
	CodeUnauthorized       = 40101 // no or wrong credentials
	CodeIdentityMismatch   = 40102 // clientId against the credentials
	CodeNoBasicOverPlain   = 40103
	CodeConnectionLimit    = 40111 // of the account
	CodeChannelLimit       = 40114
	CodeAppDisabled        = 40120
	CodeKeyRevoked         = 40131
	CodeTokenError         = 40140 // 40140–40149: a fresh token can cure it
	CodeTokenRevoked       = 40141
	CodeTokenExpired       = 40142
	CodeTokenUnknown       = 40143
	CodeBadJWT             = 40144
	CodeBadToken           = 40145
	CodeAppConnectionLimit = 40150 // connections of the app
	CodeNoCapability       = 40160
	CodeNeedsIdentity      = 40161
	CodeNeedsOwner         = 40166 // own messages are meant, and the client is nobody in particular
	CodeModeNotRequested   = 40165 // capability is there, the mode was not asked for
	CodeForbidden          = 40300
	CodeTLSRequired        = 40311
	CodeNotFound           = 40400
	CodeMethodNotAllowed   = 40500
	CodeRateSystem         = 42910
	CodeRateConnection     = 42911
	CodeEnumerationRunning = 42912
	CodeRateChannel        = 42913
	CodeRateOutbound       = 42915
	CodeRateMessages       = 42917 // of an app or account
	CodeRateRequests       = 42918
	CodeFlood              = 42920 // the connection is ended for it
	CodeInternal           = 50000
	CodeInternalChannel    = 50001
	CodeInternalConnection = 50002
	CodeTimeout            = 50003
	CodeBusy               = 50004
	CodeConnectionFailed   = 80000
	CodeDisconnected       = 80003 // drain, restart, lost lease: the client comes back at once
	CodeConnectionGone     = 80008
	CodeOtherCredentials   = 80011
	CodeProtocolError      = 80013 // a frame that cannot be read
	CodeConnectionTimeout  = 80014
	CodeChannelReplaced    = 80016
	CodeConnectionClosed   = 80017
	CodeBadConnectionKey   = 80018
	CodeContinuityLost     = 80020
	CodeConnectionRate     = 80021
	CodeNoConnection       = 80022
	CodeChannelFailed      = 90000
	CodeChannelState       = 90001
	CodeHistory            = 90002
	CodePositionExpired    = 90003
	CodeBacklogTooLarge    = 90004
	CodeTooManyChannels    = 90010
	CodeChannelRate        = 90021
	CodePresence           = 91000 // a presence operation that cannot be, or by a client without a clientId
	CodePresenceState      = 91001 // the channel is not attached
	CodeTooManyMembers     = 91003
	CodeMembersTooLarge    = 91006 // the data of all members together
	CodeNotMutable         = 93002
)

type codeEntry struct {
	status int
	text   string
}

var codeTable = map[int]codeEntry{
	CodeBadRequest:         {400, "bad request"},
	CodeBadBody:            {400, "invalid request body"},
	CodeBadParamName:       {400, "invalid parameter name"},
	CodeBadParamValue:      {400, "invalid parameter value"},
	CodeBadHeader:          {400, "invalid header"},
	CodeBadCredential:      {400, "invalid credential"},
	CodeBadConnectionID:    {400, "invalid connection id"},
	CodeBadContentLength:   {400, "invalid content length"},
	CodeTooLarge:           {400, "message exceeds the size limit"},
	CodeBadChannelName:     {400, "invalid channel name"},
	CodeStalePage:          {400, "stale pagination cursor; start the enumeration again"},
	CodeBadClientID:        {400, "invalid client id"},
	CodeBadData:            {400, "invalid message data or encoding"},
	CodeBadMessageName:     {400, "invalid message name"},
	CodeBadVersion:         {400, "unsupported protocol version"},
	CodeBatch:              {400, "some of the batch failed"},
	CodeBadPublish:         {400, "invalid publish request"},
	CodeBadMessageID:       {400, "invalid message id"},
	CodeBadExtras:          {400, "invalid message extras"},
	CodeTooManyMessages:    {400, "too many messages in one publish"},
	CodeBadRegexp:          {400, "invalid regular expression"},
	CodeForcedNack:         {400, "publish refused as asked by _forceNack"},
	CodeUnauthorized:       {401, "invalid credentials"},
	CodeIdentityMismatch:   {401, "clientId does not agree with the credentials"},
	CodeNoBasicOverPlain:   {401, "basic auth needs TLS"},
	CodeConnectionLimit:    {401, "connection limit exceeded"},
	CodeChannelLimit:       {401, "channel limit exceeded"},
	CodeAppDisabled:        {403, "application disabled"},
	CodeKeyRevoked:         {401, "key revoked"},
	CodeTokenError:         {401, "token error"},
	CodeTokenRevoked:       {401, "token revoked"},
	CodeTokenExpired:       {401, "token expired"},
	CodeTokenUnknown:       {401, "token unrecognised"},
	CodeBadJWT:             {401, "invalid JWT format"},
	CodeBadToken:           {401, "invalid token format"},
	CodeAppConnectionLimit: {401, "connection limit of the app exceeded"},
	CodeNoCapability:       {401, "operation not permitted with the provided capability"},
	CodeNeedsIdentity:      {401, "operation needs an identified client"},
	CodeNeedsOwner:         {401, "own messages cannot be told from others without a clientId"},
	CodeModeNotRequested:   {401, "the mode for this operation was not requested at attach"},
	CodeForbidden:          {403, "forbidden"},
	CodeTLSRequired:        {403, "TLS required"},
	CodeNotFound:           {404, "not found"},
	CodeMethodNotAllowed:   {405, "method not allowed"},
	CodeRateSystem:         {429, "rate limit exceeded"},
	CodeRateConnection:     {429, "connection's publish rate exceeded"},
	CodeEnumerationRunning: {429, "another enumeration is running"},
	CodeRateChannel:        {429, "channel's publish rate exceeded"},
	CodeRateOutbound:       {429, "connection's delivery rate exceeded"},
	CodeRateMessages:       {429, "message rate exceeded"},
	CodeRateRequests:       {429, "request rate exceeded"},
	CodeFlood:              {429, "connection ended for sending far above its rate limit"},
	CodeInternal:           {500, "internal error"},
	CodeInternalChannel:    {500, "internal channel error"},
	CodeInternalConnection: {500, "internal connection error"},
	CodeTimeout:            {504, "the request took too long"},
	CodeBusy:               {503, "service busy; try again"},
	CodeConnectionFailed:   {400, "connection failed"},
	CodeDisconnected:       {400, "connection ended; reconnect"},
	CodeConnectionGone:     {400, "connection state unknown or expired"},
	CodeOtherCredentials:   {401, "credentials do not match those of the connection"},
	CodeProtocolError:      {400, "protocol error"},
	CodeConnectionTimeout:  {408, "connection timed out"},
	CodeChannelReplaced:    {400, "operation superseded"},
	CodeConnectionClosed:   {400, "connection closed"},
	CodeBadConnectionKey:   {400, "invalid connection key"},
	CodeContinuityLost:     {400, "continuity lost: messages may have been missed"},
	CodeConnectionRate:     {429, "connection rate limit exceeded"},
	CodeNoConnection:       {404, "connection not found"},
	CodeChannelFailed:      {400, "channel operation failed"},
	CodeChannelState:       {400, "channel operation not possible in its state"},
	CodeHistory:            {400, "history not available"},
	CodePositionExpired:    {400, "the channel position has expired: messages may have been missed"},
	CodeBacklogTooLarge:    {400, "too many messages since the channel position: some were not delivered"},
	CodeTooManyChannels:    {400, "too many channels on one connection"},
	CodeChannelRate:        {429, "channel creation rate exceeded"},
	CodePresence:           {400, "invalid presence operation"},
	CodePresenceState:      {400, "presence needs an attached channel"},
	CodeTooManyMembers:     {400, "the presence set of the channel is full"},
	CodeMembersTooLarge:    {400, "the data of the channel's presence members takes too much room"},
	CodeNotMutable:         {400, "updates, deletes and annotations of messages are not enabled for this channel: its namespace needs mutable_messages"},
}

// StatusOf is the HTTP status that goes with a code. 8xxxx and 9xxxx codes outside the table are 400, the rest code/100.
func StatusOf(code int) int {
	if e, ok := codeTable[code]; ok {
		return e.status
	}
	if code >= 40000 && code < 60000 {
		return code / 100
	}
	return 400
}

// TextOf is the table's text for a code.
func TextOf(code int) string {
	if e, ok := codeTable[code]; ok {
		return e.text
	}
	return "error"
}

// IsTokenError says whether clients answer a code by fetching a fresh token.
func IsTokenError(code int) bool { return code >= 40140 && code < 40150 }
