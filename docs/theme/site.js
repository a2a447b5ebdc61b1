// What scrolls can be reached with the keyboard, and what the theme adds to blocks of code is no landmark.
const boxes = new ResizeObserver((entries) => {
  for (const { target } of entries) target.tabIndex = target.scrollWidth > target.clientWidth ? 0 : -1
})

for (const table of document.querySelectorAll(".md-typeset table:not([class])")) {
  const box = document.createElement("div")
  box.className = "table-box"
  table.replaceWith(box)
  box.append(table)
  boxes.observe(box)
}

new MutationObserver(() => {
  for (const bar of document.querySelectorAll("nav.md-code__nav:not([role])")) bar.setAttribute("role", "none")
}).observe(document.body, { childList: true, subtree: true })
