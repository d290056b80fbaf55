package demo

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"refresher/web/client"
)

// The page: all of its files are in this folder.
//
//go:embed *.html *.css *.js
var page embed.FS

// contentTypes are those of the files that are served. They are not taken from the
// machine's own table, which may lack them or have others.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
}

// file is one that is served.
type file struct {
	content     []byte
	contentType string
	etag        string
}

// loadFiles gives the files by the paths that they are served at.
func loadFiles() (map[string]*file, error) {
	files := make(map[string]*file)
	for prefix, folder := range map[string]fs.FS{"/": page, "/client/": client.FS} {
		if err := loadFolder(files, prefix, folder); err != nil {
			return nil, err
		}
	}
	files["/"] = files["/index.html"]
	if files["/"] == nil {
		return nil, errors.New("index.html is missing")
	}
	return files, nil
}

func loadFolder(files map[string]*file, prefix string, folder fs.FS) error {
	entries, err := fs.ReadDir(folder, ".")
	if err != nil {
		return fmt.Errorf("read the files of %s: %w", prefix, err)
	}
	for _, entry := range entries {
		name := entry.Name()
		contentType, ok := contentTypes[path.Ext(name)]
		if !ok || strings.HasSuffix(name, ".test.js") {
			continue
		}
		content, err := fs.ReadFile(folder, name)
		if err != nil {
			return fmt.Errorf("read %s%s: %w", prefix, name, err)
		}
		sum := sha256.Sum256(content)
		files[prefix+name] = &file{content: content, contentType: contentType, etag: `"` + hex.EncodeToString(sum[:12]) + `"`}
	}
	return nil
}

// serve lets browsers keep the file, and ask each time whether it is still that one.
func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", f.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
}
