// Whether an element is in sight: what is costly to draw is drawn for people who look at it.

/** Call `tell` now and whenever the element comes into sight or leaves it. Returns what ends it. */
export function watchSight(element: Element, tell: (isSeen: boolean) => void): () => void {
  const observer = new IntersectionObserver((entries) => {
    tell(entries.at(-1)?.isIntersecting ?? false)
  })
  observer.observe(element)
  return () => {
    observer.disconnect()
  }
}
