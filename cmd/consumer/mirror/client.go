package mirror

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	pageSize    = 1000
	pageTimeout = 15 * time.Second
	// codeForgotten says that the log no longer has what is asked for.
	codeForgotten = 40011
)

// refusal is an error that a node answered.
type refusal struct {
	Status  int
	Code    int
	Message string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("answered %d: %s (code %d)", r.Status, r.Message, r.Code)
}

// passes says whether asking again can help: nodes that start, stop or are cut off answer 5xx.
func (r *refusal) passes() bool {
	return r.Status >= 500 || r.Status == http.StatusTooManyRequests || r.Code == codeForgotten
}

// get asks the present node. An answer other than 200 is a *refusal.
func (m *Mirror) get(ctx context.Context, path string, query url.Values, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(m.cfg.Nodes[m.node], "/")+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	for name := range header {
		req.Header.Set(name, header.Get(name))
	}
	name, secret, _ := strings.Cut(m.cfg.Key, ":")
	req.SetBasicAuth(name, secret)
	res, err := m.cfg.Client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	var said struct{ Error refusal }
	text, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if json.Unmarshal(text, &said) != nil || said.Error.Message == "" {
		said.Error.Message = fmt.Sprintf("%.200s", text)
	}
	said.Error.Status = res.StatusCode
	return nil, &said.Error
}

// list makes a table from all pages of GET /occupied. They show the set as of one seq, so the table is exact however long
// it takes; a page that a node does not answer is asked of the next one. Where the log forgets what the listing needs, the
// page is refused, and the caller begins again.
func (m *Mirror) list(ctx context.Context) (Table, error) {
	t := Table{Channels: map[string]uint64{}}
	query := url.Values{"limit": {strconv.Itoa(pageSize)}}
	for {
		var page struct {
			AsOf     uint64 `json:"as_of"`
			Next     string `json:"next"`
			Channels []struct {
				Channel string `json:"channel"`
				Seq     uint64 `json:"seq"`
			} `json:"channels"`
		}
		if err := m.page(ctx, query, &page); err != nil {
			return Table{}, err
		}
		t.Seq = page.AsOf
		for _, c := range page.Channels {
			t.Channels[c.Channel] = c.Seq
		}
		if page.Next == "" {
			return t, nil
		}
		query.Set("cursor", page.Next)
	}
}

// page reads one page, from another node where one does not answer.
func (m *Mirror) page(ctx context.Context, query url.Values, into any) error {
	var err error
	for range m.cfg.Nodes {
		if err = m.readPage(ctx, query, into); err == nil || ctx.Err() != nil {
			return err
		}
		if r, ok := err.(*refusal); ok && (!r.passes() || r.Code == codeForgotten) {
			return err
		}
		m.node = (m.node + 1) % len(m.cfg.Nodes)
	}
	return err
}

func (m *Mirror) readPage(ctx context.Context, query url.Values, into any) error {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	res, err := m.get(ctx, "/occupied", query, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(into)
}
