package integration

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"pare/integration/tinymodel"
)

// browser is the path of a Chromium. Without one the test is left out, unless
// PARE_NEEDS_BROWSER says that it must not be, as in CI.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "no browser to test the page with: install chromium"
	if os.Getenv("PARE_NEEDS_BROWSER") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// A tab is one of a browser, and what went wrong in it.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu     sync.Mutex
	faults []string
}

func newTab(t *testing.T) *tab {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(browser(t)), chromedp.NoSandbox, chromedp.WindowSize(1200, 1600))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 4*time.Minute)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			b.fault(e.ExceptionDetails.Error())
		case *log.EventEntryAdded: // also what the content security policy refused
			if e.Entry.Level == log.LevelError && e.Entry.Source != log.SourceNetwork {
				b.fault(e.Entry.Text)
			}
		}
	})
	return b
}

func (b *tab) fault(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = append(b.faults, text)
}

// do performs a step of a user's.
func (b *tab) do(step string, actions ...chromedp.Action) {
	b.t.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		var message string
		short, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), 5*time.Second)
		defer cancel()
		chromedp.Run(short, chromedp.Text("#message", &message, chromedp.ByQuery))
		b.t.Fatalf("%s: %v; the page says %q, faults are %q", step, err, message, b.faults)
	}
}

// shows waits until an expression is true.
func (b *tab) shows(what, expression string) {
	b.t.Helper()
	b.do("wait for "+what, chromedp.Poll(expression, nil, chromedp.WithPollingTimeout(2*time.Minute), chromedp.WithPollingInterval(100*time.Millisecond)))
}

func (b *tab) text(selector string) (text string) {
	b.t.Helper()
	b.do("read "+selector, chromedp.Text(selector, &text, chromedp.ByQuery))
	return text
}

// screenshot leaves a picture in the folder that PARE_SCREENSHOTS names, to be looked at.
func (b *tab) screenshot(name string) {
	b.t.Helper()
	folder := os.Getenv("PARE_SCREENSHOTS")
	if folder == "" {
		return
	}
	var png []byte
	b.do("take a picture", chromedp.FullScreenshot(&png, 100))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// A person with the keyboard measures a model, chooses layers, compares, and makes the
// smaller model.
func TestPage(t *testing.T) {
	b := newTab(t)
	s := startServer(t)
	s.createTiny("tiny", tinymodel.Config{Architecture: "llama"})
	b.do("open the page", chromedp.Navigate("http://"+s.addr+"/prune#tiny:latest"), chromedp.WaitVisible("#measure", chromedp.ByQuery))
	b.screenshot("1-no-profile")

	b.do("measure", chromedp.SendKeys("#measure", kb.Enter, chromedp.ByQuery), chromedp.WaitVisible("#layers", chromedp.ByQuery))
	b.shows("the heat map", `document.querySelector("#heat").naturalWidth > 0`)
	before := b.text("#choice")
	b.do("move the slider", chromedp.SendKeys("#count", kb.ArrowRight+kb.ArrowRight, chromedp.ByQuery))
	b.shows("another choice", `document.querySelector("#choice").textContent !== `+strconv.Quote(before))
	n := strings.Fields(b.text("#count-text"))[0]
	b.shows("the block in the heat map", `document.querySelector("#heat").src.endsWith("layers=`+n+`")`)
	b.screenshot("2-layers")

	b.do("measure the cost", chromedp.SendKeys("#evaluate", kb.Enter, chromedp.ByQuery), chromedp.WaitVisible("#costs", chromedp.ByQuery))
	if costs := b.text("#costs"); !strings.Contains(costs, "perplexity") || !strings.Contains(costs, "same next token") {
		t.Errorf("the cost is %q", costs)
	}
	b.do("note what is sent", chromedp.Evaluate(`(() => {
		const honest = window.fetch;
		window.sent = [];
		window.fetch = (path, o) => { if (o?.body?.includes("messages")) sent.push(JSON.parse(o.body).messages.length); return honest(path, o); };
	})()`, nil))
	for _, turn := range []string{"1", "2"} {
		b.do("talk to both", chromedp.SetValue("#prompt", "Why is the sky blue?", chromedp.ByQuery), chromedp.SendKeys("#prompt", kb.Tab+kb.Enter, chromedp.ByQuery))
		b.shows("both answers", `!document.querySelector("#send").hidden && document.querySelectorAll("#whole .answer").length === `+turn+
			` && [...document.querySelectorAll("#chat .answer")].every((a) => a.textContent.length > 0)`)
	}

	b.shows("that each was told what had been said to it", `sent.join() === "1,1,3,3"`)

	b.do("prune", chromedp.SetValue("#name", "smaller", chromedp.ByQuery), chromedp.SetValue("#repair", "none", chromedp.ByQuery), chromedp.SendKeys("#name", kb.Enter, chromedp.ByQuery))
	b.shows("the end of the job", `document.querySelector("#message").textContent.startsWith("Made smaller")`)
	b.shows("its report", `[...document.querySelectorAll("#jobs a")].some((a) => a.href.endsWith("report.html"))`)
	b.screenshot("3-made")
	if out := s.must("list"); !strings.Contains(out, "smaller") {
		t.Errorf("the store has %s", out)
	}

	b.do("trace", chromedp.SendKeys("#traced", " ", chromedp.ByQuery))
	b.shows("that the server knows", `fetch("/api/prune/trace/tiny").then((r) => r.json()).then((r) => r.models[0].sample === 0.1)`)
	b.noFaults()
}

// noFaults demands that nothing went wrong in the browser.
func (b *tab) noFaults() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, fault := range b.faults {
		b.t.Errorf("in the browser: %s", fault)
	}
}

// Who looks at the traffic of a label sees it as it comes, and cuts by it.
func TestPageOfTraffic(t *testing.T) {
	b := newTab(t)
	s := startServer(t)
	s.createTiny("tiny", tinymodel.Config{Architecture: "llama"})
	s.must("trace", "tiny", "--sample", "1")
	say := func(label string) {
		if _, _, err := s.ask("tiny", label+" says: "+more, label, 20, "5m"); err != nil {
			t.Fatal(err)
		}
	}
	say("code")
	say("mail")
	b.do("open the page, in the dark", emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}),
		chromedp.Navigate("http://"+s.addr+"/prune#tiny:latest"), chromedp.WaitVisible("#layers", chromedp.ByQuery))
	b.shows("all traffic, for want of a kept profile", `document.querySelector("#by").value === "live" && document.querySelector("#heat").naturalWidth > 0`)
	b.do("choose a label", chromedp.SendKeys("#by", kb.ArrowDown, chromedp.ByQuery))
	const isOf = `document.querySelector("#heat").src.includes("corpus=live%3Acode")`
	b.shows("the traffic of the label", isOf+` && document.querySelector("#notes").textContent.includes("of 1 request,")`)
	b.do("move the slider", chromedp.SendKeys("#count", kb.ArrowRight, chromedp.ByQuery))
	n := strings.Fields(b.text("#count-text"))[0]
	say("code")
	b.shows("what came meanwhile", isOf+` && document.querySelector("#notes").textContent.includes("of 2 requests")`)
	if after := strings.Fields(b.text("#count-text"))[0]; after != n {
		t.Errorf("the slider went from %s to %s", n, after)
	}
	b.screenshot("5-traffic-dark")
	b.do("go past one choice to another", chromedp.SendKeys("#by", kb.ArrowUp+kb.ArrowDown+kb.ArrowDown, chromedp.ByQuery))
	b.shows("the last of them", `!document.querySelector("#layers").hidden && document.querySelector("#heat").src.includes("corpus=live%3Amail")`)
	b.do("see that there is no text", chromedp.SendKeys("#by", kb.Home, chromedp.ByQuery), chromedp.WaitVisible("#measure", chromedp.ByQuery))
	s.must("trace", "tiny", "--reset")
	b.shows("that it is forgotten", `document.querySelector("#by-line").hidden`)
	b.noFaults()
}

// Whatever the server says of models, jobs and traffic, and whatever a model answers, is
// text to the page.
func TestPageInsertsNoHTML(t *testing.T) {
	b := newTab(t)
	s := startServer(t)
	s.createTiny("tiny", tinymodel.Config{Architecture: "llama"})
	const evil = `<img id=evil src=x onerror="document.title='evil'"><script id=evil>document.title='evil'</script>&amp;`
	if code, answer := s.post("/api/prune/profile", map[string]any{"model": "tiny", "stream": false, "corpus": map[string]any{"name": evil, "text": opticks(t)[:5000]}}); code != http.StatusOK {
		t.Fatalf("status %d: %s", code, answer)
	}
	b.do("open the page", chromedp.Navigate("http://"+s.addr+"/prune#tiny:latest"), chromedp.WaitVisible("#layers", chromedp.ByQuery))
	b.shows("the heat map of a text with that name", `document.querySelector("#heat").naturalWidth > 0`)
	b.do("have everything say so", chromedp.Evaluate(`(() => {
		const evil = `+strconv.Quote(evil)+`, honest = window.fetch;
		const answer = (o, status = 200) => new Response(JSON.stringify(o) + "\n", {status});
		window.fetch = async (path, ...more) => {
			if (path === "/api/chat" || path === "/api/prune/preview") return answer({message: {content: evil}, response: evil, done: true});
			if (path === "/api/prune/jobs") return answer({jobs: [{id: evil, model: evil, what: evil, name: evil, state: "failed", error: evil, kind: "prune"}]});
			if (path === "/api/prune/evaluate") return answer({error: evil}, 400);
			if (path.startsWith("/api/prune/trace")) return answer({models: [{sample: 1, labels: [{label: evil, requests: 1, measured_tokens: 9}]}]});
			const r = await honest(path, ...more);
			if (path !== "/api/prune/plan") return r;
			if (window.refusing) return answer({error: evil}, 409);
			return answer({...await r.json(), notes: [evil]});
		};
	})()`, nil))
	b.do("move the slider", chromedp.SendKeys("#count", kb.ArrowRight, chromedp.ByQuery))
	b.shows("the plan", `!document.querySelector("#send").disabled`)
	b.do("talk", chromedp.SendKeys("#prompt", kb.Tab+kb.Enter, chromedp.ByQuery))
	b.shows("the answers", `document.querySelectorAll("#chat .answer").length === 2 && !document.querySelector("#send").hidden`)
	b.do("measure", chromedp.SendKeys("#evaluate", kb.Enter, chromedp.ByQuery))
	for _, where := range []string{"#notes", "#whole", "#cut", "#jobs", "#message", "#by"} {
		b.shows("the text in "+where, `document.querySelector("`+where+`").textContent.includes("<img id=evil")`)
	}
	b.do("have a plan refused", chromedp.Evaluate(`window.refusing = true`, nil), chromedp.SendKeys("#count", kb.ArrowRight, chromedp.ByQuery))
	b.shows("that nothing can be cut", `document.querySelector("#message").textContent.includes("<img id=evil") && document.querySelector("#make").hidden`)
	b.shows("no element", `document.querySelectorAll("#evil").length === 0 && document.title === "Pare"`)
	b.noFaults()
}

// The page of a large model is as quick as that of a small one, and loads little.
func TestPageOfManyLayers(t *testing.T) {
	b := newTab(t)
	s := startServer(t)
	s.createTiny("deep", tinymodel.Config{Architecture: "llama", Layers: 80})
	page := "http://" + s.addr + "/prune#deep:latest"
	b.do("measure, which takes a while", chromedp.Navigate(page), chromedp.WaitVisible("#measure", chromedp.ByQuery), chromedp.SendKeys("#measure", kb.Enter, chromedp.ByQuery))
	b.shows("progress", `document.querySelector("#message").textContent.includes("%")`)
	b.do("go away and come back", chromedp.Navigate("about:blank"), chromedp.Navigate(page), chromedp.WaitVisible("#measure", chromedp.ByQuery))
	b.shows("that it stopped", `document.querySelector("#jobs button")?.textContent === "Go on"`)
	b.do("go on", chromedp.SendKeys("#jobs button", kb.Enter, chromedp.ByQuery))
	b.shows("that it goes on", `document.querySelector("#jobs button")?.textContent === "Cancel"`)
	b.do("cancel", chromedp.SendKeys("#jobs button", kb.Enter, chromedp.ByQuery))
	b.shows("no job", `!document.querySelector("#no-jobs").hidden`)

	s.write("tales.jsonl", tales)
	s.must("profile", "deep", "--corpus", "tales.jsonl")
	b.do("open the page", chromedp.Navigate("about:blank"), chromedp.Navigate(page), chromedp.WaitVisible("#layers", chromedp.ByQuery))
	b.shows("the heat map", `document.querySelector("#heat").naturalWidth > 0`)
	var loaded float64
	b.do("weigh the page", chromedp.Evaluate(`performance.getEntries().filter((e) => e.name.includes("/prune/page.") || e.entryType === "navigation")
		.reduce((n, e) => n + e.encodedBodySize, 0)`, &loaded))
	if loaded == 0 || loaded > 300_000 {
		t.Errorf("the page has %.0f bytes", loaded)
	}
	var rows int
	b.do("count the rows", chromedp.Evaluate(`document.querySelectorAll("#figures tbody tr").length`, &rows))
	if rows != 80 {
		t.Errorf("%d layers are listed", rows)
	}
	b.screenshot("4-deep")
}

// The page is of this server alone, and nobody else's page can use its API.
func TestPageIsGuarded(t *testing.T) {
	s := startServer(t)
	get := func(path string, header ...string) *http.Response {
		q, err := http.NewRequest(http.MethodGet, "http://"+s.addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			if header[i] == "Host" {
				q.Host = header[i+1]
			}
			q.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	for _, path := range []string{"/prune", "/prune/page.js", "/prune/page.css"} {
		resp := get(path)
		policy := resp.Header.Get("Content-Security-Policy")
		if resp.StatusCode != http.StatusOK || !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: status %d, policy %q", path, resp.StatusCode, policy)
		}
	}
	for path, host := range map[string]string{"/prune": "evil.example", "/prune/page.js": "evil.example:80"} {
		if resp := get(path, "Host", host); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s as %s: status %d", path, host, resp.StatusCode)
		}
	}
	if resp := get("/prune", "Origin", "http://evil.example"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("from another site: status %d", resp.StatusCode)
	}
	for _, path := range []string{"/prune/page.go", "/prune/..%2fpage.go"} {
		if resp := get(path); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d", path, resp.StatusCode)
		}
	}
}
