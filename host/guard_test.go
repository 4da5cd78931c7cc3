package host

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/gin-gonic/gin"
)

// call sends a request to a guarded route that always answers 200.
func call(t *testing.T, listen, method, host, origin string) *httptest.ResponseRecorder {
	t.Helper()
	r := gin.New()
	r.Use(guards(listen)...)
	r.POST("/", func(c *gin.Context) { c.Status(http.StatusOK) })
	req := httptest.NewRequest(method, "/", nil)
	req.Host = host
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w
}

func TestForeignHostsAreRefusedOnLoopback(t *testing.T) {
	for _, c := range []struct {
		listen, host string
		want         int
	}{
		{"127.0.0.1:11434", "localhost:11434", 200},
		{"127.0.0.1:11434", "127.0.0.1:11434", 200},
		{"127.0.0.1:11434", "[::1]:11434", 200},
		{"127.0.0.1:11434", "192.168.1.7", 200},
		{"127.0.0.1:11434", "box.local", 200},
		{"127.0.0.1:11434", "evil.example.com", 403},
		{"127.0.0.1:11434", "localhost.evil.example.com:11434", 403},
		{"127.0.0.1:11434", "8.8.8.8", 403},
		{"[::1]:11434", "evil.example.com", 403},
		{"localhost:11434", "evil.example.com", 403},
		{"0.0.0.0:11434", "models.example.com", 200},
		{"192.168.1.7:11434", "models.example.com", 200},
	} {
		if got := call(t, c.listen, http.MethodPost, c.host, "").Code; got != c.want {
			t.Errorf("listening on %s, Host %s: %d, want %d", c.listen, c.host, got, c.want)
		}
	}
}

func TestForeignOriginsAreRefused(t *testing.T) {
	t.Setenv("OLLAMA_ORIGINS", "https://lab.example.com")
	for origin, want := range map[string]int{
		"http://localhost:3000":    200,
		"https://127.0.0.1":        200,
		"https://lab.example.com":  200,
		"app://pare":               200,
		"https://evil.example.com": 403,
		"null":                     403,
	} {
		if got := call(t, "127.0.0.1:11434", http.MethodPost, "localhost", origin).Code; got != want {
			t.Errorf("Origin %s: %d, want %d", origin, got, want)
		}
	}
}

func TestPreflightAllowsWhatTheRoutesNeed(t *testing.T) {
	w := call(t, "127.0.0.1:11434", http.MethodOptions, "localhost", "http://localhost:3000")
	if w.Code != http.StatusNoContent {
		t.Errorf("preflight answered %d", w.Code)
	}
	if got := w.Header().Get("Access-Control-Allow-Methods"); got == "" {
		t.Error("preflight allows no method")
	}
}

func TestWhereAServerIsReached(t *testing.T) {
	for listen, want := range map[string]string{
		"http://127.0.0.1:11434":      "http://127.0.0.1:11434",
		"http://0.0.0.0:11434/ollama": "http://127.0.0.1:11434",
		"https://[::]:443":            "http://127.0.0.1:443",
		"http://box.example:80":       "http://box.example:80",
	} {
		u, err := url.Parse(listen)
		if err != nil {
			t.Fatal(err)
		}
		if got := loopback(u).String(); got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
}
