/** A colour of tokens.css as the browser computes it now (`rgb(...)`), for charts, which know no CSS variables. */
export function colour(token: string): string {
  const probe = document.createElement("span")
  probe.style.color = `var(--${token})`
  document.body.append(probe)
  const computed = getComputedStyle(probe).color
  probe.remove()
  return computed
}
