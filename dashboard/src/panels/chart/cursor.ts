// The keyboard cursor over the bars. Pure.

/** How many bars PageUp and PageDown move. */
export const PAGE = 10

/** Where a key moves the cursor among `count` bars; null where the key is not one of the cursor's. */
export function moved(key: string, index: number, count: number): number | null {
  const last = count - 1
  const target = {
    ArrowLeft: index - 1,
    ArrowDown: index - 1,
    ArrowRight: index + 1,
    ArrowUp: index + 1,
    PageUp: index + PAGE,
    PageDown: index - PAGE,
    Home: 0,
    End: last,
  }[key]
  return target === undefined || count === 0 ? null : Math.min(last, Math.max(0, target))
}
