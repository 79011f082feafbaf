"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Light or dark: as the system says, until the button says otherwise.
  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const isDark = getComputedStyle(root).colorScheme === "dark";
    root.dataset.theme = isDark ? "light" : "dark";
  });

  // Small pictures keep their pixels when they are enlarged.
  for (const img of all(".frames img")) {
    const sharpen = () => img.classList.toggle("small", img.naturalWidth > 0 && img.naturalWidth < 330);
    img.complete ? sharpen() : img.addEventListener("load", sharpen);
  }

  // The timeline of samples.
  for (const player of all(".player")) {
    const figure = player.closest("figure");
    const frames = all(".frames img", figure);
    const [slider, button, when] = ["input", ".play", "output"].map((selector) => figure.querySelector(selector));
    const show = () => {
      frames.forEach((frame, index) => { frame.hidden = index !== Number(slider.value); });
      when.textContent = frames[Number(slider.value)].dataset.when;
      slider.setAttribute("aria-valuetext", when.textContent);
    };
    let timer = null;
    const stop = () => {
      clearInterval(timer);
      timer = null;
      button.textContent = "▶";
      button.setAttribute("aria-label", "play");
    };
    button.addEventListener("click", () => {
      if (timer !== null) return stop();
      if (slider.value === slider.max) slider.value = 0;
      show();
      button.textContent = "❚❚";
      button.setAttribute("aria-label", "pause");
      timer = setInterval(() => {
        slider.value = Number(slider.value) + 1;
        show();
        if (slider.value === slider.max) stop();
      }, 260);
    });
    slider.addEventListener("input", () => { stop(); show(); });
    player.hidden = frames.length < 2;
    show();
  }

  // Linear or logarithmic.
  for (const button of all(".scale")) {
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      const isLog = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(isLog));
      const figure = button.closest("figure");
      figure.querySelector(".linear").hidden = isLog;
      figure.querySelector(".log").hidden = !isLog;
    });
  }

  // Values under the pointer.
  for (const field of all(".field")) {
    const curves = JSON.parse(field.dataset.curves);
    const element = (name, className) => {
      const made = document.createElement(name);
      made.className = className;
      made.hidden = true;
      return field.appendChild(made);
    };
    const cross = element("div", "cross");
    const tip = element("div", "tip");
    const dots = curves.map((_, index) => element("div", `dot c${index}`));
    const marks = [cross, tip, ...dots];
    field.addEventListener("pointermove", (event) => {
      const box = field.getBoundingClientRect();
      const share = (event.clientX - box.left) / box.width;
      const near = curves.map(({ points }) => points.reduce((best, point) =>
        Math.abs(point[0] - share) < Math.abs(best[0] - share) ? point : best));
      const x = near[0][0];
      marks.forEach((mark) => { mark.hidden = false; });
      cross.style.left = `${100 * x}%`;
      near.forEach((point, index) => {
        dots[index].style.left = `${100 * point[0]}%`;
        dots[index].style.bottom = `${100 * point[1]}%`;
      });
      tip.replaceChildren(`${near[0][2]} kimg`);
      near.forEach((point, index) => {
        const value = document.createElement("b");
        value.textContent = point[3];
        tip.append(document.createElement("br"), `${curves[index].name} `, value);
      });
      tip.style.left = x < 0.5 ? `calc(${100 * x}% + 12px)` : "auto";
      tip.style.right = x < 0.5 ? "auto" : `calc(${100 * (1 - x)}% + 12px)`;
    });
    field.addEventListener("pointerleave", () => marks.forEach((mark) => { mark.hidden = true; }));
  }
})();
