(() => {
  const bar = document.getElementById("controls");
  const text = document.getElementById("search");
  const boxes = [...bar.querySelectorAll("input[type=checkbox]")];
  const cases = [...document.querySelectorAll("details.case")];
  const shown = document.getElementById("shown");
  const apply = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const on = new Set(boxes.filter((b) => b.checked).map((b) => b.value));
    let n = 0;
    for (const c of cases) {
      const match = on.has(c.dataset.status) && words.every((w) => c.dataset.filter.includes(w));
      c.hidden = !match;
      if (match) n++;
    }
    shown.textContent = n + " of " + cases.length + " shown";
  };
  const fold = (open) => {
    for (const c of cases) if (!c.hidden) c.open = open;
  };
  const jump = () => {
    const c = document.getElementById(location.hash.slice(1));
    if (c && c.matches("details.case")) {
      c.open = true;
      c.scrollIntoView();
    }
  };
  text.addEventListener("input", apply);
  boxes.forEach((b) => b.addEventListener("change", apply));
  document.getElementById("unfold").addEventListener("click", () => fold(true));
  document.getElementById("fold").addEventListener("click", () => fold(false));
  addEventListener("hashchange", jump);
  bar.hidden = false;
  apply();
  jump();
})();
