// Whether an element is in sight: what is costly to draw is drawn for people who look at it.

/** An element of which less is in sight than this share is not looked at. */
const SHARE = 0.1

/** Call `tell` now and whenever the element comes into sight or leaves it. Returns what ends it. */
export function watchSight(element: Element, tell: (isSeen: boolean) => void): () => void {
  const observer = new IntersectionObserver(
    (entries) => {
      tell((entries.at(-1)?.intersectionRatio ?? 0) >= SHARE)
    },
    { threshold: SHARE },
  )
  observer.observe(element)
  return () => {
    observer.disconnect()
  }
}
