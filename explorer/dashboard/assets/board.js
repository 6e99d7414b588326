// The browser's part: the address is the state. Controls and cameras write it; the server draws what it says.
(function () {
  "use strict";
  const NAMES = {
    search: "search", models: "model", kind: "kind", tensor: "tensor", tiers: "tier", modalities: "modality",
    architectures: "arch", roles: "role", classes: "class",
  };
  const NARROW = window.matchMedia("(max-width: 760px)");
  const DARK = window.matchMedia("(prefers-color-scheme: dark)");

  const read = () => new URLSearchParams(window.location.hash.slice(1));

  // A step that `back` undoes; what is there already is no step.
  function go(params) {
    const next = params.toString();
    if (next === read().toString()) return;
    window.location.hash = next;
  }

  // The same page by another address: no step, and nothing is drawn anew.
  function amend(params) {
    const next = params.toString();
    if (next !== read().toString()) window.history.replaceState(window.history.state, "", "#" + next);
  }

  function replaceAll(params, name, values) {
    params.delete(name);
    values.filter((value) => value !== null && value !== undefined && value !== "").forEach((value) => params.append(name, value));
  }

  function paint() {
    const wanted = read().get("theme");
    const theme = wanted === "dark" || wanted === "light" ? wanted : DARK.matches ? "dark" : "light";
    document.documentElement.dataset.theme = theme;
  }

  let count = 0;
  window.dash_clientside = window.dash_clientside || {};
  const nothing = () => window.dash_clientside.no_update;
  window.dash_clientside.board = {
    scheme: () => { paint(); return DARK.matches ? "dark" : "light"; },
    // Where the page is now: cameras are in the address before Dash knows.
    here: function (hash, scheme) {
      const causes = window.dash_clientside.callback_context.triggered.map((each) => each.prop_id);
      return { address: window.location.hash || hash || "", scheme: scheme || "", causes, count: (count += 1) };
    },
    put: function (...values) {
      const changed = window.dash_clientside.callback_context.triggered.map((each) => each.prop_id.split(".")[0]);
      const params = read(), before = params.toString();
      Object.keys(NAMES).forEach((control, place) => {
        if (changed.includes(control)) replaceAll(params, NAMES[control], [values[place]].flat());
      });
      if (params.toString() !== before) { params.delete("page"); go(params); }
      return nothing();
    },
    find: function () {
      const params = read(), found = new Map(params.getAll("find").map((each) => split(each)));
      const pages = new Map(params.getAll("page").map((each) => split(each)));
      for (const each of window.dash_clientside.callback_context.triggered) {
        const table = JSON.parse(each.prop_id.slice(0, each.prop_id.lastIndexOf("."))).table;
        if ((found.get(table) || "") !== (each.value || "")) pages.delete(table);
        found.set(table, each.value || "");
      }
      replaceAll(params, "find", join(found));
      replaceAll(params, "page", join(pages));
      go(params);
      return nothing();
    },
  };
  const split = (text) => [text.slice(0, text.indexOf(":")), text.slice(text.indexOf(":") + 1)];
  const join = (map) => [...map].filter(([, value]) => value).sort().map(([name, value]) => name + ":" + value);

  // plotly keeps the live camera of a scene in private; this is the one place that reaches for it.
  function liveCamera(graph, scene) {
    const kept = graph._fullLayout && graph._fullLayout[scene] && graph._fullLayout[scene]._scene;
    const camera = kept && kept.getCamera && kept.getCamera();
    return camera && ["eye", "center", "up"].flatMap((part) => ["x", "y", "z"].map((axis) => camera[part][axis]));
  }

  function scenesOf(graph) {
    return Object.keys(graph._fullLayout || {}).filter((name) => /^scene\d*$/.test(name));
  }

  const SETTLED = 250, pending = new Map();

  // Only what a hand has moved is written down.
  function keepCameras(target) {
    const graph = target.closest && target.closest(".js-plotly-plot");
    const holder = graph && graph.closest("[id^='{']");
    if (!holder) return;
    const picture = JSON.parse(holder.id).picture, params = read();
    const cameras = new Map(params.getAll("camera").map((each) => [each.split(":").slice(0, -9).join(":"), each]));
    for (const scene of scenesOf(graph)) {
      const camera = liveCamera(graph, scene), name = picture + "/" + scene;
      if (camera) cameras.set(name, name + ":" + camera.map((number) => String(+number.toFixed(5))).join(":"));
    }
    const kept = [...cameras].sort().map(([, text]) => text);
    const isMoving = kept.join() !== params.getAll("camera").join();
    replaceAll(params, "camera", kept);
    amend(params);
    // A busy machine draws late: until it stands still.
    if (isMoving) pending.set(graph, window.setTimeout(() => keepCameras(graph), SETTLED));
  }

  // Wheel events come before the camera has moved, and touch sends none of plotly's: look when things have settled.
  function later(event) {
    const graph = event.target.closest && event.target.closest(".js-plotly-plot");
    if (!graph || !scenesOf(graph).length) return;
    window.clearTimeout(pending.get(graph));
    pending.set(graph, window.setTimeout(() => keepCameras(graph), SETTLED));
  }
  for (const name of ["pointerup", "mouseup", "touchend", "wheel"]) {
    document.addEventListener(name, later, { capture: true, passive: true });
  }

  // Links were drawn before the camera moved: they take it along.
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a[href]");
    if (!link) return;
    const address = link.getAttribute("href");
    if (link.id === "skip") { event.preventDefault(); document.getElementById("main").focus(); return; }
    const isHere = address.startsWith("#");
    if (!isHere && !link.dataset.state) return;
    const cut = isHere ? 0 : address.indexOf("?");
    const params = new URLSearchParams(address.slice(cut + 1)), cameras = read().getAll("camera");
    if (link.id !== "reset" && cameras.length) replaceAll(params, "camera", cameras);
    if (isHere) { event.preventDefault(); go(params); } else link.setAttribute("href", address.slice(0, cut + 1) + params);
  }, true);

  const fold = () => {
    const sidebar = document.getElementById("sidebar");
    if (sidebar) sidebar.open = !NARROW.matches;
  };
  NARROW.addEventListener("change", fold);
  DARK.addEventListener("change", () => {
    paint();
    window.dash_clientside.set_props("scheme", { data: DARK.matches ? "dark" : "light" });
  });
  window.addEventListener("hashchange", paint);
  const watch = new MutationObserver(() => {
    if (document.getElementById("sidebar")) { watch.disconnect(); fold(); }
  });
  watch.observe(document.documentElement, { childList: true, subtree: true });
  paint();
})();
