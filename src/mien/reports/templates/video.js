"use strict";
(() => {
  const names = JSON.parse(document.body.dataset.labels);
  const states = { "-1": "not sure", "-2": "not classified", "-3": "absent" };

  function clock(time, video) {
    if (video < 60) return time.toFixed(1) + " s";
    const tenths = Math.round(time * 10), pad = (n) => String(n).padStart(2, "0");
    const seconds = pad(Math.floor(tenths / 10) % 60) + "." + (tenths % 10);
    const minutes = Math.floor(tenths / 600);
    if (video < 3600) return minutes + ":" + seconds;
    return Math.floor(minutes / 60) + ":" + pad(minutes % 60) + ":" + seconds;
  }

  function line(text, kind) {
    const element = document.createElement("span");
    element.textContent = text;
    if (kind) element.className = kind;
    return element;
  }

  function describe(data, bin) {
    const state = data.states[bin];
    const time = Math.min(data.start + (bin + 0.5) * data.width, data.end);
    const lines = [line(clock(time, data.video), "when"), line(state < 0 ? states[state] : names[state], "what")];
    data.shares[bin]
      .map((share, index) => ({ share, index }))
      .filter((item) => item.share !== null && item.share >= 2)
      .sort((a, b) => b.share - a.share)
      .slice(0, 3)
      .forEach((item) => {
        const row = line(names[item.index] + " " + item.share + "%");
        const chip = document.createElement("i");
        chip.className = "c" + item.index;
        row.prepend(chip);
        lines.push(row);
      });
    if (data.yaw[bin] !== null) {
      lines.push(line("yaw " + data.yaw[bin] + "°, pitch " + data.pitch[bin] + "°, roll " + data.roll[bin] + "°", "quiet"));
    }
    if (data.sharp[bin] !== null) lines.push(line("sharpness " + data.sharp[bin] + "%", "quiet"));
    if (data.valence && data.valence[bin] !== null) {
      const signed = (value) => (value < 0 ? "−" : "+") + (Math.abs(value) / 100).toFixed(2);
      lines.push(line("valence " + signed(data.valence[bin]) + ", arousal " + signed(data.arousal[bin]), "quiet"));
    }
    return lines;
  }

  document.querySelectorAll(".plot[data-values]").forEach((plot) => {
    const data = JSON.parse(plot.dataset.values);
    const over = plot.querySelector(".over"), cursor = plot.querySelector(".cursor"), tip = plot.querySelector(".tip");
    const span = data.end - data.start;
    const last = Math.max(0, Math.min(data.states.length, Math.ceil(span / data.width - 1e-6)) - 1);
    let bin = 0;

    function show(next) {
      bin = Math.max(0, Math.min(last, next));
      const place = Math.min(1, ((bin + 0.5) * data.width) / span);
      cursor.style.left = 100 * place + "%";
      tip.replaceChildren(...describe(data, bin));
      plot.classList.add("live");
      const room = over.clientWidth - tip.offsetWidth;
      const wish = place * over.clientWidth + (place < 0.5 ? 12 : -12 - tip.offsetWidth);
      tip.style.left = Math.max(0, Math.min(room, wish)) + "px";
    }

    plot.addEventListener("pointermove", (event) => {
      const box = over.getBoundingClientRect();
      show(Math.floor((((event.clientX - box.left) / box.width) * span) / data.width));
    });
    plot.addEventListener("pointerleave", () => plot.classList.remove("live"));
    plot.addEventListener("blur", () => plot.classList.remove("live"));
    plot.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -1e6, End: 1e6 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      show(bin + step);
      const time = Math.min(data.start + (bin + 0.5) * data.width, data.end);
      plot.dispatchEvent(new CustomEvent("moment", { detail: time }));
    });
  });
})();
