"use strict";
// What models are called and say, and what errors tell, goes into the page as text,
// never as HTML.

const $ = (id) => document.getElementById(id);
const enc = (name) => name.split("/").map(encodeURIComponent).join("/");

let model = "";   // that is looked at
let profile;      // of it
let plan;         // for the number of layers on the slider; undefined while none is chosen
let drawn = 0;    // when the profile was fetched, in milliseconds
let asked = 0;    // counts what was asked, so that late answers are dropped

function say(text, error = false) {
  $("message").textContent = text;
  $("message").classList.toggle("error", error);
}

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

function row(body, cells) {
  const tr = body.insertRow();
  for (const c of cells) {
    const td = tr.insertCell();
    if (c instanceof Node) td.append(c); else td.textContent = c;
  }
  return tr;
}

const fixed = (v, n) => v === undefined || v === null ? "" : v.toFixed(n);

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

async function showModels() {
  const {models} = await api("GET", "/api/tags");
  for (const m of models) $("model").add(new Option(m.name));
  const wanted = decodeURIComponent(location.hash.slice(1));
  if (models.some((m) => m.name === wanted)) $("model").value = wanted;
  if (!models.length) say("There is no model yet; `pare pull` fetches one.");
  else await open();
}

// by is the corpus whose distances are shown: "" for the kept profile's text, else that
// of traffic.
const by = () => $("by").value;
const corpus = () => by() ? {corpus: {name: by()}} : {};

async function open() {
  model = $("model").value;
  history.replaceState(null, "", "#" + encodeURIComponent(model));
  const mine = ++asked;
  profile = undefined;
  $("by").replaceChildren(new Option("text: the profile that is kept", ""));
  $("verdict").textContent = "";
  $("costs").hidden = $("sweep-plot").hidden = true;
  beginAnew();
  await showTraffic();
  if (mine === asked) await load(true);
}

// load shows the profile of the model by what is chosen: of text, or of traffic. At
// first it is that of traffic where there is no other.
async function load(first = false) {
  const mine = ++asked;
  plan = undefined;
  say("");
  for (const id of ["empty", "layers", "cost", "chat", "make"]) $(id).hidden = true;
  try {
    const p = await api("GET", profilePath(""));
    if (mine === asked) showProfile(p);
  } catch (e) {
    if (mine !== asked) return;
    if (e.status !== 404 || by()) return say(e.message, true);
    if (!first || !measured) return $("empty").hidden = false;
    $("by").value = "live";
    return load();
  }
}

function profilePath(suffix, query = {}) {
  const q = new URLSearchParams(by() ? {corpus: by(), ...query} : query).toString();
  return "/api/prune/profile/" + enc(model) + suffix + (q && "?" + q);
}

function showProfile(p) {
  const fresh = !profile || profile.layers !== p.layers;
  profile = p;
  drawn = Date.now();
  $("empty").hidden = true;
  $("layers").hidden = false;
  $("count").max = p.layers - 1;
  if (fresh) $("count").value = Math.round(p.layers / 5);
  choose();
}

// choose asks which layers would go, once the slider rests.
let resting;
function choose() {
  const n = Number($("count").value);
  $("count-text").textContent = n + " of " + profile.layers + " layers, " + Math.round(100 * n / profile.layers) + "%";
  clearTimeout(resting);
  resting = setTimeout(showPlan, 80);
}

async function showPlan() {
  const n = Number($("count").value), mine = ++asked;
  let chosen;
  try {
    if (n > 0) chosen = await api("POST", "/api/prune/plan", {model, layers: n, criterion: "angular", ...corpus()});
    if (mine !== asked) return;
    say("");
  } catch (e) {
    if (mine === asked) say(e.message, true);
    return;
  }
  plan = chosen;
  const goes = plan ? plan.remove : [];
  $("choice").textContent = plan
    ? "Layers " + ranges(goes) + " go: angular distance " + fixed(plan.chosen.score, 4) + (plan.chosen.low === plan.chosen.high ? "." // of one chunk
      : " (95%: " + fixed(plan.chosen.low, 4) + " to " + fixed(plan.chosen.high, 4) + "), best in " + Math.round(100 * plan.chosen.wins) + "% of resamplings.")
    : "Move the slider to choose how many layers go.";
  $("notes").replaceChildren(...((plan && plan.notes) || []).map((text) => {
    const li = document.createElement("li");
    li.textContent = text;
    return li;
  }));
  const heat = profilePath(".svg", {...(by() ? {at: drawn} : {}), ...(n > 0 ? {criterion: "angular", layers: n} : {})});
  const next = new Image();
  next.onload = () => { if (mine === asked) $("heat").src = heat; };
  next.src = heat;
  $("heat").alt = "Heat map of the angular distances between the hidden states before all layers of " + model + (plan ? "; layers " + ranges(goes) + " are marked" : "");
  const body = $("figures").tBodies[0];
  body.replaceChildren();
  const all = profile.all_tokens;
  for (let l = 0; l < profile.layers; l++) {
    row(body, [String(l), fixed(all.distance[l][l + 1], 4), fixed(all.influence[l], 4), goes.includes(l) ? "yes" : ""]);
  }
  for (const id of ["cost", "chat", "make"]) $(id).hidden = !plan;
  if (!$("name").dataset.typed) $("name").value = plan ? model.replace(/:latest$/, "") + "-" + (profile.layers - goes.length) : "";
}

function without() { return ranges(plan.remove); }

async function evaluate() {
  const bypass = without();
  $("costs").hidden = true;
  $("verdict").textContent = "";
  const last = await job("/api/prune/evaluate", {model, bypass, level: "quick"});
  if (!last || !last.evaluation) return;
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
  const of = model, last = await job("/api/prune/sweep", {model, ...corpus()});
  if (!last || !last.sweep || of !== model) return;
  const {jobs} = await api("GET", "/api/prune/jobs");
  const mine = jobs.find((j) => j.kind === "sweep" && j.model === of && j.state === "done");
  if (!mine) return;
  $("sweep-plot").src = "/api/prune/jobs/" + mine.id + "/report.svg";
  $("sweep-plot").alt = "What removing 10 to 50% of the layers of " + of + " costs; the figures are in the job's report";
  $("sweep-plot").hidden = false;
}

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
  const content = $("prompt").value.trim(), cut = by() + " " + plan.remove.length;
  if (!content || talking) return;
  if (talks.cut.length && talks.of !== cut) beginAnew();
  if (!talks.cut.length) Object.assign(talks, {of: cut, bypass: without()});
  $("cut-title").textContent = "As if cut: without " + talks.bypass;
  say("");
  const mine = talks, halt = talking = new AbortController(), turns = {};
  $("send").disabled = !($("halt").disabled = false);
  $("prompt").value = "";
  $("prompt").focus();
  try {
    for (const [id, path, more] of [["whole", "/api/chat", {}], ["cut", "/api/prune/preview", {bypass: mine.bypass}]]) {
      const said = {role: "user", content};
      line(id, "said", content);
      const answer = line(id, "answer", "");
      await stream(path, {model, messages: [...mine[id], said], options: {num_predict: 200, temperature: 0}, ...more},
        (l) => answer.append(l.message?.content ?? l.response ?? ""), halt.signal);
      turns[id] = [said, {role: "assistant", content: answer.textContent}];
    }
    for (const id in turns) mine[id].push(...turns[id]); // what one of them has not heard, neither has
  } catch (e) {
    if (!halt.signal.aborted) say(e.message, true);
    else if (mine === talks) for (const id of ["whole", "cut"]) line(id, "quiet", "stopped; this is not remembered");
  } finally {
    talking = undefined;
    $("send").disabled = !($("halt").disabled = true);
  }
}

async function prune(event) {
  event.preventDefault();
  const r = {model, name: $("name").value.trim(), range: without()};
  if ($("repair").value) r.repair = $("repair").value;
  const last = await job("/api/prune", r);
  if (last && last.report) say("Made " + last.report.result.name + "; its report is with the jobs.");
}

let measured = 0; // tokens of the model's traffic

async function showTraffic() {
  const of = model;
  try {
    const {models} = await api("GET", "/api/prune/trace/" + enc(of));
    if (of !== model) return;
    const t = models[0], sum = (field) => t.labels.reduce((n, l) => n + l[field], 0);
    $("traced").disabled = false;
    $("traced").checked = t.sample > 0;
    measured = sum("measured_tokens");
    $("traffic").textContent = t.labels.length ? sum("requests") + " requests, " + measured + " tokens measured" : "";
    offer(t.labels);
  } catch {
    $("traced").disabled = true;
    $("traffic").textContent = "";
    measured = 0;
  }
}

// offer lists the traffic whose distances can be shown.
function offer(labels) {
  const of = [["text: the profile that is kept", ""]];
  if (measured > 0) of.push(["my requests", "live"]);
  for (const l of labels) if (l.label && l.measured_tokens > 0) of.push(["my requests labelled " + l.label, "live:" + l.label]);
  $("by-line").hidden = of.length === 1;
  if (of.map((o) => o[1]).join() === [...$("by").options].map((o) => o.value).join()) return;
  const chosen = by();
  $("by").replaceChildren(...of.map(([text, value]) => new Option(text, value)));
  if (of.some((o) => o[1] === chosen)) $("by").value = chosen;
  else load(); // what was shown has been forgotten
}

// follow draws traffic anew as it comes.
let followed;
async function follow() {
  const before = followed, mine = asked;
  followed = model + " " + measured;
  if (!by() || !profile || before === followed) return;
  try {
    const p = await api("GET", profilePath(""));
    if (mine === asked) showProfile(p);
  } catch { /* it is tried again when more has come */ }
}

async function setTraced() {
  try {
    await api("POST", "/api/prune/trace", {model, sample: $("traced").checked ? 0.1 : 0});
  } catch (e) {
    say(e.message, true);
  }
  showTraffic();
}

async function showJobs() {
  let jobs;
  try { ({jobs} = await api("GET", "/api/prune/jobs")); } catch { return; }
  const body = $("jobs").tBodies[0], focused = document.activeElement?.dataset?.cancels;
  body.replaceChildren();
  $("no-jobs").hidden = jobs.length > 0;
  $("jobs").hidden = jobs.length === 0;
  for (const j of jobs) {
    const request = j.state === "stopped" && requests.get(j.id);
    const state = document.createElement("span"), actions = document.createElement("span");
    state.textContent = !j.error ? j.state : j.error.startsWith(j.state) ? j.error : j.state + ": " + j.error;
    if (j.state === "running" && j.last && j.last.total) {
      const bar = document.createElement("progress");
      bar.max = j.last.total;
      bar.value = j.last.completed || 0;
      bar.setAttribute("aria-label", j.last.stage);
      state.append(" ", bar);
    }
    if (j.state === "running") {
      const b = document.createElement("button");
      b.textContent = "Cancel";
      b.dataset.cancels = j.id;
      b.setAttribute("aria-label", "Cancel " + j.what + " of " + j.model);
      b.onclick = () => api("DELETE", "/api/prune/jobs/" + j.id).catch((e) => say(e.message, true)).then(showJobs);
      actions.append(b);
    } else if (request) {
      const b = document.createElement("button");
      b.textContent = "Go on";
      b.setAttribute("aria-label", "Go on with " + j.what + " of " + j.model);
      b.onclick = () => job(request.path, request.body);
      actions.append(b);
    } else if (j.state === "done" && j.kind !== "profile") {
      const a = document.createElement("a");
      a.href = "/api/prune/jobs/" + j.id + "/report.html";
      a.textContent = "Report";
      actions.append(a);
    }
    row(body, [j.model, j.what, j.name || "", state, actions]);
    if (focused === j.id) actions.querySelector("button")?.focus();
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
  const of = model, last = await job("/api/prune/profile", {model});
  if (last && last.profile && of === model) load();
};
setInterval(() => { if (!document.hidden) { showJobs(); if (model) showTraffic().then(follow); } }, 2000);
showJobs();
showModels().catch((e) => say(e.message, true));
