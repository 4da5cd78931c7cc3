package host

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/gin-contrib/cors"
	"github.com/gin-gonic/gin"
	"github.com/ollama/ollama/envconfig"
)

// guards are those of Ollama's own routes: a browser may call from the origins
// of OLLAMA_ORIGINS alone, and a server that listens on loopback answers to
// local names alone, so that a foreign page cannot reach it by rebinding DNS.
func guards(listen string) []gin.HandlerFunc {
	config := cors.DefaultConfig()
	config.AllowWildcard = true
	config.AllowBrowserExtensions = true
	config.AllowOrigins = envconfig.AllowedOrigins()
	config.AllowMethods = []string{http.MethodGet, http.MethodPost, http.MethodDelete, http.MethodHead}
	config.AllowHeaders = []string{"Authorization", "Content-Type", "User-Agent", "Accept", "X-Requested-With"}
	return []gin.HandlerFunc{cors.New(config), allowedHosts(listen)}
}

// allowedHosts refuses a request whose Host is not a name of this machine, on a
// server that listens on loopback.
func allowedHosts(listen string) gin.HandlerFunc {
	open := !onLoopback(listen)
	return func(c *gin.Context) {
		if open || localHost(c.Request.Host) {
			c.Next()
			return
		}
		c.AbortWithStatusJSON(http.StatusForbidden, gin.H{"error": "this server answers to local host names only; set OLLAMA_HOST to serve others"})
	}
}

// onLoopback reports whether a server that listens there may do so on loopback, by name or by
// number.
func onLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		host = listen
	}
	if ip, err := netip.ParseAddr(host); err == nil || host == "" {
		return ip.IsLoopback()
	}
	addresses, err := net.LookupIP(host)
	return strings.EqualFold(host, "localhost") || err == nil && slices.ContainsFunc(addresses, net.IP.IsLoopback)
}

// localHost reports whether a Host header names this machine or its network.
func localHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	host = strings.ToLower(host)
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return ip.IsLoopback() || ip.IsPrivate() || ip.IsUnspecified() || ownAddress(ip)
	}
	if name, err := os.Hostname(); err == nil && host == strings.ToLower(name) {
		return true
	}
	return host == "" || host == "localhost" ||
		slices.ContainsFunc([]string{".localhost", ".local", ".internal"}, func(tld string) bool { return strings.HasSuffix(host, tld) })
}

func ownAddress(ip netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr() == ip
	})
}
