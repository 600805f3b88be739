package weights

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/auditail/auditail/internal/durable"
)

const (
	cacheVersion = 1
	maxCache     = 16 << 20       // bytes of the file
	maxCached    = 20_000         // files
	forgetAfter  = 30 * 24 * 3600 // seconds a file is remembered that is not seen
)

// cache remembers digests over restarts. Losing it costs time, nothing else.
type cache struct {
	path string
	deps Deps

	mu    sync.Mutex
	files map[key]cached
	dirty bool
}

type cached struct {
	SHA256 string `json:"sha256"`
	Seen   int64  `json:"seen"` // Unix seconds
}

type cacheFile struct {
	Version int          `json:"v"`
	Files   []cachedFile `json:"files"`
}

type cachedFile struct {
	key
	cached
}

func newCache(path string, deps Deps) *cache {
	return &cache{path: path, deps: deps, files: make(map[key]cached)}
}

func (c *cache) load(ctx context.Context) {
	data, err := durable.ReadFile(c.deps.FS, c.path, maxCache)
	var in cacheFile
	if err == nil {
		err = json.Unmarshal(data, &in)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil || in.Version != cacheVersion {
		c.deps.Log.WarnContext(ctx, "what is known of hashed weights can not be read; they are hashed again", "file", c.path, "error", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range in.Files {
		c.files[f.key] = f.cached
	}
}

func (c *cache) get(k key) (sum string, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, known := c.files[k]
	if now := c.deps.Now().Unix(); known && now-f.Seen > int64(time.Hour/time.Second) {
		f.Seen = now
		c.files[k], c.dirty = f, true
	}
	return f.SHA256, known
}

func (c *cache) put(k key, sum string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.files) < maxCached {
		c.files[k], c.dirty = cached{SHA256: sum, Seen: c.deps.Now().Unix()}, true
	}
}

// save writes the file when something is new.
func (c *cache) save(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dirty {
		return
	}
	out := cacheFile{Version: cacheVersion}
	oldest := c.deps.Now().Unix() - forgetAfter
	for k, f := range c.files {
		if f.Seen < oldest {
			delete(c.files, k)
			continue
		}
		out.Files = append(out.Files, cachedFile{key: k, cached: f})
	}
	data, err := json.Marshal(out)
	if err == nil {
		err = c.deps.FS.MkdirAll(filepath.Dir(c.path), 0o700)
	}
	if err == nil {
		err = durable.WriteFile(c.deps.FS, c.path, data, 0o600)
	}
	if err != nil {
		c.deps.Log.WarnContext(ctx, "digests of weights can not be remembered", "file", c.path, "error", err)
		return
	}
	c.dirty = false
}
