// What the reference at /docs can do more where scripts run: search, copy, and where the reader is. Without them all is there to read.
"use strict";

const search = document.getElementById("search");
const articles = [...document.querySelectorAll("article")];
const links = new Map([...document.querySelectorAll("nav a[data-operation]")].map((a) => [a.dataset.operation, a]));
const nothing = Object.assign(document.createElement("p"), { className: "nothing", hidden: true });
nothing.textContent = "No operation has these words.";
document.querySelector("main").append(nothing);

const texts = new Map(articles.map((article) => [article, `${article.dataset.words} ${article.textContent}`.toLowerCase()]));

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const article of articles) {
    const named = words.every((word) => article.dataset.words.includes(word));
    const found = named || words.every((word) => texts.get(article).includes(word));
    article.hidden = !found;
    links.get(article.id).hidden = !found;
    shown += found;
  }
  for (const part of document.querySelectorAll("main .tag, nav section")) {
    part.hidden = part.querySelectorAll("article:not([hidden]), a[data-operation]:not([hidden])").length === 0;
  }
  document.getElementById("top").hidden = words.length > 0;
  nothing.hidden = shown > 0;
}

search.hidden = false;
search.addEventListener("input", filter);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== search) {
    event.preventDefault();
    search.focus();
  } else if (event.key === "Escape" && document.activeElement === search) {
    search.value = "";
    filter();
    search.blur();
  }
});

for (const block of document.querySelectorAll("pre")) {
  const frame = Object.assign(document.createElement("div"), { className: "copied" });
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Copy" });
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(block.textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  block.replaceWith(frame);
  frame.append(block, button);
}

const watcher = new IntersectionObserver(
  (seen) => {
    for (const { target, isIntersecting } of seen) links.get(target.id)?.classList.toggle("here", isIntersecting);
  },
  { rootMargin: "-10% 0px -75% 0px" },
);
articles.forEach((article) => watcher.observe(article));
