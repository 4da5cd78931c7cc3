// Package page is what a browser sees at /prune: a page that looks at the layers of
// the store's models and starts jobs, by the same API that programs use. It is plain
// HTML, CSS and JavaScript in this binary, and loads nothing from elsewhere.
package page

import (
	"embed"
	"net/http"
	"path"
)

//go:embed index.html page.css page.js
var files embed.FS

// policy lets the page use nothing but its own files and this server: no script that
// stands in a model's metadata or answer would run, were it ever taken for one.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

var kinds = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
}

// Serve answers with a file of the page, the page itself for "", and reports whether
// there is such a file.
func Serve(w http.ResponseWriter, name string) bool {
	if name == "" {
		name = "index.html"
	}
	b, err := files.ReadFile(name)
	if err != nil {
		return false
	}
	h := w.Header()
	h.Set("Content-Type", kinds[path.Ext(name)])
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache") // of another version after an update
	w.Write(b)
	return true
}
