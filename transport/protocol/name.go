package protocol

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Qualifiers that may stand in brackets before a channel's name.
const (
	QualifierMeta   = "meta"
	QualifierFilter = "filter"
)

// Name is a channel name taken apart: [qualifier?query]base.
type Name struct {
	Qualifier string            // "", "meta" or "filter"
	Filter    string            // the expression after "filter=", as written
	Params    map[string]string // channel params of the query; nil when there is none
	Base      string
}

// Channel is the name of the channel behind the attachment: a filter or a query gives another view of the same channel,
// a metachannel is a channel of its own.
func (n Name) Channel() string {
	if n.Qualifier == QualifierMeta {
		return "[meta]" + n.Base
	}
	return n.Base
}

// Resource is the name that capabilities are looked up for.
func (n Name) Resource() string {
	if n.Qualifier != "" {
		return "[" + n.Qualifier + "]" + n.Base
	}
	return n.Base
}

// Meta says whether this is a metachannel.
func (n Name) Meta() bool { return n.Qualifier == QualifierMeta }

// ValidateName says what is wrong with a channel name, nil if nothing (40010).
func ValidateName(name string) *ErrorInfo {
	_, err := ParseName(name)
	return err
}

// ParseName takes a channel name apart, or says what is wrong with it (40010). Names without a bracket cost no
// allocation.
func ParseName(name string) (Name, *ErrorInfo) {
	switch {
	case name == "":
		return Name{}, badName("the name is empty")
	case len(name) > MaxNameBytes:
		return Name{}, badName("the name is longer than %d bytes", MaxNameBytes)
	case !utf8.ValidString(name):
		return Name{}, badName("the name is not valid UTF-8")
	case strings.ContainsAny(name, "\n\v\f\r\u0085\u2028\u2029"):
		return Name{}, badName("%q contains a line break", name)
	}
	if name[0] != '[' {
		if err := checkBase(name, name); err != nil {
			return Name{}, err
		}
		return Name{Base: name}, nil
	}
	end := strings.IndexByte(name, ']')
	if end < 0 {
		return Name{}, badName("%q opens a qualifier that never ends", name)
	}
	inner, base := name[1:end], name[end+1:]
	qualifier, query, _ := strings.Cut(inner, "?")
	qualifier, filter, hasFilter := strings.Cut(qualifier, "=")
	if err := checkQualifier(name, qualifier, filter, hasFilter, query); err != nil {
		return Name{}, err
	}
	if base == "" {
		return Name{}, badName("%q has nothing behind its qualifier", name)
	}
	if base[0] == '[' {
		return Name{}, badName("%q has two qualifiers", name)
	}
	if err := checkBase(name, base); err != nil {
		return Name{}, err
	}
	n := Name{Qualifier: qualifier, Filter: filter, Base: base}
	if query != "" {
		values, err := url.ParseQuery(query)
		if err != nil {
			return Name{}, badName("the query in %q cannot be read: %v", name, err)
		}
		if len(values) > MaxParams {
			return Name{}, badName("the query in %q has more than %d params", name, MaxParams)
		}
		n.Params = make(map[string]string, len(values))
		for k, v := range values {
			n.Params[k] = v[0]
		}
	}
	return n, nil
}

func checkQualifier(name, qualifier, filter string, hasFilter bool, query string) *ErrorInfo {
	switch {
	case qualifier == "" && hasFilter:
		return badName("%q has a qualifier without a name", name)
	case qualifier == "" && query == "":
		return badName("%q has an empty qualifier", name)
	case qualifier == QualifierFilter && filter == "":
		return badName("%q has a filter without an expression", name)
	case qualifier == QualifierMeta && hasFilter, qualifier != "" && qualifier != QualifierMeta && qualifier != QualifierFilter:
		return badName("%q opens with a qualifier that does not exist", name)
	}
	return nil
}

func checkBase(name, base string) *ErrorInfo {
	first, _ := utf8.DecodeRuneInString(base)
	switch {
	case first == ':' || first == ',':
		return badName("%q begins with %q", name, first)
	case unicode.IsSpace(first):
		return badName("%q begins with white space", name)
	}
	return nil
}

func badName(format string, args ...any) *ErrorInfo {
	return Errorf(CodeBadChannelName, "invalid channel name: "+format, args...)
}
