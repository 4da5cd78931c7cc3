"use strict";
// What models are called and say, and what errors tell, goes into the page as text,
// never as HTML.

const $ = (id) => document.getElementById(id);
const enc = (name) => name.split("/").map(encodeURIComponent).join("/");
const fixed = (v, n) => v === undefined || v === null ? "" : v.toFixed(n);

// The view is what is looked at: a model, and the corpus whose distances are shown, ""
// for the text of the kept profile. Another model or corpus makes another view, and what
// was asked for one that has gone is dropped when it comes.
//   profile  of the model, once it is there
//   n        layers on the slider
//   plan     which layers go, undefined while that is not known for n
//   asked    counts the plans that were asked for; pending while one is awaited
//   tokens   of the traffic that is shown; drawn those when it was last drawn
let view;

const newView = (model, by) => ({model, by, n: 0, asked: 0, pending: false});
const corpus = (v) => v.by ? {corpus: {name: v.by}} : {};
const without = (v) => ranges(v.plan.remove);

// --- messages ---

let planFailed = false; // the message is of a plan

function say(text, error = false) {
  planFailed = false;
  $("message").textContent = text;
  $("message").classList.toggle("error", error);
}

// --- the API ---

async function failure(response) {
  let text = response.status + " " + response.statusText;
  try { text = (await response.json()).error || text; } catch { /* it was no JSON */ }
  const e = new Error(text);
  e.status = response.status;
  return e;
}

async function api(method, path, body) {
  const r = await fetch(path, {method, headers: body ? {"Content-Type": "application/json"} : {}, body: body && JSON.stringify(body)});
  if (!r.ok) throw await failure(r);
  const text = await r.text();
  return text ? JSON.parse(text) : undefined;
}

// Jobs end with the page, also where the browser keeps it for its back button.
const leaving = new AbortController();
addEventListener("pagehide", () => leaving.abort());
addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });

// stream posts a request and calls each with every line of JSON of the answer.
async function stream(path, body, each, signal) {
  const r = await fetch(path, {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body),
    signal: signal ? AbortSignal.any([signal, leaving.signal]) : leaving.signal});
  if (!r.ok) throw await failure(r);
  const lines = r.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", last;
  for (;;) {
    const {done, value} = await lines.read();
    if (done) break;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const p of parts) {
      if (!p.trim()) continue;
      last = JSON.parse(p);
      if (last.error) throw new Error(last.error);
      each(last);
    }
  }
  return last;
}

function progress(p) {
  if (!p.status || p.status === "success") return;
  const share = p.total ? " " + Math.floor(100 * (p.completed || 0) / p.total) + "%" : "";
  const left = p.left ? ", " + Math.ceil(p.left) + " s left" : "";
  say(p.status + share + left);
}

// requests are those of the jobs that this browser asked for, by ID: a job that was
// stopped goes on when the same is asked for again.
const requests = {
  put(id, request) { try { localStorage.setItem("job " + id, JSON.stringify(request)); } catch { /* the browser keeps nothing */ } },
  get(id) { try { return JSON.parse(localStorage.getItem("job " + id)); } catch { return null; } },
  drop(id) { try { localStorage.removeItem("job " + id); } catch { /* nor has it any */ } },
};

// job runs a job to its end and shows how it goes.
async function job(path, body) {
  let id;
  try {
    const last = await stream(path, body, (p) => {
      if (p.job && p.job !== id) requests.put(id = p.job, {path, body});
      progress(p);
    });
    if (id) requests.drop(id);
    say("");
    return last;
  } catch (e) {
    say(e.message, true);
  } finally {
    showJobs();
  }
}

// --- models and profiles ---

async function showModels() {
  const {models} = await api("GET", "/api/tags");
  for (const m of models) $("model").add(new Option(m.name));
  const wanted = decodeURIComponent(location.hash.slice(1));
  if (models.some((m) => m.name === wanted)) $("model").value = wanted;
  if (!models.length) say("There is no model yet; `pare pull` fetches one.");
  else await open();
}

// open looks at the chosen model: at its traffic where it has no kept profile.
async function open() {
  const model = $("model").value, of = view = newView(model, "");
  history.replaceState(null, "", "#" + encodeURIComponent(model));
  $("by").replaceChildren(new Option("text: the profile that is kept", ""));
  delete $("name").dataset.typed;
  beginAnew();
  clear();
  await showTraffic();
  if (of === view) await load(true);
}

// clear takes away what was shown of another view.
function clear() {
  clearTimeout(resting);
  for (const id of ["empty", "layers", "cost", "chat", "make"]) $(id).hidden = true;
  for (const id of ["verdict", "choice", "score"]) $(id).textContent = "";
  $("notes").replaceChildren();
  $("figures").tBodies[0].replaceChildren();
  $("costs").hidden = $("sweep-plot").hidden = true;
  $("heat").removeAttribute("src");
  $("heat").alt = "";
  say("");
}

// load shows the profile by the chosen corpus.
async function load(first = false) {
  const of = view = newView(view.model, $("by").value);
  clear();
  try {
    const p = await api("GET", profilePath(of, ""));
    if (of === view) showProfile(p);
  } catch (e) {
    if (of !== view) return;
    if (e.status !== 404 || of.by) return say(e.message, true);
    if (!first || $("by").options.length === 1) return $("empty").hidden = false;
    $("by").selectedIndex = 1;
    return load();
  }
}

function profilePath(v, suffix, query = {}) {
  const q = new URLSearchParams(v.by ? {corpus: v.by, ...query} : query).toString();
  return "/api/prune/profile/" + enc(v.model) + suffix + (q && "?" + q);
}

function showProfile(p) {
  const first = !view.profile;
  view.profile = p;
  $("layers").hidden = false;
  if (first) {
    $("count").max = p.layers - 1;
    $("count").value = Math.round(p.layers / 5);
    choose();
  } else {
    showPlan(); // by traffic that has come
  }
}

// ranges writes layers as 3-8,12.
function ranges(layers) {
  const out = [];
  for (let i = 0; i < layers.length; i++) {
    const from = layers[i];
    while (i + 1 < layers.length && layers[i + 1] === layers[i] + 1) i++;
    out.push(from === layers[i] ? String(from) : from + "-" + layers[i]);
  }
  return out.join(",");
}

// --- which layers go ---

let resting; // timer of the slider

// choose reads the slider, and asks which layers would go once it rests.
function choose() {
  view.n = Number($("count").value);
  $("count-text").textContent = view.n + " of " + view.profile.layers + " layers, " + Math.round(100 * view.n / view.profile.layers) + "%";
  setPlan(undefined);
  clearTimeout(resting);
  resting = setTimeout(showPlan, 80);
}

// setPlan lets the layers of a plan be tried and cut: none while it is not known.
function setPlan(plan) {
  view.plan = plan;
  for (const b of document.querySelectorAll(".by-plan")) b.disabled = !plan;
  if (plan || view.n === 0) for (const id of ["cost", "chat", "make"]) $(id).hidden = !plan;
}

async function showPlan() {
  const of = view, mine = ++of.asked;
  const current = () => of === view && mine === of.asked;
  of.pending = true;
  try {
    const plan = of.n > 0 ? await api("POST", "/api/prune/plan", {model: of.model, layers: of.n, criterion: "angular", ...corpus(of)}) : undefined;
    if (!current()) return;
    if (planFailed) say("");
    setPlan(plan);
    describe(of);
    await draw(of, current);
  } catch (e) {
    if (!current()) return;
    say(e.message, true);
    planFailed = true;
    describe(of);
    $("choice").textContent = "No layers are chosen.";
    for (const id of ["cost", "chat", "make"]) $(id).hidden = true;
    await draw(of, current);
  } finally {
    if (mine === of.asked) of.pending = false;
  }
}

// describe says which layers go. What a screen reader is to read out changes only when
// the layers do.
function describe(v) {
  const goes = v.plan ? v.plan.remove : [], chosen = v.plan?.chosen;
  const choice = v.plan ? "Layers " + ranges(goes) + " go." : "Move the slider to choose how many layers go.";
  if ($("choice").textContent !== choice) $("choice").textContent = choice;
  $("score").textContent = !chosen ? "" : "Angular distance " + fixed(chosen.score, 4) + (chosen.low === chosen.high ? "." // of one chunk
    : " (95%: " + fixed(chosen.low, 4) + " to " + fixed(chosen.high, 4) + "), best in " + Math.round(100 * chosen.wins) + "% of resamplings.");
  $("notes").replaceChildren(...((v.plan && v.plan.notes) || []).map((text) => {
    const li = document.createElement("li");
    li.textContent = text;
    return li;
  }));
  const body = $("figures").tBodies[0], all = v.profile.all_tokens;
  body.replaceChildren();
  for (let l = 0; l < v.profile.layers; l++) {
    row(body, [String(l), fixed(all.distance[l][l + 1], 4), fixed(all.influence[l], 4), goes.includes(l) ? "yes" : ""]);
  }
  if (!$("name").dataset.typed) $("name").value = v.plan ? v.model.replace(/:latest$/, "") + "-" + (v.profile.layers - goes.length) : "";
}

// draw shows the heat map when it is there; the trace in its address tells one profile's
// from another's.
function draw(v, current) {
  const next = new Image();
  next.src = profilePath(v, ".svg", {at: v.profile.trace, ...(v.plan ? {criterion: "angular", layers: v.n} : {})});
  return next.decode().then(() => {
    if (!current()) return;
    $("heat").src = next.src;
    $("heat").alt = "Heat map of the angular distances between the hidden states before all layers of " + v.model + (v.plan ? "; layers " + without(v) + " are marked" : "");
  }, () => {
    if (!current()) return;
    $("heat").removeAttribute("src");
    $("heat").alt = "The heat map could not be drawn.";
  });
}

function row(body, cells) {
  const tr = body.insertRow();
  for (const c of cells) {
    const td = tr.insertCell();
    if (c instanceof Node) td.append(c); else td.textContent = c;
  }
  return tr;
}

// --- what that costs ---

async function evaluate() {
  const of = view, bypass = without(of);
  $("costs").hidden = true;
  $("verdict").textContent = "";
  const last = await job("/api/prune/evaluate", {model: of.model, bypass, level: "quick"});
  if (!last || !last.evaluation || of !== view) return;
  const e = last.evaluation, text = e.text[0], body = $("costs").tBodies[0];
  body.replaceChildren();
  row(body, ["layers left out", "", bypass]);
  row(body, ["perplexity", fixed(text.perplexity_before.value, 2), text.perplexity_after ? fixed(text.perplexity_after.value, 2) : ""]);
  if (text.kl) row(body, ["KL divergence, nats a token", "", fixed(text.kl.value, 3) + " (" + fixed(text.kl.low, 3) + " to " + fixed(text.kl.high, 3) + ")"]);
  if (text.agreement) row(body, ["same next token", "", fixed(100 * text.agreement.value, 1) + "%"]);
  const tasks = e.tasks && e.tasks[0];
  if (tasks && tasks.accuracy_after) row(body, ["questions answered right", fixed(100 * tasks.accuracy_before.value, 1) + "%", fixed(100 * tasks.accuracy_after.value, 1) + "%"]);
  $("costs").hidden = false;
  $("verdict").textContent = e.verdict ? e.verdict.say + ": " + e.verdict.reason : "";
}

async function sweep() {
  const of = view, last = await job("/api/prune/sweep", {model: of.model, ...corpus(of)});
  if (!last || !last.sweep || of !== view) return;
  $("sweep-plot").src = "/api/prune/jobs/" + last.job + "/report.svg";
  $("sweep-plot").alt = "What removing 10 to 50% of the layers of " + of.model + " costs; the figures are in the job's report";
  $("sweep-plot").hidden = false;
}

// --- side by side ---

// What was said to the model and what it answered, whole and cut. It goes on with the
// layers that it began without, though those of live traffic may be others by now, until
// another cut is chosen.
let talks, talking;

function beginAnew() {
  talking?.abort();
  talks = {whole: [], cut: []};
  for (const id of ["whole", "cut"]) $(id).replaceChildren();
  $("cut-title").textContent = "As if cut";
}

function line(id, kind, text) {
  const p = document.createElement("p");
  p.className = kind;
  p.textContent = text;
  $(id).append(p);
  return p;
}

async function ask(event) {
  event.preventDefault();
  const content = $("prompt").value.trim(), {model} = view;
  if (!content || talking || !view.plan) return;
  const cut = view.by + " " + view.plan.remove.length;
  if (talks.cut.length && talks.of !== cut) beginAnew();
  if (!talks.cut.length) Object.assign(talks, {of: cut, bypass: without(view)});
  $("cut-title").textContent = "As if cut: without " + talks.bypass;
  say("");
  const mine = talks, halt = talking = new AbortController(), turns = {};
  $("send").hidden = !($("halt").hidden = false);
  $("prompt").value = "";
  $("prompt").focus();
  try {
    for (const [id, path, more] of [["whole", "/api/chat", {}], ["cut", "/api/prune/preview", {bypass: mine.bypass}]]) {
      const said = {role: "user", content};
      line(id, "said", content);
      const answer = line(id, "answer", "");
      $(id).setAttribute("aria-busy", "true"); // read out when it is whole
      await stream(path, {model, messages: [...mine[id], said], options: {num_predict: 200, temperature: 0}, ...more},
        (l) => answer.append((l.message?.thinking ?? "") + (l.message?.content ?? l.response ?? "")), halt.signal);
      $(id).removeAttribute("aria-busy");
      turns[id] = [said, {role: "assistant", content: answer.textContent}];
    }
    for (const id in turns) mine[id].push(...turns[id]);
  } catch (e) {
    if (!halt.signal.aborted) say(e.message, true);
    if (mine === talks) { // what one of them has not heard, neither has
      for (const id of ["whole", "cut"]) line(id, "quiet", (halt.signal.aborted ? "stopped" : "failed") + "; this is not remembered");
      $("prompt").value ||= content;
    }
  } finally {
    talking = undefined;
    for (const id of ["whole", "cut"]) $(id).removeAttribute("aria-busy");
    $("send").hidden = !($("halt").hidden = true);
  }
}

// --- the smaller model ---

async function prune(event) {
  event.preventDefault();
  if (!view.plan) return;
  const r = {model: view.model, name: $("name").value.trim(), range: without(view), ...corpus(view)};
  if ($("repair").value) r.repair = $("repair").value;
  const last = await job("/api/prune", r);
  if (last && last.report) say("Made " + last.report.result.name + "; its report is with the jobs.");
}

// --- traffic ---

let setting = false; // whether to trace is being set
let share = 0.1; // of the passes that the switch has measured: the last that was seen, or what pare serve --trace takes

async function showTraffic() {
  const {model} = view;
  let status;
  try {
    status = (await api("GET", "/api/prune/trace/" + enc(model))).models[0];
  } catch { /* a model that cannot be cut is not traced either */ }
  if (model !== view.model) return;
  $("traced").disabled = !status;
  if (!setting) $("traced").checked = status?.sample > 0;
  share = status?.sample || share;
  const labels = status?.labels ?? [], sum = (field) => labels.reduce((n, l) => n + l[field], 0);
  const said = [];
  if (labels.length) said.push(sum("requests") + " requests, " + sum("measured_tokens") + " tokens measured");
  if (status?.sample > 0) said.push(status.sample < 1 ? +(100 * status.sample).toPrecision(3) + "% of the passes are measured, by lot" : "all passes are measured");
  if (status?.note) said.push(status.note);
  $("traffic").textContent = said.join("; ");
  offer(labels, sum("measured_tokens"));
}

// offer lists the traffic whose distances can be shown, each with its tokens.
function offer(labels, all) {
  const of = [["text: the profile that is kept", "", 0]];
  if (all > 0) of.push(["my requests", "live", all]);
  for (const l of labels) if (l.label && l.measured_tokens > 0) of.push(["my requests labelled " + l.label, "live:" + l.label, l.measured_tokens]);
  $("by-line").hidden = of.length === 1;
  if (of.map((o) => o[1]).join() !== [...$("by").options].map((o) => o.value).join()) {
    $("by").replaceChildren(...of.map(([text, value]) => new Option(text, value)));
    if (of.some((o) => o[1] === view.by)) $("by").value = view.by;
    else load(); // what was shown has been forgotten
  }
  view.tokens = of.find((o) => o[1] === view.by)?.[2];
}

// follow draws traffic anew when more of it has come, unless the user is at it.
async function follow() {
  const of = view;
  if (!of.by || !of.profile || of.pending || of.n > 0 && !of.plan || of.drawn === of.tokens) return;
  const {tokens, asked} = of;
  try {
    const p = await api("GET", profilePath(of, ""));
    if (of !== view || asked !== of.asked) return;
    if (p.trace !== of.profile.trace) showProfile(p);
    of.drawn = tokens;
  } catch { /* it is tried again */ }
}

async function setTraced() {
  const {model} = view;
  setting = true;
  try {
    await api("POST", "/api/prune/trace", {model, sample: $("traced").checked ? share : 0});
  } catch (e) {
    say(e.message, true);
  } finally {
    setting = false;
  }
  showTraffic();
}

// --- jobs ---

let listed; // the jobs as they stand in the table, but for their progress

async function showJobs() {
  let jobs;
  try { ({jobs} = await api("GET", "/api/prune/jobs")); } catch { return; }
  const list = JSON.stringify(jobs.map(({last, ...j}) => [j, j.state === "stopped" && !!requests.get(j.id), waits(j, last)]));
  if (list !== listed) fillJobs(jobs);
  listed = list;
  for (const j of jobs) {
    const bar = document.querySelector("progress[data-job=\"" + CSS.escape(j.id) + "\"]");
    if (!bar) continue;
    bar.hidden = !j.last?.total;
    if (bar.hidden) continue;
    bar.max = j.last.total;
    bar.value = j.last.completed || 0;
    bar.setAttribute("aria-label", j.last.stage);
  }
}

// fillJobs fills the table of jobs; what had the focus has it again.
function fillJobs(jobs) {
  const body = $("jobs").tBodies[0], focused = document.activeElement?.dataset?.of;
  body.replaceChildren();
  $("no-jobs").hidden = jobs.length > 0;
  $("jobs").hidden = jobs.length === 0;
  for (const j of jobs) {
    const state = document.createElement("span");
    state.textContent = waits(j, j.last) ? "waiting" : !j.error ? j.state : j.error.startsWith(j.state) ? j.error : j.state + ": " + j.error;
    if (j.state === "running") {
      const bar = document.createElement("progress");
      bar.dataset.job = j.id;
      bar.hidden = true;
      state.append(" ", bar);
    }
    const action = actionOf(j);
    if (action) action.dataset.of = j.id;
    row(body, [j.model, j.what, j.name || "", state, action || ""]);
    if (action && focused === j.id) action.focus();
  }
}

// waits tells whether a job's turn has not come.
function waits(j, last) { return j.state === "running" && last?.stage === "wait"; }

// actionOf is what can be done with a job.
function actionOf(j) {
  const request = j.state === "stopped" && requests.get(j.id);
  if (j.state === "done" && !["profile", "merge"].includes(j.kind)) {
    const a = document.createElement("a");
    a.href = "/api/prune/jobs/" + j.id + "/report.html";
    a.textContent = "Report";
    return a;
  }
  if (j.state !== "running" && !request) return;
  const b = document.createElement("button");
  b.textContent = request ? "Go on" : "Cancel";
  b.setAttribute("aria-label", b.textContent + (request ? " with " : " ") + j.what + " of " + j.model);
  b.onclick = request ? () => job(request.path, request.body)
    : () => api("DELETE", "/api/prune/jobs/" + j.id).catch((e) => say(e.message, true)).then(showJobs);
  return b;
}

// --- the page ---

async function poll() {
  for (;;) {
    await new Promise((done) => setTimeout(done, 2000));
    if (document.hidden) continue;
    await showJobs();
    if (view) await showTraffic().then(follow);
  }
}

$("model").onchange = open;
$("by").onchange = () => load();
$("anew").onclick = beginAnew;
$("halt").onclick = () => talking?.abort();
$("count").oninput = choose;
$("traced").onchange = setTraced;
$("evaluate").onclick = evaluate;
$("sweep").onclick = sweep;
$("ask").onsubmit = ask;
$("prune").onsubmit = prune;
$("name").oninput = () => { $("name").dataset.typed = "yes"; };
$("measure").onclick = async () => {
  const of = view, last = await job("/api/prune/profile", {model: of.model});
  if (last && last.profile && of === view) load();
};
showJobs();
showModels().catch((e) => say(e.message, true));
poll();
