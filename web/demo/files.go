package demo

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"refresher/web/client"
)

// page has the files of the demo page.
//
//go:embed *.html *.css *.js
var page embed.FS

// contentTypes has the extensions of the files that are served. The mime package would use the machine's table, which
// may lack these types or have others for them.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
}

type file struct {
	contentType   string
	plain, zipped content
}

// content is a file in one encoding.
type content struct {
	bytes []byte
	etag  string
}

// loadFiles returns the files of the browser library and, if withPage is true, of the page, by the path of each.
func loadFiles(withPage bool) (map[string]*file, error) {
	files := make(map[string]*file)
	if err := loadFolder(files, "/client/", client.FS); err != nil || !withPage {
		return files, err
	}
	if err := loadFolder(files, "/", page); err != nil {
		return nil, err
	}
	files["/"] = files["/index.html"]
	if files["/"] == nil {
		return nil, errors.New("index.html is missing")
	}
	return files, nil
}

func loadFolder(files map[string]*file, prefix string, folder fs.FS) error {
	return fs.WalkDir(folder, ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("read the files of %s: %w", prefix, err)
		}
		contentType, ok := contentTypes[path.Ext(name)]
		if !ok || strings.HasSuffix(name, ".test.js") {
			return nil
		}
		text, err := fs.ReadFile(folder, name)
		if err != nil {
			return fmt.Errorf("read %s%s: %w", prefix, name, err)
		}
		zipped, err := zip(text)
		if err != nil {
			return fmt.Errorf("compress %s%s: %w", prefix, name, err)
		}
		files[prefix+name] = &file{contentType: contentType, plain: contentOf(text), zipped: contentOf(zipped)}
		return nil
	})
}

func contentOf(b []byte) content {
	sum := sha256.Sum256(b)
	return content{bytes: b, etag: `"` + hex.EncodeToString(sum[:12]) + `"`}
}

func zip(text []byte) ([]byte, error) {
	var zipped bytes.Buffer
	w, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	err = w.Close() // flushes
	return zipped.Bytes(), err
}

// serve makes browsers cache the file, and revalidate it for each use.
func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h, c := w.Header(), f.plain
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept-Encoding")
	if takesGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		c = f.zipped
	}
	h.Set("ETag", c.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(c.bytes))
}

// takesGzip reports whether an Accept-Encoding header allows gzip.
func takesGzip(accepted string) bool {
	for encoding := range strings.SplitSeq(accepted, ",") {
		name, quality, _ := strings.Cut(strings.ReplaceAll(encoding, " ", ""), ";")
		if strings.EqualFold(name, "gzip") {
			weight, err := strconv.ParseFloat(strings.TrimPrefix(quality, "q="), 64)
			return quality == "" || err == nil && weight > 0
		}
	}
	return false
}
