package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/auditail/auditail/inputs/internal/pushed"
)

// handler answers the requests of one run.
type handler struct {
	*Server
	feed       *pushed.Feed
	complaints complaints
	path       string // Line.Path
}

func (s *Server) handler(feed *pushed.Feed) *handler {
	return &handler{
		Server: s, feed: feed,
		complaints: complaints{log: s.log, now: s.now},
		path:       s.address.String(),
	}
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // "" is accepted by no format
	lines, err := h.take(w, r)
	// An answer is always written, also for a client that seems to be gone: of a
	// handler that writes none, net/http makes 200.
	status, contentType, body := http.StatusOK, "", []byte(nil)
	if err == nil {
		contentType, body = h.format.Success(media, lines)
	} else {
		refusal := asRefusal(err)
		if !errors.Is(err, context.Canceled) {
			h.complaints.add(r.Context(), refusal)
		}
		status = refusal.Status
		contentType, body = h.format.Failure(media, refusal)
		h.hints(w.Header(), refusal)
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	// Taking the answer has a limit of its own; waiting for the disk has none.
	// An error of either shows at the client, which sends again.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(h.limits.Answer))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// hints are the headers that tell a client what to do about a refusal.
func (h *handler) hints(header http.Header, r *RefusalError) {
	switch r.Status {
	case http.StatusUnauthorized:
		header.Set("WWW-Authenticate", `Bearer realm="auditail"`) // RFC 9110, section 11.6.1
	case http.StatusMethodNotAllowed:
		header.Set("Allow", http.MethodPost)
	case http.StatusUnsupportedMediaType:
		header.Set("Accept-Encoding", "gzip, zstd, deflate") // RFC 7694
	case http.StatusRequestEntityTooLarge:
		header.Set("Connection", "close")
	}
	if r.RetryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(r.RetryAfter))
	}
}

// take returns the lines of a request when they are durable.
func (h *handler) take(w http.ResponseWriter, r *http.Request) (Lines, error) {
	media, err := h.admit(r)
	if err != nil {
		return Lines{}, err
	}
	share, err := h.share(r)
	if err != nil {
		return Lines{}, err
	}
	defer share.release()
	body, err := h.readBody(w, r, share)
	if err != nil {
		return Lines{}, err
	}
	lines, err := h.format.Convert(media, body, share)
	if err != nil || lines.Count == 0 {
		return lines, err
	}
	if err := share.Take(lines.Count*lineMemory + recordMemory(int64(len(lines.Data)))); err != nil {
		return Lines{}, err
	}
	return lines, h.hand(r.Context(), lines.Data)
}

// share waits for the memory of a request. Nothing of the body was read yet.
func (h *handler) share(r *http.Request) (*Share, error) {
	patient, cancel := context.WithTimeout(r.Context(), h.limits.Patience)
	defer cancel()
	budget := h.memory.Budget
	room := expected(min(r.ContentLength, h.config.MaxBody))
	if room > budget.Size() {
		budget = h.memory.Long
		room = budget.Size()
	}
	claim, err := budget.Take(patient, room)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, later(http.StatusTooManyRequests, retrySoon, "too many requests wait: come again")
	case err != nil:
		return nil, err
	}
	return &Share{claim: claim, room: room, most: budget.Size()}, nil
}

// hand waits until the lines are durable, or until they were taken back.
func (h *handler) hand(ctx context.Context, data []byte) error {
	patient, cancel := context.WithTimeout(ctx, h.limits.Patience)
	defer cancel()
	err := h.feed.TryAppend(patient, pushed.Delivery{Lines: []pushed.Line{{Path: h.path, Data: data}}})
	switch {
	case errors.Is(err, pushed.ErrFull), errors.Is(err, context.DeadlineExceeded):
		return later(http.StatusTooManyRequests, retryLater, "the buffer does not keep up: come again")
	case errors.Is(err, pushed.ErrStopped):
		return later(http.StatusServiceUnavailable, retryLater, "the agent stops: come again")
	}
	return err
}

// admit checks what the headers tell and returns the media type.
func (h *handler) admit(r *http.Request) (string, error) {
	if r.URL.Path != h.config.Path {
		return "", Refuse(http.StatusNotFound, "lines are sent to %s", h.config.Path)
	}
	if r.Method != http.MethodPost {
		return "", Refuse(http.StatusMethodNotAllowed, "lines are sent with POST")
	}
	// Any page that a browser on this host shows can post to a loopback address.
	// Browsers then always say where the page is from, and servers have no pages.
	if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
		return "", Refuse(http.StatusForbidden, "lines are not taken from web pages")
	}
	if err := h.authorize(r); err != nil {
		return "", err
	}
	media, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	accepted, accepts := h.format.Accepts(media)
	if err != nil || !accepted {
		return "", Refuse(http.StatusUnsupportedMediaType, "the content type must be %s", accepts)
	}
	switch strings.ToLower(parameters["charset"]) {
	case "", "utf-8", "us-ascii":
		return media, nil
	default:
		return "", Refuse(http.StatusUnsupportedMediaType, "the charset must be utf-8")
	}
}

func (h *handler) authorize(r *http.Request) error {
	if h.config.Token == nil {
		return nil
	}
	want, err := h.config.Token()
	want = bytes.TrimSpace(want)
	if err == nil && len(want) == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		h.log.ErrorContext(r.Context(), "token can not be read; requests are refused", "error", err)
		return later(http.StatusServiceUnavailable, retryLater, "the agent can not check tokens now; its log says why")
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got, expected := sha256.Sum256([]byte(token)), sha256.Sum256(want)
	if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], expected[:]) != 1 {
		return Refuse(http.StatusUnauthorized, "the request needs the header Authorization: Bearer with the input's token")
	}
	return nil
}
