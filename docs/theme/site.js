// Tables of text are told from those of numbers, what scrolls can be reached with the keyboard, and what the theme adds to
// blocks of code is no landmark.
const LONG = 45 // characters of a cell that make its table one of text

const boxes = new ResizeObserver((entries) => {
  for (const { target } of entries) target.tabIndex = target.scrollWidth > target.clientWidth ? 0 : -1
})

for (const table of document.querySelectorAll(".md-typeset table:not([class])")) {
  const box = document.createElement("div")
  box.className = "table-box"
  const cells = [...table.querySelectorAll("td")]
  box.classList.toggle("is-text", cells.some((cell) => cell.textContent.length > LONG))
  const columns = [...table.querySelectorAll("th")].map((head) => head.textContent.trim())
  for (const cell of cells) if (columns[cell.cellIndex]) cell.dataset.column = columns[cell.cellIndex]
  table.replaceWith(box)
  box.append(table)
  boxes.observe(box)
}

new MutationObserver(() => {
  for (const bar of document.querySelectorAll("nav.md-code__nav:not([role])")) bar.setAttribute("role", "none")
}).observe(document.body, { childList: true, subtree: true })
