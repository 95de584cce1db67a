"use strict";
(() => {
  const overview = document.querySelector(".overview");
  if (!overview) return;
  const figure = document.querySelector(".clip"), clip = figure && figure.querySelector("video");
  const plots = [...document.querySelectorAll(".plot[data-span]")];

  function make(tag, options, ...children) {
    const element = Object.assign(document.createElement(tag), options);
    element.append(...children);
    return element;
  }

  // Classes: the legend becomes a row of switches.
  document.querySelectorAll(".legend li").forEach((item) => {
    const chip = item.querySelector(".chip");
    const button = make("button", { type: "button", className: "switch", title: "Show or hide" }, chip);
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      const hidden = document.body.classList.toggle("off-" + chip.querySelector("i").className);
      button.setAttribute("aria-pressed", String(!hidden));
    });
    item.append(button);
  });

  // Faces: one checkbox for each row of the overview and its card.
  const rows = [...overview.querySelectorAll("a.row")];
  if (rows.length > 1) {
    const boxes = rows.map((row) => {
      const card = document.getElementById(row.hash.slice(1)).closest(".face");
      const box = make("input", { type: "checkbox", checked: true });
      box.addEventListener("change", () => [row, card].forEach((item) => item.classList.toggle("off", !box.checked)));
      return make("label", {}, box, row.querySelector(".name span").textContent);
    });
    overview.before(make("fieldset", { className: "faces" }, make("legend", { textContent: "Faces shown" }), ...boxes));
  }

  if (!clip) return;
  const [, length] = JSON.parse(overview.dataset.span);
  const lane = make("div", { className: "lane", tabIndex: 0 }), position = make("span", { className: "scale" });
  Object.entries({ role: "slider", "aria-label": "Position in the video", "aria-valuemin": 0, "aria-valuemax": length })
    .forEach(([name, value]) => lane.setAttribute(name, value));
  const name = make("span", { className: "name", textContent: "Position" });
  const seekRow = make("div", { className: "row seek" }, name, lane, position);
  overview.prepend(seekRow);
  const playheads = plots.map((plot) => {
    const head = make("i", { className: "playhead", hidden: true });
    plot.querySelector(".over").append(head);
    plot.classList.add("seekable");
    return head;
  });

  const moments = [...document.querySelectorAll(".face:has(.plane)")].map((card) => {
    const dot = make("i", { className: "moment", hidden: true });
    card.querySelector(".plane").append(dot);
    return { data: JSON.parse(card.querySelector(".plot").dataset.values), dot };
  });

  let used = false, inView = true;
  const close = make("button", { type: "button", className: "close", textContent: "×" });
  close.setAttribute("aria-label", "Close the small player");
  figure.append(close);
  function place() {
    const small = used && !inView;
    figure.style.minHeight = small ? figure.offsetHeight + "px" : "";
    figure.classList.toggle("mini", small);
  }
  function dismiss() {
    clip.pause();
    used = false;
    place();
  }
  new IntersectionObserver(([entry]) => {
    inView = entry.isIntersecting;
    place();
  }).observe(figure);

  function draw() {
    const now = clip.currentTime, text = now.toFixed(1) + " s";
    plots.forEach((plot, index) => {
      const [start, end] = JSON.parse(plot.dataset.span);
      playheads[index].hidden = now < start || now > end;
      playheads[index].style.left = (100 * (now - start)) / (end - start) + "%";
    });
    moments.forEach(({ data, dot }) => {
      const bin = Math.floor((now - data.start) / data.width), valence = data.valence[bin], arousal = data.arousal[bin];
      dot.hidden = valence === undefined || valence === null || arousal === null;
      if (!dot.hidden) Object.assign(dot.style, { left: 50 + valence / 2 + "%", top: 50 - arousal / 2 + "%" });
    });
    position.textContent = text;
    lane.setAttribute("aria-valuenow", now.toFixed(2));
    lane.setAttribute("aria-valuetext", text);
    if (!clip.paused && !clip.ended) requestAnimationFrame(draw);
  }
  function seek(time) {
    used = true;
    clip.currentTime = Math.max(0, Math.min(length, time));
    place();
    draw();
  }
  function toggle() {
    if (clip.paused) clip.play();
    else clip.pause();
  }
  function missing() {
    const note = figure.querySelector("figcaption");
    note.textContent = clip.getAttribute("src") + " is not in the folder of this report, or cannot be played; the charts work without it.";
    figure.classList.add("missing");
    seekRow.remove();
    playheads.forEach((head) => head.remove());
    moments.forEach(({ dot }) => dot.remove());
    plots.forEach((plot) => plot.classList.remove("seekable"));
  }

  clip.addEventListener("play", () => {
    used = true;
    draw();
  });
  ["timeupdate", "seeked", "loadedmetadata"].forEach((event) => clip.addEventListener(event, draw));
  close.addEventListener("click", dismiss);
  document.addEventListener("keydown", (event) => event.key === "Escape" && dismiss());
  lane.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.01, ArrowRight: 0.01, ArrowDown: -0.01, ArrowUp: 0.01, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 }[event.key];
    if (step === undefined && event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    if (step === undefined) toggle();
    else seek(clip.currentTime + step * length);
  });
  plots.forEach((plot) => {
    const [start, end] = JSON.parse(plot.dataset.span);
    plot.addEventListener("click", (event) => {
      const box = plot.querySelector(".over").getBoundingClientRect();
      const share = (event.clientX - box.left) / box.width;
      if (!plot.classList.contains("seekable") || share < 0 || share > 1) return;
      event.preventDefault();
      seek(start + share * (end - start));
    });
    plot.addEventListener("moment", (event) => plot.classList.contains("seekable") && seek(event.detail));
  });
  clip.addEventListener("error", missing);
  if (clip.error) missing();
  else draw();
})();
