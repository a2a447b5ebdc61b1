// What the page says and does where it has a fault of its own.

/** Stands in place of whatever cannot be shown. */
export const FAULT = { word: "UNAVAILABLE", sentence: "this page has a fault; load it again" } as const

const reported = new Set<string>()

/** Tell the console of an error, once for each place and message. */
export function report(place: string, error: unknown): void {
  const key = `${place}: ${String(error)}`
  if (reported.has(key)) return
  reported.add(key)
  // eslint-disable-next-line no-console -- the one place where the page says that it has a fault
  console.error(`${place}:`, error)
}
